/** Dice from a seed: the same seed throws the same numbers, on every machine. */
export interface Dice {
  /** At least 0, less than 1. */
  next(): number;
  /** A whole number at least 0 and less than `below`. */
  below(below: number): number;
  chance(share: number): boolean;
  pick<T>(items: readonly T[]): T;
  /** Dice of their own for one purpose, so that a change there moves nothing elsewhere. */
  fork(purpose: string): Dice;
}

/** Mulberry32: 32 bits of state, good enough to choose faults. */
export function diceOf(seed: number, purpose = ''): Dice {
  let state = (seed ^ hash(purpose)) >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    below,
    chance: (share) => next() < share,
    pick: (items) => {
      const item = items[below(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
    fork: (other) => diceOf(seed, `${purpose}/${other}`),
  };
}

function hash(text: string): number {
  let value = 2_166_136_261;
  for (const char of text) value = Math.imul(value ^ (char.codePointAt(0) ?? 0), 16_777_619);
  return value >>> 0;
}
