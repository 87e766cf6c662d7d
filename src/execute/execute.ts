import pLimit from 'p-limit';
import { bug, type Failure, type Outcome } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import type { Plan, Step } from '../plan/types.ts';
import { effectOf, type Seen } from './effect.ts';
import { perform } from './perform.ts';
import { untilStill } from './lanes.ts';
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

/** One service's steps of a pass, and what became of them. */
interface Chain {
  readonly service: string;
  readonly steps: readonly Step[];
  readonly results: StepResult[];
  /** So many results were told with the pass. */
  told: number;
}

interface Round {
  readonly pass: number;
  readonly tools: Tools;
  readonly occasion: Occasion;
  readonly signal: AbortSignal;
  /** The pass does not wait any more: each chain ends with the step that it is at. */
  isOver: boolean;
  /** When a step began or ended last, on the monotonic clock. */
  movedAt: number;
}

/**
 * Carries a plan out. Chooses nothing: services in parallel, the steps of one service in order, and the first that
 * fails ends that service's chain, and that one only (L11, G8). A plan without steps writes nothing, unless what is
 * waited for or refused has changed. With lanes it does not wait for a step that takes long: that one goes on by itself, its
 * result comes with a later pass, and what would have followed is planned again (L40).
 */
export async function execute(
  plan: Plan,
  tools: Tools,
  occasion: Occasion,
  signal: AbortSignal,
): Promise<Outcome<StepResult[]>> {
  const { registry, clock, lanes } = tools;
  if (plan.steps.length === 0) {
    const stored = storeQuietPlan(plan, occasion, registry, clock.now());
    return stored.kind === 'ok' ? { kind: 'ok', value: [] } : stored;
  }
  const places = lanes === undefined ? tools.parallel : lanes.places(tools.parallel);
  // Whichever of the steps under way ends first wakes the next pass.
  if (places === 0) return { kind: 'ok', value: [] };
  const pass = registry.beginPass({ ...passOf(occasion), startedAt: clock.now() });
  // What cannot be written down is not done (G32).
  if (pass.kind !== 'ok') return pass;
  const stored = storePlan(pass.value, plan, occasion, registry);
  if (stored.kind !== 'ok') return stored;
  const round: Round = {
    ...{ pass: pass.value, tools, occasion, signal },
    ...{ isOver: false, movedAt: clock.monotonic() },
  };
  const limit = pLimit(places);
  const chains = byService(plan.steps);
  const all = Promise.all(chains.map((chain) => limit(() => walk(chain, round))));
  const ended = all.then(() => registry.endPass(round.pass, clock.now()));
  const end = lanes === undefined ? await ended : await endOrStill(ended, round);
  for (const chain of chains) chain.told = chain.results.length;
  const results = chains.flatMap((chain) => chain.results);
  return end === undefined || end.kind === 'ok' ? { kind: 'ok', value: results } : end;
}

/** Undefined when the pass goes on without the steps that are still under way. */
async function endOrStill(
  ended: Promise<Outcome<undefined>>,
  round: Round,
): Promise<Outcome<undefined> | undefined> {
  const { clock, log } = round.tools;
  const done = new AbortController();
  // With a reason: without one an error with its stack is made, for nobody.
  const whole = ended.finally(() => done.abort('ended'));
  const still = untilStill(clock, () => round.movedAt, done.signal).then(() => undefined);
  const end = await Promise.race([whole, still.then(() => (done.signal.aborted ? whole : undefined))]);
  if (end !== undefined) return end;
  round.isOver = true;
  const tell = (late: Outcome<undefined>): void => {
    if (late.kind !== 'ok') log.error({ why: late.why }, 'the end of a pass could not be written down');
  };
  whole.then(tell, (error: unknown) => tell(bug(error)));
  return undefined;
}

function byService(steps: readonly Step[]): Chain[] {
  const chains = new Map<string, Step[]>();
  for (const step of steps) chains.set(step.service, [...(chains.get(step.service) ?? []), step]);
  return [...chains].map(([service, own]) => ({ service, steps: own, results: [], told: 0 }));
}

/** A stop of the agent is quick, and so is a pass that goes on: the rest is planned again. */
function goesOn({ signal, isOver }: Round): boolean {
  return !signal.aborted && !isOver;
}

async function walk(chain: Chain, round: Round): Promise<void> {
  // One that had no place before the pass went on: its service may be worked on by a later pass by now.
  if (!goesOn(round)) return;
  const { clock, lanes } = round.tools;
  try {
    await follow(chain, round);
  } finally {
    round.movedAt = clock.monotonic();
    lanes?.leave(chain.service, round.isOver ? chain.results.slice(chain.told) : undefined);
  }
}

async function follow({ service, steps, results }: Chain, round: Round): Promise<void> {
  const { tools, occasion, pass } = round;
  for (const step of steps) {
    if (!goesOn(round)) break;
    round.movedAt = tools.clock.monotonic();
    tools.lanes?.enter(step, tools.clock.now());
    const result = await journalled(step, pass, tools, occasion.seen);
    results.push(result);
    if (result.outcome.kind !== 'ok') {
      remember(service, result.outcome, tools, occasion);
      return;
    }
  }
  const done = results.some(({ step }) => step.kind === 'record-applied' || step.edge === true);
  if (done) tools.registry.clearFailure(service);
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
