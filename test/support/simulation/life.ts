import { createHash, type Hash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { keyedHash } from '../../../src/base/secret.ts';
import type { House } from '../../../src/pass.ts';
import { migrate } from '../../../src/registry/sound.ts';
import { parseSettings } from '../../../src/settings.ts';
import { definitionOptions } from '../../../src/wiring.ts';
import { SUFFIX } from '../definitions.ts';
import { World } from '../world.ts';
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
import { Story } from './story.ts';
import { VirtualTime } from './time.ts';

/** In memory where the machine has a file system there: nothing is proved about disks here. */
const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mcg-lives-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));

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
  linesSeen: number;
  crashed: number;
  /** The most services that were in force at once. */
  most: number;
}

export function newLife(seed: number, program: Program, trace: (line: string) => void): Life {
  const dice = diceOf(seed, 'run');
  const world = new World();
  const time = new VirtualTime();
  const machine = new Machine(world, time, dice.fork('machine'));
  machine.latencyMs = dice.chance(0.3) ? 200 : 0;
  const choice = dice.fork('choice');
  const cells = possibleCells();
  const target = cells[seed % cells.length];
  const steps = [
    ...(target === undefined ? [] : [target.fault]),
    ...some(choice, [...CALL_FAULTS, ...CRASHES, ...WRITE_FAULTS], 3 + choice.below(6)),
  ];
  const weathers = some(choice, WEATHERS, 4 + choice.below(8));
  return {
    ...{ seed, program, dice, time, world, machine, target, steps, weathers, trace },
    git: new Git(time),
    story: new Story(dice.fork('story')),
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
    ...{ passes: 0, settling: 0, quiet: 0, linesSeen: 0, crashed: 0, most: 0 },
    before: [],
  };
}

/** The file beside the registry goes too. */
export function forget(life: Life): void {
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
  if (!life.chaos || !life.weathers.includes(weather) || !life.dice.chance(share)) return false;
  life.weather.add(weather);
  return true;
}

export function commit(life: Life, files: Readonly<Record<string, string>>): void {
  life.git.push(files, `commit ${life.story.commits()}`);
  for (const reference of references(files)) {
    if (reference.endsWith('-none')) continue;
    if (life.dice.chance(0.5)) life.machine.remote.add(reference);
    else if (life.dice.chance(0.5) || !BUILT.test(reference)) life.world.present(reference);
  }
  signal(life, 'git');
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

export function newDatabase(): Database.Database {
  const db = new Database(':memory:');
  migrate(db);
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

let settings: Pick<House, 'planSettings' | 'definitions'> | undefined;

export function settingsOf(world: World): Pick<House, 'planSettings' | 'definitions'> {
  if (settings !== undefined) return settings;
  const text = `node = "n1"
source.urls = ["/definitions"]
mcproxy.driver = "file"
defaults.hostname_suffix = "${SUFFIX}"
policy.hostnames = ["example.net"]
`;
  const parsed = parseSettings(text, 'simulation', {});
  if (parsed.kind !== 'ok') throw new Error(parsed.why);
  return (settings = {
    planSettings: world.settings(),
    definitions: definitionOptions(parsed.value, (value) => keyedHash(KEY, value)),
  });
}
