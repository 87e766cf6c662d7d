import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemClock, type Clock } from '../../base/clock.ts';
import { writeFileAtomic } from '../../base/files.ts';
import type { Log } from '../../base/log.ts';
import { blocked, bug, known, messageOf, ok, retry, unknown, wait } from '../../base/outcome.ts';
import type { Known, Outcome } from '../../base/outcome.ts';
import {
  formatRouteTable,
  parseAddress,
  parseRouteTable,
  routeTableDigest,
  type RouteTable,
} from '../../base/routetable.ts';
import type { ObservedRoute, ProxyFacts } from '../types.ts';
import { ensureDirectory, writeFailure } from '../writing.ts';
import { askStatus, type RouterStatus } from './status.ts';
import { changedTable, observedRoutes, type Change, type RouteKey, type TableRules } from './table.ts';

const LIVE_TIMEOUT_MS = 5_000;
/** A refusal that was there before a write and is still there after this long is meant for the new table too. */
const SAME_REFUSAL_MS = 2_000;
const SETTLED_TIMEOUT_MS = 1_000;
const LOOK_EVERY_MS = 20;
/** The router may run as another user; there is nothing secret in the table. */
const TABLE_MODE = 0o644;

export interface FileProxyOptions {
  readonly tablePath: string;
  readonly statusSocket: string;
  /** Addresses the router listens on, for example `127.0.0.1:8443` or `:443`. */
  readonly listeners: readonly string[];
  /** `<node>/<instance>`: marks of other owners are foreign. */
  readonly owner?: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly liveTimeoutMs?: number;
}

/** The proxy as `observe` and `execute` see it; one driver a kind of proxy. */
export interface Proxy {
  observe(): Promise<Known<ProxyFacts>>;
  /**
   * Ensures routes; ok when they are served. `wait`: they are written, and served when the proxy runs (L02). An empty list
   * only ensures that the table has the listeners of the settings.
   */
  put(routes: readonly ObservedRoute[]): Promise<Outcome<undefined>>;
  /** Ensures that routes of ours are gone; foreign ones of the same name are left alone. */
  remove(keys: readonly RouteKey[]): Promise<Outcome<undefined>>;
}

interface Job {
  readonly change: Change;
  readonly resolve: (outcome: Outcome<undefined>) => void;
}

/**
 * Driver `file` of the bundled router: rewrites its route table and reads back what it serves (L09). One writer: changes
 * are made one after the other, and those that wait together are one write.
 */
export function openFileProxy(options: FileProxyOptions): Proxy {
  let waiting: Job[] = [];
  let worker: Promise<void> | undefined;

  const work = async (): Promise<void> => {
    // Steps of many services come at the same time: let them all join the first write.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      await applyBatch(batch, options);
    }
  };
  const enqueue = (change: Change): Promise<Outcome<undefined>> =>
    new Promise((resolve) => {
      waiting.push({ change, resolve });
      worker ??= work().finally(() => {
        worker = undefined;
      });
    });

  return {
    observe: () => observeProxy(options),
    put: (routes) => enqueue({ kind: 'put', routes }),
    remove: (keys) => enqueue({ kind: 'remove', keys }),
  };
}

/** No proxy: nothing is written, and a route cannot be had. */
export function openNoProxy(): Proxy {
  const refusal = blocked(
    'this node has no proxy, so a route cannot be served',
    'Set [mcproxy] driver = "file" and run mc-gitops proxy.',
  );
  return {
    observe: () => Promise.resolve(known({ listenerPorts: [], table: [], live: known([]) })),
    put: (routes) => Promise.resolve(routes.length === 0 ? ok() : refusal),
    remove: () => Promise.resolve(ok()),
  };
}

async function observeProxy({
  tablePath,
  statusSocket,
  listeners,
}: FileProxyOptions): Promise<Known<ProxyFacts>> {
  const [written, answer] = await Promise.all([readTable(tablePath), askStatus(statusSocket)]);
  if (written.kind !== 'ok') return unknown(written.why);
  const ports = listeners.map((addr) => parseAddress(addr)?.port).filter((port) => port !== undefined);
  return known({
    listenerPorts: [...new Set(ports)].sort((a, b) => a - b),
    table: observedRoutes(written.value.table.listeners),
    live:
      answer.kind === 'answer' ? known(observedRoutes(answer.status.live.listeners)) : unknown(answer.why),
  });
}

async function applyBatch(batch: readonly Job[], options: FileProxyOptions): Promise<void> {
  try {
    const result = await applyTogether(batch, options);
    if (result.kind !== 'refused') return;
    if (batch.length === 1) {
      batch[0]?.resolve(result.outcome);
      return;
    }
    // One of them is bad: alone, it holds up no other (L33).
    for (const job of batch) await applyBatch([job], options);
  } catch (error) {
    for (const { resolve } of batch) resolve(bug(error));
  }
}

type Applied =
  { readonly kind: 'settled' } | { readonly kind: 'refused'; readonly outcome: Outcome<undefined> };

async function applyTogether(batch: readonly Job[], options: FileProxyOptions): Promise<Applied> {
  const written = await readTable(options.tablePath);
  if (written.kind !== 'ok') return settle(batch, written);
  const { text: before } = written.value;
  let { table } = written.value;
  const rules: TableRules = {
    listeners: options.listeners,
    ...(options.owner === undefined ? {} : { owner: options.owner }),
  };
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
  if (accepted.length === 0) return { kind: 'settled' };
  const earlier = await askStatus(options.statusSocket);
  const earlierRefusal = earlier.kind === 'answer' ? earlier.status.refused : undefined;
  const text = formatRouteTable(table);
  if (text !== before) {
    const directory = await ensureDirectory(dirname(options.tablePath));
    if (directory.kind !== 'ok') return settle(accepted, directory);
    try {
      await writeFileAtomic(options.tablePath, text, TABLE_MODE);
    } catch (error) {
      return settle(accepted, writeFailure(error, options.tablePath));
    }
  }
  const outcome = await awaitLive(routeTableDigest(table), earlierRefusal, options);
  if (outcome.kind !== 'blocked') return settle(accepted, outcome);
  if (text !== before) await restore(before, text, options);
  return accepted.length === 1 ? settle(accepted, outcome) : { kind: 'refused', outcome };
}

function settle(jobs: readonly Job[], outcome: Outcome<undefined> | Outcome<never>): Applied {
  for (const { resolve } of jobs) resolve(outcome);
  return { kind: 'settled' };
}

/** Waits until the router serves the table with this digest, or says why not. */
async function awaitLive(
  digest: string,
  earlierRefusal: RouterStatus['refused'],
  options: FileProxyOptions,
): Promise<Outcome<undefined>> {
  const { statusSocket, tablePath, clock = systemClock, liveTimeoutMs = LIVE_TIMEOUT_MS } = options;
  const begun = clock.monotonic();
  for (;;) {
    const answer = await askStatus(statusSocket);
    const hint = `Start it with mc-gitops proxy; the routes are written in ${tablePath} and will be served.`;
    if (answer.kind === 'down') return wait(answer.why, hint);
    const refused = answer.kind === 'answer' ? answer.status.refused : undefined;
    if (answer.kind === 'answer' && answer.status.tableDigest === digest && refused === undefined)
      return ok();
    // A refusal from before this write may speak of another table, unless it stays.
    const isNew =
      refused !== undefined && (refused.at !== earlierRefusal?.at || refused.why !== earlierRefusal.why);
    const waitedMs = clock.monotonic() - begun;
    const isLate = waitedMs >= liveTimeoutMs;
    if (refused !== undefined && (isNew || isLate || waitedMs >= SAME_REFUSAL_MS)) {
      return blocked(
        `the proxy refused the route table: ${refused.why}`,
        'Mend what it names; the last good table is still served.',
      );
    }
    if (isLate) {
      return answer.kind === 'unknown'
        ? wait(answer.why, hint)
        : retry(`the proxy did not take over ${tablePath} within ${liveTimeoutMs} ms`, 'Look at its log.');
    }
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Puts the last good table back, unless somebody else has written since, and lets the router read it. */
async function restore(
  before: string | undefined,
  written: string,
  options: FileProxyOptions,
): Promise<void> {
  const { tablePath, statusSocket, clock = systemClock, log } = options;
  try {
    if ((await readFile(tablePath, 'utf8')) !== written) return;
    if (before === undefined) await rm(tablePath, { force: true });
    else await writeFileAtomic(tablePath, before, TABLE_MODE);
  } catch (error) {
    log.error({ path: tablePath, why: messageOf(error) }, 'the last good route table could not be put back');
    return;
  }
  if (before === undefined) return;
  const deadline = clock.monotonic() + SETTLED_TIMEOUT_MS;
  while (clock.monotonic() < deadline) {
    const answer = await askStatus(statusSocket);
    if (answer.kind !== 'answer' || answer.status.refused === undefined) return;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

async function readTable(path: string): Promise<Outcome<{ text?: string; table: RouteTable }>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ok({ table: { listeners: [] } });
    return retry(
      `${path} cannot be read: ${messageOf(error)}`,
      'Let the agent read and write the route table.',
    );
  }
  const parsed = parseRouteTable(text);
  if (parsed.kind === 'ok') return ok({ text, table: parsed.value });
  // Never overwritten: it may be half of what a person is writing.
  return parsed.kind === 'blocked' ? blocked(`${path}: ${parsed.why}`, parsed.hint) : parsed;
}
