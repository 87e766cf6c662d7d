import { createHash, type Hash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { keyedHash } from '../../../src/base/secret.ts';
import type { StepKind } from '../../../src/plan/types.ts';
import type { House } from '../../../src/pass.ts';
import { migrate } from '../../../src/registry/sound.ts';
import { parseSettings } from '../../../src/settings.ts';
import { definitionOptions } from '../../../src/wiring.ts';
import { SUFFIX } from '../definitions.ts';
import { World } from '../world.ts';
import { namesAnywhere } from '../worldnames.ts';
import type { Program, SimulatedAgent } from './agent.ts';
import {
  CALL_FAULTS,
  CRASHES,
  Fired,
  possibleCells,
  WEATHERS,
  WRITE_FAULTS,
  type StepFault,
  type Weather,
} from './faults.ts';
import { Git } from './git.ts';
import { Machine } from './node.ts';
import { diceOf, type Dice } from './random.ts';
import { Story, type Wish } from './story.ts';
import { VirtualTime } from './time.ts';

/** In memory where the machine has a file system there: nothing is proved about disks here. */
const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mcg-lives-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));

/** The change of the definitions that brings the step about. */
export const WISHED: Partial<Record<StepKind, Wish>> = {
  'remove-network': 'remove',
  'forget-service': 'remove',
  'remove-routes': 'remove',
  'remove-records': 'remove',
  'stop-container': 'stop',
  'release-leases': 'shrink',
  'record-trial': 'bad',
  'take-over-container': 'take',
  'give-back-container': 'give',
  'set-aside-container': 'beside',
  'remove-image': 'version',
  'remove-certificate': 'remove',
  'record-orphan': 'version',
  'cancel-image': 'build',
  'build-image': 'build',
  'push-image': 'build',
};

/** Seeds from this round on hunt for a meeting that did not come about (`lives.ts`). */
export const HUNTING = 1_000_000;

const KEY = Buffer.alloc(32, 7);

/** One node and all that happens to it: it outlives its agents. */
export interface Life {
  readonly seed: number;
  readonly program: Program;
  readonly dice: Dice;
  readonly time: VirtualTime;
  readonly world: World;
  readonly machine: Machine;
  readonly git: Git;
  readonly story: Story;
  readonly fired: Fired;
  /** Each one sentence; empty: all promises were kept. */
  readonly findings: string[];
  readonly hash: Hash;
  /** The faults that this seed has. */
  readonly steps: readonly StepFault[];
  /** The meeting of fault and step that this seed is to bring about. */
  readonly target: ReturnType<typeof possibleCells>[number] | undefined;
  readonly weathers: readonly Weather[];
  /** Nothing else happens until its target was met: a step that is rare comes about, and is struck; then the storm begins. */
  isCalm: boolean;
  readonly share: number;
  readonly path: string;
  readonly trace: (line: string) => void;
  db: Database.Database;
  isNew: boolean;
  agent: SimulatedAgent | undefined;
  chaos: boolean;
  hidden: Set<Weather>;
  /** What the world did since the pass before. */
  weather: Set<Weather>;
  passes: number;
  settling: number;
  quiet: number;
  before: World['containers'];
  /** On the clock that nobody sets. */
  passBegunAt: number;
  /** When the pass began that recorded each trial, by service and digest, on the same clock. */
  readonly trialsBegunAt: Map<string, number>;
  /** Names with a record when the registry was lost with the file beside it: nobody lists a name server. */
  readonly forgotten: Set<string>;
  linesSeen: number;
  crashed: number;
  /** At this pass the wish of its target is granted, and again a while later. */
  wishAt: number;
  calmUntil: number;
  /** The most services that were in force at once. */
  most: number;
}

export function newLife(seed: number, program: Program, trace: (line: string) => void): Life {
  const dice = diceOf(seed, 'run');
  const world = new World();
  // Records are written for each host name in this zone.
  Object.assign(world, {
    zones: [SUFFIX],
    addresses: ['10.0.0.1', 'fd00::1'],
    secondNames: {},
    keepImages: 1,
  });
  world.takenUp = new Map();
  const time = new VirtualTime();
  const machine = new Machine(world, time, dice.fork('machine'));
  machine.latencyMs = dice.chance(0.3) ? 200 : 0;
  const choice = dice.fork('choice');
  const cells = possibleCells();
  const target = cells[seed % cells.length];
  const wish = target === undefined ? undefined : WISHED[target.kind];
  const round = Math.floor(seed / cells.length);
  const isCalm = round >= HUNTING || (wish !== undefined && round % 2 === 0);
  const steps = [
    ...(target === undefined ? [] : [target.fault]),
    ...some(choice, [...CALL_FAULTS, ...CRASHES, ...WRITE_FAULTS], 3 + choice.below(6)),
  ];
  const weathers = some(choice, WEATHERS, 4 + choice.below(8));
  return {
    ...{ seed, program, dice, time, world, machine, target, steps, weathers, trace },
    git: new Git(time),
    story: new Story(dice.fork('story'), wish),
    isCalm,
    fired: new Fired(),
    findings: [],
    hash: createHash('sha256'),
    share: choice.pick([0.03, 0.08, 0.15]),
    path: join(directory, `life-${seed}.db`),
    db: newDatabase(),
    isNew: true,
    agent: undefined,
    chaos: true,
    hidden: new Set(),
    weather: new Set(),
    ...{
      passes: 0,
      settling: 0,
      quiet: 0,
      linesSeen: 0,
      crashed: 0,
      most: 0,
      wishAt: target?.kind === 'give-back-container' ? 32 : isCalm ? 18 : 12,
      calmUntil: 0,
    },
    before: [],
    passBegunAt: 0,
    trialsBegunAt: new Map(),
    forgotten: new Set(),
  };
}

/** The file beside the registry goes too. */
export function forget(life: Life): void {
  for (const name of namesAnywhere(life.world)) life.forgotten.add(name);
  for (const name of readdirSync(directory).filter((one) => one.includes(`life-${life.seed}.`)))
    rmSync(join(directory, name));
}

export function find(life: Life, found: readonly string[]): void {
  life.findings.push(...found.map((one) => `pass ${life.passes}: ${one}`));
}

/** Signals are lost, doubled and late: each only says "look now" (G43). */
export function signal(life: Life, trigger: string): void {
  const send = (): void => life.agent?.signal(trigger);
  if (weatherIs(life, 'signal lost', 0.3)) return;
  if (weatherIs(life, 'signal late', 0.3)) {
    life.time.after(life.dice.below(60_000), send);
    return;
  }
  send();
  if (weatherIs(life, 'signal doubled', 0.5)) send();
}

export function weatherIs(life: Life, weather: Weather, share: number): boolean {
  if (!life.chaos || life.isCalm || !life.weathers.includes(weather) || !life.dice.chance(share))
    return false;
  life.weather.add(weather);
  return true;
}

export function commit(life: Life, files: Readonly<Record<string, string>>): void {
  byHand(life, files);
  life.git.push(files, `commit ${life.story.commits()}`);
  for (const reference of references(files)) {
    if (reference.endsWith('-none')) continue;
    // What is to be built is nowhere yet.
    if (life.isCalm && isBuilding(life) && reference.includes('/aa:')) continue;
    if (life.isCalm) life.machine.remote.add(reference);
    else if (life.dice.chance(0.5)) life.machine.remote.add(reference);
    else if (life.dice.chance(0.5) || !BUILT.test(reference)) life.world.present(reference);
  }
  signal(life, 'git');
}

function isBuilding({ target }: Life): boolean {
  return target !== undefined && WISHED[target.kind] === 'build';
}

/** What `replaces` names ran before: somebody started it by hand. */
function byHand({ world, time }: Life, files: Readonly<Record<string, string>>): void {
  for (const [, name = ''] of Object.values(files)
    .join('\n')
    .matchAll(/^replaces = "([^"]+)"/gm)) {
    if (world.containers.some((one) => one.name === name || one.name.startsWith(`${name}.prev-`))) continue;
    world.containers.push({
      ...{ id: world.nextId(), name, image: 'web', imageId: 'sha256:web', state: 'running', restartCount: 0 },
      ...{ labels: {}, publish: [], startedAt: time.wall() },
    });
  }
}

/** Images that services of these lives build. */
export const BUILT = /\/(aa|bb|cc|ee|ff|gg|mc|mc-proxy):/;

function some<T>(dice: Dice, items: readonly T[], count: number): T[] {
  const left = [...items];
  return Array.from({ length: Math.min(count, items.length) }, () =>
    left.splice(dice.below(left.length), 1),
  ).flat();
}

export function references(files: Readonly<Record<string, string>>): string[] {
  return Object.values(files).flatMap((text) =>
    [...text.matchAll(/^image = "([^"]+)"/gm)].map((match) => match[1] ?? ''),
  );
}

let empty: Buffer | undefined;

export function newDatabase(): Database.Database {
  empty ??= migrated();
  const db = new Database(empty);
  // Each agent of a life asks for the same statements: they are prepared once.
  const prepared = new Map<string, Database.Statement>();
  const prepare = db.prepare.bind(db);
  const once = (sql: string): Database.Statement => {
    const statement = prepared.get(sql) ?? prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
  return Object.assign(db, { prepare: once as typeof db.prepare });
}

function migrated(): Buffer {
  const db = new Database(':memory:');
  migrate(db);
  return db.serialize();
}

let definitions: House['definitions'] | undefined;

/** As an agent that starts now finds them. */
export function settingsOf(world: World): Pick<House, 'planSettings' | 'definitions'> {
  definitions ??= parsedOptions();
  return { planSettings: world.settings(), definitions };
}

function parsedOptions(): House['definitions'] {
  const text = `node = "n1"
source.urls = ["/definitions"]
mcproxy.driver = "file"
defaults.hostname_suffix = "${SUFFIX}"
policy.hostnames = ["example.net"]
`;
  const parsed = parseSettings(text, 'simulation', {});
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  return definitionOptions(parsed.value, (value) => keyedHash(KEY, value));
}
