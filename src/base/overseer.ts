import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { messageOf } from './outcome.ts';

/** What became of one job. `late`: it did not end in time and was killed; `failed`: it threw, or took more memory than it may. */
type JobResult<O> =
  | { readonly kind: 'done'; readonly value: O }
  | { readonly kind: 'late' }
  | { readonly kind: 'failed'; readonly why: string };

export interface Overseer<I, O> {
  /** The results in the order of the jobs. Rejects only when no thread can be started. */
  run(jobs: readonly I[]): Promise<JobResult<O>[]>;
  /** Ends the thread. It is started again when it is needed. */
  close(): Promise<void>;
}

export interface OverseerOptions {
  /** The module that calls `answerJobs`. */
  readonly entry: URL;
  /** For one job: time that it works. */
  readonly deadlineMs: number;
  readonly maxMemoryMb: number;
  /** The thread ends when nothing was asked of it for so long. */
  readonly idleMs: number;
}

/** Jobs go over in parts: a message for each would cost more than most jobs. */
const PART = 64;
const TICKS = 20;
/**
 * On a busy machine a job may wait for the processor: the deadline is of time that this process worked, which a job that
 * loops does all the time. One that does nothing at all, or a thread that does not start, has so many deadlines. Ticks and
 * no clock: a process that was stopped for an hour has not been working for an hour.
 */
const PATIENCE = 30;
/** After so many killed threads nothing more is tried: whoever asks must not wait for hours. */
const MAX_ENDED = 8;
const LEFT = { kind: 'failed', why: 'it was not tried: too many before it did not end' } as const;

/**
 * Pure jobs on a thread of their own that can be killed: code that loops for ever, or eats all memory, costs its own job
 * and nothing else. The thread does not keep the process.
 */
export function oversee<I, O>(options: OverseerOptions): Overseer<I, O> {
  let thread: Thread<I, O> | undefined;
  let idle: NodeJS.Timeout | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  const close = async (): Promise<void> => {
    clearTimeout(idle);
    const ending = thread;
    thread = undefined;
    await ending?.end();
  };
  const runAll = async (jobs: readonly I[]): Promise<JobResult<O>[]> => {
    clearTimeout(idle);
    const results: JobResult<O>[] = [];
    const ended = new Map<number, JobResult<O>>();
    while (results.length < jobs.length) {
      const at = results.length;
      const known = ended.size >= MAX_ENDED ? LEFT : ended.get(at);
      if (known !== undefined) {
        results.push(known);
        continue;
      }
      const next = Math.min(at + PART, jobs.length, ...[...ended.keys()].filter((index) => index > at));
      thread ??= startThread<I, O>(options);
      const answer = await thread.ask(jobs.slice(at, next)).catch(async (error: unknown) => {
        await close();
        throw error;
      });
      if (answer.kind === 'part') results.push(...answer.results);
      else {
        // What was done of this part before it is lost with the thread, and is done again.
        ended.set(at + answer.at, answer.result);
        await close();
      }
    }
    idle = setTimeout(() => void close(), options.idleMs);
    idle.unref();
    return results;
  };
  return {
    run(jobs) {
      const running = queue.then(() => (jobs.length === 0 ? [] : runAll(jobs)));
      queue = running.catch(() => undefined);
      return running;
    },
    close,
  };
}

/** The thread's half: does each job that is sent, in order. What a job throws is its result. */
export function answerJobs(work: (job: never) => unknown): void {
  const progress = workerData as Int32Array;
  parentPort?.on('message', (jobs: readonly never[]) => {
    const results = jobs.map((job, at): JobResult<unknown> => {
      Atomics.store(progress, 0, at);
      Atomics.add(progress, 1, 1);
      try {
        return { kind: 'done', value: work(job) };
      } catch (error) {
        return { kind: 'failed', why: messageOf(error) };
      }
    });
    parentPort?.postMessage(results);
  });
}

type Answer<O> =
  | { readonly kind: 'part'; readonly results: readonly JobResult<O>[] }
  /** The job at this place of the part took the thread with it. */
  | { readonly kind: 'ended'; readonly at: number; readonly result: JobResult<O> };

interface Thread<I, O> {
  ask(jobs: readonly I[]): Promise<Answer<O>>;
  end(): Promise<unknown>;
}

function startThread<I, O>({ entry, deadlineMs, maxMemoryMb }: OverseerOptions): Thread<I, O> {
  // The place of the job that is being done, and how many were begun at all: readable also while the thread is stuck.
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const begun = (): number => Atomics.load(progress, 1);
  const worker = new Worker(runnable(entry), {
    workerData: progress,
    resourceLimits: { maxOldGenerationSizeMb: maxMemoryMb },
  });
  let onResults: (results: readonly JobResult<O>[]) => void = () => undefined;
  let onDeath: (error: unknown) => void = () => undefined;
  worker.on('message', (results: readonly JobResult<O>[]) => onResults(results));
  worker.on('error', (error) => onDeath(error));
  worker.unref();
  return {
    end: () => worker.terminate(),
    ask: (jobs) =>
      new Promise((resolve, reject) => {
        const before = begun();
        let seen = before;
        let ticks = 0;
        let since = process.cpuUsage();
        const settle = (then: () => void): void => {
          clearInterval(timer);
          worker.unref();
          onResults = () => undefined;
          onDeath = () => undefined;
          then();
        };
        const ended = (result: JobResult<O>): void =>
          settle(() => resolve({ kind: 'ended', at: Atomics.load(progress, 0), result }));
        const timer = setInterval(() => {
          const now = begun();
          if (now !== seen) {
            seen = now;
            ticks = 0;
            since = process.cpuUsage();
            return;
          }
          ticks += 1;
          const { user, system } = process.cpuUsage(since);
          const isSpent = (user + system) / 1_000 >= deadlineMs || ticks >= TICKS * PATIENCE;
          // Until the first job is begun the thread is being started, which is no job's fault.
          if (now > before && isSpent) ended({ kind: 'late' });
          else if (now === before && ticks >= TICKS * PATIENCE)
            settle(() => reject(new Error('no thread can be started')));
        }, deadlineMs / TICKS);
        onResults = (results) => settle(() => resolve({ kind: 'part', results }));
        onDeath = (error) => {
          if (begun() === before)
            settle(() => reject(error instanceof Error ? error : new Error(String(error))));
          else ended({ kind: 'failed', why: messageOf(error) });
        };
        worker.ref();
        worker.postMessage(jobs);
      }),
  };
}

/** Sources that run as they are (tests, demo) need their loader on the thread too: threads of Node 20 do not inherit it. */
function runnable(entry: URL): URL {
  if (!entry.pathname.endsWith('.ts')) return entry;
  const text = (url: string): string => JSON.stringify(url);
  const loader = pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/cjs$/, 'mjs'),
  ).href;
  const code = `import { register } from ${text(loader)}; register(); await import(${text(entry.href)});`;
  return new URL(`data:text/javascript,${encodeURIComponent(code)}`);
}
