import { CLOCK_SET_MS, type Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { ok, type Outcome } from '../base/outcome.ts';

/**
 * A clock that somebody put right is no time in which a version could have been proved (G42). Asked at the beginning of every
 * pass, and whenever a trial is read or written, so that one written after the clock was set is not moved with the others.
 */
export function clockWatch(
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  moveTrials: (byMs: number) => Outcome<undefined>,
): () => Outcome<undefined> {
  let setBy = clock.now() - clock.monotonic();
  return () => {
    const movedMs = Math.round(clock.now() - clock.monotonic() - setBy);
    if (Math.abs(movedMs) < CLOCK_SET_MS) return ok();
    const moved = moveTrials(movedMs);
    if (moved.kind !== 'ok') return moved;
    setBy += movedMs;
    log.warn({ ms: movedMs }, 'the clock was set: what is being tried keeps the time that it has left');
    return ok();
  };
}

/** The members of a registry that a set clock concerns: each looks at it first. */
export function onRightClock<T extends Timed>(timed: T, look: () => Outcome<undefined>): T {
  return {
    ...timed,
    promised: () => {
      // That it could not be written down is said at the beginning of the next pass.
      look();
      return timed.promised();
    },
    recordTrial: (trial: never) => {
      const looked = look();
      return looked.kind === 'ok' ? timed.recordTrial(trial) : looked;
    },
  };
}

interface Timed {
  promised(): unknown;
  recordTrial(trial: never): Outcome<undefined>;
}
