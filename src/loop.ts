import { schedule, validate } from 'node-cron';
import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { messageOf } from './base/outcome.ts';

/** Passes that may follow each other at once while something changes; afterwards one a second on average. */
const BURST = 12;
const REFILL_MS = 1_000;
const MAX_JITTER_MS = 2_000;

export interface PassReport {
  /** The pass did something: look again at once. */
  readonly again: boolean;
  /** Look again at this time (wall clock, ms) even if nothing signals. */
  readonly wakeAt?: number;
}

export interface LoopOptions {
  /** Cron expression of the timer; each tick is delayed by up to a tenth of its interval, so that many nodes do not ask git at once. */
  readonly poll: string;
  readonly run: (triggers: ReadonlySet<string>, signal: AbortSignal) => Promise<PassReport>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Loop {
  /** "Look now": carries no data, and many of them make one pass (house rule 1, G43). */
  signal(trigger: string): void;
  /** For how long the pass that runs now has been running; 0 while none does (G56). */
  runningMs(): number;
  /** Ends the running pass at its next step boundary and stops. */
  stop(): Promise<void>;
}

export function isCron(expression: string): boolean {
  return validate(expression);
}

/** Runs something beside the loop at the times of a cron expression. An error of it is logged and ends nothing. */
export function startTimer(expression: string, work: () => void, log: Log): { stop(): Promise<void> } {
  const task = schedule(expression, () => {
    try {
      work();
    } catch (error) {
      log.error({ err: messageOf(error) }, 'a timer ended with a bug; it runs again at its next time');
    }
  });
  return {
    stop: async () => {
      await task.destroy();
    },
  };
}

/** Runs one pass at a time, whenever something signalled, the timer ticked, or the last pass asked to be woken. */
export function startLoop(options: LoopOptions): Loop {
  const { clock, log } = options;
  const stopping = new AbortController();
  const pending = new Set<string>(['start']);
  const bucket = tokenBucket(clock);
  let wake = new AbortController();
  let wakeAt: number | undefined;
  let begunAt: number | undefined;

  const signal = (trigger: string): void => {
    pending.add(trigger);
    wake.abort();
  };
  const timer = schedule(options.poll, () => {
    const delay = Math.floor(Math.random() * jitterMs);
    void clock.sleep(delay, stopping.signal).then(() => signal('timer'));
  });

  const [first, second] = timer.getNextRuns(2);
  const intervalMs = first === undefined || second === undefined ? 0 : second.getTime() - first.getTime();
  const jitterMs = Math.min(MAX_JITTER_MS, intervalMs / 10);

  const turn = async (): Promise<void> => {
    if (pending.size === 0) {
      await clock.sleep(wakeAt === undefined ? 2 ** 30 : Math.max(0, wakeAt - clock.now()), wake.signal);
      // Only a signal (or a stop) aborts the sleep; when it ran out by itself, it was the time to wake.
      if (!wake.signal.aborted) pending.add('wake');
    }
    wake = new AbortController();
    await bucket.take(stopping.signal);
    if (stopping.signal.aborted) return;
    const triggers = new Set(pending);
    pending.clear();
    begunAt = clock.monotonic();
    try {
      const report = await options.run(triggers, stopping.signal);
      wakeAt = report.wakeAt;
      if (report.again) signal('steps');
    } catch (error) {
      // A pass catches its own errors; what arrives here is a bug, and the loop outlives it.
      log.error({ err: messageOf(error) }, 'a pass ended with a bug; the next one looks again');
      wakeAt = clock.now() + 5_000;
    } finally {
      begunAt = undefined;
    }
  };
  const running = (async () => {
    while (!stopping.signal.aborted) await turn();
  })();

  return {
    signal,
    runningMs: () => (begunAt === undefined ? 0 : clock.monotonic() - begunAt),
    stop: async () => {
      stopping.abort();
      wake.abort();
      await timer.destroy();
      await running;
    },
  };
}

function tokenBucket(clock: Clock): { take(signal: AbortSignal): Promise<void> } {
  let tokens = BURST;
  let at = clock.monotonic();
  return {
    async take(signal) {
      const now = clock.monotonic();
      tokens = Math.min(BURST, tokens + (now - at) / REFILL_MS);
      at = now;
      if (tokens < 1) {
        await clock.sleep((1 - tokens) * REFILL_MS, signal);
        at = clock.monotonic();
        tokens = 1;
      }
      tokens -= 1;
    },
  };
}
