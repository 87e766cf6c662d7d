import { setMaxListeners } from 'node:events';
import type { Clock } from '../../base/clock.ts';
import { withDeadline } from '../../base/deadline.ts';
import { canonicalJson } from '../../base/json.ts';
import type { Log } from '../../base/log.ts';
import { messageOf } from '../../base/outcome.ts';
import type { ProbeCheck, ProbeState, ProbeTarget } from '../types.ts';
import { explainFailure, openInside, type Inside, type InsideView } from './inside.ts';
import { tryHttp } from './http.ts';
import { tryListen } from './listen.ts';
import { tryTls } from './tls.ts';

const MAX_INTERVAL_MS = 2_000;
/** A service whose message changes with every try must not wake the loop with every try. */
const MAX_SIGNALLED_REASONS = 8;

export interface ProbeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a container became ready and when a new reason of failure came up: look again. */
  readonly onSignal: () => void;
  /** First wait between two tries; it grows to 2 s. */
  readonly intervalMs?: number;
  readonly attemptTimeoutMs?: number;
  readonly procRoot?: string;
}

export interface Probes {
  /**
   * Says how far each target is, at once, and starts or ends the jobs behind it: `targets` is everything that is to be
   * watched. A container that was started again, or has other checks, begins anew. `since` of `starting` is the
   * container's start, of `ready` the moment it was seen to be ready.
   */
  observe(targets: readonly ProbeTarget[]): Record<string, ProbeState>;
  /** Ends every job; resolves when none is under way any more. */
  stop(): Promise<void>;
}

interface Job {
  readonly key: string;
  readonly abort: AbortController;
  readonly signalled: Set<string>;
  readonly inside: Inside;
  target: ProbeTarget;
  state: ProbeState;
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
        [...wanted].map(([id, target]) => [id, jobs.get(id)?.state ?? starting(target)]),
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

/** A container that was started again keeps the reason of its last failure, and does not signal it anew with every start. */
function startJob(
  target: ProbeTarget,
  options: ProbeOptions,
  running: Set<Promise<void>>,
  previous: Job | undefined,
): Job {
  const last = previous?.state.kind === 'starting' ? previous.state.last : undefined;
  const job: Job = {
    key: keyOf(target),
    abort: new AbortController(),
    signalled: previous?.signalled ?? new Set(),
    inside: openInside(options.procRoot ?? '/proc'),
    target,
    state:
      target.checks.length === 0 ? { kind: 'ready', since: options.clock.now() } : starting(target, last),
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

async function watch(job: Job, options: ProbeOptions): Promise<void> {
  const { clock, log, onSignal, intervalMs = 250, attemptTimeoutMs = 5_000 } = options;
  const { signal } = job.abort;
  let waitMs = intervalMs;
  const isEnded = (): boolean => signal.aborted;
  while (!isEnded()) {
    const why = await attempt(job, attemptTimeoutMs);
    if (isEnded()) return;
    const { containerId } = job.target;
    if (why === undefined) {
      job.state = { kind: 'ready', since: clock.now() };
      log.debug({ container: containerId }, 'ready');
      onSignal();
      return;
    }
    job.state = starting(job.target, why);
    if (!job.signalled.has(why) && job.signalled.size < MAX_SIGNALLED_REASONS) {
      job.signalled.add(why);
      log.debug({ container: containerId, why }, 'not ready yet');
      onSignal();
    }
    await clock.sleep(waitMs, signal);
    waitMs = Math.min(waitMs * 2, Math.max(MAX_INTERVAL_MS, intervalMs));
  }
}

/** One try of all checks together; the reason when one failed. */
async function attempt(job: Job, timeoutMs: number): Promise<string | undefined> {
  const { checks, pid } = job.target;
  const inside = await job.inside.look(pid);
  const results = await Promise.all(
    checks.map((check) => tryCheck(check, inside, timeoutMs, job.abort.signal)),
  );
  const failed = [...new Set(results.filter((why) => why !== undefined))];
  if (failed.length === 0) return undefined;
  return `${failed.join('; ')}; ${explainFailure(checks, await job.inside.look(pid))}`;
}

async function tryCheck(
  check: ProbeCheck,
  inside: InsideView,
  timeoutMs: number,
  outer: AbortSignal,
): Promise<string | undefined> {
  try {
    return await withDeadline(
      nameOf(check),
      timeoutMs,
      (signal) => {
        switch (check.kind) {
          case 'tls':
            return tryTls(check, signal);
          case 'http':
            return tryHttp(check, signal);
          case 'listen':
            return tryListen(check, inside, signal);
        }
      },
      outer,
    );
  } catch (error) {
    return messageOf(error);
  }
}

function nameOf(check: ProbeCheck): string {
  const where = `${check.ip}:${check.port}`;
  if (check.kind === 'listen') return `${where}/${check.protocol}`;
  return `${where} (${check.kind === 'tls' ? 'TLS' : 'HTTP'}, ${check.hostname})`;
}

function starting(target: ProbeTarget, last?: string): ProbeState {
  return { kind: 'starting', since: target.startedAt, ...(last === undefined ? {} : { last }) };
}

function keyOf({ containerId, startedAt, checks }: ProbeTarget): string {
  return canonicalJson([containerId, startedAt, checks]);
}
