import { failureOf, waitEnds, type Facts } from './facts.ts';
import type { Waiting } from './types.ts';

const BACKOFF_FIRST_MS = 2_000;
const BACKOFF_MAX_MS = 300_000;

/**
 * Growing waits after failures of this same definition: 2 s, doubling to 5 min. A newer definition does not wait (L36).
 * A service that is being removed has the empty digest.
 */
export function restAfterFailure(facts: Facts, service: string, digest: string): Waiting | undefined {
  const failure = failureOf(facts, service, digest);
  if (failure === undefined) return undefined;
  const restMs = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failure.count - 1, 20));
  const until = waitEnds(failure.lastAt, restMs, facts.now);
  if (until <= facts.now) return undefined;
  return {
    service,
    for: 'retry',
    why: `${failure.why} (try ${failure.count})`,
    ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    since: failure.lastAt,
    until,
  };
}
