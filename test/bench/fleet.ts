import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { httpRequest } from '../../src/base/http.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import type { View } from '../../src/report/types.ts';
import type { Settings } from '../../src/settings.ts';
import { definitionOf, makeAgentRig, type AgentRig } from '../support/agentrig.ts';
import { until } from '../support/until.ts';
import { containersOf, makeNetwork, removeContainers, runAlone } from './alone.ts';
import { inParallel, timed, type Bench } from './bench.ts';
import { programName, startAgentProcess } from './child.ts';
import { openRooms, type PassTimes } from './rooms.ts';
import type { Row } from './table.ts';

const NEW = 50;
const MANY = 100;
const PARALLEL = 4;
const PASSES = 30;
const WARM_UP = 5;
const POLL = '*/30 * * * * *';
/** Long enough for what was needed to converge to be let go of. */
const REST_MS = 5_000;

/** What one growing node gave: 1 service, then 50 more at once, then 100 in all. */
interface Fleet {
  readonly convergeMs: number;
  readonly aloneMs: number;
  readonly passes: ReadonlyMap<number, readonly PassTimes[]>;
  readonly afterEvent: ReadonlyMap<number, readonly number[]>;
  readonly resident: ReadonlyMap<number, number>;
}

const fleets = new WeakMap<Bench, Promise<Fleet>>();

export async function measureConverge(bench: Bench): Promise<Row[]> {
  const { convergeMs, aloneMs } = await fleetOf(bench);
  return [
    {
      bench: 'converge',
      what: `${NEW} new services: push → all converged`,
      unit: 's',
      values: [convergeMs / 1000],
      note: `real Docker, busybox, l7 route each, deploy.parallel = ${PARALLEL}; images there`,
    },
    {
      bench: 'converge',
      what: `engine alone: ${NEW} × create + start → answer`,
      unit: 's',
      values: [aloneMs / 1000],
      note: `dockerode, ${PARALLEL} at a time, same image and network`,
    },
  ];
}

export async function measurePass(bench: Bench): Promise<Row[]> {
  const { passes, afterEvent } = await fleetOf(bench);
  return [...passes].flatMap(([size, times]) => [
    ...passRows('pass', size, times, 'real Docker, registry and git; proxy in this process'),
    {
      bench: 'pass',
      what: `  ${size}: right after an engine event`,
      unit: 'ms',
      values: afterEvent.get(size) ?? [],
      note: 'a foreign container was made: nothing of ours changed',
    },
  ]);
}

export async function measureMemory(bench: Bench): Promise<Row[]> {
  const { resident } = await fleetOf(bench);
  return [...resident].map(([size, mib]) => ({
    bench: 'memory',
    what: `agent with ${size} service${size === 1 ? '' : 's'}, resident`,
    unit: 'MiB',
    values: [mib],
    note: `process of its own after ${REST_MS / 1000} s of rest; ${programName()}`,
  }));
}

export function passRows(bench: string, size: number, times: readonly PassTimes[], note: string): Row[] {
  const row = (what: string, pick: (one: PassTimes) => number, more = ''): Row => ({
    bench,
    what,
    unit: 'ms',
    values: times.map(pick),
    note: more,
  });
  return [
    row(
      `pass without changes, ${size} service${size === 1 ? '' : 's'}`,
      (one) => one.totalMs,
      `${note}; 0 steps, nothing written`,
    ),
    row(`  ${size}: registry read`, (one) => one.registryMs),
    row(`  ${size}: node observed`, (one) => one.observeMs),
    row(`  ${size}: planned`, (one) => one.planMs),
  ];
}

function fleetOf(bench: Bench): Promise<Fleet> {
  const known = fleets.get(bench);
  if (known !== undefined) return known;
  const made = growFleet(bench);
  fleets.set(bench, made);
  return made;
}

async function growFleet(bench: Bench): Promise<Fleet> {
  const { engine, api } = await bench.docker();
  const image = await bench.image();
  const aloneMs = await convergeAlone(bench, image);
  const rig = await makeAgentRig(engine);
  bench.onEnd(() => rig.close());
  bench.onEnd(async () => removeContainers(api, await containersOf(api, rig.owner)));
  await rig.startProxy();
  const settings = rig.settings({
    source: { urls: [rig.definitions.path], branch: 'main', poll: POLL },
    deploy: { stable_for_s: 0.2, stop_timeout_s: 1, parallel: PARALLEL },
  });
  const settingsPath = await settingsFile(rig, settings);
  const passes = new Map<number, PassTimes[]>();
  const afterEvent = new Map<number, number[]>();
  const resident = new Map<number, number>();
  let size = 0;
  let convergeMs = NaN;
  await rig.push({ 'README.md': 'definitions\n' });
  for (const goal of [1, 1 + NEW, MANY]) {
    bench.say(`${goal} services by the agent`);
    const agent = await startAgentProcess(bench, settingsPath);
    const commit = await prepared(bench, rig, image, size, goal);
    size = goal;
    // A node that was just started has used up its quick passes.
    await delay(REST_MS);
    const { ms } = await timed(async () => {
      await rig.definitions.setBranch('main', commit);
      await converged(agent.dashboard, commit, goal);
    });
    if (goal === 1 + NEW) convergeMs = ms;
    else {
      await delay(REST_MS);
      resident.set(goal, agent.residentMiB());
    }
    await agent.stop();
    if (goal === 1 + NEW) continue;
    const times = await measurePasses(bench, settings, image);
    passes.set(goal, times.quiet);
    afterEvent.set(goal, times.afterEvent);
  }
  await removeContainers(api, await containersOf(api, rig.owner));
  return { convergeMs, aloneMs, passes, afterEvent, resident };
}

async function convergeAlone(bench: Bench, image: string): Promise<number> {
  const { api } = await bench.docker();
  const network = `${bench.unique}-many`;
  bench.onEnd(() => api.getNetwork(network).remove());
  await makeNetwork(api, network);
  const names = Array.from({ length: NEW }, (_, index) => `${bench.unique}-many-${index}`);
  bench.onEnd(() => removeContainers(api, names));
  bench.say(`${NEW} containers by the engine alone`);
  const { ms } = await timed(() =>
    inParallel(names, PARALLEL, (name) => runAlone(api, name, image, network)),
  );
  await removeContainers(api, names);
  return ms;
}

/** The agent's passes one by one, in this process, over the registry that the agent's own process left. */
async function measurePasses(
  bench: Bench,
  settings: Settings,
  image: string,
): Promise<{ quiet: PassTimes[]; afterEvent: number[] }> {
  const { api } = await bench.docker();
  const rooms = openRooms(settings);
  try {
    await rooms.settle();
    for (let i = 0; i < WARM_UP; i += 1) {
      await rooms.pass();
      await delay(100);
    }
    const quiet: PassTimes[] = [];
    for (let i = 0; i < PASSES; i += 1) {
      const times = await rooms.pass();
      if (times.steps > 0) throw new Error('a pass over a quiet node took a step');
      quiet.push(times);
    }
    const afterEvent: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const name = `${bench.unique}-foreign-${i}`;
      const { id } = await api.createContainer({ name, Image: image });
      await delay(200);
      afterEvent.push((await rooms.pass()).totalMs);
      await removeContainers(api, [id]);
    }
    return { quiet, afterEvent };
  } finally {
    await rooms.close();
  }
}

async function prepared(
  bench: Bench,
  rig: AgentRig,
  image: string,
  from: number,
  to: number,
): Promise<string> {
  const files: Record<string, string> = {};
  for (let i = from; i < to; i += 1) {
    const name = `${bench.unique}-svc${i}`;
    files[`services/${name}.toml`] = definitionOf(rig, name, image);
  }
  await rig.definitions.setBranch('next', 'refs/heads/main');
  return rig.definitions.commit(files, { branch: 'next' });
}

async function settingsFile(rig: AgentRig, settings: Settings): Promise<string> {
  const path = join(rig.dir, 'settings.toml');
  // What the settings say besides the file is worked out from it again.
  const derived = new Set(['owner', 'dataDir', 'logLevel']);
  const file = JSON.parse(
    JSON.stringify(settings, (key, value: unknown) => (derived.has(key) ? undefined : value)),
  ) as Record<string, unknown>;
  await writeFile(path, stringifyToml(file));
  return path;
}

async function converged(dashboard: string, commit: string, count: number): Promise<void> {
  const url = new URL('/api/v1/status', dashboard).href;
  await until(
    `${count} services to be converged`,
    async () => {
      const answer = await httpRequest({ method: 'GET', url, deadlineMs: 10_000, maxBytes: 20_000_000 });
      const view = JSON.parse(Buffer.from(answer.body).toString('utf8')) as View;
      const done = view.services.filter(({ state }) => state === 'converged').length;
      if (view.commit?.oid === commit && done === count) return true;
      throw new Error(`${done} of ${count} are`);
    },
    240_000,
    250,
  );
}
