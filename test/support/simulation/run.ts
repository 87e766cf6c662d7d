import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { keyedHash } from '../../../src/base/secret.ts';
import { runPass, type House, type Memory } from '../../../src/pass.ts';
import { removableServices } from '../../../src/plan/guard.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import type { StepKind } from '../../../src/plan/types.ts';
import { migrate } from '../../../src/registry/open.ts';
import { registryOn } from '../../../src/registry/registry.ts';
import { parseSettings } from '../../../src/settings.ts';
import { definitionOptions } from '../../../src/wiring.ts';
import { examine, examineEnd, foreignIs } from '../examine.ts';
import { SUFFIX } from '../definitions.ts';
import { World } from '../world.ts';
import { SimulatedAgent, type Program } from './agent.ts';
import {
  CALL_FAULTS,
  CRASHES,
  Fired,
  impossible,
  possibleCells,
  WEATHERS,
  WRITE_FAULTS,
  type StepFault,
  type Weather,
} from './faults.ts';
import { Git } from './git.ts';
import { Machine } from './node.ts';
import { diceOf, type Dice } from './random.ts';
import { SECRET, Story, type Wish } from './story.ts';
import { VirtualTime } from './time.ts';

const REAL: Program = { runPass, registryOn };

export interface Report {
  readonly seed: number;
  /** Each one sentence; empty: all promises were kept. */
  readonly findings: readonly string[];
  readonly fired: Fired;
  readonly passes: number;
  readonly commits: number;
  readonly services: number;
  /** Passes with steps after the last fault. */
  readonly settling: number;
  /** SHA-256 of the journal, the log and the end of the world. */
  readonly hash: string;
}

/** In memory where the machine has a file system there: nothing is proved about disks here. */
const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mcg-lives-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));

const CHAOS_PASSES = 45;
const MAX_PASSES = 260;
const QUIET_PASSES = 5;
const MAX_SETTLING = 60;
const TICK_MS = 30_000;
const KEY = Buffer.alloc(32, 7);
const SECRET_FORMS = [
  SECRET,
  encodeURIComponent(SECRET),
  JSON.stringify(SECRET).slice(1, -1),
  Buffer.from(SECRET).toString('base64').replace(/=+$/, ''),
  Buffer.from(SECRET).toString('hex'),
  SECRET.slice(0, 10),
  SECRET.slice(-10),
];

/** The call that each step outside makes. */
const CALLS: Readonly<Record<string, StepKind>> = {
  'engine.createNetwork': 'create-network',
  'engine.removeNetwork': 'remove-network',
  'engine.create': 'create-container',
  'engine.start': 'start-container',
  'engine.retire': 'retire-container',
  'engine.rename': 'set-aside-container',
  'engine.stop': 'stop-container',
  'engine.remove': 'remove-container',
  'images.startPull': 'pull-image',
  'images.startBuild': 'build-image',
  'images.startPush': 'push-image',
  'proxy.put': 'put-routes',
  'proxy.remove': 'remove-routes',
  'certificates.issue': 'issue-certificate',
};

/** One node through a life of faults: the same seed gives the same life, to the byte. */
export async function simulate(
  seed: number,
  program: Program = REAL,
  trace: (line: string) => void = () => undefined,
): Promise<Report> {
  return new Run(seed, program, trace).run();
}

class Run {
  readonly #seed: number;
  readonly #program: Program;
  readonly #dice: Dice;
  readonly #time = new VirtualTime();
  readonly #world = new World();
  readonly #machine: Machine;
  readonly #git: Git;
  readonly #story: Story;
  readonly #fired = new Fired();
  readonly #findings: string[] = [];
  readonly #hash = createHash('sha256');
  /** The faults that this seed has. */
  readonly #steps: readonly StepFault[];
  /** The meeting of fault and step that this seed is to bring about. */
  readonly #target: ReturnType<typeof possibleCells>[number] | undefined;
  readonly #weathers: readonly Weather[];
  readonly #share: number;
  #db: Database.Database;
  #isNew = true;
  readonly #path: string;
  #agent: SimulatedAgent | undefined;
  #chaos = true;
  #hidden = new Set<Weather>();
  /** What the world did since the pass before. */
  #weather = new Set<Weather>();
  #passes = 0;
  #settling = 0;
  #quiet = 0;
  #before: World['containers'] = [];
  #linesSeen = 0;
  #crashed = 0;
  readonly #trace: (line: string) => void;

  constructor(seed: number, program: Program, trace: (line: string) => void) {
    this.#trace = trace;
    this.#seed = seed;
    this.#program = program;
    this.#dice = diceOf(seed, 'run');
    this.#machine = new Machine(this.#world, this.#time, this.#dice.fork('machine'));
    this.#machine.latencyMs = this.#dice.chance(0.3) ? 200 : 0;
    this.#git = new Git(this.#time);
    this.#story = new Story(this.#dice.fork('story'));
    this.#db = newDatabase();
    this.#path = join(directory, `life-${seed}.db`);
    const choice = this.#dice.fork('choice');
    const cells = possibleCells();
    this.#target = cells[seed % cells.length];
    const fault = this.#target === undefined ? [] : [this.#target.fault];
    this.#steps = [
      ...fault,
      ...some(choice, [...CALL_FAULTS, ...CRASHES, ...WRITE_FAULTS], 3 + choice.below(6)),
    ];
    this.#weathers = some(choice, WEATHERS, 4 + choice.below(8));
    this.#share = choice.pick([0.03, 0.08, 0.15]);
  }

  /** The file beside the registry goes too. */
  #forget(): void {
    for (const name of readdirSync(directory).filter((one) => one.includes(`life-${this.#seed}.`)))
      rmSync(join(directory, name));
  }

  async run(): Promise<Report> {
    this.#forget();
    this.#prepare();
    this.#start();
    this.#tick();
    await this.#live(
      () =>
        this.#passes >= MAX_PASSES ||
        (this.#passes >= CHAOS_PASSES && this.#story.commits() >= 2 && this.#fired.total() >= 3),
    );
    this.#heal();
    await this.#settled();
    if (this.#needsPerson()) {
      this.#person();
      await this.#settled();
    }
    this.#end();
    this.#forget();
    return {
      seed: this.#seed,
      findings: this.#findings,
      fired: this.#fired,
      passes: this.#passes,
      commits: this.#story.commits(),
      services: Math.max(5, this.#agent?.memory.seen?.desired.services.length ?? 0),
      settling: this.#settling,
      hash: this.#hash.digest('hex'),
    };
  }

  #prepare(): void {
    const foreign = {
      image: 'x',
      imageId: 'y',
      state: 'running',
      restartCount: 0,
      labels: {},
      publish: [],
    } as const;
    this.#world.containers.push(
      { ...foreign, id: 'f1', name: 'legacy' },
      {
        ...foreign,
        id: 'f2',
        name: 'h',
        identity: { owner: 'n2/main', service: 'a', component: 'a', spec: 's', leases: {}, format: '1' },
      },
    );
    this.#world.table.push({
      ...{ listenerPort: 443, hostname: 'legacy.example.net', backend: '127.0.0.1:9' },
      ...{ mode: 'l4', backendTls: false },
    });
    foreignIs(this.#world);
    this.#machine.onNews = (trigger) => this.#signal(trigger);
    this.#commit(this.#story.next());
  }

  // The life of agents

  #start(): void {
    this.#linesSeen = 0;
    const agent: SimulatedAgent = new SimulatedAgent({
      program: this.#program,
      machine: this.#machine,
      git: this.#git,
      file: { db: this.#db, isNew: this.#isNew },
      path: this.#path,
      settings: settingsOf(this.#world),
      fired: this.#fired,
      trouble: {
        call: (call) => {
          const kind = CALLS[call];
          if (kind !== undefined && !agent.isIntended(kind))
            this.#find([`G13: ${call} without an intent in the journal`]);
          return this.#callFault(call);
        },
        dies: (call) => this.#dies(agent, call),
        hidden: () => this.#hide(),
        crash: (at, kind) => this.#steps.includes(at) && this.#strikes(at, kind),
        write: (_name, kind) => {
          const [fault] = WRITE_FAULTS.filter((one) => this.#steps.includes(one));
          if (fault === undefined || kind === undefined || !this.#strikes(fault, kind)) return undefined;
          this.#fired.add(fault, kind);
          return fault;
        },
      },
      onDeath: () => {
        this.#crashed += 1;
        this.#collect(agent);
        this.#time.after(1 + this.#dice.below(5_000), () => this.#start());
      },
      onPassBegun: () => {
        this.#before = [...this.#world.containers];
        this.#passes += 1;
      },
      onPassEnded: (memory) => this.#passed(agent, memory),
    });
    this.#agent = agent;
    this.#isNew = false;
  }

  #tick(): void {
    this.#time.after(TICK_MS, () => {
      this.#agent?.signal('timer');
      this.#tick();
    });
  }

  /** Signals are lost, doubled and late: each only says "look now" (G43). */
  #signal(trigger: string): void {
    const send = (): void => this.#agent?.signal(trigger);
    if (this.#weatherIs('signal lost', 0.3)) return;
    if (this.#weatherIs('signal late', 0.3)) {
      this.#time.after(this.#dice.below(60_000), send);
      return;
    }
    send();
    if (this.#weatherIs('signal doubled', 0.5)) send();
  }

  /** Lets time run until `over`: after each event everything that follows at once is awaited. */
  async #live(over: () => boolean): Promise<void> {
    for (let turns = 0; !over() && this.#findings.length === 0; turns += 1) {
      if (turns > 20_000) throw new Error(`seed ${this.#seed}: it does not come to an end`);
      if (this.#chaos && this.#dice.chance(0.12)) this.#happen();
      if (!this.#time.advance()) throw new Error(`seed ${this.#seed}: nothing is left to happen`);
      this.#machine.tick();
      await this.#rest();
    }
  }

  async #rest(): Promise<void> {
    for (let turns = 0; ; turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#agent?.isBusy !== true || this.#machine.pending > 0) return;
      if (turns > 5_000) throw new Error(`seed ${this.#seed}: a pass hangs although nothing is awaited`);
    }
  }

  #passed(agent: SimulatedAgent, memory: Memory): void {
    const texts = agent.lines.slice(this.#linesSeen);
    this.#linesSeen = agent.lines.length;
    for (const line of texts) this.#hash.update(withoutTime(line));
    const { seen } = memory;
    if (seen === undefined) return;
    for (const kind of new Set(seen.results.map(({ step }) => step.kind)))
      for (const weather of [...this.#weather, ...this.#lasting()]) this.#fired.add(weather, kind);
    this.#weather.clear();
    const { desired, promised, observed, plan, results } = seen;
    this.#trace(
      `pass ${this.#passes} ${desired.commit.oid.slice(0, 6)} ${[...this.#lasting(), ...this.#hidden].join(', ')}`,
    );
    for (const { step, outcome } of results)
      this.#trace(
        `  ${step.service}: ${step.kind} ${step.subject}: ${outcome.kind === 'ok' ? 'ok' : outcome.why}`,
      );
    for (const { service, why } of [...plan.waiting, ...plan.refused])
      this.#trace(`  ${service} waits: ${why}`);
    const settings = {
      ...this.#world.settings(),
      removable: removableServices(desired, promised.named),
    };
    const facts: Facts = { desired, promised, observed, settings, now: observed.at };
    const rows = results.length === 0 ? [] : agent.registry.passes(1)[0]?.steps;
    const found = examine(this.#world, {
      ...{ facts, plan, results, texts: [...texts, JSON.stringify(plan)], secrets: SECRET_FORMS },
      before: this.#before,
      ...(rows === undefined ? {} : { rows }),
    });
    this.#find(found);
    if (this.#chaos) return;
    if (plan.steps.length > 0) this.#settling += 1;
    const isQuiet =
      plan.steps.length === 0 &&
      plan.wakeAt === undefined &&
      this.#machine.jobs === 0 &&
      memory.polling === undefined;
    this.#quiet = isQuiet ? this.#quiet + 1 : 0;
  }

  #find(found: readonly string[]): void {
    this.#findings.push(...found.map((one) => `pass ${this.#passes}: ${one}`));
  }

  /** What a dead or ending agent wrote counts too. */
  #collect(agent: SimulatedAgent): void {
    for (const line of agent.lines.slice(this.#linesSeen)) this.#hash.update(withoutTime(line));
    this.#find(examine(this.#world));
  }

  // Faults of steps

  #strikes(fault: StepFault, kind: StepKind): boolean {
    if (!this.#chaos || this.#crashed > 12 || impossible(fault, kind) !== undefined) return false;
    if (this.#target?.fault === fault && this.#target.kind === kind && this.#dice.chance(0.4)) return true;
    return this.#dice.chance(COMMON.includes(kind) ? this.#share : 3 * this.#share);
  }

  #callFault(call: string): (typeof CALL_FAULTS)[number] | undefined {
    const kind = CALLS[call];
    const mine = CALL_FAULTS.filter((one) => this.#steps.includes(one));
    if (kind === undefined || mine.length === 0) return undefined;
    const isAimed = this.#target?.kind === kind && mine.some((one) => one === this.#target?.fault);
    const fault = isAimed ? (this.#target.fault as (typeof mine)[number]) : this.#dice.pick(mine);
    if (!this.#strikes(fault, kind)) return undefined;
    this.#trace(`  ${fault} in ${kind}`);
    this.#fired.add(fault, kind);
    return fault;
  }

  #dies(agent: SimulatedAgent, call: string): boolean {
    const kind = CALLS[call];
    const at = 'crash in the act';
    if (kind === undefined || !this.#steps.includes(at) || !this.#strikes(at, kind)) return false;
    this.#fired.add(at, kind);
    agent.kill();
    return true;
  }

  // The world by itself

  #weatherIs(weather: Weather, share: number): boolean {
    if (!this.#chaos || !this.#weathers.includes(weather) || !this.#dice.chance(share)) return false;
    this.#weather.add(weather);
    return true;
  }

  /** What lasts until it is mended. */
  #lasting(): Weather[] {
    return [
      ...(this.#git.isDown ? ['git down' as const] : []),
      ...(this.#git.hangs ? ['git hangs' as const] : []),
      ...(this.#story.isBroken() ? ['bad file in git' as const] : []),
      ...(this.#world.proxyRuns ? [] : ['proxy down' as const]),
      ...(this.#world.missingMounts.size > 0 ? ['mount missing' as const] : []),
      ...(this.#world.unready.size > 0 ? ['never ready' as const] : []),
    ];
  }

  #hide(): ReadonlySet<Weather> {
    this.#hidden = new Set();
    for (const weather of HIDING) if (this.#weatherIs(weather, 0.12)) this.#hidden.add(weather);
    return this.#hidden;
  }

  #commit(files: Readonly<Record<string, string>>): void {
    this.#git.push(files, `commit ${this.#story.commits()}`);
    for (const reference of references(files)) {
      if (reference.endsWith('-none')) continue;
      if (this.#dice.chance(0.5)) this.#machine.remote.add(reference);
      else if (this.#dice.chance(0.5) || !BUILT.test(reference)) this.#world.present(reference);
    }
    this.#signal('git');
  }

  #happen(): void {
    const dice = this.#dice;
    if (dice.chance(0.25)) {
      const wish = this.#target === undefined ? undefined : WISHED[this.#target.kind];
      this.#commit(this.#story.next(wish));
      return;
    }
    const weather = dice.pick(this.#weathers);
    const done = this.#strike(weather);
    if (done) this.#trace(`  ${weather}`);
    if (done) this.#weather.add(weather);
    if (done) this.#signal('engine event');
  }

  #strike(weather: Weather): boolean {
    const { world } = { world: this.#world };
    const dice = this.#dice;
    const ours = world.containers.filter((one) => one.identity?.owner === 'n1/main');
    const target = ours.length === 0 ? undefined : dice.pick(ours);
    switch (weather) {
      case 'git down':
        this.#git.isDown = !this.#git.isDown;
        return true;
      case 'git hangs':
        this.#git.hangs = !this.#git.hangs;
        return true;
      case 'no definitions in git':
        if (dice.chance(0.7)) return false;
        this.#git.push({ 'README.md': 'nothing' }, 'empty');
        this.#time.after(20_000, () => this.#commit(this.#story.files()));
        return true;
      case 'proxy down':
        world.proxyRuns = !world.proxyRuns;
        return true;
      case 'routes lost':
        world.table = world.table.filter((route) => route.mark === undefined);
        return true;
      case 'container killed':
        if (target?.state !== 'running' || target.identity?.component === 'job') return false;
        world.kill(target.name);
        return true;
      case 'container removed':
        if (target === undefined) return false;
        world.containers = world.containers.filter((one) => one.id !== target.id);
        return true;
      case 'label edited':
        return target !== undefined && this.#relabel(target.id);
      case 'image removed': {
        const references = Object.keys(world.images);
        if (references.length === 0) return false;
        const reference = dice.pick(references);
        if (!this.#machine.remote.has(reference) && !BUILT.test(reference)) return false;
        Reflect.deleteProperty(world.images, reference);
        return true;
      }
      case 'port stolen': {
        const free = world.leases.length === 0 ? this.#leases().filter((port) => !isHeld(world, port)) : [];
        if (free.length === 0) return false;
        world.listening.push({ ip: '0.0.0.0', port: dice.pick(free), protocol: 'tcp' });
        return true;
      }
      case 'certificate lost':
        world.certificates = {};
        return true;
      case 'mount missing':
        if (world.missingMounts.size > 0) world.missingMounts.clear();
        else world.missingMounts.add(`/srv/${dice.pick(['a', 'b', 'c'])}`);
        return true;
      case 'never ready':
        if (world.unready.size > 0) world.unready.clear();
        else if (target !== undefined) world.unready.add(target.name);
        return true;
      case 'clock forward':
        this.#time.jump(dice.pick([3_600_000, 86_400_000, 315_360_000_000]));
        return true;
      case 'clock back':
        this.#time.jump(-dice.pick([1_000, 3_600_000, 86_400_000]));
        return true;
      case 'agent restarted':
        this.#agent?.kill();
        return true;
      case 'registry lost':
        if (dice.chance(0.6)) return false;
        this.#db = newDatabase();
        this.#isNew = true;
        if (dice.chance(0.3)) this.#forget();
        this.#agent?.kill();
        return true;
      default:
        return false;
    }
  }

  /** Somebody makes it again by hand, with another label: the label must not count as a proof of what it is. */
  #relabel(id: string): boolean {
    this.#world.containers = this.#world.containers.map((one) =>
      one.id === id && one.identity !== undefined
        ? { ...one, identity: { ...one.identity, spec: 'edited' } }
        : one,
    );
    return true;
  }

  #leases(): number[] {
    return this.#db
      .prepare<[], { port: number }>('SELECT port FROM leases')
      .all()
      .map(({ port }) => port);
  }

  // The end

  #heal(): void {
    const world = this.#world;
    this.#chaos = false;
    this.#git.isDown = false;
    this.#git.hangs = false;
    world.unready.clear();
    world.missingMounts.clear();
    world.listening = [];
    Object.assign(world, { engineUp: true, proxyRuns: true, proxyKnown: true, portsKnown: true });
    // An empty commit may be the newest one.
    this.#git.push(this.#story.files(), 'after the storm');
    this.#agent?.signal('git');
  }

  async #settled(): Promise<void> {
    this.#quiet = 0;
    this.#settling = 0;
    const from = this.#passes;
    await this.#live(
      () =>
        this.#agent?.isBusy === false &&
        (this.#quiet >= QUIET_PASSES || this.#passes - from > 4 * MAX_SETTLING),
    );
    if (this.#findings.length > 0) return;
    const plan = this.#agent?.memory.seen?.plan;
    if (this.#settling > MAX_SETTLING || plan?.steps.length !== 0)
      this.#find([
        `G1: not stable; steps ${JSON.stringify(plan?.steps.slice(0, 3))} ${JSON.stringify(plan?.waiting).slice(0, 600)}`,
      ]);
  }

  /** Something is left that only a commit or a person can change. */
  #needsPerson(): boolean {
    const seen = this.#agent?.memory.seen;
    if (seen === undefined || this.#findings.length > 0) return false;
    return (
      seen.plan.refused.length + seen.plan.waiting.length > 0 ||
      seen.desired.unreadable ||
      seen.desired.refused.length > 0
    );
  }

  /** Mends the definitions, names what may go, and removes orphans by hand. */
  #person(): void {
    const world = this.#world;
    const orphans = (this.#agent?.memory.seen?.plan.waiting ?? [])
      .filter((entry) => entry.for === 'orphan')
      .map((entry) => entry.service);
    world.containers = world.containers.filter(
      (one) => one.identity?.owner !== 'n1/main' || !orphans.includes(one.identity.service),
    );
    world.table = world.table.filter((route) => !orphans.includes(route.mark?.split('/')[2] ?? '-'));
    this.#commit(this.#story.mended());
    for (const reference of references(this.#story.files())) this.#machine.remote.add(reference);
    for (const [reference, state] of Object.entries(world.images))
      if (state.kind === 'absent' || state.kind === 'failed') Reflect.deleteProperty(world.images, reference);
    this.#agent?.signal('git');
  }

  #end(): void {
    const { registry, memory } = this.#agent ?? {};
    if (registry === undefined || memory?.seen === undefined) {
      this.#find(['G1: there was no pass']);
      return;
    }
    const promised = registry.promised();
    Object.assign(this.#world, promised, { records: promised.images, images: this.#world.images });
    this.#world.desired = memory.seen.desired;
    if (this.#findings.length > 0) return;
    const { waiting, refused } = memory.seen.plan;
    const said = [...waiting, ...refused].map(({ service, why }) => `${service}: ${why}`).join('; ');
    this.#find(examineEnd(this.#world).map((one) => `G1: ${one} (said: ${said})`));
    this.#hash.update(JSON.stringify(registry.passes(1_000)));
    this.#hash.update(JSON.stringify([this.#world.containers, this.#world.table, promised]));
  }
}

const HIDING = [
  'engine unseen',
  'proxy unseen',
  'ports unseen',
  'images unseen',
  'stale list',
  'partial list',
] as const;
const COMMON: readonly StepKind[] = ['create-container', 'start-container', 'record-applied', 'put-routes'];
/** The change that brings the step about. */
const WISHED: Partial<Record<StepKind, Wish>> = {
  'remove-network': 'remove',
  'forget-service': 'remove',
  'remove-routes': 'remove',
  'stop-container': 'stop',
  'release-leases': 'shrink',
};
const BUILT = /\/(a|b|c|e|f|g|mc|mc-proxy):/;

function some<T>(dice: Dice, items: readonly T[], count: number): T[] {
  const left = [...items];
  return Array.from({ length: Math.min(count, items.length) }, () =>
    left.splice(dice.below(left.length), 1),
  ).flat();
}

function references(files: Readonly<Record<string, string>>): string[] {
  return Object.values(files).flatMap((text) =>
    [...text.matchAll(/^image = "([^"]+)"/gm)].map((match) => match[1] ?? ''),
  );
}

function isHeld(world: World, port: number): boolean {
  return world.containers.some(
    (one) => one.state === 'running' && one.publish.some(({ host }) => host === port),
  );
}

function newDatabase(): Database.Database {
  const db = new Database(':memory:');
  migrate(db);
  return db;
}

let settings: Pick<House, 'planSettings' | 'definitions'> | undefined;

function settingsOf(world: World): Pick<House, 'planSettings' | 'definitions'> {
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

/** The log stamps its lines with the machine's own time. */
function withoutTime(line: string): string {
  return line.replace(/"time":"[^"]*"/, '');
}
