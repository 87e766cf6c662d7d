import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringifyToml } from '../../src/base/toml.ts';
import { makeRepository } from '../../src/demo/repository.ts';
import { parseSettings, type Settings } from '../../src/settings.ts';
import { World } from '../support/world.ts';
import { nodeOf } from '../support/worldnode.ts';
import { timed, type Bench } from './bench.ts';
import { askChild, residentMiB } from './child.ts';
import { passRows } from './fleet.ts';
import { openRooms, type PassTimes } from './rooms.ts';
import type { Row } from './table.ts';

const SIZE = 500;
const PASSES = 30;
const COMMITS = 5;
const LISTENER = 8443;

interface WorldTimes {
  readonly passes: readonly PassTimes[];
  /** A pass whose commit is new but changes no service: all files read, resolved, and compared. */
  readonly newCommitMs: readonly number[];
  readonly convergeMs: number;
  readonly residentMiB: number;
}

const known = new WeakMap<Bench, Promise<WorldTimes>>();

/** 500 services: git, definitions, registry, plan and execute are real; engine, proxy and certificates are in memory. */
export async function measureWorldPass(bench: Bench): Promise<Row[]> {
  const { passes, newCommitMs, convergeMs } = await timesOf(bench);
  const note = 'engine, proxy and certificates IN MEMORY; registry, git, definitions, plan real';
  return [
    ...passRows('pass', SIZE, passes, note),
    {
      bench: 'pass',
      what: `  ${SIZE}: after a commit that changes no service`,
      unit: 'ms',
      values: newCommitMs,
      note: `poll, ${SIZE} files read and resolved, accepted, planned; engine in memory`,
    },
    {
      bench: 'pass',
      what: `  ${SIZE}: from nothing to converged`,
      unit: 's',
      values: [convergeMs / 1000],
      note: 'the agent’s own time: journal, registry, plans; engine in memory',
    },
  ];
}

export async function measureWorldMemory(bench: Bench): Promise<Row[]> {
  const times = await timesOf(bench);
  return [
    {
      bench: 'memory',
      what: `rooms with ${SIZE} services, resident`,
      unit: 'MiB',
      values: [times.residentMiB],
      note: 'engine IN MEMORY in the same process; from TypeScript, without dashboard',
    },
  ];
}

/** In the child process. */
export async function runWorld(): Promise<WorldTimes> {
  const dir = await mkdtemp(join(tmpdir(), 'mcg-world-'));
  try {
    return await measureIn(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function timesOf(bench: Bench): Promise<WorldTimes> {
  const before = known.get(bench);
  if (before !== undefined) return before;
  bench.say(`${SIZE} services in memory`);
  const times = askChild<WorldTimes>(bench, 'world', undefined, 240_000);
  known.set(bench, times);
  return times;
}

async function measureIn(dir: string): Promise<WorldTimes> {
  await mkdir(join(dir, 'data'));
  const repository = await makeRepository(join(dir, 'definitions.git'));
  const files = Object.fromEntries(
    Array.from({ length: SIZE }, (_, index) => {
      const name = `svc${String(index).padStart(3, '0')}`;
      return [`services/${name}.toml`, definition(name)];
    }),
  );
  await repository.commit(files);
  const world = new World();
  const rooms = openRooms(settingsIn(dir, repository.path), () => nodeOf(world));
  try {
    for (let i = 0; i < SIZE; i += 1) {
      world.present(`mcr.example.net/svc${String(i).padStart(3, '0')}:v1.0.0`);
    }
    const { ms: convergeMs } = await timed(() => rooms.settle());
    const services = rooms.memory.seen?.observed.engine;
    const count = services?.known === true ? services.value.containers.length : 0;
    if (count !== SIZE) throw new Error(`${count} of ${SIZE} services were made`);
    const passes: PassTimes[] = [];
    for (let i = 0; i < PASSES; i += 1) passes.push(await rooms.pass());
    const newCommitMs: number[] = [];
    for (let i = 0; i < COMMITS; i += 1) {
      await repository.commit({ 'README.md': `change ${i}\n` });
      const { ms } = await timed(async () => {
        await rooms.pass('git');
        await rooms.memory.polling;
        const { steps } = await rooms.pass();
        if (steps > 0) throw new Error('a commit that changes no service took a step');
      });
      newCommitMs.push(ms);
    }
    return { passes, newCommitMs, convergeMs, residentMiB: residentMiB(process.pid) };
  } finally {
    await rooms.close();
  }
}

function definition(name: string): string {
  return `name = "${name}"
node = "n1"

[[components]]
name = "${name}"
image = "mcr.example.net/${name}:v1.0.0"
env = ["A=1", "B=2", "C=3"]
volumes = ["/srv/${name}:/srv/${name}"]

[[components.routes]]
port = ${LISTENER}
mode = "l7"
`;
}

function settingsIn(dir: string, repository: string): Settings {
  const text = stringifyToml({
    node: 'n1',
    source: { urls: [repository], branch: 'main' },
    database: { path: join(dir, 'data', 'registry.db') },
    mcproxy: {
      driver: 'file',
      listeners: [`127.0.0.1:${LISTENER}`],
      table: join(dir, 'routes.toml'),
      status_socket: join(dir, 'proxy.sock'),
      cert_dir: join(dir, 'certs'),
    },
    certs: { driver: 'local' },
  });
  const parsed = parseSettings(text, 'bench settings', {});
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  return parsed.value;
}
