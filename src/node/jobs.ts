import pLimit, { type LimitFunction } from 'p-limit';
import type { Clock } from '../base/clock.ts';
import { DeadlineError, withDeadline } from '../base/deadline.ts';
import { bug, ok, retry, wait, type Failure, type Outcome } from '../base/outcome.ts';

interface Lane {
  /** How many run at once; the others are queued in the order in which they were started. */
  readonly concurrency: number;
  /** From the moment a job runs, not from when it is queued. */
  readonly timeoutMs: number;
}

export interface JobOptions<L extends string> {
  readonly lanes: Readonly<Record<L, Lane>>;
  readonly clock: Clock;
  /** Waits after failures in a row: the first, doubled each time up to the longest. */
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
  | { readonly kind: 'queued'; readonly since: number }
  | { readonly kind: 'running'; readonly since: number; readonly progress?: string }
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

/** Work that takes longer than a step may: it is started, goes on by itself, and is observed (house rule 2). */
export interface Jobs<L extends string> {
  /** `wait` when it is under way already or the agent stops, `retry` before the wait after a failure is over. */
  start(job: Job<L>): Outcome<undefined>;
  /** `undefined`: never started, or forgotten because hundreds of others ended since. */
  state(key: string): JobState<L> | undefined;
  /** Takes everything back, and resolves when it has ended (or does not heed its signal within 5 s). */
  stop(): Promise<void>;
}

const KEPT_STATES = 500;
const STOP_GRACE_MS = 5_000;
const PROGRESS_EVERY_MS = 1_000;
/** So far the two clocks may be apart without one having been set: a moment that was told stands, and is kept to when it comes. */
const CLOCKS_APART_MS = 50;

export function openJobs<L extends string>(options: JobOptions<L>): Jobs<L> {
  const { clock, lanes, retryMs, onChange } = options;
  const limits = new Map<string, LimitFunction>(
    Object.entries<Lane>(lanes).map(([lane, { concurrency }]) => [lane, pLimit(concurrency)]),
  );
  const states = new Map<string, JobState<L>>();
  const failures = new Map<string, number>();
  /** Monotonic: when a job that failed may be tried again, whatever becomes of the wall clock (G42). */
  const due = new Map<string, number>();
  const active = new Set<Promise<void>>();
  const stopping = new AbortController();

  const settle = (job: Job<L>, outcome: Outcome<unknown>): void => {
    const at = clock.now();
    states.delete(job.key);
    if (stopping.signal.aborted) return;
    if (outcome.kind === 'ok') {
      failures.delete(job.key);
      states.set(job.key, { lane: job.lane, kind: 'done', at });
    } else {
      const count = (failures.get(job.key) ?? 0) + 1;
      failures.set(job.key, count);
      const waitMs = Math.max(growingMs(count, retryMs), outcome.afterMs ?? 0);
      due.set(job.key, clock.monotonic() + waitMs);
      states.set(job.key, { lane: job.lane, kind: 'failed', at, failure: outcome, retryAt: at + waitMs });
    }
    forgetOldest(states, failures, due);
    onChange();
  };

  const run = async (job: Job<L>): Promise<void> => {
    if (stopping.signal.aborted) return void states.delete(job.key);
    const since = clock.now();
    const { timeoutMs } = lanes[job.lane];
    states.set(job.key, { lane: job.lane, kind: 'running', since });
    onChange();
    let signalled = clock.monotonic();
    const progress = (text: string): void => {
      const state = states.get(job.key);
      if (state?.kind !== 'running' || state.since !== since || state.progress === text) return;
      states.set(job.key, { ...state, progress: text });
      if (clock.monotonic() - signalled < PROGRESS_EVERY_MS) return;
      signalled = clock.monotonic();
      onChange();
    };
    const work = (signal: AbortSignal): Promise<Outcome<unknown>> => job.work({ signal, progress });
    const outcome = await withDeadline(job.what, timeoutMs, work, stopping.signal).catch((error: unknown) =>
      failureOf(job, timeoutMs, error),
    );
    settle(job, outcome);
  };

  return {
    start: (job) => {
      if (stopping.signal.aborted) return wait(`the agent stops: ${job.what} is not started`);
      const state = states.get(job.key);
      if (state?.kind === 'queued' || state?.kind === 'running') {
        return wait(`${job.what} is under way`);
      }
      const now = clock.now();
      const leftMs = state?.kind === 'failed' ? (due.get(job.key) ?? 0) - clock.monotonic() : 0;
      if (state?.kind === 'failed' && leftMs > CLOCKS_APART_MS)
        return retry(state.failure.why, state.failure.hint, leftMs);
      due.delete(job.key);
      states.set(job.key, { lane: job.lane, kind: 'queued', since: now });
      const limit = limits.get(job.lane);
      const running = (limit === undefined ? run(job) : limit(run, job)).finally(() =>
        active.delete(running),
      );
      active.add(running);
      return ok();
    },
    state: (key) => shown(states.get(key), clock, due.get(key) ?? 0),
    stop: async () => {
      stopping.abort();
      const ended = new AbortController();
      await Promise.race([
        Promise.all(active).finally(() => ended.abort()),
        clock.sleep(STOP_GRACE_MS, ended.signal),
      ]);
    },
  };
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
  failures: Map<string, number>,
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
