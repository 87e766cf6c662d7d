import pLimit from 'p-limit';
import { bug, type Failure, type Outcome } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import type { Plan, Step } from '../plan/types.ts';
import { effectOf, type Seen } from './effect.ts';
import { perform } from './perform.ts';
import { passOf, storePlan, storeQuietPlan } from './record.ts';
import type { CommitRecord } from '../registry/types.ts';
import type { StepResult, Tools } from './types.ts';

export interface Occasion {
  readonly trigger: string;
  readonly commit: string;
  /** Digest of what is desired of each service, so that a failure is remembered for this definition only. */
  readonly digests: ReadonlyMap<string, string>;
  /** What the history tells of the commit. */
  readonly about?: CommitRecord;
  /** What the pass saw: the `before` of the journal. */
  readonly seen?: Seen;
  /** Everything the plan is a function of, to be stored with it. Absent: nothing is stored. */
  readonly inputs?: unknown;
  /** Of this program. */
  readonly version?: string;
}

/**
 * Carries a plan out. Chooses nothing: services in parallel, the steps of one service in order, and the first that
 * fails ends that service's chain, and that one only (L11, G8). A plan without steps writes nothing, unless what is
 * waited for or refused has changed.
 */
export async function execute(
  plan: Plan,
  tools: Tools,
  occasion: Occasion,
  signal: AbortSignal,
): Promise<Outcome<StepResult[]>> {
  const { registry, clock } = tools;
  if (plan.steps.length === 0) {
    const stored = storeQuietPlan(plan, occasion, registry, clock.now());
    return stored.kind === 'ok' ? { kind: 'ok', value: [] } : stored;
  }
  const pass = registry.beginPass({ ...passOf(occasion), startedAt: clock.now() });
  // What cannot be written down is not done (G32).
  if (pass.kind !== 'ok') return pass;
  const stored = storePlan(pass.value, plan, occasion, registry);
  if (stored.kind !== 'ok') return stored;
  const limit = pLimit(tools.parallel);
  const chains = byService(plan.steps);
  const results = await Promise.all(
    [...chains].map(([service, steps]) =>
      limit(() => chain(service, steps, pass.value, tools, occasion, signal)),
    ),
  );
  const ended = registry.endPass(pass.value, clock.now());
  return ended.kind === 'ok' ? { kind: 'ok', value: results.flat() } : ended;
}

function byService(steps: readonly Step[]): Map<string, Step[]> {
  const chains = new Map<string, Step[]>();
  for (const step of steps) chains.set(step.service, [...(chains.get(step.service) ?? []), step]);
  return chains;
}

async function chain(
  service: string,
  steps: readonly Step[],
  pass: number,
  tools: Tools,
  occasion: Occasion,
  signal: AbortSignal,
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  for (const step of steps) {
    // A stop of the agent is quick: the rest is planned again by the next start.
    if (signal.aborted) break;
    const result = await journalled(step, pass, tools, occasion.seen);
    results.push(result);
    if (result.outcome.kind !== 'ok') {
      remember(service, result.outcome, tools, occasion);
      return results;
    }
  }
  const done = results.some(({ step }) => step.kind === 'record-applied' || step.edge === true);
  if (done) tools.registry.clearFailure(service);
  return results;
}

/** Journal intent → do → read back (inside the handler) → journal result. */
async function journalled(
  step: Step,
  pass: number,
  tools: Tools,
  seen: Seen | undefined,
): Promise<StepResult> {
  const { registry, clock, log } = tools;
  const startedAt = clock.now();
  const { service, kind, subject, because } = step;
  const { before, after } = effectOf(step, seen);
  const intent = registry.intend(pass, {
    ...{ service, kind, subject, because, startedAt },
    ...(before === undefined ? {} : { before }),
  });
  if (intent.kind !== 'ok') return { step, outcome: intent, startedAt, endedAt: startedAt };
  let outcome: Outcome<unknown>;
  try {
    outcome = await perform(step, tools);
  } catch (error) {
    outcome = bug(error);
  }
  const endedAt = clock.now();
  const message = outcome.kind === 'ok' ? undefined : redact(outcome.why);
  const written = registry.conclude(intent.value, {
    result: outcome.kind,
    endedAt,
    ...(message === undefined ? {} : { message }),
    ...(outcome.kind !== 'ok' || after === undefined ? {} : { after }),
  });
  const fields = { service, step: kind, subject, because: because.summary, ms: endedAt - startedAt };
  if (outcome.kind === 'ok') log.info(fields, `${kind} ${subject}`);
  else
    log.warn(
      { ...fields, result: outcome.kind, why: message, hint: outcome.hint },
      `${kind} ${subject}: ${message ?? ''}`,
    );
  return {
    step,
    outcome: outcome.kind === 'ok' && written.kind !== 'ok' ? written : outcome,
    startedAt,
    endedAt,
  };
}

function remember(service: string, failure: Failure, tools: Tools, occasion: Occasion): void {
  // `wait` names something outside that is observed again by itself: no growing pause for it.
  if (failure.kind === 'wait') return;
  tools.registry.recordFailure({
    service,
    digest: occasion.digests.get(service) ?? '',
    lastAt: tools.clock.now(),
    why: redact(failure.why),
    ...(failure.hint === undefined ? {} : { hint: redact(failure.hint) }),
    ...(failure.cause === undefined ? {} : { cause: failure.cause }),
  });
}
