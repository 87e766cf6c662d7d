import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startAgent } from '../../src/agent.ts';
import { makeRepository } from '../../src/demo/repository.ts';
import { definitionOf, makeAgentRig, type AgentRig } from '../support/agentrig.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { buildAlone, containersOf, removeContainers, runAlone, type Alone } from './alone.ts';
import { nowMs, type Bench } from './bench.ts';
import { openTape, type Tape, type TapeLine } from './tape.ts';
import type { Row } from './table.ts';

const SAMPLES = 5;
/** The agent may pass twelve times at once and then once a second: a push to a quiet node finds all twelve. */
const QUIET_MS = 10_000;
/** As the agent is set when nothing is said: a push is seen by the watch, and by this if the watch should miss it. */
const POLL = '*/30 * * * * *';
const SUFFIX = 'svc.mcp.metacircular.net';
const ASK_EVERY_MS = 2;

/** Moments of one push, in milliseconds of `nowMs`. */
interface Way {
  readonly pushed: number;
  readonly moved: number;
  readonly lines: readonly TapeLine[];
  readonly answered: number;
}

interface NamedWay {
  readonly name: string;
  readonly way: Way;
}

interface Site {
  readonly rig: AgentRig;
  readonly tape: Tape;
  readonly network: string;
}

/** A service whose image is there: push → first answer through the proxy; then the same by the engine alone. */
export async function measurePush(bench: Bench): Promise<Row[]> {
  const site = await openSite(bench);
  const image = await bench.image();
  const { api } = await bench.docker();
  const [warm, webs, nexts] = [`${bench.unique}-first`, numbered(bench, 'web'), numbered(bench, 'next')];
  const commits = await prepare(
    site,
    [warm, ...webs, ...nexts].map((name) => [name, definitionOf(site.rig, name, image)]),
  );
  await push(site, warm, commits);
  const ways: NamedWay[] = [];
  const alone: Alone[] = [];
  for (const [index, name] of webs.entries()) {
    bench.say(`push ${index + 1} of ${SAMPLES}`);
    const other = `${bench.unique}-alone-${index}`;
    bench.onEnd(() => removeContainers(api, [other]));
    alone.push(await runAlone(api, other, image, site.network));
    await delay(QUIET_MS);
    ways.push({ name, way: await push(site, name, commits) });
  }
  const hurried: number[] = [];
  for (const name of nexts) {
    const way = await push(site, name, commits);
    hurried.push(way.answered - way.pushed);
  }
  const note = 'image there, l7 route; quiet node, local repository, proxy and client in the same process';
  return [
    ...waysOf('push', ways, note),
    {
      bench: 'push',
      what: 'push → first answer, right after another push',
      unit: 'ms',
      values: hurried,
      note: `${SAMPLES} in a row without a pause: passes are limited to one a second on average`,
    },
    ...aloneRows('push', alone),
  ];
}

/** The same with an image that is built from a git tag first. */
export async function measureBuild(bench: Bench): Promise<Row[]> {
  const site = await openSite(bench);
  const image = await bench.image();
  const { api } = await bench.docker();
  const imageOf = (name: string): string => `localhost/${bench.unique}/${name}:v1.0.0`;
  const [warm, built] = [`${bench.unique}-early`, numbered(bench, 'built')];
  const made: [string, string][] = [[warm, definitionOf(site.rig, warm, image)]];
  for (const name of built) {
    const repository = await makeRepository(join(site.rig.dir, 'src', name));
    await repository.commit(sourceOf(image, name));
    await repository.tag('v1.0.0');
    const top = `[build.images]\n${name} = "Dockerfile"\n`;
    made.push([name, definitionOf(site.rig, name, imageOf(name), '', top)]);
  }
  const commits = await prepare(site, made);
  await push(site, warm, commits);
  const ways: NamedWay[] = [];
  const alone: Alone[] = [];
  const builds: number[] = [];
  for (const [index, name] of built.entries()) {
    bench.say(`build ${index + 1} of ${SAMPLES}`);
    const other = `${bench.unique}-made-${index}`;
    const tag = imageOf(`made${index}`);
    builds.push(await buildAlone(api, tag, sourceOf(image, `made ${index}`)));
    bench.onEnd(() => api.getImage(tag).remove({ force: true }));
    bench.onEnd(() => removeContainers(api, [other]));
    alone.push(await runAlone(api, other, tag, site.network));
    await delay(QUIET_MS);
    ways.push({ name, way: await push(site, name, commits) });
    bench.onEnd(() => api.getImage(imageOf(name)).remove({ force: true }));
  }
  const rows = waysOf(
    'build',
    ways,
    'four steps on a local base, built from a git tag, not pushed; two of them from the cache',
  );
  const [total, ...parts] = aloneRows('build', alone);
  if (total === undefined) return rows;
  const values = total.values.map((ms, index) => ms + (builds[index] ?? 0));
  return [
    ...rows,
    { ...total, what: 'engine alone: build + create + start → first answer', values },
    { bench: 'build', what: '  build', unit: 'ms', values: builds },
    ...parts,
  ];
}

async function openSite(bench: Bench): Promise<Site> {
  const { engine, api } = await bench.docker();
  const rig = await makeAgentRig(engine);
  bench.onEnd(() => rig.close());
  bench.onEnd(async () => removeContainers(api, await containersOf(api, rig.owner)));
  await rig.push({ 'README.md': 'definitions\n' });
  await rig.startProxy();
  const tape = openTape();
  const urls = { urls: [rig.definitions.path], branch: 'main', poll: POLL };
  const agent = await startAgent(rig.settings({ source: urls }), tape.log);
  if (agent.kind !== 'ok') throw new Error(agent.why);
  bench.onEnd(() => agent.value.stop());
  await until('the first commit to be accepted', () =>
    tape.lines.some(({ msg }) => msg === 'commit accepted'),
  );
  return { rig, tape, network: `mcg-${rig.instance}` };
}

/**
 * Commits one service on top of the other, on a branch that nobody follows, before anything is measured: a change beside
 * main wakes the agent too, and would be under way when main is moved.
 */
async function prepare(
  { rig }: Site,
  definitions: readonly (readonly [string, string])[],
): Promise<ReadonlyMap<string, string>> {
  const commits = new Map<string, string>();
  await rig.definitions.setBranch('next', 'refs/heads/main');
  for (const [name, text] of definitions) {
    const files = { [`services/${name}.toml`]: text };
    commits.set(name, await rig.definitions.commit(files, { branch: 'next' }));
  }
  await delay(QUIET_MS);
  return commits;
}

/** The push is the moving of the branch, as a receiving git does it. */
async function push({ rig, tape }: Site, name: string, commits: ReadonlyMap<string, string>): Promise<Way> {
  const { definitions, webPort } = rig;
  const commit = commits.get(name) ?? '';
  const from = tape.lines.length;
  let isReady = false;
  const follower = tape.follow((line) => {
    // Nothing can be routed before: a client that asks all the time would only take the agent's processor.
    if (line.msg === 'ready') isReady = true;
  });
  const pushed = nowMs();
  await definitions.setBranch('main', commit);
  const { mtimeMs } = await stat(join(definitions.path, 'refs/heads/main'));
  const told = (): string =>
    tape.lines
      .slice(-8)
      .map(({ text }) => text)
      .join('');
  await until(
    `${name} to be ready`,
    () => {
      if (isReady) return true;
      throw new Error(`the last lines of the agent are\n${told()}`);
    },
    60_000,
    ASK_EVERY_MS,
  );
  follower.stop();
  await until(
    `an answer of ${name}`,
    async () => {
      const answer = await ask(
        { port: webPort, hostname: `${name}.${SUFFIX}`, ca: '' },
        { rejectUnauthorized: false },
      );
      return answer.status === 200;
    },
    60_000,
    ASK_EVERY_MS,
  );
  const answered = nowMs();
  await until(
    `${name} to be recorded`,
    () => tape.lines.slice(from).some((line) => line.service === name && line.step === 'record-applied'),
    60_000,
  );
  return { pushed, moved: Math.max(pushed, mtimeMs), lines: tape.lines.slice(from), answered };
}

function waysOf(bench: string, ways: readonly NamedWay[], note: string): Row[] {
  const total: Row = {
    bench,
    what: 'push → first answer through the proxy',
    unit: 'ms',
    values: ways.map(({ way }) => way.answered - way.pushed),
    note,
  };
  const parts = ways.map(({ way, name }) => partsOf(way, name));
  const names = Object.keys(PARTS).filter((part) => parts.some((one) => part in one));
  return [
    total,
    ...names.map((part): Row => ({
      bench,
      what: `  ${part}`,
      unit: 'ms',
      values: parts.map((one) => one[part] ?? 0),
      note: PARTS[part] ?? '',
    })),
  ];
}

const PARTS: Readonly<Record<string, string>> = {
  push: 'git update-ref until the branch is on disk',
  seen: 'file watch, poll, next pass, definitions resolved, commit accepted',
  plan: 'the node is observed and the plan made',
  build:
    'git tag read, context packed, built; each label of the agent is one more step of the classic builder',
  'pass after': 'until the pass that sees the image: the events of a build use up quick passes',
  prepare: 'image recorded, port leased, certificate issued (of a built one: during the build)',
  create: 'container made and read back',
  start: 'renamed, started, read back',
  ready: 'the pass that begins the probe, and the probe',
  'next pass': 'from ready to the step that routes',
  route: 'table written, taken over by the proxy and read back, or answered before',
  answered: 'TLS handshake and one request',
};

/** Splits the way at the lines of the log; the parts add up to the whole. */
function partsOf({ pushed, moved, lines, answered }: Way, name: string): Record<string, number> {
  const own = lines.filter((line) => line.service === name);
  const begun = (step: string): number => {
    const line = own.find((one) => one.step === step);
    if (line === undefined) throw new Error(`${name}: no step ${step} in the log of the agent`);
    return line.at - (line.ms ?? 0);
  };
  const ended = (step: string): number => own.find((one) => one.step === step)?.at ?? NaN;
  const accepted = lines.find(({ msg }) => msg === 'commit accepted')?.at ?? NaN;
  const ready = lines.find(({ msg, at }) => msg === 'ready' && at > ended('start-container'))?.at ?? NaN;
  const isBuilt = own.some(({ step }) => step === 'build-image');
  // The reference of an image is recorded once: the next service with it begins with its lease.
  const early = isBuilt ? ['build-image', 'issue-certificate'] : [];
  const prepared = begun(own.find(({ step }) => step !== undefined && !early.includes(step))?.step ?? '');
  const built = lines.find(({ msg }) => msg === 'image built')?.at ?? NaN;
  const afterPlan = isBuilt ? begun('build-image') : prepared;
  const routed = Math.min(ended('put-routes'), answered);
  return {
    push: moved - pushed,
    seen: accepted - moved,
    plan: afterPlan - accepted,
    ...(isBuilt ? { build: built - afterPlan, 'pass after': prepared - built } : {}),
    prepare: begun('create-container') - prepared,
    create: ended('create-container') - begun('create-container'),
    start: ended('start-container') - ended('create-container'),
    ready: ready - ended('start-container'),
    'next pass': begun('put-routes') - ready,
    route: routed - begun('put-routes'),
    answered: answered - routed,
  };
}

function aloneRows(bench: string, alone: readonly Alone[]): Row[] {
  const row = (what: string, pick: (one: Alone) => number, note = ''): Row => ({
    bench,
    what,
    unit: 'ms',
    values: alone.map(pick),
    note,
  });
  return [
    row(
      'engine alone: create + start → first answer',
      (one) => one.createMs + one.startMs + one.answerMs,
      'dockerode, same image and network, answer on the published port; no proxy, TLS, lease or journal',
    ),
    row('  create', (one) => one.createMs),
    row('  start', (one) => one.startMs),
    row('  answered', (one) => one.answerMs),
  ];
}

/** Unique on an engine that others use too: a container has the name of its service. */
function numbered(bench: Bench, what: string): string[] {
  return Array.from({ length: SAMPLES }, (_, index) => `${bench.unique}-${what}${index + 1}`);
}

function sourceOf(base: string, text: string): Record<string, string> {
  return {
    Dockerfile: `FROM ${base}\nARG VERSION\nENV VERSION=$VERSION\nCOPY page /www/page\n`,
    page: `${text} ${process.pid}\n`,
  };
}
