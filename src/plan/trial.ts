import type { DesiredService } from '../definitions/types.ts';
import type { Because, Trial } from '../registry/types.ts';
import { failureOf, trialOf, type Facts, type ServicePlan } from './facts.ts';
import { runningByDigest } from './lists.ts';
import { readiness } from './ready.ts';
import { isShownWrong } from './routes.ts';
import type { Standing } from './standing.ts';
import { lastProved, retryAt } from './turn.ts';
import type { Blamed, Step, Waiting } from './types.ts';

/** A pass wakes for the end of a trial, and the one before it may take 10 s: one that comes so much later could not look at it. */
const MISSED_MS = 20_000;

/** What a service's files allow a version that takes its time; what they do not say, the node's settings do. */
export function timeoutOf(facts: Facts, desired: DesiredService): number {
  return (desired.insteadOf ?? desired).service.deploy?.timeoutMs ?? facts.settings.timeoutMs;
}

export function stableForOf(facts: Facts, desired: DesiredService): number {
  return desired.service.deploy?.stableForMs ?? facts.settings.stableForMs;
}

/** The trial that a service is in: of its own version, or of the one that gave way to it. */
export function currentTrial(facts: Facts, desired: DesiredService): Trial | undefined {
  return trialOf(facts.promised, desired.insteadOf ?? desired);
}

/** The end of the time that a trial has; absent while no clock runs. */
export function deadlineOf(facts: Facts, desired: DesiredService): number | undefined {
  const trial = currentTrial(facts, desired);
  const isRunning = trial?.phase === 'trying' || trial?.phase === 'returning';
  return isRunning ? trial.since + timeoutOf(facts, desired) : undefined;
}

/**
 * Is the time over? A version that is not proved in time gives way to the last proved one; when that one is not ready
 * in time either, the cause is outside. Judged before anything else is planned for the service, and its only step then.
 */
export function judge(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): ServicePlan | undefined {
  const trial = currentTrial(facts, desired);
  if (trial === undefined) return undefined;
  if (trial.phase === 'trying') {
    const predecessor = lastProved(facts.promised, desired);
    const late = predecessor === undefined ? undefined : lateVerdict(facts, desired, standings);
    if (predecessor === undefined || late === undefined) return undefined;
    if (late.wasMissed) return only(anewStep(desired, trial));
    const { why, isOutside } = late;
    const version = predecessor.commit.slice(0, 8);
    const returning = step(desired, `gives way to the version of ${version}: ${why}`, {
      ...trial,
      phase: 'returning',
      why,
      ...(isOutside ? { cause: 'outside' } : {}),
    });
    return only({ ...returning, ...blame(facts, desired, standings) });
  }
  const isLate = (deadlineOf(facts, desired) ?? Infinity) <= facts.now;
  if (trial.phase !== 'returning' || desired.insteadOf === undefined || !isLate) return undefined;
  if (standings.some(({ current }) => current === undefined)) return undefined;
  const unready = unreadyOf(facts, desired, standings);
  if (unready === undefined || !wasAsked(facts, standings)) return undefined;
  return only(
    outsideStep(desired, trial, `the last proved version does not become ready either: ${unready.why}`),
  );
}

/**
 * Why a version that is being tried has to give way: its time is over, or it cannot even start. `isOutside`: for nothing
 * that a commit could mend. `wasMissed`: the engine or the agent was away when its time ended, so that nobody can say what it
 * was like by then, and whether it ran at all; its time begins anew. Undefined as long as it may go on, or shall stay whatever happens.
 */
export function lateVerdict(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): { readonly why: string; readonly isOutside: boolean; readonly wasMissed: boolean } | undefined {
  if (currentTrial(facts, desired)?.phase !== 'trying' || staysHere(desired)) return undefined;
  const deadline = deadlineOf(facts, desired) ?? Infinity;
  const lateMs = facts.now - deadline;
  const isLate = lateMs >= 0;
  const failure = failureOf(facts, desired.service.name, desired.digest);
  const isCertain = failure?.cause === 'definition';
  if (!(isLate || isCertain)) return undefined;
  const unready = unreadyOf(facts, desired, standings);
  if (unready === undefined || (!isCertain && !wasAsked(facts, standings))) return undefined;
  // Without a container of its own that is not ready there is nothing that could be blamed; nor is there when it was the
  // proxy that took the time.
  const isOutside =
    failure?.cause === 'outside' || unready.isMissing || (!isCertain && isShownWrong(facts, desired));
  const seconds = Math.round(timeoutOf(facts, desired) / 1000);
  const why = isCertain ? failure.why : `not proved within ${seconds} s: ${failure?.why ?? unready.why}`;
  // One that was ready when its time ended, and is not any more, was looked at: it might go on so for ever.
  const wasSeen = facts.lookedAt !== undefined && facts.lookedAt >= deadline;
  const wasMissed = !isOutside && failure === undefined && lateMs > MISSED_MS && !wasSeen;
  return { why, isOutside, wasMissed };
}

/** An agent that was just started has asked nobody yet: what runs is not called late before it failed to answer once. */
function wasAsked({ observed }: Facts, standings: readonly Standing[]): boolean {
  return standings.every(({ current }) => {
    if (current?.state !== 'running') return true;
    const probe = observed.probes[current.id];
    return probe !== undefined && (probe.kind !== 'starting' || probe.last !== undefined);
  });
}

/** The last proved version is proved again: the one that gave way is held back, unless its failure came from outside. */
export function verdictStep(facts: Facts, desired: DesiredService): Step | undefined {
  const trial = currentTrial(facts, desired);
  if (desired.insteadOf === undefined || trial?.phase !== 'returning') return undefined;
  if (trial.cause === 'outside') return outsideStep(desired, trial, trial.why ?? 'its cause lies outside');
  return heldBackStep(desired, trial, trial.why ?? 'not proved in time');
}

/** Recorded before the first container of a version is started: from then on its time runs. */
export function trialStep(
  facts: Facts,
  desired: DesiredService,
  because: Because,
): (Step & { kind: 'record-trial' }) | undefined {
  const before = currentTrial(facts, desired);
  if (desired.insteadOf !== undefined) {
    // Its own time begins with its own start.
    return before?.phase === 'returning' ? step(desired, because.summary, before) : undefined;
  }
  if (runningByDigest(facts.promised.applied).has(desired.digest)) return undefined;
  if (before?.phase === 'trying') return undefined;
  const { service, digest, file, commit } = desired;
  const tries = before?.tries ?? 0;
  const trial = { service: service.name, digest, file, commit, phase: 'trying' as const, tries };
  return { service: service.name, subject: service.name, because, kind: 'record-trial', trial };
}

/** What is said of a version that is late, and stays: because nothing was proved before it, or because its file says so. */
export function lateness(facts: Facts, desired: DesiredService): Pick<Waiting, 'hint'> {
  if ((deadlineOf(facts, desired) ?? Infinity) > facts.now || desired.insteadOf !== undefined) return {};
  return {
    hint: staysHere(desired)
      ? 'deploy.return = "never": it is left as it is, for a person to see to.'
      : 'No earlier version was proved, so there is none to return to: it is left running. Mend it with a commit.',
  };
}

function staysHere(desired: DesiredService): boolean {
  return desired.service.deploy?.return === 'never';
}

export function heldBackStep(desired: DesiredService, trial: Trial, why: string): Step {
  const summary = `held back until git changes the service: ${why}`;
  return step(desired, summary, { ...trial, phase: 'held back', why });
}

export function outsideStep(desired: DesiredService, trial: Trial, why: string): Step {
  const summary = `nothing is held back, and it is tried again later: ${why}`;
  return step(desired, summary, {
    ...trial,
    phase: 'outside',
    tries: trial.tries + 1,
    cause: 'outside',
    why,
  });
}

/** The same trial, from now on. */
export function anewStep(desired: DesiredService, trial: Trial): Step {
  return step(desired, 'its time begins anew: nobody could look at the node when it ended', trial);
}

function step(
  desired: DesiredService,
  summary: string,
  trial: Omit<Trial, 'since'>,
): Step & { kind: 'record-trial' } {
  const service = desired.service.name;
  const { digest, phase, tries, cause, why, file, commit } = trial;
  return {
    service,
    subject: service,
    because: { summary, commit, file },
    kind: 'record-trial',
    trial: {
      ...{ service, digest, phase, tries, file, commit },
      ...(cause === undefined ? {} : { cause }),
      ...(why === undefined ? {} : { why }),
    },
  };
}

function only(one: Step): ServicePlan {
  return { steps: [one], waiting: [], refused: [] };
}

/** Why a component is not ready: sooner one whose container is there than one that is missing. */
function unreadyOf(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): { readonly why: string; readonly isMissing: boolean } | undefined {
  for (const { component, current } of standings) {
    if (current === undefined) continue;
    const state = readiness(facts, desired, component, current);
    if (state.kind === 'waiting') return { why: state.waiting.why, isMissing: false };
    if (state.kind === 'start') return { why: state.why, isMissing: false };
  }
  const missing = standings.find(({ current }) => current === undefined);
  if (missing === undefined) return undefined;
  return { why: `container ${missing.component.container} is missing`, isMissing: true };
}

/** Containers that are not ready: they go with the version, and what they printed goes with them. */
export function blame(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): { readonly blamed?: readonly Blamed[] } {
  const blamed = standings.flatMap(({ component, current }) =>
    current === undefined || readiness(facts, desired, component, current).kind === 'ready'
      ? []
      : [{ component: component.name, container: current.name, containerId: current.id }],
  );
  return blamed.length === 0 ? {} : { blamed };
}

/** When something is decided although nothing signals. */
export function trialWakes(facts: Facts): number[] {
  return facts.desired.services
    .map((desired) => deadlineOf(facts, desired) ?? 0)
    .filter((at) => at > facts.now);
}

/** Versions that gave way, for people: why, since when, and until when. */
export function trialWaiting(facts: Facts): Waiting[] {
  return facts.desired.services.flatMap((desired): Waiting[] => {
    const trial = currentTrial(facts, desired);
    if (desired.insteadOf === undefined || trial === undefined) return [];
    const version = `the version of ${trial.commit.slice(0, 8)}`;
    const { service, since, why = 'it was not proved' } = trial;
    if (trial.phase === 'returning')
      return [{ service, for: 'return', why: `${version} gives way: ${why}`, since }];
    const state = trial.phase === 'held back' ? 'is held back' : 'is tried again later';
    return [gaveWayWaiting(trial, `${version} ${state}: ${why}`)];
  });
}

/** What a version waits for that gave way, and no more is to be done about: a commit, or the time of the next try. */
export function gaveWayWaiting(trial: Trial, why: string): Waiting {
  const { service, since } = trial;
  if (trial.phase === 'held back') {
    const hint =
      'Push a commit that changes the service; to try the very same again, raise its `generation`.';
    return { service, for: 'git', why, hint, since };
  }
  const hint = 'Nothing is held back: the cause lies outside the definition.';
  return { service, for: 'retry', why, hint, since, until: retryAt(trial) };
}
