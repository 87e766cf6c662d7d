import type { DesiredService } from '../definitions/types.ts';
import type { Waiting } from '../plan/types.ts';
import type { Seen } from './causes.ts';
import { undecidedOf } from './standing.ts';
import { withoutNumbers } from './told.ts';

/**
 * Since when each thing is waited for. The planner knows the last try only; what is tried again and again is one wait over
 * all its tries, and whoever reads `since` wants to know for how long it has been so.
 */
export interface Sinces {
  /** What was seen, each wait with the time since which it lasts without a break. */
  look<T extends Seen & { readonly at: number }>(seen: T): T;
}

export function openSinces(): Sinces {
  let known: ReadonlyMap<string, number> = new Map();
  return {
    look: (seen) => {
      const { waiting } = seen.plan;
      const keys = keysOf(seen);
      const first = waiting.map((entry, index) => {
        const from = entry.since ?? seen.at;
        return Math.min(known.get(keys[index] ?? '') ?? from, from);
      });
      const fresh = new Map(keys.map((key, index) => [key, first[index] ?? seen.at]));
      const isOpen = openIn(seen);
      for (const [key, since] of known) if (!fresh.has(key) && isOpen(key)) fresh.set(key, since);
      known = fresh;
      const told = waiting.map((entry, index): Waiting => {
        const since = first[index];
        // A wait of which nobody says when it began gets no time when it is new: it is no more than a moment old.
        return since === undefined || since === (entry.since ?? seen.at) ? entry : { ...entry, since };
      });
      return { ...seen, plan: { ...seen.plan, waiting: told } };
    },
  };
}

/** Of the same thing they are the same. A changed definition waits for the first time; two of one kind are told apart by their words. */
function keysOf({ desired, plan }: Seen): string[] {
  const digests = new Map(desired.services.map(({ service, digest }) => [service.name, digest]));
  const plain = plan.waiting.map(({ service, component = '', for: what }) =>
    [service, what, component, digests.get(service) ?? ''].join('\n'),
  );
  return plain.map((key, index) =>
    plain.indexOf(key) === plain.lastIndexOf(key)
      ? key
      : `${key}\n${withoutNumbers(plan.waiting[index]?.why ?? '')}`,
  );
}

/** Is it not known yet what becomes of this wait, because it is being tried, or nothing could be looked at? */
function openIn(seen: Seen): (key: string) => boolean {
  const { isBlind, services } = undecidedOf(seen);
  const retried = new Set(
    seen.promised.trials.filter(({ tries }) => tries > 0).map(({ service }) => service),
  );
  const pushing = new Set(
    seen.desired.services.filter((one) => isPushing(one, seen)).map(({ service }) => service.name),
  );
  return (key) => {
    const [service = '', what] = key.split('\n');
    return (
      isBlind === true ||
      services?.has(service) === true ||
      (what === 'retry' && retried.has(service)) ||
      (what === 'image push' && pushing.has(service))
    );
  };
}

function isPushing({ service }: DesiredService, { observed }: Seen): boolean {
  return service.components.some(({ image }) => observed.pushes[image.reference]?.kind === 'pushing');
}
