import type { Clock } from '../base/clock.ts';
import { DeadlineError, withDeadline } from '../base/deadline.ts';
import { bug, ok, retry, wait, type Failure, type Outcome } from '../base/outcome.ts';
import { openLanes, type Task } from './lanes.ts';

interface Lane {
  /** How many run at once; the others are queued: what has not failed before first, else as they were started. */
  readonly concurrency: number;
  /** From the moment a job runs, not from when it is queued. */
  readonly timeoutMs: number;
}

export interface JobOptions<L extends string> {
  readonly lanes: Readonly<Record<L, Lane>>;
  readonly clock: Clock;
  /**
   * Waits after failures in a row: the first, doubled each time up to the longest. What ran for long waits for so long, too, and
   * for up to four times as long: a job that fails has a small share of its lane.
   */
  readonly retryMs: { readonly first: number; readonly longest: number };
  /** A job changed its state, or (at most once a second) its progress. */
  readonly onChange: () => void;
}

export interface JobContext {
  /** Aborted at the deadline and when the jobs are stopped. */
  readonly signal: AbortSignal;
  progress(text: string): void;
}

export type JobState<L extends string> = { readonly lane: L } & (
  | { readonly kind: 'queued'; readonly since: number; readonly before?: Failure }
  /** `before`: how it failed last; absent: it did not. */
  | {
      readonly kind: 'running';
      readonly since: number;
      readonly progress?: string;
      readonly before?: Failure;
    }
  | { readonly kind: 'failed'; readonly at: number; readonly failure: Failure; readonly retryAt: number }
  | { readonly kind: 'done'; readonly at: number }
);

interface Job<L extends string> {
  /** One job a key: a second start while it is under way is refused. */
  readonly key: string;
  readonly lane: L;
  /** For messages: `build of mc/hello:v1.0.0`. */
  readonly what: string;
  readonly work: (context: JobContext) => Promise<Outcome<unknown>>;
}

/**
 * Work that takes longer than a step may: it is started, goes on by itself, and is observed (house rule 2). A job that
 * failed before gives way to one that was never tried, and begins again behind it.
 */
export interface Jobs<L extends string> {
  /** `wait` when it is under way already or the agent stops, `retry` before the wait after a failure is over. */
  start(job: Job<L>): Outcome<undefined>;
  /** `undefined`: never started, or forgotten because hundreds of others ended since. */
  state(key: string): JobState<L> | undefined;
  /** Queued or running, and not told to end. */
  underWay(): readonly { readonly key: string; readonly lane: L; readonly since: number }[];
  /** Ends it, as if it had never been started. Nothing to end is as good. */
  cancel(key: string): void;
  /** Takes everything back, and resolves when it has ended (or does not heed its signal within 5 s). */
  stop(): Promise<void>;
}

const KEPT_STATES = 500;
const STOP_GRACE_MS = 5_000;
const PROGRESS_EVERY_MS = 1_000;
/** So far the two clocks may be apart without one having been set: a moment that was told stands, and is kept to when it comes. */
const CLOCKS_APART_MS = 50;

export function openJobs<L extends string>(options: JobOptions<L>): Jobs<L> {
  const { clock, lanes: limits, retryMs, onChange } = options;
  const states = new Map<string, JobState<L>>();
  const failures = new Map<string, { readonly count: number; readonly last: Failure }>();
  /** Monotonic: when a job that failed may be tried again, whatever becomes of the wall clock (G42). */
  const due = new Map<string, number>();
  const stopping = new AbortController();

  const settle = (task: Task<L, Job<L>>, outcome: Outcome<unknown>, ranMs: number): void => {
    const { key, lane } = task.job;
    const at = clock.now();
    states.delete(key);
    if (stopping.signal.aborted) return;
    if (outcome.kind === 'ok') {
      failures.delete(key);
      states.set(key, { lane, kind: 'done', at });
    } else if (task.fate === 'gives way') {
      enqueue(task.job);
    } else if (task.fate === undefined) {
      const count = (failures.get(key)?.count ?? 0) + 1;
      failures.set(key, { count, last: outcome });
      const waitMs = Math.max(waitAfter(count, ranMs, retryMs), outcome.afterMs ?? 0);
      due.set(key, clock.monotonic() + waitMs);
      states.set(key, { lane, kind: 'failed', at, failure: outcome, retryAt: at + waitMs });
    }
    forgetOldest(states, failures, due);
    onChange();
  };

  const lanes = openLanes<L, Job<L>>(
    (lane) => limits[lane].concurrency,
    async (task) => {
      const { job } = task;
      if (stopping.signal.aborted) return void states.delete(job.key);
      const since = clock.now();
      const begun = clock.monotonic();
      const { timeoutMs } = limits[job.lane];
      states.set(job.key, { lane: job.lane, kind: 'running', since, ...beforeOf(task) });
      onChange();
      const progress = progressOf(states, job.key, since, options);
      const work = (signal: AbortSignal): Promise<Outcome<unknown>> => job.work({ signal, progress });
      const ending = AbortSignal.any([stopping.signal, task.ending.signal]);
      const outcome = await withDeadline(job.what, timeoutMs, work, ending).catch((error: unknown) =>
        failureOf(job, timeoutMs, error),
      );
      settle(task, outcome, clock.monotonic() - begun);
    },
  );
  const enqueue = (job: Job<L>): void => {
    const before = beforeOf({ before: failures.get(job.key)?.last });
    states.set(job.key, { lane: job.lane, kind: 'queued', since: clock.now(), ...before });
    lanes.add({ job, ending: new AbortController(), ...before });
  };

  return {
    start: (job) => {
      if (stopping.signal.aborted) return wait(`the agent stops: ${job.what} is not started`);
      const state = states.get(job.key);
      if (state?.kind === 'queued' || state?.kind === 'running') return wait(`${job.what} is under way`);
      const leftMs = state?.kind === 'failed' ? (due.get(job.key) ?? 0) - clock.monotonic() : 0;
      if (state?.kind === 'failed' && leftMs > CLOCKS_APART_MS)
        return retry(state.failure.why, state.failure.hint, leftMs);
      due.delete(job.key);
      enqueue(job);
      return ok();
    },
    state: (key) => shown(states.get(key), clock, due.get(key) ?? 0),
    underWay: () =>
      lanes.tasks().map(({ job: { key, lane } }) => ({ key, lane, since: sinceOf(states.get(key)) })),
    cancel: (key) => {
      if (!lanes.cancel(key)) return;
      states.delete(key);
      onChange();
    },
    stop: async () => {
      stopping.abort();
      const ended = new AbortController();
      await Promise.race([
        lanes.idle().finally(() => ended.abort()),
        clock.sleep(STOP_GRACE_MS, ended.signal),
      ]);
    },
  };
}

/** Is seen at once, and signalled at most once a second. */
function progressOf<L extends string>(
  states: Map<string, JobState<L>>,
  key: string,
  since: number,
  { clock, onChange }: Pick<JobOptions<L>, 'clock' | 'onChange'>,
): JobContext['progress'] {
  let signalled = clock.monotonic();
  return (text) => {
    const state = states.get(key);
    if (state?.kind !== 'running' || state.since !== since || state.progress === text) return;
    states.set(key, { ...state, progress: text });
    if (clock.monotonic() - signalled < PROGRESS_EVERY_MS) return;
    signalled = clock.monotonic();
    onChange();
  };
}

function beforeOf({ before }: { readonly before?: Failure | undefined }): { readonly before?: Failure } {
  return before === undefined ? {} : { before };
}

function sinceOf<L extends string>(state: JobState<L> | undefined): number {
  return state?.kind === 'queued' || state?.kind === 'running' ? state.since : 0;
}

function shown<L extends string>(
  state: JobState<L> | undefined,
  clock: Clock,
  due: number,
): JobState<L> | undefined {
  return state?.kind === 'failed' ? { ...state, retryAt: wallOf(clock, due, state.retryAt) } : state;
}

/**
 * What a monotonic time is by the wall clock as it stands now; one that is over is over by any clock. `before`: what was said of it.
 * Two clocks never agree to the millisecond, and a moment that moved with each look would make another plan of each.
 */
export function wallOf(clock: Clock, due: number, before = 0): number {
  const leftMs = due - clock.monotonic();
  if (leftMs <= 0) return 0;
  const at = clock.now() + Math.ceil(leftMs);
  return Math.abs(at - before) <= CLOCKS_APART_MS ? before : at;
}

/** So that what fails has a small share of its lane. */
function waitAfter(count: number, ranMs: number, bounds: JobOptions<string>['retryMs']): number {
  return Math.max(growingMs(count, bounds), growingMs(count, { first: ranMs, longest: ranMs * 4 }));
}

/** The wait after the `count`th failure in a row, without jitter: the same failures always give the same times. */
export function growingMs(
  count: number,
  bounds: { readonly first: number; readonly longest: number },
): number {
  return Math.min(bounds.longest, bounds.first * 2 ** Math.min(count - 1, 30));
}

function failureOf<L extends string>(job: Job<L>, timeoutMs: number, error: unknown): Failure {
  if (!(error instanceof DeadlineError)) return bug(error);
  return retry(
    `${job.what} was ended at its deadline of ${Math.round(timeoutMs / 1000)} s`,
    'Look at its log; raise the limit in the settings if it really needs longer.',
  );
}

function forgetOldest<L extends string>(
  states: Map<string, JobState<L>>,
  failures: Map<string, unknown>,
  due: Map<string, number>,
): void {
  for (const [key, state] of states) {
    if (states.size <= KEPT_STATES) return;
    if (state.kind === 'queued' || state.kind === 'running') continue;
    states.delete(key);
    failures.delete(key);
    due.delete(key);
  }
}
