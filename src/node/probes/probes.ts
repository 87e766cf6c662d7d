import { setMaxListeners } from 'node:events';
import type { Clock } from '../../base/clock.ts';
import { canonicalJson } from '../../base/json.ts';
import type { Log } from '../../base/log.ts';
import { messageOf } from '../../base/outcome.ts';
import type { ProbeHealth, ProbeState, ProbeTarget } from '../types.ts';
import { tryCheck, type Attempt, type Exec, type Verdict } from './attempt.ts';
import { explainFailure, openInside, type Inside, type InsideView } from './inside.ts';

const MAX_INTERVAL_MS = 2_000;
/** A service whose message changes with every try must not wake the loop with every try. */
const MAX_SIGNALLED_REASONS = 8;
/** Whoever was ready for so long begins anew when it becomes unwell. */
const LONG_READY_MS = 600_000;

export interface ProbeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a container became ready and when a new reason of failure came up: look again. */
  readonly onSignal: () => void;
  /** First wait between two tries; it grows to 2 s. */
  readonly intervalMs?: number;
  readonly attemptTimeoutMs?: number;
  readonly procRoot?: string;
  /** For checks inside the container. */
  readonly exec?: Exec;
}

export interface Probes {
  /**
   * Says how far each target is, at once, and starts or ends the jobs behind it: `targets` is everything that is to be
   * watched. A container that was started again, or has other checks, begins anew. `since` of `starting` is the
   * container's start, of `ready` and `unwell` the moment it was seen to be so.
   */
  observe(targets: readonly ProbeTarget[]): Record<string, ProbeState>;
  /** Ends every job; resolves when none is under way any more. */
  stop(): Promise<void>;
}

/** Less than this is drift, or a moment between two questions. */
const CLOCK_SET_MS = 1_000;

interface Job {
  readonly key: string;
  readonly abort: AbortController;
  readonly signalled: Set<string>;
  readonly inside: Inside;
  target: ProbeTarget;
  state: ProbeState;
  /** Monotonic. */
  readyAt?: number;
  /** How often in a row it became unwell. */
  times: number;
  done: Promise<void>;
}

/** Readiness of containers as jobs that are observed (house.md section 4, "Ready"): no handler waits for them. */
export function openProbes(options: ProbeOptions): Probes {
  const jobs = new Map<string, Job>();
  const running = new Set<Promise<void>>();
  let stopped = false;
  return {
    observe(targets) {
      const wanted = new Map(targets.map((target) => [target.containerId, target]));
      const ended = new Map<string, Job>();
      for (const [id, job] of jobs) {
        const target = wanted.get(id);
        if (target !== undefined && keyOf(target) === job.key) {
          job.target = target;
        } else {
          job.abort.abort();
          jobs.delete(id);
          ended.set(id, job);
        }
      }
      for (const [id, target] of wanted) {
        if (!jobs.has(id) && !stopped) jobs.set(id, startJob(target, options, running, ended.get(id)));
      }
      return Object.fromEntries(
        [...wanted].map(([id, target]) => [id, stateOf(jobs.get(id), options) ?? starting(target)]),
      );
    },
    async stop() {
      stopped = true;
      for (const job of jobs.values()) job.abort.abort();
      jobs.clear();
      await Promise.all(running);
    },
  };
}

/** Since when it is ready follows a wall clock that was set: nothing is proved by that, nor watched longer (G42). */
function stateOf(job: Job | undefined, { clock }: ProbeOptions): ProbeState | undefined {
  if (job?.state.kind !== 'ready' || job.readyAt === undefined) return job?.state;
  const since = Math.round(clock.now() - (clock.monotonic() - job.readyAt));
  if (Math.abs(since - job.state.since) >= CLOCK_SET_MS) job.state = { kind: 'ready', since };
  return job.state;
}

/** A container that was started again keeps the reason of its last failure, and does not signal it anew with every start. */
function startJob(
  target: ProbeTarget,
  options: ProbeOptions,
  running: Set<Promise<void>>,
  previous: Job | undefined,
): Job {
  const last = previous?.state.kind === 'starting' ? previous.state.last : undefined;
  const isTrivial = target.checks.length === 0 && target.health === undefined;
  const job: Job = {
    ...(isTrivial ? { readyAt: options.clock.monotonic() } : {}),
    key: keyOf(target),
    abort: new AbortController(),
    signalled: previous?.signalled ?? new Set(),
    inside: openInside(options.procRoot ?? '/proc'),
    target,
    state: isTrivial ? { kind: 'ready', since: options.clock.now() } : starting(target, last),
    times: timesOf(previous, options),
    done: Promise.resolve(),
  };
  // Each check of each try listens on it for as long as the try takes.
  setMaxListeners(0, job.abort.signal);
  if (job.state.kind === 'ready') return job;
  job.done = watch(job, options)
    .catch((error: unknown) =>
      options.log.error({ container: target.containerId, why: messageOf(error) }, 'probe'),
    )
    .finally(() => running.delete(job.done));
  running.add(job.done);
  return job;
}

/** A container that was restarted because it was unwell goes on with the row; one that was long ready ended it. */
function timesOf(previous: Job | undefined, { clock }: ProbeOptions): number {
  if (previous === undefined) return 0;
  const { state, readyAt, times } = previous;
  const wasLongReady =
    state.kind === 'ready' && readyAt !== undefined && clock.monotonic() - readyAt > LONG_READY_MS;
  return wasLongReady ? 0 : times;
}

/** Tries everything until all of it answered, then what its definition asks for, again and again. */
async function watch(job: Job, options: ProbeOptions): Promise<void> {
  // Not the container's own start: a wall clock that is put right must make nothing unwell (G42).
  const begunAt = options.clock.monotonic();
  await untilReady(job, begunAt, options);
  const { health } = job.target;
  if (health !== undefined) await keepAsking(job, health, begunAt, options);
}

async function untilReady(job: Job, begunAt: number, options: ProbeOptions): Promise<void> {
  const { clock, log, onSignal, intervalMs = 250 } = options;
  const { signal } = job.abort;
  const { health, containerId } = job.target;
  const patienceMs =
    health === undefined ? Infinity : health.startPeriodMs + health.retries * health.intervalMs;
  let waitMs = intervalMs;
  const isEnded = (): boolean => signal.aborted;
  while (!isEnded()) {
    const { why, isKnown } = await attempt(job, options);
    if (isEnded()) return;
    if (why === undefined) {
      becomeReady(job, options);
      return;
    }
    const isOverdue = clock.monotonic() - begunAt > patienceMs && isKnown;
    if (job.state.kind !== 'unwell' && isOverdue) becomeUnwell(job, why, options);
    else if (job.state.kind === 'unwell') job.state = { ...job.state, last: why };
    else job.state = starting(job.target, why);
    if (!job.signalled.has(why) && job.signalled.size < MAX_SIGNALLED_REASONS) {
      job.signalled.add(why);
      log.debug({ container: containerId, why }, 'not ready yet');
      onSignal();
    }
    await clock.sleep(waitMs, signal);
    waitMs = Math.min(waitMs * 2, Math.max(MAX_INTERVAL_MS, intervalMs));
  }
}

/** What cannot be asked counts neither way (G9). */
async function keepAsking(
  job: Job,
  health: ProbeHealth,
  begunAt: number,
  options: ProbeOptions,
): Promise<void> {
  const { clock } = options;
  const { signal } = job.abort;
  const isEnded = (): boolean => signal.aborted;
  let failures = 0;
  while (!isEnded()) {
    await clock.sleep(health.intervalMs, signal);
    if (isEnded()) return;
    const verdict = await askHealth(job, health, options);
    if (isEnded() || verdict.kind === 'unknown') continue;
    if (verdict.kind === 'well') {
      failures = 0;
      if (job.state.kind === 'unwell') becomeReady(job, options);
    } else if (job.state.kind === 'unwell') {
      job.state = { ...job.state, last: verdict.why };
    } else if (clock.monotonic() - begunAt >= health.startPeriodMs) {
      failures += 1;
      if (failures >= health.retries) becomeUnwell(job, verdict.why, options);
    }
  }
}

function becomeReady(job: Job, { clock, log, onSignal }: ProbeOptions): void {
  job.state = { kind: 'ready', since: clock.now() };
  job.readyAt = clock.monotonic();
  log.debug({ container: job.target.containerId }, 'ready');
  onSignal();
}

function becomeUnwell(job: Job, last: string, { clock, log, onSignal }: ProbeOptions): void {
  const wasLongReady = job.readyAt !== undefined && clock.monotonic() - job.readyAt > LONG_READY_MS;
  job.times = wasLongReady ? 1 : job.times + 1;
  job.state = { kind: 'unwell', since: clock.now(), last, times: job.times };
  log.debug({ container: job.target.containerId, why: last }, 'unwell');
  onSignal();
}

/** One try of everything together; the reason when something failed, and whether all of it could be asked. */
async function attempt(
  job: Job,
  options: ProbeOptions,
): Promise<{ readonly why?: string; readonly isKnown: boolean }> {
  const { checks, pid, health } = job.target;
  const inside = await job.inside.look(pid);
  const verdicts = await Promise.all([
    ...checks.map((check) => tryCheck(check, attemptOf(job, inside, options))),
    ...(health === undefined ? [] : [askHealth(job, health, options)]),
  ]);
  const failed = [...new Set(verdicts.flatMap((verdict) => (verdict.kind === 'well' ? [] : [verdict.why])))];
  const isKnown = verdicts.every(({ kind }) => kind !== 'unknown');
  if (failed.length === 0) return { isKnown };
  const reachable = [...checks, ...(health === undefined ? [] : [health.check])].filter(
    ({ kind }) => kind !== 'exec',
  );
  const explained =
    reachable.length === 0 ? '' : `; ${explainFailure(reachable, await job.inside.look(pid))}`;
  return { why: `${failed.join('; ')}${explained}`, isKnown };
}

async function askHealth(job: Job, health: ProbeHealth, options: ProbeOptions): Promise<Verdict> {
  const inside = health.check.kind === 'listen' ? await job.inside.look(job.target.pid) : NOT_LOOKED;
  const { timeoutMs } = health;
  return tryCheck(health.check, { ...attemptOf(job, inside, options), timeoutMs });
}

const NOT_LOOKED: InsideView = { kind: 'gone' };

function attemptOf(job: Job, inside: InsideView, { attemptTimeoutMs = 5_000, exec }: ProbeOptions): Attempt {
  return {
    containerId: job.target.containerId,
    inside,
    timeoutMs: attemptTimeoutMs,
    signal: job.abort.signal,
    exec,
  };
}

function starting(target: ProbeTarget, last?: string): ProbeState {
  return { kind: 'starting', since: target.startedAt, ...(last === undefined ? {} : { last }) };
}

function keyOf({ containerId, startedAt, checks, health }: ProbeTarget): string {
  return canonicalJson([containerId, startedAt, checks, health ?? null]);
}
