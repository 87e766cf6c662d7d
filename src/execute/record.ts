import { digestOf } from '../base/json.ts';
import { ok, type Outcome } from '../base/outcome.ts';
import type { Plan } from '../plan/types.ts';
import type { Occasion } from './execute.ts';
import type { RegistryWriter } from './types.ts';

/** What of a plan makes it another one: not the times in it, nor the words of a wait, which change with every try. */
function keyOf(plan: Plan): string {
  return digestOf({
    steps: plan.steps.map(({ service, kind, subject }) => [service, kind, subject]),
    waiting: plan.waiting.map(({ service, component, for: what }) => [service, component ?? '', what]),
    refused: plan.refused.map(({ service, why }) => [service, why]),
  });
}

/** Stores what was decided and from what, beside a pass that has begun (L35). */
export function storePlan(
  pass: number,
  plan: Plan,
  { inputs, version }: Occasion,
  registry: RegistryWriter,
): Outcome<undefined> {
  if (inputs === undefined) return ok();
  return registry.storePlan(pass, { version: version ?? '', key: keyOf(plan), inputs, plan });
}

/** A plan without steps is stored when it differs from the last one; else nothing is written (house rule 6). */
export function storeQuietPlan(
  plan: Plan,
  occasion: Occasion,
  registry: RegistryWriter,
  now: number,
): Outcome<undefined> {
  if (occasion.inputs === undefined || registry.planKey() === keyOf(plan)) return ok();
  const pass = registry.beginPass({ ...passOf(occasion), startedAt: now });
  if (pass.kind !== 'ok') return pass;
  const stored = storePlan(pass.value, plan, occasion, registry);
  const ended = registry.endPass(pass.value, now);
  return stored.kind === 'ok' ? ended : stored;
}

export function passOf({
  trigger,
  commit,
  about,
}: Occasion): Omit<Parameters<RegistryWriter['beginPass']>[0], 'startedAt'> {
  return { trigger, commit, ...(about === undefined ? {} : { about }) };
}
