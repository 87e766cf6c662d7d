import { randomUUID } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../base/clock.ts';
import { writeFileAtomic } from '../../base/files.ts';
import type { Log } from '../../base/log.ts';
import { blocked, known, messageOf, ok, retry, unknown } from '../../base/outcome.ts';
import type { Failure, Known, Outcome } from '../../base/outcome.ts';
import {
  formatRouteTable,
  parseAddress,
  parseRouteTable,
  routeTableDigest,
  type ChallengeFront,
  type RouteTable,
} from '../../base/routetable.ts';
import { ensureDirectory, writeFailure } from '../writing.ts';
import { awaitLive, awaitSettled } from './live.ts';
import { inBatches, settle, together, type Job, type ObservedProxy, type Proxy } from './proxy.ts';
import { askStatus, type RouterFault } from './status.ts';
import {
  keyOf,
  listenerChange,
  observedRoutes,
  type Change,
  type RouteKey,
  type TableRules,
} from './table.ts';

/** The router may run as another user; there is nothing secret in the table. */
const TABLE_MODE = 0o644;

export interface FileProxyOptions {
  readonly tablePath: string;
  readonly statusSocket: string;
  /** Addresses the router listens on, for example `127.0.0.1:8443` or `:443`. */
  readonly listeners: readonly string[];
  /** Where http-01 is answered through the router, and what answers. */
  readonly challenges?: ChallengeFront;
  /** `<node>/<instance>`: marks of other owners are foreign. */
  readonly owner?: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly liveTimeoutMs?: number;
}

/**
 * Driver `file` of the bundled router: rewrites its route table and reads back what it serves (L09). One writer: changes
 * are made one after the other, and those that wait together are one write.
 */
export function openFileProxy(options: FileProxyOptions): Proxy {
  return {
    observe: () => observeProxy(options),
    ...inBatches((batch) => applyTogether(batch, options)),
  };
}

async function observeProxy(options: FileProxyOptions): Promise<Known<ObservedProxy>> {
  const { tablePath, statusSocket } = options;
  const [written, answer] = await Promise.all([readTable(tablePath), askStatus(statusSocket)]);
  if (written.kind !== 'ok') return unknown(written.why);
  const rules = rulesOf(options);
  const change = listenerChange(written.value.table, rules);
  const ports = rules.listeners.map((addr) => parseAddress(addr)?.port).filter((port) => port !== undefined);
  return known({
    listenerPorts: [...new Set(ports)].sort((a, b) => a - b),
    table: observedRoutes(written.value.table.listeners),
    live:
      answer.kind === 'answer' ? known(observedRoutes(answer.status.live.listeners)) : unknown(answer.why),
    ...(change === undefined ? {} : { listeners: change }),
    ...(answer.kind === 'answer'
      ? { faults: answer.status.faults.map(observedFault), connections: answer.status.backends }
      : {}),
  });
}

function observedFault({ addr, ...fault }: RouterFault): RouteKey & { why: string; since: string } {
  return { listenerPort: parseAddress(addr)?.port ?? 0, ...fault };
}

function rulesOf({ listeners, owner, challenges }: FileProxyOptions): TableRules {
  return {
    listeners,
    ...(owner === undefined ? {} : { owner }),
    ...(challenges === undefined ? {} : { challenges }),
  };
}

/** Settles every job, or gives them back when their common table would be none. */
async function applyTogether(batch: readonly Job[], options: FileProxyOptions): Promise<readonly Job[]> {
  const { tablePath, statusSocket } = options;
  const written = await readTable(tablePath);
  if (written.kind !== 'ok') return settle(batch, written);
  const { text: before } = written.value;
  const { table, accepted } = together(written.value.table, batch, rulesOf(options));
  if (accepted.length === 0) return [];
  const bare = formatRouteTable(table);
  const readable = parseRouteTable(bare);
  if (readable.kind !== 'ok') return accepted.length === 1 ? settle(accepted, readable) : accepted;

  const asked = await askStatus(statusSocket);
  const earlier = asked.kind === 'answer' ? asked.status : undefined;
  // A fault that was there already may be out of date: the files were written a moment ago. A new mark has them read again.
  const digest = routeTableDigest(table);
  const same = digest === routeTableDigest(written.value.table);
  const again = same && accepted.some(({ change }) => faultOf(change, earlier?.faults ?? []));
  const generation = again ? randomUUID() : undefined;
  const text = generation === undefined ? bare : formatRouteTable({ ...table, generation });
  const changed = text !== before;
  if (changed) {
    const failure = await writeTable(tablePath, text);
    if (failure !== undefined) return settle(accepted, failure);
  }
  const outcome = await awaitLive({ digest, generation, changed, earlier }, options);
  if (outcome.kind !== 'ok') {
    if (outcome.kind === 'blocked' && changed) await restore(before, text, digest, options);
    return settle(accepted, outcome);
  }
  for (const { change, resolve } of accepted) {
    const fault = faultOf(change, outcome.value);
    resolve(fault === undefined ? ok() : blocked(fault.why, 'No other route is concerned.'));
  }
  return [];
}

function faultOf(change: Change, faults: readonly RouterFault[]): RouterFault | undefined {
  if (change.kind === 'remove') return undefined;
  const keys = new Set(change.routes.map(keyOf));
  return faults.find((fault) => keys.has(keyOf(observedFault(fault))));
}

async function writeTable(path: string, text: string): Promise<Failure | undefined> {
  const directory = await ensureDirectory(dirname(path));
  if (directory.kind !== 'ok') return directory;
  try {
    await writeFileAtomic(path, text, TABLE_MODE);
    return undefined;
  } catch (error) {
    return writeFailure(error, path);
  }
}

/** Puts the last good table back, unless somebody else has written since, and lets the router read it. */
async function restore(
  before: string | undefined,
  written: string,
  digest: string,
  options: FileProxyOptions,
): Promise<void> {
  const { tablePath, log } = options;
  try {
    if ((await readFile(tablePath, 'utf8')) !== written) return;
    if (before === undefined) await rm(tablePath, { force: true });
    else await writeFileAtomic(tablePath, before, TABLE_MODE);
  } catch (error) {
    log.error({ path: tablePath, why: messageOf(error) }, 'the last good route table could not be put back');
    return;
  }
  await awaitSettled(digest, options);
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
