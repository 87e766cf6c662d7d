import { execFile, spawn } from 'node:child_process';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { AddressInfo } from 'node:net';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { startGitServer } from '../../src/demo/gitserver.ts';
import { openSource, type Source } from '../../src/source/source.ts';
import type { SourceSettings } from '../../src/source/types.ts';

const run = promisify(execFile);

/** `git` with a fixed identity and without the machine's settings. */
export async function git(cwd: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('git', args, {
    cwd,
    maxBuffer: 1 << 28,
    env: {
      PATH: process.env.PATH,
      HOME: cwd,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'Ada',
      GIT_AUTHOR_EMAIL: 'ada@example.org',
      GIT_COMMITTER_NAME: 'Ada',
      GIT_COMMITTER_EMAIL: 'ada@example.org',
    },
  });
  return stdout.trim();
}

async function gitBytes(cwd: string, args: string[], input = Buffer.alloc(0)): Promise<Buffer> {
  const child = spawn('git', args, { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  // What reads nothing may be gone before anything is written to it: its exit code tells, not the broken pipe.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const code = await new Promise((done) => child.on('close', done));
  if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${String(code)}`);
  return Buffer.concat(parts);
}

export interface Repository {
  /** Folder that holds `repo.git`, the bare repository. */
  readonly root: string;
  readonly bare: string;
  readonly work: string;
  /** Writes files (undefined removes one), commits and pushes `main`; the new commit's id. */
  push(files: Record<string, string | undefined>, message?: string): Promise<string>;
  git(...args: string[]): Promise<string>;
  /** As `git`, with something to read on its standard input. */
  gitInput(args: string[], input: string): Promise<string>;
  /** A copy of `tree` in which one folder also has entries of names that git itself would refuse. */
  tree(tree: string, folder: string, names: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

export async function makeRepository(initArgs: readonly string[] = []): Promise<Repository> {
  const root = await mkdtemp(join(tmpdir(), 'mc-source-'));
  const bare = join(root, 'repo.git');
  const work = join(root, 'work');
  await git(root, 'init', '--quiet', '--bare', '--initial-branch=main', ...initArgs, bare);
  await git(bare, 'config', 'http.receivepack', 'true');
  await git(bare, 'config', 'uploadpack.allowAnySHA1InWant', 'true');
  await git(root, 'init', '--quiet', '--initial-branch=main', ...initArgs, work);
  await git(work, 'remote', 'add', 'origin', bare);
  return {
    root,
    bare,
    work,
    git: (...args) => git(work, ...args),
    gitInput: async (args, input) => (await gitBytes(work, args, Buffer.from(input))).toString().trim(),
    async tree(tree, folder, names) {
      const blob = await git(work, 'rev-parse', `${tree}:services/good.toml`);
      const old = await gitBytes(work, ['cat-file', 'tree', `${tree}:${folder}`]);
      const more = names.map((name) =>
        Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(blob, 'hex')]),
      );
      const inner = await gitBytes(
        work,
        ['hash-object', '-t', 'tree', '-w', '--literally', '--stdin'],
        Buffer.concat([...more, old]),
      );
      return (
        await gitBytes(work, ['mktree'], Buffer.from(`040000 tree ${inner.toString().trim()}\t${folder}\n`))
      )
        .toString()
        .trim();
    },
    async push(files, message = 'change') {
      for (const [path, text] of Object.entries(files)) {
        const full = join(work, path);
        await mkdir(dirname(full), { recursive: true });
        if (text === undefined) await rm(full);
        else await writeFile(full, text);
      }
      await git(work, 'add', '-A');
      await git(work, 'commit', '--quiet', '--allow-empty', '-m', message);
      await git(work, 'push', '--quiet', '--force', 'origin', 'HEAD:main');
      return git(work, 'rev-parse', 'HEAD');
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
}

export interface GitHost {
  readonly url: string;
  readonly port: number;
  /** Requests since the start, as `GET /repo.git/info/refs`. */
  readonly requests: string[];
  /** May answer in git's place (true), wait, or change the answer's bytes. */
  intercept: ((req: IncomingMessage, res: ServerResponse) => boolean | Promise<boolean>) | undefined;
  change: ((req: IncomingMessage, body: Buffer) => Buffer) | undefined;
  close(): Promise<void>;
}

/** Serves every repository below `root`: the git server of the demo, behind a relay that can be made to misbehave. */
export async function serveGit(root: string, port = 0): Promise<GitHost> {
  const inner = await startGitServer({ root });
  const host: { -readonly [K in keyof GitHost]: GitHost[K] } = {
    url: '',
    port: 0,
    requests: [],
    intercept: undefined,
    change: undefined,
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await Promise.all([closed, inner.stop()]);
    },
  };
  const server = createServer((req, res) => {
    host.requests.push(`${req.method ?? ''} ${(req.url ?? '').split('?')[0] ?? ''}`);
    void (async () => {
      if ((await host.intercept?.(req, res)) === true) return;
      const answer = await forward(inner.url, req);
      const body = host.change?.(req, answer.body) ?? answer.body;
      res.writeHead(answer.status, { ...answer.headers, 'content-length': body.length });
      res.end(body);
    })().catch(() => res.destroy());
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  host.port = (server.address() as AddressInfo).port;
  host.url = `http://127.0.0.1:${host.port}/repo.git`;
  return host;
}

interface Forwarded {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

function forward(to: string, req: IncomingMessage): Promise<Forwarded> {
  return new Promise((resolve, reject) => {
    const onward = request(
      `${to}${req.url ?? ''}`,
      { method: req.method, headers: req.headers, agent: false },
      (res) => {
        const headers: Forwarded['headers'] = { ...res.headers };
        delete headers['transfer-encoding'];
        delete headers.connection;
        const parts: Buffer[] = [];
        res.on('data', (part: Buffer) => parts.push(part));
        res.on('error', reject);
        res.on('end', () => resolve({ status: res.statusCode ?? 502, headers, body: Buffer.concat(parts) }));
      },
    );
    onward.on('error', reject);
    req.pipe(onward);
  });
}

export interface Opened {
  readonly source: Source;
  readonly settings: SourceSettings;
  /** Everything that was logged. */
  readonly lines: string[];
  /** The same settings and data directory, as after a restart. */
  readonly again: (changes?: Partial<SourceSettings>) => Source;
}

export function openTestSource(
  urls: string[],
  dataDir: string,
  changes: Partial<SourceSettings> = {},
  clock: Clock = systemClock,
): Opened {
  const settings: SourceSettings = {
    urls,
    path: '',
    deadlineMs: 20_000,
    maxFiles: 20_000,
    maxFileBytes: 256 * 1024,
    maxTotalBytes: 64 * 1024 * 1024,
    dataDir,
    ...changes,
  };
  const lines: string[] = [];
  const log = makeLog('debug', { write: (line) => void lines.push(line) });
  return {
    source: openSource(settings, log, clock),
    settings,
    lines,
    again: (more = {}) => openSource({ ...settings, ...more }, log, clock),
  };
}
