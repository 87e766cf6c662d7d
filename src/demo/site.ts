import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { httpRequest } from '../base/http.ts';
import { stringifyToml } from '../base/toml.ts';
import { makeKey, pemOfKey } from '../node/certs/localca.ts';
import type { View } from '../report/types.ts';
import { selfSigned } from './selfsigned.ts';
import { startGitServer, type GitServer } from './gitserver.ts';
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
  readonly definitions: Repository;
  readonly hello: Repository;
  readonly docs: Repository;
  /** The text of an example definition, as it is for this site. */
  definition(service: string, change?: (text: string) => string): Promise<string>;
  /** Commits to the definitions repository and pushes it to the git server, as an operator would. */
  push(message: string, files: Readonly<Record<string, string | undefined>>): Promise<string>;
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
  const [webPort, apiPort, freePort] = await freePorts(3);
  const port = options.dashboardPort === 0 ? freePort : options.dashboardPort;
  for (const part of ['git', 'src', 'operator', 'data', 'certs', 'srv/hello/certs', 'logs']) await mkdir(join(dir, part), { recursive: true });
  const server = await startGitServer({ root: join(dir, 'git') });
  await makeRepository(join(dir, 'git', 'definitions.git'));
  const definitions = await makeRepository(join(dir, 'operator', 'definitions.git'));
  const hello = await makeRepository(join(dir, 'src', 'hello'));
  const docs = await makeRepository(join(dir, 'src', 'docs'));
  const images = `localhost/mcg-${instance}`;
  const baseImage = `${images}/node:v1.0.0`;
  await hello.commit(sourceFiles(baseImage, 'hello'), { message: 'hello' });
  await docs.commit(sourceFiles(baseImage, 'docs'), { message: 'docs' });
  await selfSigned(join(dir, 'srv/hello/certs'), `hello.${SUFFIX}`, makeKey, pemOfKey);
  const config = join(dir, 'mc-gitops.toml');
  await writeFile(config, settingsOf(dir, instance, server.url, options.socketPath, [webPort, apiPort], port));
  return new DemoSite({ dir, instance, webPort, apiPort, port, baseImage, images, definitions, hello, docs, server, config });
}

interface Parts {
  readonly dir: string;
  readonly instance: string;
  readonly webPort: number;
  readonly apiPort: number;
  readonly port: number;
  readonly baseImage: string;
  readonly images: string;
  readonly definitions: Repository;
  readonly hello: Repository;
  readonly docs: Repository;
  readonly server: GitServer;
  readonly config: string;
}

class DemoSite implements Site {
  readonly dir: string;
  readonly instance: string;
  readonly owner: string;
  readonly webPort: number;
  readonly apiPort: number;
  readonly dashboard: string;
  readonly baseImage: string;
  readonly images: string;
  readonly definitions: Repository;
  readonly hello: Repository;
  readonly docs: Repository;
  readonly #parts: Parts;
  readonly #children = new Set<ChildProcess>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.dir = parts.dir;
    this.instance = parts.instance;
    this.owner = `rift/${parts.instance}`;
    this.webPort = parts.webPort;
    this.apiPort = parts.apiPort;
    this.dashboard = `http://127.0.0.1:${parts.port}`;
    this.baseImage = parts.baseImage;
    this.images = parts.images;
    this.definitions = parts.definitions;
    this.hello = parts.hello;
    this.docs = parts.docs;
  }

  async definition(service: string, change: (text: string) => string = (text) => text): Promise<string> {
    const text = await readFile(new URL(`${service}.toml`, EXAMPLES), 'utf8');
    // This machine's free ports for the proxy's, images that stay local, and a directory of our own for /srv.
    return change(
      text
        .replaceAll('mcr.svc.mcp.metacircular.net:8443', this.images)
        .replaceAll('port = 443\n', `port = ${this.webPort}\n`)
        .replaceAll('port = 8443\n', `port = ${this.apiPort}\n`)
        .replaceAll(`"/srv/${service}:`, `"${join(this.dir, 'srv', service)}:`),
    );
  }

  async push(message: string, files: Readonly<Record<string, string | undefined>>): Promise<string> {
    const commit = await this.definitions.commit(files, { message });
    await this.definitions.push(`${this.#parts.server.url}/definitions.git`, 'main');
    return commit;
  }

  startAgent(): ChildProcess {
    return this.#start('agent');
  }

  startProxy(): ChildProcess {
    return this.#start('proxy');
  }

  async view(): Promise<View | undefined> {
    try {
      const url = `${this.dashboard}/api/v1/status`;
      const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 64 * 1024 * 1024 });
      return answer.status === 200 ? (JSON.parse(Buffer.from(answer.body).toString('utf8')) as View) : undefined;
    } catch {
      // Not started yet, or just killed: the caller waits for it with a deadline.
      return undefined;
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#children].map(end));
    await this.#parts.server.stop();
    await rm(this.dir, { recursive: true, force: true });
  }

  #start(command: string): ChildProcess {
    const program = process.argv[1] ?? '';
    const log = createWriteStream(join(this.dir, 'logs', `${command}.log`), { flags: 'a' });
    const child = spawn(process.execPath, [...process.execArgv, program, command, '--config', this.#parts.config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#children.add(child);
    child.once('exit', () => {
      this.#children.delete(child);
      log.end();
    });
    return child;
  }
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

function settingsOf(dir: string, instance: string, gitUrl: string, socket: string, listeners: readonly number[], port: number): string {
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
    deploy: { stable_for_s: 2, stop_timeout_s: 5 },
    policy: { mounts: [join(dir, 'srv', '{service}')], networks: [`mcg-${instance}`, 'none'] },
  });
}

/** Free ports of loopback, all different: held at the same time, then let go. */
async function freePorts(count: number): Promise<[number, number, number]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
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
