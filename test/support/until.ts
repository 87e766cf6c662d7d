import { setTimeout as delay } from 'node:timers/promises';

/** Polls `condition` until it holds (a truthy value, which is returned) or the deadline has passed: then it throws and names what was awaited. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 45_000,
  everyMs = 20,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value !== undefined && value !== null && value !== false) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      const because = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`waited ${timeoutMs} ms for ${what}${because}`);
    }
    await delay(everyMs);
  }
}
