import { setTimeout as delay } from 'node:timers/promises';

/** A call that did not answer in time. */
export class DeadlineError extends Error {
  readonly ms: number;

  constructor(what: string, ms: number) {
    super(`${what} did not answer within ${Math.ceil(ms)} ms`);
    this.name = 'DeadlineError';
    this.ms = ms;
  }
}

/**
 * Runs `work` with a signal that is aborted after `ms`, and rejects with a `DeadlineError` then,
 * also when `work` ignores its signal: no hung call may hold a pass (L40, G19).
 */
export async function withDeadline<T>(
  what: string,
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const inner = new AbortController();
  const timer = new AbortController();
  const signal = outer === undefined ? inner.signal : AbortSignal.any([inner.signal, outer]);
  const expired = delay(ms, undefined, { signal: timer.signal }).then(
    () => {
      const error = new DeadlineError(what, ms);
      inner.abort(error);
      throw error;
    },
    // The timer was taken back because the work ended first: this branch then never settles the race.
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work(signal), expired]);
  } finally {
    timer.abort();
  }
}
