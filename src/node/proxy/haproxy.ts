import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { systemClock, type Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { blocked, known, messageOf, ok, retry, unknown, wait } from '../../base/outcome.ts';
import type { Failure, Known, Outcome } from '../../base/outcome.ts';
import { formatRouteTable, parseAddress, parseRouteTable } from '../../base/routetable.ts';
import type { ChallengeFront, RouteTable } from '../../base/routetable.ts';
import { askHaproxy, askLive, askVersion } from './haproxyask.ts';
import {
  HAPROXY_TIMEOUTS,
  renderHaproxy,
  type HaproxyPlaces,
  type HaproxyTimeouts,
} from './haproxyconfig.ts';
import {
  bundlesOf,
  candidatePath,
  makePairs,
  readWritten,
  sweep,
  writeCandidate,
  writeConfig,
  type BundleFault,
  type Pairs,
  type Written,
} from './haproxyfiles.ts';
import { changedRoutes, changedSince, staleRoutes } from './haproxyedits.ts';
import { inBatches, settle, together, type Job, type ObservedProxy, type Proxy } from './proxy.ts';
import { keyOf, listenerChange, observedRoutes, type Change, type TableRules } from './table.ts';

const run = promisify(execFile);

const CHECK_TIMEOUT_MS = 20_000;
const LIVE_TIMEOUT_MS = 20_000;
const LOOK_EVERY_MS = 25;
const MASTER_RESTART_MS = 3_000;
const RELOAD_INTERVAL_MS = 1_000;

export interface HaproxyOptions {
  /** HAProxy's own program: it checks every configuration before it is used. */
  readonly program: string;
  /** The configuration file; the driver owns its whole directory. */
  readonly configPath: string;
  /** Where the worker is asked what it serves. */
  readonly runtimeSocket: string;
  /** Where the master (`haproxy -W -S`) is told to reload. */
  readonly masterSocket: string;
  /** Addresses HAProxy listens on, for example `127.0.0.1:8443` or `:443`. */
  readonly listeners: readonly string[];
  /** Where http-01 is answered through HAProxy, and what answers. */
  readonly challenges?: ChallengeFront;
  /** `<node>/<instance>`: marks of other owners are foreign. */
  readonly owner?: string;
  readonly log: Log;
  readonly clock?: Clock;
  readonly liveTimeoutMs?: number;
  /** From one reload to the next: changes that come meanwhile are one. */
  readonly reloadIntervalMs?: number;
  readonly timeouts?: Partial<HaproxyTimeouts>;
}

interface Rig {
  readonly options: HaproxyOptions;
  readonly places: HaproxyPlaces;
  readonly rules: TableRules;
  readonly pairs: Pairs;
  readonly clock: Clock;
  /** Monotonic time of the last reload. */
  reloadedAt: number | undefined;
  /** Batches that were begun or are over: an odd number while one is under way. */
  turns: number;
}

/**
 * Driver `haproxy`: writes a configuration of its own, has HAProxy check it, reloads without a lost connection by the master's
 * socket, and reads back from the worker what it serves (L09). A configuration that is refused leaves the old one serving.
 */
export function openHaproxy(options: HaproxyOptions): Proxy {
  const { owner, listeners, challenges, clock = systemClock } = options;
  const { reloadIntervalMs = RELOAD_INTERVAL_MS } = options;
  const rig: Rig = {
    options,
    places: {
      directory: dirname(options.configPath),
      runtimeSocket: options.runtimeSocket,
      timeouts: { ...HAPROXY_TIMEOUTS, ...options.timeouts },
      ipv6: existsSync('/proc/net/if_inet6'),
    },
    rules: {
      listeners,
      ...(owner === undefined ? {} : { owner }),
      ...(challenges === undefined ? {} : { challenges }),
    },
    pairs: makePairs(),
    clock,
    reloadedAt: undefined,
    turns: 0,
  };
  // Each reload leaves a worker behind until its connections end: a storm of changes must be few of them.
  const pause = async (): Promise<void> => {
    const { reloadedAt } = rig;
    if (reloadedAt !== undefined)
      await clock.sleep(Math.max(0, reloadedAt + reloadIntervalMs - clock.monotonic()));
  };
  return {
    observe: () => observeHaproxy(rig),
    ...inBatches(async (batch) => {
      rig.turns += 1;
      try {
        return await applyTogether(batch, rig);
      } finally {
        rig.turns += 1;
      }
    }, pause),
  };
}

async function observeHaproxy(rig: Rig): Promise<Known<ObservedProxy>> {
  const { options, places, rules, pairs, clock } = rig;
  const begun = rig.turns;
  const [written, live] = await Promise.all([
    readWritten(options.configPath),
    askLive(options.runtimeSocket),
  ]);
  if (written.kind !== 'ok') return unknown(written.why);
  const { table } = written.value;
  const change = listenerChange(table, rules);
  const ports = rules.listeners.map((addr) => parseAddress(addr)?.port).filter((port) => port !== undefined);
  const inForce = live.kind === 'answer' ? live.value.bundles : written.value.bundles;
  const now = clock.now();
  const { bundles, faults } = await bundlesOf(table, inForce, {
    directory: places.directory,
    now,
    pairs,
    write: false,
  });
  const value = live.kind === 'answer' ? live.value : undefined;
  // File and worker are read one after the other: with a change of ours under way, what differs is no news.
  const changed = await changedSince(written.value, places, pairs);
  const isQuiet = begun % 2 === 0 && rig.turns === begun;
  const stale = isQuiet
    ? staleRoutes(written.value, value, bundles, { configPath: options.configPath, places, changed })
    : [];
  return known({
    listenerPorts: [...new Set(ports)].sort((a, b) => a - b),
    table: observedRoutes(table.listeners),
    live: live.kind === 'answer' ? known(observedRoutes(live.value.listeners)) : unknown(live.why),
    faults,
    ...(stale.length === 0 ? {} : { stale }),
    ...(change === undefined ? {} : { listeners: change }),
  });
}

/** Settles every job, or gives them back when their common table would be none. */
async function applyTogether(batch: readonly Job[], rig: Rig): Promise<readonly Job[]> {
  const { options, places, rules, pairs, clock } = rig;
  const { configPath, runtimeSocket } = options;
  const written = await readWritten(configPath);
  if (written.kind !== 'ok') return settle(batch, written);
  const { table, accepted } = together(written.value.table, batch, rules);
  if (accepted.length === 0) return [];
  const readable = parseRouteTable(formatRouteTable(table));
  if (readable.kind !== 'ok') return accepted.length === 1 ? settle(accepted, readable) : accepted;

  // Before the bundles are written: a worker that has read others is to read them again.
  const changed = await changedSince(written.value, places, pairs);
  const { bundles, faults } = await bundlesOf(table, written.value.bundles, {
    directory: places.directory,
    now: clock.now(),
    pairs,
    write: true,
  });
  const rendered = renderHaproxy({ table, bundles }, places);
  const asked = await askVersion(runtimeSocket);
  if (rendered.config !== written.value.text || changed !== undefined) {
    const failure =
      (await writeCandidate(rendered, configPath)) ??
      (await checkCandidate(options)) ??
      (asked.kind === 'answer'
        ? await findBusy(table, await heldBy(written.value, runtimeSocket))
        : undefined) ??
      (await writeConfig(configPath, rendered.config));
    if (failure !== undefined) {
      await sweep(configPath, written.value);
      return failure.kind === 'blocked' && accepted.length > 1 ? accepted : settle(accepted, failure);
    }
  } else if (asked.kind === 'answer' && asked.value.version === rendered.version) {
    const live = await askLive(runtimeSocket);
    // It may have begun with files that somebody had changed.
    if (live.kind !== 'answer' || changedRoutes(written.value, live.value).length === 0)
      return conclude(accepted, faults);
  }
  const outcome = await takeOver(rendered.version, rig);
  if (outcome.kind === 'blocked') {
    await restore(written.value, rig);
    return settle(accepted, outcome);
  }
  await sweep(configPath, { table, bundles, version: rendered.version });
  return outcome.kind === 'ok' ? conclude(accepted, faults) : settle(accepted, outcome);
}

function conclude(accepted: readonly Job[], faults: readonly BundleFault[]): readonly Job[] {
  for (const { change, resolve } of accepted) {
    const fault = faultOf(change, faults);
    resolve(fault === undefined ? ok() : blocked(fault.why, 'No other route is concerned.'));
  }
  return [];
}

function faultOf(change: Change, faults: readonly BundleFault[]): BundleFault | undefined {
  if (change.kind === 'remove') return undefined;
  const keys = new Set(change.routes.map(keyOf));
  return faults.find((fault) => keys.has(keyOf(fault)));
}

/** `haproxy -c`: what it finds wrong is the reason of the refusal. */
async function checkCandidate({ program, configPath }: HaproxyOptions): Promise<Failure | undefined> {
  try {
    await run(program, ['-c', '-f', candidatePath(configPath)], {
      timeout: CHECK_TIMEOUT_MS,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
    });
    return undefined;
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') {
      return blocked(
        `${program} is not there`,
        'Install HAProxy, or name its program in [mcproxy] haproxy_program.',
      );
    }
    const alerts = (stderr ?? '').split('\n').filter((line) => line.startsWith('[ALERT]'));
    const said = alerts.map((line) => line.replace(/^\[ALERT\]\s*\(\d+\)\s*:\s*/, '')).join('; ');
    return blocked(
      `HAProxy refuses the configuration: ${said === '' ? messageOf(error) : said.slice(0, 1_000)}`,
      'The last good configuration is still served.',
    );
  }
}

/** A check binds nothing: an address that somebody else has would only be found by the reload, which cannot say it. */
async function findBusy(
  table: RouteTable,
  held: ReadonlySet<number | undefined>,
): Promise<Failure | undefined> {
  for (const addr of addressesOf(table)) {
    const parsed = parseAddress(addr);
    if (parsed === undefined || held.has(parsed.port)) continue;
    const code = await tryListen(parsed.host, parsed.port);
    if (code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL') {
      return blocked(
        `HAProxy cannot listen on ${addr} (${code})`,
        'Stop what listens there, or change [mcproxy] listeners; the last good configuration is still served.',
      );
    }
  }
  return undefined;
}

/** Ports of the worker that runs. Without our file it may have begun with one that somebody has taken away since. */
async function heldBy(
  { text, table }: Written,
  runtimeSocket: string,
): Promise<ReadonlySet<number | undefined>> {
  const live = text === undefined ? await askLive(runtimeSocket) : undefined;
  const running = live?.kind === 'answer' ? live.value.listeners.map(({ addr }) => addr) : [];
  return new Set([...addressesOf(table), ...running].map((addr) => parseAddress(addr)?.port));
}

function addressesOf({ listeners, challenges }: RouteTable): string[] {
  return [...listeners.map(({ addr }) => addr), ...(challenges === undefined ? [] : [challenges.addr])];
}

function tryListen(host: string | undefined, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () =>
      server.close(() => resolve(undefined)),
    );
  });
}

/** A worker that began with a file of this version which somebody had changed says the same: only the next one has read ours. */
function isAnother(
  worker: { version: string; pid: number },
  before: Awaited<ReturnType<typeof askVersion>>,
): boolean {
  return (
    before.kind !== 'answer' || before.value.version !== worker.version || before.value.pid !== worker.pid
  );
}

/** Tells the master to reload, and waits until the worker says that it has this version. */
async function takeOver(version: string, rig: Rig): Promise<Outcome<undefined>> {
  const { options, clock } = rig;
  const { masterSocket, runtimeSocket, configPath, liveTimeoutMs = LIVE_TIMEOUT_MS } = options;
  const failedBefore = await failedReloads(masterSocket);
  const before = await askVersion(runtimeSocket);
  const told = await tellMaster(rig);
  if (told.kind !== 'down') rig.reloadedAt = clock.monotonic();
  const hint = `Start it: haproxy -W -S ${masterSocket} -f ${configPath}; the routes are written and will be served.`;
  if (told.kind === 'down') return wait(told.why, hint);
  const begun = clock.monotonic();
  for (;;) {
    const asked = await askVersion(runtimeSocket);
    if (asked.kind === 'answer' && asked.value.version === version && isAnother(asked.value, before))
      return ok();
    const isLate = clock.monotonic() - begun >= liveTimeoutMs;
    if (isLate || (await failedReloads(masterSocket)) > failedBefore) {
      if (asked.kind === 'answer') {
        return blocked(
          `HAProxy did not take over ${configPath} and goes on with the one before`,
          'Its log says why: most often a listener that it may not bind.',
        );
      }
      return asked.kind === 'down' ? wait(asked.why, hint) : retry(asked.why, 'Look at its log.');
    }
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** A master that has just (re)started its worker starts itself anew: for a moment nobody answers there, and that is not down. */
async function tellMaster({ options, clock }: Rig): ReturnType<typeof askHaproxy> {
  const begun = clock.monotonic();
  for (;;) {
    const told = await askHaproxy(options.masterSocket, 'reload');
    if (told.kind !== 'down' || clock.monotonic() - begun > MASTER_RESTART_MS) return told;
    if ((await askVersion(options.runtimeSocket)).kind === 'down') return told;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Reloads in a row that failed, as the master counts them; 0 while it does not answer. */
async function failedReloads(masterSocket: string): Promise<number> {
  const shown = await askHaproxy(masterSocket, 'show proc');
  const count = shown.kind === 'answer' ? /\bmaster\b.*\[failed: (\d+)\]/.exec(shown.value)?.[1] : undefined;
  return Number(count ?? 0);
}

/** Puts the configuration of before back, so that a restart of HAProxy finds a good one. */
async function restore(before: Written, rig: Rig): Promise<void> {
  const { options } = rig;
  const { text, version } = before;
  if (text === undefined || version === undefined) return;
  const failure = await writeConfig(options.configPath, text);
  if (failure !== undefined) {
    options.log.error({ why: failure.why }, 'the last good HAProxy configuration could not be put back');
    return;
  }
  const again = await takeOver(version, rig);
  if (again.kind !== 'ok') options.log.error({ why: again.why }, 'HAProxy after a refused configuration');
  await sweep(options.configPath, before);
}
