import type { Log } from '../base/log.ts';
import { messageOf, ok, type Outcome } from '../base/outcome.ts';
import { failureOf, isDamage } from './open.ts';
import type { Seals } from './seal.ts';
import { writeSide } from './sidefile.ts';

export interface Writing {
  readonly numbered: (work: () => number) => Outcome<number>;
  readonly write: (work: () => void) => Outcome<undefined>;
  /** Like `write`; the file beside the registry follows. That it could not be written is told, and undoes nothing. */
  readonly keep: (work: () => void) => Outcome<undefined>;
  /** Failing to seal costs nothing but that a changed byte may go unseen. */
  readonly seal: () => void;
}

interface WritingOptions {
  readonly path: string;
  readonly log: Log;
  readonly seals: Seals;
  /** What the file beside the registry should have now. */
  readonly side: () => string;
  /** The file was found damaged. */
  readonly doubt: () => void;
}

/** Every write as an outcome, because what cannot be written down is not done (G32). */
export function writingTo({ path, log, seals, side, doubt }: WritingOptions): Writing {
  const attempt = <T>(work: () => T): Outcome<T> => {
    try {
      return ok(work());
    } catch (error) {
      if (isDamage(error)) doubt();
      return failureOf(path, error);
    }
  };
  const write = (work: () => void): Outcome<undefined> => {
    const done = attempt(work);
    return done.kind === 'ok' ? ok() : done;
  };
  let kept = '';
  return {
    numbered: attempt,
    write,
    keep: (work) => {
      const written = write(work);
      if (written.kind !== 'ok') return written;
      try {
        const content = side();
        if (content !== kept) writeSide(path, content);
        kept = content;
      } catch (error) {
        log.error({ why: messageOf(error) }, 'the file beside the registry could not be written');
      }
      return written;
    },
    seal: () => {
      const sealed = attempt(() => seals.set());
      if (sealed.kind !== 'ok') log.warn({ why: sealed.why }, 'the registry could not be sealed');
    },
  };
}
