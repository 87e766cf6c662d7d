import type { ObservedContainer } from './types.ts';

/** Far more than makes a service flap. */
const MAX_EXITS = 100;
const MAX_AGE_MS = 24 * 3_600_000;

/** Counts how often the engine started a container again, and when. What was before the first look is not counted. */
export interface Exits {
  /** By container id: times of the exits that were seen, oldest first; containers without any are left out. */
  seen(containers: readonly ObservedContainer[], now: number): Record<string, readonly number[]>;
}

export function openExits(): Exits {
  let counts = new Map<string, { readonly count: number; readonly at: readonly number[] }>();
  return {
    seen: (containers, now) => {
      const fresh: typeof counts = new Map();
      for (const { id, restartCount, identity, unseen } of containers) {
        if (identity === undefined) continue;
        const before = counts.get(id);
        if (unseen !== undefined) {
          if (before !== undefined) fresh.set(id, before);
          continue;
        }
        // The engines begin at 0 again when somebody starts a container by hand.
        const more = before === undefined ? 0 : Math.max(0, restartCount - before.count);
        const old = (before?.at ?? []).filter((at) => now - at < MAX_AGE_MS);
        const at = [...old, ...Array.from({ length: Math.min(more, MAX_EXITS) }, () => now)];
        fresh.set(id, { count: restartCount, at: at.slice(-MAX_EXITS) });
      }
      counts = fresh;
      return Object.fromEntries([...fresh].flatMap(([id, { at }]) => (at.length === 0 ? [] : [[id, at]])));
    },
  };
}
