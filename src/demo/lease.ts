import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { keeperModule, keeperSocket, type KeeperLine } from './keeper.ts';

export interface EngineLease {
  readonly socketPath: string;
  /** Gives the engine back; when we were the last one it is gone, with all it made, when this resolves. */
  readonly stop: () => Promise<void>;
}

/**
 * Holds the engine `name` of this machine, and starts it when nobody holds it yet (`modulePath` exports `startEngine`,
 * see keeper.ts). Rejects when it does not start within `timeoutMs`; the message says why.
 */
export async function leaseEngine(
  name: string,
  modulePath: string,
  timeoutMs = 90_000,
): Promise<EngineLease> {
  const deadline = performance.now() + timeoutMs;
  let spawned = -Infinity;
  while (performance.now() < deadline) {
    const socket = await connect(name);
    if (socket === undefined) {
      // The first start is at once; another only when a keeper that was found is ending, or has died.
      if (performance.now() - spawned > 5_000) {
        spawnKeeper(name, modulePath);
        spawned = performance.now();
      }
      await delay(25);
      continue;
    }
    const lease = await awaitReady(socket);
    if (lease !== undefined) return lease;
    spawned = -Infinity;
  }
  throw new Error(`the engine ${name} was not there within ${timeoutMs} ms`);
}

function connect(name: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(keeperSocket(name));
    socket.once('connect', () => resolve(socket));
    socket.once('error', () => resolve(undefined));
  });
}

function spawnKeeper(name: string, modulePath: string): void {
  // From source the keeper needs the loader that this process itself was started with.
  const loader = modulePath.endsWith('.ts')
    ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href]
    : [];
  spawn(process.execPath, [...loader, keeperModule, name, modulePath], {
    detached: true,
    stdio: 'ignore',
    cwd: '/',
    // Options with a relative import would not be found from there.
    env: { ...process.env, NODE_OPTIONS: '' },
  }).unref();
}

/** The lease when the engine is ready, undefined when this keeper is ending and another has to be asked. */
async function awaitReady(socket: Socket): Promise<EngineLease | undefined> {
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const next = async (): Promise<KeeperLine | undefined> => {
    const { value } = (await lines.next()) as { value?: string };
    return value === undefined ? undefined : (JSON.parse(value) as KeeperLine);
  };
  const first = await next();
  if (first?.is === 'failed') {
    socket.destroy();
    throw new Error(first.why);
  }
  if (first?.is !== 'ready') {
    socket.destroy();
    return undefined;
  }
  if (!isOurs(first.socketPath)) {
    socket.destroy();
    throw new Error(`the engine socket ${first.socketPath} is not in a directory of our own: it is not used`);
  }
  // A lease alone does not keep a program running.
  socket.unref();
  const stop = async (): Promise<void> => {
    if (socket.destroyed) return;
    socket.ref();
    socket.write('release\n');
    while ((await next()) !== undefined);
  };
  return { socketPath: first.socketPath, stop };
}

/** Any user may take an abstract socket's name: only an engine below a directory that we made ourselves is believed. */
function isOurs(socketPath: string): boolean {
  const [folder] = relative(tmpdir(), socketPath).split(sep);
  return (
    folder !== undefined && statSync(join(tmpdir(), folder)).uid === process.getuid?.() && folder !== '..'
  );
}
