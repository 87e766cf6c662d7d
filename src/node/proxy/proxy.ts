import { blocked, bug, known, ok, type Known, type Outcome } from '../../base/outcome.ts';
import type { ObservedRoute, ProxyFacts } from '../types.ts';
import { changedTable, type Change, type ListenerChange, type RouteKey, type TableRules } from './table.ts';
import type { RouteTable } from '../../base/routetable.ts';

export interface ObservedProxy extends ProxyFacts {
  /** There is when the table's listeners are not those of the settings; `put([])` mends it, as does any other write. */
  readonly listeners?: ListenerChange;
  /** Routes whose certificate the proxy cannot take, with its reason; those that are not in `live` are not served. */
  readonly faults?: readonly (RouteKey & { readonly why: string; readonly since?: string })[];
}

/** The proxy as `observe` and `execute` see it; one driver a kind of proxy. */
export interface Proxy {
  observe(): Promise<Known<ObservedProxy>>;
  /**
   * Ensures routes; ok when they are served. `wait`: they are written, and served when the proxy runs (L02). `blocked` with the proxy's
   * reason when one of them has no good certificate: it stays written, and is served as soon as its files are good.
   * An empty list only ensures that the table has the listeners of the settings.
   */
  put(routes: readonly ObservedRoute[]): Promise<Outcome<undefined>>;
  /** Ensures that routes of ours are gone; foreign ones of the same name are left alone. */
  remove(keys: readonly RouteKey[]): Promise<Outcome<undefined>>;
}

export interface Job {
  readonly change: Change;
  readonly resolve: (outcome: Outcome<undefined>) => void;
}

/**
 * The writing half of a driver from one that settles whole batches: changes are made one batch after the other, and those that wait
 * together are one write. `applyTogether` gives back jobs whose common table would be none; each is then tried alone, so
 * that one which cannot stand in a table holds up no other (L33). `pause` is awaited before a batch is taken.
 */
export function inBatches(
  applyTogether: (batch: readonly Job[]) => Promise<readonly Job[]>,
  pause: () => Promise<void> = () => Promise.resolve(),
): Pick<Proxy, 'put' | 'remove'> {
  let waiting: Job[] = [];
  let worker: Promise<void> | undefined;

  const applyBatch = async (batch: readonly Job[]): Promise<void> => {
    try {
      const unfit = await applyTogether(batch);
      for (const job of unfit) await applyBatch([job]);
    } catch (error) {
      for (const { resolve } of batch) resolve(bug(error));
    }
  };
  const work = async (): Promise<void> => {
    // Steps of many services come at the same time: let them all join the first write.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (waiting.length > 0) {
        await pause();
        const batch = waiting;
        waiting = [];
        await applyBatch(batch);
      }
    } finally {
      // With the last look at `waiting`, not a moment later: a change that comes in between would wait for ever.
      worker = undefined;
    }
  };
  const enqueue = (change: Change): Promise<Outcome<undefined>> =>
    new Promise((resolve) => {
      waiting.push({ change, resolve });
      worker ??= work();
    });
  return {
    put: (routes) => enqueue({ kind: 'put', routes }),
    remove: (keys) => enqueue({ kind: 'remove', keys }),
  };
}

/** The table with all changes that may be made; the others are refused. */
export function together(
  before: RouteTable,
  batch: readonly Job[],
  rules: TableRules,
): { table: RouteTable; accepted: readonly Job[] } {
  let table = before;
  const accepted: Job[] = [];
  for (const job of batch) {
    const next = changedTable(table, job.change, rules);
    if (next.kind === 'ok') {
      table = next.value;
      accepted.push(job);
    } else {
      job.resolve(next);
    }
  }
  return { table, accepted };
}

export function settle(jobs: readonly Job[], outcome: Outcome<undefined>): readonly Job[] {
  for (const { resolve } of jobs) resolve(outcome);
  return [];
}

/** No proxy: nothing is written, and a route cannot be had. */
export function openNoProxy(): Proxy {
  const refusal = blocked(
    'this node has no proxy, so a route cannot be served',
    'Set [mcproxy] driver = "file" and run mc-gitops proxy, or driver = "haproxy" and run HAProxy.',
  );
  return {
    observe: () => Promise.resolve(known({ listenerPorts: [], table: [], live: known([]) })),
    put: (routes) => Promise.resolve(routes.length === 0 ? ok() : refusal),
    remove: () => Promise.resolve(ok()),
  };
}
