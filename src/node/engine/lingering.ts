import type { ProgressEnd } from './progress.ts';

/**
 * Builds that were given up and go on: Podman lets the step that is under way run to its end, and one that prints into a
 * connection that nobody reads blocks for good. So the answer is read on, and no other try is begun meanwhile.
 */
export interface Lingering {
  has(reference: string): boolean;
  /** `tidyUp` takes away what it made all the same. */
  keep(reference: string, end: Promise<ProgressEnd>, tidyUp: (end: ProgressEnd) => Promise<unknown>): void;
}

export function openLingering(): Lingering {
  const under = new Set<string>();
  return {
    has: (reference) => under.has(reference),
    keep: (reference, end, tidyUp) => {
      under.add(reference);
      void end
        .then(tidyUp)
        // It failed, or the engine is closed: nothing was made.
        .catch(() => undefined)
        .finally(() => under.delete(reference));
    },
  };
}

/** The answer, or the reason of the signal as soon as it is aborted; the answer goes on then. */
export async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the reason as it was given
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
