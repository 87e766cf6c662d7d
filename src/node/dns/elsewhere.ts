import type { Clock } from '../../base/clock.ts';
import { known, messageOf, unknown, type Known } from '../../base/outcome.ts';
import { resolveAnywhere } from './query.ts';

const EVERY_MS = 300_000;
const AGAIN_AFTER_FAILURE_MS = 30_000;

interface Options {
  readonly clock: Clock;
  /** What a name resolves to differs from before: look again. */
  readonly onSignal?: () => void;
}

/** Names that others manage are resolved beside the passes: a resolver that hangs holds up nothing (L40). */
export function openElsewhere({ clock, onSignal }: Options): (hostname: string) => Known<readonly string[]> {
  const seen = new Map<string, { at: number; found: Known<readonly string[]> }>();
  const asking = new Set<string>();
  return (hostname) => {
    const last = seen.get(hostname);
    const everyMs = last?.found.known === false ? AGAIN_AFTER_FAILURE_MS : EVERY_MS;
    if ((last === undefined || clock.monotonic() - last.at > everyMs) && !asking.has(hostname)) {
      asking.add(hostname);
      void resolveAnywhere(hostname)
        .then(known, (error: unknown) => unknown(`${hostname} cannot be resolved: ${messageOf(error)}`))
        .then((found) => {
          seen.set(hostname, { at: clock.monotonic(), found });
          asking.delete(hostname);
          if (JSON.stringify(found) !== JSON.stringify(last?.found)) onSignal?.();
        });
    }
    return last?.found ?? unknown('not resolved yet');
  };
}
