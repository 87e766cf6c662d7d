import { readFile, realpath } from 'node:fs/promises';
import Dockerode from 'dockerode';
import { pack } from 'tar-stream';
import { run } from '../../src/demo/process.ts';
import type { TestEngine } from './engines.ts';

/** A file of an image or a build context: text or bytes, `link` for a symbolic link. */
type ImageFile = string | Uint8Array | { readonly link: string };

export interface ImageOptions {
  /** More files of the image, by absolute path. */
  readonly files?: Readonly<Record<string, ImageFile>>;
  readonly cmd?: readonly string[];
  /** Lines of the Dockerfile after the others: `ENV A=b`, `LABEL …`, `USER …`, `VOLUME …`. */
  readonly lines?: readonly string[];
}

/** Images that a test or the demo can do without any registry: each is `FROM scratch` and what this machine has. */
export async function buildBusyboxImage(
  engine: Pick<TestEngine, 'socketPath'>,
  tag: string,
  options: ImageOptions = {},
): Promise<void> {
  const busybox = await readFile('/bin/busybox');
  const applets = APPLETS.map((name) => [`/bin/${name}`, { link: 'busybox' }] as const);
  await buildImage(engine, tag, 'scratch', {
    cmd: ['sleep', '1000000'],
    ...options,
    files: { '/bin/busybox': busybox, ...Object.fromEntries(applets), ...options.files },
  });
}

/** An image that runs `serverJs` (CommonJS) with this machine's own node; see `testServerJs`. */
export async function buildNodeImage(
  engine: Pick<TestEngine, 'socketPath'>,
  tag: string,
  serverJs: string = testServerJs,
  options: ImageOptions = {},
): Promise<void> {
  await nodeBase(engine);
  await buildImage(engine, tag, NODE_BASE, {
    cmd: ['/bin/node', '/server.cjs'],
    ...options,
    files: { '/server.cjs': serverJs, ...options.files },
  });
}

/**
 * Serves every port in `PORT` and `PORT_<NAME>`; each answer is JSON `{ version, port, name, method, url, headers }`.
 * `TLS_CERT` and `TLS_KEY` (paths) make it speak TLS on the ports that `TLS_PORTS` names (`PORT,PORT_API`), or on all.
 * `BEHAVIOUR`: `silent` listens nowhere, `loopback` on 127.0.0.1 inside only, `hang` accepts and never answers,
 * `exit` ends at once with code 1, `exit:<ms>` later, `slow:<ms>` listens later. TERM ends it at once.
 */
export const testServerJs = `
const http = require('node:http'), https = require('node:https'), fs = require('node:fs');
const { env } = process;
const behaviour = env.BEHAVIOUR || '';
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
if (behaviour === 'exit') { console.error('this container ends by itself'); process.exit(1); }
setInterval(() => {}, 1e6);
const tls = env.TLS_CERT ? { cert: fs.readFileSync(env.TLS_CERT), key: fs.readFileSync(env.TLS_KEY) } : undefined;
const start = () => {
  const seen = new Set();
  for (const name of Object.keys(env)) {
    if (!/^PORT(_|$)/.test(name) || seen.has(env[name])) continue;
    seen.add(env[name]);
    const port = Number(env[name]);
    const answer = (req, res) => {
      if (behaviour === 'hang') return;
      res.writeHead(200, { 'content-type': 'application/json' });
      res.end(JSON.stringify({ version: env.VERSION || '', port, name, method: req.method, url: req.url, headers: req.headers }) + '\\n');
    };
    const secure = tls && (!env.TLS_PORTS || env.TLS_PORTS.split(',').includes(name));
    const server = secure ? https.createServer(tls, answer) : http.createServer(answer);
    server.listen(port, behaviour === 'loopback' ? '127.0.0.1' : '0.0.0.0', () => console.log('listening on ' + port));
  }
};
if (behaviour.startsWith('slow:')) setTimeout(start, Number(behaviour.slice(5)));
else if (behaviour.startsWith('exit:')) setTimeout(() => process.exit(1), Number(behaviour.slice(5)));
else if (behaviour !== 'silent') start();
`;

/** Builds an image from a base and files, without any RUN; rejects with the engine's own words when it does not build. */
async function buildImage(
  engine: Pick<TestEngine, 'socketPath'>,
  tag: string,
  base: string,
  options: ImageOptions,
): Promise<void> {
  const dockerfile = [
    `FROM ${base}`,
    'COPY root/ /',
    'ENV PATH=/bin',
    ...(options.cmd === undefined ? [] : [`CMD ${JSON.stringify(options.cmd)}`]),
    ...(options.lines ?? []),
  ].join('\n');
  const context = pack();
  context.entry({ name: 'Dockerfile' }, `${dockerfile}\n`);
  for (const [path, file] of Object.entries(options.files ?? {})) {
    const name = `root${path}`;
    if (typeof file === 'string') context.entry({ name, mode: 0o755 }, file);
    else if (file instanceof Uint8Array) context.entry({ name, mode: 0o755 }, Buffer.from(file));
    else context.entry({ name, type: 'symlink', linkname: file.link });
  }
  context.finalize();
  const docker = new Dockerode({ socketPath: engine.socketPath });
  const stream = await docker.buildImage(context as unknown as NodeJS.ReadableStream, {
    t: tag,
    forcerm: true,
    q: true,
  });
  const items = await new Promise<{ error?: string }[]>((resolve, reject) => {
    docker.modem.followProgress(stream, (error, found) =>
      error ? reject(error) : resolve(found as { error?: string }[]),
    );
  });
  // Podman does not reject a failed build: the last item says it.
  const failed = items.find((item) => item.error !== undefined);
  if (failed !== undefined) throw new Error(`${tag} was not built: ${failed.error ?? ''}`);
}

const APPLETS = [
  'sh',
  'ash',
  'sleep',
  'httpd',
  'nc',
  'cat',
  'echo',
  'ls',
  'ps',
  'kill',
  'wget',
  'nslookup',
  'true',
  'false',
  'id',
  'touch',
  'mkdir',
  'env',
  'hostname',
  'nproc',
  'date',
  'dd',
  'yes',
  'test',
  'printf',
  'ping',
  'ip',
  'netstat',
  'stat',
  'head',
  'tail',
  'grep',
  'rm',
  'mount',
  'df',
];
const NODE_BASE = 'localhost/mc-gitops-test-node:v1.0.0';
const bases = new Map<string, Promise<void>>();

/** node is 100 MB: its layer is built once an engine. */
function nodeBase(engine: Pick<TestEngine, 'socketPath'>): Promise<void> {
  const known = bases.get(engine.socketPath);
  if (known !== undefined) return known;
  const built = buildNodeBase(engine);
  bases.set(engine.socketPath, built);
  return built;
}

async function buildNodeBase(engine: Pick<TestEngine, 'socketPath'>): Promise<void> {
  const images = await new Dockerode({ socketPath: engine.socketPath }).listImages({
    filters: { reference: [NODE_BASE] },
  });
  // Another run on the same engine has built it.
  if (images.length > 0) return;
  const { stdout } = await run('ldd', [process.execPath]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  const files: Record<string, ImageFile> = { '/bin/node': await readFile(process.execPath) };
  for (const path of libraries) files[path] = await readFile(await realpath(path));
  await buildImage(engine, NODE_BASE, 'scratch', { files });
}
