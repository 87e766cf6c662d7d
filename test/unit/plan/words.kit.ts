import { makePlan } from '../../../src/plan/plan.ts';
import type { PlanSettings } from '../../../src/plan/types.ts';
import type { World } from '../../support/world.ts';

/** What a plan tells, as people read it: refused, then waiting, with what to do, and with its times from now on. */
export function toldBy(world: World, settings: Partial<PlanSettings> = {}): string[] {
  const facts = world.facts();
  const { refused, waiting } = makePlan({ ...facts, settings: { ...facts.settings, ...settings } });
  const hinted = (hint: string | undefined): string => (hint === undefined ? '' : ` | ${hint}`);
  const at = (what: string, time: number | undefined): string =>
    time === undefined ? '' : ` (${what} ${(time - world.now) / 1000} s)`;
  return [
    ...refused.map(({ service, why, hint }) => `${service} refused: ${why}${hinted(hint)}`),
    ...waiting.map(
      ({ service, for: what, why, hint, since, until }) =>
        `${service} ${what}: ${why}${hinted(hint)}${at('since', since)}${at('until', until)}`,
    ),
  ];
}

/** What it would do, and why. */
export function stepsBy(world: World): string[] {
  return world.plan().steps.map(({ kind, subject, because }) => `${kind} ${subject}: ${because.summary}`);
}
