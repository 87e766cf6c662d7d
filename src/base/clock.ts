/** Time as an input. Everything that asks for the time or waits does it through a `Clock`, so that tests own it. */
export interface Clock {
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Monotonic milliseconds, for intervals: unmoved by changes of the wall clock (G42). */
  monotonic(): number;
  /** Resolves after `ms`, or at once (without error) when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const finish = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, ms);
      signal?.addEventListener('abort', finish, { once: true });
    }),
};

/** By less than this a clock drifts; by more somebody set it (milliseconds). */
export const CLOCK_SET_MS = 5_000;
const LOOKS = 3;

/** What began on one clock and ended on another cannot be compared: it is looked at again when the clock was set meanwhile (G42). */
export async function onSteadyClock<T>(clock: Clock, look: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    const before = clock.now() - clock.monotonic();
    const seen = await look();
    if (Math.abs(clock.now() - clock.monotonic() - before) < CLOCK_SET_MS || tries === LOOKS) return seen;
  }
}
