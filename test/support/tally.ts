/** One line of the table at the end of a run: a kind of test, what really happened in it, and how long that took. */
export interface Tally {
  readonly kind: string;
  /** How many, and of what: `9,816 faults fired`. */
  readonly fired: number;
  readonly unit: 'faults' | 'crashes' | 'cases' | 'bugs' | 'calls' | 'mutants';
  readonly ms: number;
}

/** The reporter finds them there: it is loaded by mocha, and no module of the tests. */
const KEY = Symbol.for('mc-gitops.tally');

/** Tells the table at the end of the run what a test did; lines of one kind are added up. */
export function tally(line: Tally): void {
  const all = globalThis as unknown as Record<symbol, Tally[] | undefined>;
  (all[KEY] ??= []).push(line);
}
