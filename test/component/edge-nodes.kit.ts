import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { httpRequest } from '../../src/base/http.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import { askVersion } from '../../src/node/proxy/haproxyask.ts';
import { askStatus } from '../../src/node/proxy/status.ts';
import type { ServiceView, View } from '../../src/report/types.ts';
import type { LanHost } from '../support/lan.ts';
import type { NameServer } from '../support/nameserver.ts';
import { HAPROXY, type Driver } from '../support/proxyrig.ts';
import { until } from '../support/until.ts';

const PATIENCE_MS = 60_000;

/** An engine of its own in the network namespace of a host. */
export interface HostEngine {
  readonly socketPath: string;
  stop(): Promise<void>;
}

/** A node as people have it: agent and proxy are processes of their own, in the network namespace of their host. */
export interface TwoNode {
  readonly name: string;
  readonly kind: Driver;
  readonly address: string;
  startAgent(): Promise<void>;
  /** `kill -9`. */
  killAgent(): Promise<void>;
  startProxy(): Promise<void>;
  /** As its supervisor does it: it takes no more connections and finishes what is under way. */
  stopProxy(): Promise<void>;
  view(): Promise<View>;
  /** Waits until this commit was looked at and `service` is so. */
  awaits(service: string, state: ServiceView['state'], commit: string): Promise<ServiceView>;
  /** Waits until this commit was looked at and nothing is left of `service`. */
  awaitsGone(service: string, commit: string): Promise<void>;
  /** The root of its own CA, as the dashboard gives it. */
  root(): Promise<string>;
  /** Files of certificates. */
  certificates(): Promise<string[]>;
  log(): string;
  stop(): Promise<void>;
}

export async function startHostEngine(host: LanHost): Promise<HostEngine> {
  const holder = join(import.meta.dirname, '..', 'support', 'engineholder.ts');
  const [program, ...args] = host.inside(process.execPath, '--import', 'tsx', holder);
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => (said += String(text)));
  const lines = createInterface({ input: child.stdout });
  const socketPath = await Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    once(child, 'exit').then(() => {
      throw new Error(`Podman in a network namespace: ${said}`);
    }),
  ]);
  return {
    socketPath,
    stop: async () => {
      const gone = once(child, 'exit');
      child.stdin.end();
      await gone;
    },
  };
}

interface Given {
  readonly name: string;
  readonly kind: Driver;
  readonly host: LanHost;
  readonly engine: HostEngine;
  /** Of its own. */
  readonly directory: string;
  readonly definitions: string;
  readonly dns: NameServer;
  /** Address of the resolver that the machine has. */
  readonly resolver: string;
  readonly suffix: string;
  /** Roots by which it verifies home nodes. */
  readonly roots: string;
}

export async function makeNode(given: Given): Promise<TwoNode> {
  const { name, kind, host, directory } = given;
  const at = (file: string): string => join(directory, file);
  for (const part of ['data', 'certs', 'src']) await mkdir(at(part), { recursive: true });
  await writeFile(at('resolv.conf'), `nameserver ${given.resolver}\n`);
  // With a file system of its own in this one place: whose resolver a process asks is told by this file alone.
  const resolving = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"'];
  const config = at('settings.toml');
  await writeFile(config, stringifyToml(settingsOf(given)));
  const dashboard = `http://${host.address}:8077`;
  const lines: string[] = [];
  let agent: ChildProcess | undefined;
  let proxy: ChildProcess | undefined;

  const begin = (...command: readonly string[]): ChildProcess => {
    const [program = '', ...args] = command;
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    return child;
  };
  const end = async (child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  };
  const get = async (path: string): Promise<string> => {
    const url = `${dashboard}${path}`;
    const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 10_000_000 });
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`);
    return Buffer.from(answer.body).toString('utf8');
  };
  const node: TwoNode = {
    name,
    kind,
    address: host.address,
    startAgent: async () => {
      const command = [process.execPath, ...programArguments(), 'agent', '--config', config];
      const [program = '', ...args] = [...resolving, at('resolv.conf'), ...command];
      agent = begin(...host.inside(program, ...args));
      await until(`the agent of ${name}`, () => node.view(), PATIENCE_MS);
    },
    killAgent: () => end(agent, 'SIGKILL'),
    startProxy: async () => {
      const isUp = async (): Promise<boolean> =>
        kind === 'file'
          ? (await askStatus(at('s'))).kind === 'answer'
          : (await askVersion(at('s'))).kind === 'answer';
      const cfg = at('haproxy/haproxy.cfg');
      if (kind === 'haproxy') await until('the configuration of HAProxy', () => existsSync(cfg), PATIENCE_MS);
      proxy = begin(
        ...(kind === 'file'
          ? host.inside(process.execPath, ...programArguments(), 'proxy', '--config', config)
          : host.inside(HAPROXY, '-W', '-S', at('m'), '-f', cfg)),
      );
      await until(`the proxy of ${name}`, isUp, PATIENCE_MS);
    },
    stopProxy: () => end(proxy, kind === 'file' ? 'SIGTERM' : 'SIGUSR1'),
    view: async () => JSON.parse(await get('/api/v1/status')) as View,
    awaits: (service, state, commit) =>
      until(
        `${service} on ${name} to be ${state}`,
        async () => {
          const seen = await node.view();
          const found = seen.services.find((entry) => entry.name === service);
          if (seen.commit?.oid === commit && found?.state === state) return found;
          throw new Error(
            `${found?.state ?? 'absent'} at ${seen.commit?.oid ?? '-'} ${JSON.stringify([seen.idle, found?.waiting, found?.refused, found?.lastError])}\n${lines.slice(-5).join('\n')}`,
          );
        },
        PATIENCE_MS,
        50,
      ),
    awaitsGone: async (service, commit) => {
      await until(
        `${service} on ${name} to be gone`,
        async () => {
          const { commit: seen, services } = await node.view();
          if (seen?.oid === commit && !services.some((entry) => entry.name === service)) return true;
          throw new Error(
            JSON.stringify([
              seen?.oid,
              services.map((entry) => [entry.name, entry.state, entry.waiting, entry.refused]),
            ]),
          );
        },
        PATIENCE_MS,
        50,
      );
    },
    root: () => until(`the root of ${name}`, () => get('/ca.pem'), PATIENCE_MS),
    certificates: async () => (await readdir(at('certs'))).filter((file) => file.endsWith('.pem')).sort(),
    log: () => lines.join('\n'),
    stop: async () => {
      await end(agent, 'SIGTERM');
      await end(proxy, 'SIGTERM');
    },
  };
  return node;
}

function settingsOf({ name, kind, host, engine, directory, definitions, dns, suffix, roots }: Given): object {
  const at = (file: string): string => join(directory, file);
  return {
    node: name,
    source: { urls: [definitions], branch: 'main', poll: '*/2 * * * * *' },
    database: { path: at('data/registry.db') },
    server: { listen_addr: `${host.address}:8077` },
    engine: { socket: engine.socketPath },
    defaults: { hostname_suffix: suffix },
    build: { workspace: at('src') },
    mcproxy: {
      driver: kind,
      listeners: [':443'],
      cert_dir: at('certs'),
      table: at('data/routes.toml'),
      status_socket: at('s'),
      haproxy_config: at('haproxy/haproxy.cfg'),
      haproxy_socket: at('s'),
      haproxy_master_socket: at('m'),
      edge_ca: roots,
    },
    certs: { driver: 'local' },
    mcns: { driver: 'rfc2136', servers: [dns.server], zones: [dns.zone], key_file: dns.keyFile, ttl_s: 1 },
    deploy: { stable_for_s: 0.5, stop_timeout_s: 1, drain_s: 2 },
    policy: { hostnames: [suffix, 'example.org'] },
  };
}

/** The compiled program where it is up to date, as people run it; else from TypeScript. */
function programArguments(): string[] {
  const program = join('dist', 'main.js');
  const times = readdirSync('src', { recursive: true, encoding: 'utf8' }).map(
    (path) => statSync(join('src', path)).mtimeMs,
  );
  const isCompiled = existsSync(program) && statSync(program).mtimeMs >= Math.max(...times);
  return isCompiled ? [program] : ['--import', 'tsx', join('src', 'main.ts')];
}
