import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringifyToml } from '../../src/base/toml.ts';
import { makeRepository } from '../../src/demo/repository.ts';
import { startProxy } from '../../src/mc-proxy/server.ts';
import { parseSettings } from '../../src/settings.ts';
import { makeLog } from '../../src/base/log.ts';
import { definitionOf, fileProxy } from '../support/agentrig.ts';
import { startFakeEngine } from '../support/fakeengine.ts';
import { freePort } from '../support/ports.ts';
import type { Bench } from './bench.ts';
import { askChild, keepChild } from './child.ts';
import { passRows } from './fleet.ts';
import { openRooms, type PassTimes } from './rooms.ts';
import type { Row } from './table.ts';

const SIZES = [100, 1_000];
const PASSES = 30;
const WARM_UP = 5;
const RESTARTS = 5;
const IMAGE = 'mc/box:v1.0.0';
/** From nothing to 1,000 services, certificates and all. */
const PATIENCE_MS = 600_000;

interface Quiet {
  readonly passes: readonly PassTimes[];
  /** From opening the rooms to the end of the first pass (G16). */
  readonly restartsMs: readonly number[];
}

interface QuietInput {
  readonly size: number;
  readonly socketPath: string;
}

/** Everything of the agent is real, and so is the proxy; the engine is a fake one in a process of its own, on a socket. */
export async function measureQuietPass(bench: Bench): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of SIZES) {
    bench.say(`${size} services with a fake engine on a socket`);
    const dir = await mkdtemp(join(tmpdir(), 'mcg-quiet-'));
    bench.onEnd(() => rm(dir, { recursive: true, force: true }));
    const socketPath = join(dir, 'engine.sock');
    await keepChild(bench, 'fakeengine', socketPath, 10_000);
    const { passes, restartsMs } = await askChild<Quiet>(bench, 'quiet', { size, socketPath }, PATIENCE_MS);
    const note = 'fake engine on a socket, in a process of its own; registry, git, proxy real';
    rows.push(...passRows('quiet', size, passes, note), {
      bench: 'quiet',
      what: `  ${size}: agent started again → end of its first pass`,
      unit: 'ms',
      values: restartsMs,
      note: '0 steps, no container and no route touched; without the start of the process',
    });
  }
  return rows;
}

/** In a child process, until the bench ends. */
export async function runFakeEngine(socketPath: string): Promise<true> {
  const fake = await startFakeEngine(socketPath, { answers: true });
  fake.addImage(IMAGE);
  return true;
}

/** In another. */
export async function runQuiet({ size, socketPath }: QuietInput): Promise<Quiet> {
  const dir = await mkdtemp(join(tmpdir(), 'mcg-rooms-'));
  try {
    return await measureIn(dir, size, socketPath);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function measureIn(dir: string, size: number, socketPath: string): Promise<Quiet> {
  for (const part of ['data', 'certs']) await mkdir(join(dir, part));
  const webPort = await freePort();
  const repository = await makeRepository(join(dir, 'definitions.git'));
  const names = Array.from({ length: size }, (_, index) => `svc${String(index).padStart(4, '0')}`);
  const more = 'cmd = ["/serve"]\nenv = ["A=1", "B=2", "C=3"]';
  await repository.commit(
    Object.fromEntries(
      names.map((name) => [`services/${name}.toml`, definitionOf({ webPort }, name, IMAGE, more)]),
    ),
  );
  const text = stringifyToml({
    node: 'n1',
    source: { urls: [repository.path], branch: 'main' },
    database: { path: join(dir, 'data', 'registry.db') },
    engine: { socket: socketPath },
    mcproxy: fileProxy(dir, webPort),
    certs: { driver: 'local' },
    deploy: { stable_for_s: 0.2, timeout_s: 600 },
  });
  const parsed = parseSettings(text, 'bench settings', {});
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  const { mcproxy } = parsed.value;
  const log = makeLog('silent');
  const proxy = await startProxy({ tablePath: mcproxy.table, statusSocketPath: mcproxy.status_socket, log });
  if (proxy.kind !== 'ok') throw new Error(proxy.why);
  let rooms = openRooms(parsed.value);
  try {
    await rooms.settle(PATIENCE_MS);
    const { engine } = rooms.memory.seen?.observed ?? {};
    const count = engine?.known === true ? engine.value.containers.length : 0;
    if (count !== size) throw new Error(`${count} of ${size} services were made`);
    for (let i = 0; i < WARM_UP; i += 1) await rooms.pass();
    const passes: PassTimes[] = [];
    for (let i = 0; i < PASSES; i += 1) {
      const times = await rooms.pass();
      if (times.steps > 0) throw new Error('a pass over a quiet node took a step');
      passes.push(times);
    }
    const table = await readFile(mcproxy.table, 'utf8');
    const restartsMs: number[] = [];
    for (let i = 0; i < RESTARTS; i += 1) {
      await rooms.close();
      const begun = performance.now();
      rooms = openRooms(parsed.value);
      const { steps } = await rooms.pass('start');
      restartsMs.push(performance.now() - begun);
      if (steps > 0) throw new Error('an agent that was started again took a step');
      await rooms.settle(PATIENCE_MS);
    }
    if ((await readFile(mcproxy.table, 'utf8')) !== table) throw new Error('a restart changed the routes');
    return { passes, restartsMs };
  } finally {
    await rooms.close();
    await proxy.value.close();
  }
}
