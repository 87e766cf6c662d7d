import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { httpRequest } from '../base/http.ts';
import { stringifyToml } from '../base/toml.ts';
import { ensureLocalCa, makeKey, pemOfKey } from '../node/certs/localca.ts';
import type { View } from '../report/types.ts';
import { startGitServer } from './gitserver.ts';
import { makeRepository, type Repository } from './repository.ts';
import { sourceFiles } from './services.ts';

export const SUFFIX = 'svc.mcp.metacircular.net';
const EXAMPLES = new URL('../../definitions-example/services/', import.meta.url);

/** Everything of one run of the demo, in one temporary directory and under one instance name of its own. */
export interface Site {
  readonly dir: string;
  readonly instance: string;
  readonly owner: string;
  readonly webPort: number;
  readonly apiPort: number;
  readonly dashboard: string;
  readonly baseImage: string;
  readonly images: string;
  readonly hello: Repository;
  readonly docs: Repository;
  /** The text of an example definition, as it is for this site. */
  definition(service: string, change?: (text: string) => string): Promise<string>;
  /** Commits to the definitions repository and pushes it to the git server, as an operator would. */
  push(message: string, files: Readonly<Record<string, string | undefined>>): Promise<string>;
  /** The commit that was pushed last. */
  head(): string | undefined;
  startAgent(): ChildProcess;
  startProxy(): ChildProcess;
  view(): Promise<View | undefined>;
  stop(): Promise<void>;
}

export interface SiteOptions {
  readonly socketPath: string;
  /** 0: any free port. */
  readonly dashboardPort: number;
}

/** Makes the site: git server, repositories, settings. Starts no process of the agent's yet. */
export async function makeSite(options: SiteOptions): Promise<Site> {
  const dir = await mkdtemp(join(tmpdir(), 'mc-gitops-demo-'));
  const instance = `demo-${randomBytes(3).toString('hex')}`;
  const images = `localhost/mcg-${instance}`;
  const baseImage = `${images}/node:v1.0.0`;
  const [webPort, apiPort, freePort] = await freePorts();
  const port = options.dashboardPort === 0 ? freePort : options.dashboardPort;
  for (const part of ['git', 'src', 'operator', 'data', 'certs', 'srv/hello/certs', 'logs']) {
    await mkdir(join(dir, part), { recursive: true });
  }
  const server = await startGitServer({ root: join(dir, 'git') });
  await makeRepository(join(dir, 'git', 'definitions.git'));
  const definitions = await makeRepository(join(dir, 'operator', 'definitions.git'));
  const [hello, docs] = [
    await makeRepository(join(dir, 'src', 'hello')),
    await makeRepository(join(dir, 'src', 'docs-site')),
  ];
  await hello.commit(sourceFiles(baseImage, 'hello'), { message: 'hello' });
  await docs.commit(sourceFiles(baseImage, 'docs'), { message: 'docs' });
  await ownCertificate(join(dir, 'srv/hello/certs'), `hello.${SUFFIX}`);
  const config = join(dir, 'mc-gitops.toml');
  await writeFile(
    config,
    settingsOf(dir, instance, server.url, options.socketPath, [webPort, apiPort], port),
  );
  const children = new Set<ChildProcess>();
  let head: string | undefined;
  const start = (command: string): ChildProcess => startChild(command, config, join(dir, 'logs'), children);
  const dashboard = `http://127.0.0.1:${port}`;
  return {
    dir,
    instance,
    owner: `rift/${instance}`,
    webPort,
    apiPort,
    dashboard,
    baseImage,
    images,
    hello,
    docs,
    definition: (service, change) => definitionFor(service, { dir, images, webPort, apiPort }, change),
    push: async (message, files) => {
      const commit = await definitions.commit(files, { message });
      await definitions.push(`${server.url}/definitions.git`, 'main');
      head = commit;
      return commit;
    },
    head: () => head,
    startAgent: () => start('agent'),
    startProxy: () => start('proxy'),
    view: () => viewAt(dashboard),
    stop: async () => {
      await Promise.all([...children].map(end));
      await server.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** An example definition, with this machine's free ports for the proxy's, images that stay local, and a directory of our own for /srv. */
async function definitionFor(
  service: string,
  site: Pick<Site, 'dir' | 'images' | 'webPort' | 'apiPort'>,
  change: (text: string) => string = (text) => text,
): Promise<string> {
  const text = await readFile(new URL(`${service}.toml`, EXAMPLES), 'utf8');
  return change(
    text
      .replaceAll('mcr.svc.mcp.metacircular.net:8443', site.images)
      .replaceAll('port = 443\n', `port = ${site.webPort}\n`)
      .replaceAll('port = 8443\n', `port = ${site.apiPort}\n`)
      .replaceAll(`"/srv/${service}:`, `"${join(site.dir, 'srv', service)}:`),
  );
}

async function viewAt(dashboard: string): Promise<View | undefined> {
  try {
    const url = `${dashboard}/api/v1/status`;
    const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 64 * 1024 * 1024 });
    return answer.status === 200
      ? (JSON.parse(Buffer.from(answer.body).toString('utf8')) as View)
      : undefined;
  } catch {
    // Not started yet, or just killed: the caller waits for it with a deadline.
    return undefined;
  }
}

/** The TLS certificate that the API of `hello` brings along, as an operator would place it. */
async function ownCertificate(dir: string, hostname: string): Promise<void> {
  const ca = await ensureLocalCa(join(dir, 'ca'), 'demo service', Date.now());
  if (ca.kind !== 'ok') throw new Error(ca.why);
  const key = makeKey();
  await writeFile(join(dir, 'cert.pem'), await ca.value.issue(hostname, key, Date.now()));
  await writeFile(join(dir, 'key.pem'), pemOfKey(key), { mode: 0o600 });
}

function startChild(
  command: string,
  config: string,
  logs: string,
  children: Set<ChildProcess>,
): ChildProcess {
  const log = createWriteStream(join(logs, `${command}.log`), { flags: 'a' });
  const program = process.argv[1] ?? '';
  const child = spawn(process.execPath, [...process.execArgv, program, command, '--config', config], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: withoutSettings(process.env),
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  children.add(child);
  child.once('exit', () => {
    children.delete(child);
    log.end();
  });
  return child;
}

/** Settings of this machine's own agent, in the environment, are not meant for the demo's. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('MC_GITOPS_')));
}

/** Asks a process to end, waits for it, and insists after 10 s. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const insist = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(insist);
}

function settingsOf(
  dir: string,
  instance: string,
  gitUrl: string,
  socket: string,
  listeners: readonly number[],
  port: number,
): string {
  return stringifyToml({
    node: 'rift',
    instance,
    source: { urls: [`${gitUrl}/definitions.git`], branch: 'main', poll: '*/1 * * * * *' },
    database: { path: join(dir, 'data', 'registry.db') },
    server: { listen_addr: `127.0.0.1:${port}` },
    engine: { socket },
    defaults: { network: `mcg-${instance}` },
    build: { workspace: join(dir, 'src') },
    mcproxy: {
      driver: 'file',
      listeners: listeners.map((listener) => `127.0.0.1:${listener}`),
      table: join(dir, 'data', 'routes.toml'),
      status_socket: join(dir, 'proxy.sock'),
      cert_dir: join(dir, 'certs'),
    },
    certs: { driver: 'local' },
    deploy: { timeout_s: 20, stable_for_s: 2, stop_timeout_s: 5 },
    policy: { mounts: [join(dir, 'srv', '{service}')], networks: [`mcg-${instance}`, 'none'] },
  });
}

/** Free ports of loopback, all different: held at the same time, then let go. */
async function freePorts(): Promise<[number, number, number]> {
  const servers = await Promise.all(
    Array.from({ length: 3 }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => {
    const address = server.address();
    return address === null || typeof address === 'string' ? 0 : address.port;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  const [a = 0, b = 0, c = 0] = ports;
  return [a, b, c];
}
