import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pack } from 'tar-stream';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { callEngine } from '../../src/demo/socket.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { ContainerSpec, ObservedContainer } from '../../src/node/types.ts';

/** What one engine's tests share: the engine, an owner of their own, and names that nobody else uses. */
export interface Kit {
  readonly socketPath: string;
  readonly engine: Engine;
  readonly owner: string;
  readonly mark: string;
  readonly image: string;
  readonly network: string;
  readonly directory: string;
  open(owner: string, socketPath?: string, callDeadlineMs?: number): Promise<Engine>;
  spec(name: string, changes?: Partial<ContainerSpec>): ContainerSpec;
  container(name: string, engine?: Engine): Promise<ObservedContainer | undefined>;
  /** Removes containers, networks and volumes with its mark, its image, and the images named. */
  clean(...images: string[]): Promise<void>;
}

export async function makeKit(socketPath: string): Promise<Kit> {
  const mark = randomBytes(3).toString('hex');
  const owner = `test/${mark}`;
  const network = `net-${mark}`;
  const image = `mc/box-${mark}:v1.0.0`;
  const opened: Engine[] = [];
  const open = async (of: string, socket = socketPath, callDeadlineMs = 30_000): Promise<Engine> => {
    const log = makeLog('silent');
    const engine = valueOf(await openEngine({ socket, owner: of, callDeadlineMs, log }));
    opened.push(engine);
    return engine;
  };
  const engine = await open(owner);
  const directory = mkdtempSync(join(tmpdir(), 'mcg-engine-'));
  // The user of a rootless engine must reach it too.
  chmodSync(directory, 0o755);
  valueOf(await buildBox(engine, image, boxDockerfile()));
  valueOf(await engine.createNetwork(network));
  return {
    ...{ socketPath, engine, owner, mark, image, network, directory, open },
    spec: (name, changes = {}) => {
      const plain: ContainerSpec = {
        ...{ owner, service: name, component: name, name: `${name}-${mark}`, image },
        ...{ env: [], agentEnv: [], mounts: [], networks: [], restart: 'no', publish: [], leases: {} },
        ...{ logMaxSize: '10m', logMaxFiles: 3, cmd: ['/bin/busybox', 'sleep', '300'] },
      };
      return { ...plain, ...changes };
    },
    container: async (name, by = engine) =>
      valueOf(await by.facts()).containers.find((one) => one.name === name),
    clean: async (...images) => {
      try {
        await removeMarked(engine, mark, [image, ...images]);
      } finally {
        for (const one of opened) one.close();
        rmSync(directory, { recursive: true, force: true });
      }
    },
  };
}

async function removeMarked(engine: Engine, mark: string, images: readonly string[]): Promise<void> {
  const remove = (path: string): Promise<unknown> => callEngine(engine.socketPath, 'DELETE', path);
  const { containers, networks } = valueOf(await engine.facts());
  const made = containers.filter(({ name }) => name.includes(mark));
  await Promise.all(made.map(({ id }) => remove(`/containers/${id}?force=1&v=1`)));
  // By force: a build that was cut off leaves a working container behind on Podman.
  for (const one of images) await remove(`/images/${one}?force=1`);
  for (const one of networks.filter((name) => name.includes(mark))) await remove(`/networks/${one}`);
  const { Volumes: volumes } = (await callEngine(engine.socketPath, 'GET', '/volumes')) as {
    Volumes: { Name: string }[] | null;
  };
  for (const { Name: one } of volumes ?? []) if (one.includes(mark)) await remove(`/volumes/${one}`);
}

export function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'ok') return outcome.value;
  throw new Error(`${outcome.kind}: ${outcome.why}${outcome.hint === undefined ? '' : ` (${outcome.hint})`}`);
}

/** An image of the machine's static busybox. */
export function boxDockerfile(...more: string[]): string {
  return ['FROM scratch', 'COPY busybox /bin/busybox', ...more, ''].join('\n');
}

export function buildBox(
  engine: Engine,
  reference: string,
  dockerfile: string,
  onProgress: (line: string) => void = () => undefined,
  signal: AbortSignal = AbortSignal.timeout(300_000),
): Promise<Outcome<{ imageId: string }>> {
  return engine.buildImage(boxContext(dockerfile), {
    ...{ reference, dockerfile: 'Dockerfile', buildArgs: { VERSION: 'v1.0.0' }, labels: {} },
    ...{ signal, onProgress },
  });
}

function boxContext(dockerfile: string): Readable {
  const tar = pack();
  tar.entry({ name: 'Dockerfile' }, dockerfile);
  tar.entry({ name: 'busybox', mode: 0o755 }, readFileSync('/bin/busybox'));
  tar.finalize();
  return tar as unknown as Readable;
}

/** A command for the image: a shell script of its busybox. */
export function script(text: string): string[] {
  return ['/bin/busybox', 'sh', '-c', text];
}

export function listen(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

/** An address of this machine that is not on the loopback; undefined on a machine without a network. */
export function outerAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
}

export function isOpen(ip: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** A relay before an engine's socket: it counts calls (each has a connection of its own), can be cut, and can hang. */
export interface Relay {
  readonly path: string;
  calls: number;
  hang: boolean;
  cut(): Promise<void>;
  mend(): Promise<void>;
}

export async function makeRelay(directory: string, target: string): Promise<Relay> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const relay: Relay = {
    path: join(directory, `relay-${randomBytes(3).toString('hex')}.sock`),
    calls: 0,
    hang: false,
    cut: async () => {
      const closed = new Promise((resolve) => server?.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
      if (existsSync(relay.path)) rmSync(relay.path);
    },
    mend: () =>
      new Promise((resolve) => {
        server = createServer((socket) => {
          relay.calls++;
          sockets.add(socket);
          socket.on('error', () => undefined);
          socket.on('close', () => sockets.delete(socket));
          if (relay.hang) return;
          const behind = connect(target);
          sockets.add(behind);
          behind.on('error', () => socket.destroy());
          behind.on('close', () => sockets.delete(behind));
          socket.on('close', () => behind.destroy());
          socket.pipe(behind).pipe(socket);
        }).listen(relay.path, resolve);
      }),
  };
  await relay.mend();
  return relay;
}
