import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeLog } from '../../src/base/log.ts';
import type { ChallengeFront } from '../../src/base/routetable.ts';
import { startProxy, type RunningProxy } from '../../src/mc-proxy/server.ts';
import { openFileProxy } from '../../src/node/proxy/file.ts';
import { openHaproxy } from '../../src/node/proxy/haproxy.ts';
import { askVersion } from '../../src/node/proxy/haproxyask.ts';
import type { ObservedProxy, Proxy } from '../../src/node/proxy/proxy.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import { makeCa, type TestCa } from './certs.ts';
import { until } from './until.ts';

export const DRIVERS = ['file', 'haproxy'] as const;
export type Driver = (typeof DRIVERS)[number];
export const OWNER = 'rift/main';
export const HAPROXY = '/usr/sbin/haproxy';

const PAGE = 4_096;
const DISK_PAGES = 64;

const run = promisify(execFile);
const log = makeLog('silent');

/** A driver with the proxy that it drives, in a directory of one test. `stop` takes all of it away, and what `onStop` was given. */
export interface DriverRig {
  readonly kind: Driver;
  readonly directory: string;
  readonly ca: TestCa;
  readonly proxy: Proxy;
  /** Another agent's view of the same proxy, for example with other listeners. */
  driver(...listeners: string[]): Proxy;
  /** The same without http-01 through the proxy. */
  withoutChallenges(...listeners: string[]): Proxy;
  start(): Promise<void>;
  /** Ends the proxy as its supervisor would. */
  halt(): Promise<void>;
  /** The process that serves; only of HAProxy. */
  workerPid(): Promise<number>;
  facts(of?: Proxy): Promise<ObservedProxy>;
  live(): Promise<readonly ObservedRoute[]>;
  /** A route with a certificate of its own when it is l7. */
  route(
    hostname: string,
    backend: string,
    more?: Partial<Pick<ObservedRoute, 'mode' | 'backendTls' | 'backendCa' | 'listenerPort'>>,
  ): Promise<ObservedRoute>;
  certify(hostname: string): Promise<void>;
  /** Whoever set it up anew: the table that it starts with is empty. */
  emptyTable(): Promise<void>;
  /** The table as it is written. */
  written(): Promise<string>;
  /** What the driver writes goes to a file system of its own from now on; before the first start only. */
  limitDisk(): Promise<void>;
  /** So many pages are free on it. */
  leaveRoom(pages: number): Promise<void>;
  /** Files that a write has left there and that nothing names. */
  leftOver(): Promise<string[]>;
  onStop(end: () => unknown): void;
  stop(): Promise<void>;
}

const LIMITS = { responseMs: 1_000, connectMs: 1_000, headersMs: 500, helloMs: 1_000 };

export interface DriverOptions {
  /** Default: true. */
  readonly started?: boolean;
  readonly challenges?: ChallengeFront;
}

export async function startDriver(
  kind: Driver,
  port: number,
  { started = true, challenges }: DriverOptions = {},
): Promise<DriverRig> {
  const directory = await mkdtemp(join(tmpdir(), 'px-'));
  const at = (name: string): string => join(directory, name);
  const place = at(kind === 'file' ? 'table' : 'haproxy');
  const tablePath = join(place, 'routes.toml');
  const configPath = join(place, 'haproxy.cfg');
  const ca = await makeCa();
  const ends: (() => unknown)[] = [];
  let router: RunningProxy | undefined;
  let haproxy: ChildProcess | undefined;
  let certified = Promise.resolve();

  const driverOf = (listeners: string[], clear: { challenges?: ChallengeFront }): Proxy =>
    kind === 'file'
      ? openFileProxy({ tablePath, statusSocket: at('s'), listeners, owner: OWNER, log, ...clear })
      : openHaproxy({
          program: HAPROXY,
          configPath,
          runtimeSocket: at('s'),
          masterSocket: at('m'),
          listeners,
          owner: OWNER,
          log,
          ...clear,
          timeouts: LIMITS,
          reloadIntervalMs: 200,
        });
  const driver = (...listeners: string[]): Proxy =>
    driverOf(listeners, challenges === undefined ? {} : { challenges });
  const startRouter = async (): Promise<void> => {
    const begun = await startProxy({
      tablePath,
      statusSocketPath: at('s'),
      log,
      limits: {
        drainTimeoutMs: 500,
        responseTimeoutMs: LIMITS.responseMs,
        connectTimeoutMs: LIMITS.connectMs,
        headersTimeoutMs: LIMITS.headersMs,
        helloTimeoutMs: LIMITS.helloMs,
      },
    });
    if (begun.kind !== 'ok') throw new Error(begun.why);
    router = begun.value;
  };
  const startHaproxy = async (): Promise<void> => {
    const child = spawn(HAPROXY, ['-W', '-S', at('m'), '-f', configPath], { stdio: 'ignore' });
    haproxy = child;
    await until('HAProxy to answer', async () => {
      if (child.exitCode !== null) throw new Error(`HAProxy ended with ${child.exitCode}`);
      return (await askVersion(at('s'))).kind === 'answer';
    });
  };
  const rig: DriverRig = {
    kind,
    directory,
    ca,
    proxy: driver(`127.0.0.1:${port}`),
    driver,
    withoutChallenges: (...listeners) => driverOf(listeners, {}),
    start: async () => {
      if (kind === 'file') await startRouter();
      else {
        // HAProxy does not start without a file: the agent writes it at its own start.
        await rig.proxy.put([]);
        await startHaproxy();
      }
    },
    halt: async () => {
      await router?.close();
      router = undefined;
      if (haproxy?.exitCode === null && haproxy.signalCode === null) {
        const gone = once(haproxy, 'exit');
        haproxy.kill('SIGTERM');
        await gone;
      }
      haproxy = undefined;
    },
    workerPid: async () => {
      const asked = await askVersion(at('s'));
      return asked.kind === 'answer' ? asked.value.pid : 0;
    },
    facts: async (of = rig.proxy) => {
      const observed = await of.observe();
      if (!observed.known) throw new Error(observed.why);
      return observed.value;
    },
    live: async () => {
      const { live } = await rig.facts();
      if (!live.known) throw new Error(live.why);
      return live.value;
    },
    certify: (hostname) => {
      // One at a time: two for one host name would leave the key of the one and the certificate of the other.
      certified = certified.then(async () => {
        const { cert, key } = await ca.issue([hostname]);
        await writeFile(at(`${hostname}.key`), key, { mode: 0o600 });
        // The chain to a root that this machine does not know is complete with that root in it.
        await writeFile(at(`${hostname}.pem`), `${cert}\n${ca.cert}`);
      });
      return certified;
    },
    route: async (hostname, backend, more = {}) => {
      const mode = more.mode ?? 'l7';
      if (mode === 'l7') await rig.certify(hostname);
      return {
        listenerPort: port,
        hostname,
        backend,
        mode,
        ...(mode === 'l7' ? { tlsCert: at(`${hostname}.pem`), tlsKey: at(`${hostname}.key`) } : {}),
        backendTls: false,
        mark: `${OWNER}/${hostname.split('.')[0] ?? ''}/web/`,
        ...more,
      };
    },
    emptyTable: async () => {
      if (kind === 'file') await rm(tablePath);
      else await rm(place, { recursive: true });
    },
    written: () => readFile(kind === 'file' ? tablePath : configPath, 'utf8'),
    limitDisk: async () => {
      await mkdir(place);
      await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_PAGES * PAGE}`, 'tmpfs', place]);
      ends.push(() => run('umount', [place]));
    },
    leaveRoom: async (pages) => {
      await rm(join(place, 'filler'), { force: true });
      const { bfree } = await statfs(place);
      await writeFile(join(place, 'filler'), Buffer.alloc((bfree - pages) * PAGE));
    },
    leftOver: async () => {
      const files = (await readdir(place, { recursive: true })).sort();
      const versions = files.filter((name) => /^v-[^/]+$/.test(name)).slice(1);
      const bundles = files.filter((name) => /^certs\/.*\.pem$/.test(name)).slice(1);
      return [...files.filter((name) => /\.(tmp|next)$/.test(name)), ...versions, ...bundles];
    },
    onStop: (end) => void ends.push(end),
    stop: async () => {
      await rig.halt();
      for (const end of ends.reverse()) await end();
      await rm(directory, { recursive: true, force: true });
    },
  };
  if (started) await rig.start();
  return rig;
}
