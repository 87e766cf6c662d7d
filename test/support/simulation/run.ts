import { setFlagsFromString } from 'node:v8';
import { runPass, type Memory } from '../../../src/pass.ts';
import type { StepResult } from '../../../src/execute/types.ts';
import { type Facts } from '../../../src/plan/facts.ts';
import { NOBODY } from '../../../src/base/nobody.ts';
import { removableServices } from '../../../src/plan/guard.ts';
import { clockWatch, onRightClock } from '../../../src/registry/clock.ts';
import { registryOn } from '../../../src/registry/registry.ts';
import { examine } from '../examine.ts';
import { foreignIs } from '../examine-world.ts';
import { addForeign } from '../foreign.ts';
import { SimulatedAgent, type Program } from './agent.ts';
import { end, heal, needsPerson, person } from './ending.ts';
import { WRITE_FAULTS, type Fired } from './faults.ts';
import { commit, find, forget, newLife, settingsOf, signal, weatherIs, WISHED, type Life } from './life.ts';
import { SECRET } from './story.ts';
import { examineTrials } from './trials.ts';
import { callFault, CALLS, dies, strikes } from './strikes.ts';
import { happen, hide, lasting, strayContainer } from './weather.ts';

/**
 * A life is much code, each part of it run a little: in its first hundred lives a thread spends a third of its time on making code
 * faster. It begins with that later; canaries, which live a few lives each, gain most.
 */
setFlagsFromString('--interrupt-budget=1000000');

const REAL: Program = { runPass, registryOn, clockWatch, onRightClock };

export interface Report {
  readonly seed: number;
  /** Each one sentence; empty: all promises were kept. */
  readonly findings: readonly string[];
  readonly fired: Fired;
  readonly passes: number;
  readonly commits: number;
  /** The most that were in force at once. */
  readonly services: number;
  /** Passes with steps after the last fault. */
  readonly settling: number;
  /** SHA-256 of the journal, the log and the end of the world. */
  readonly hash: string;
}

/** At least so many: what is rare is waited for in calm, and then as many follow. */
const CHAOS_PASSES = 35;
const CALM_PASSES = 40;
const STORM_PASSES = 20;
/** Of a whole life, at least (G60). */
const MIN_PASSES = 50;
const MAX_PASSES = 120;
const QUIET_PASSES = 5;
const WISH_EVERY_PASSES = 9;
const MAX_SETTLING = 60;
const TICK_MS = 30_000;
const SECRET_FORMS = [
  SECRET,
  encodeURIComponent(SECRET),
  JSON.stringify(SECRET).slice(1, -1),
  Buffer.from(SECRET).toString('base64').replace(/=+$/, ''),
  Buffer.from(SECRET).toString('hex'),
  SECRET.slice(0, 10),
  SECRET.slice(-10),
];

/** One node through a life of faults: the same seed gives the same life, to the byte. */
export async function simulate(
  seed: number,
  program: Program = REAL,
  trace: (line: string) => void = () => undefined,
): Promise<Report> {
  const life = newLife(seed, program, trace);
  forget(life);
  prepare(life);
  start(life);
  tick(life);
  await live(
    life,
    () =>
      life.passes >= MAX_PASSES ||
      (life.passes >= Math.max(CHAOS_PASSES, life.calmUntil + STORM_PASSES) &&
        !life.isCalm &&
        life.story.commits() >= 2 &&
        life.fired.total() >= 3),
  );
  heal(life);
  // Where a person has to come anyway, it is enough to see that nothing else is left to do.
  await settled(life, () => (needsPerson(life) ? 1 : QUIET_PASSES));
  if (needsPerson(life)) {
    person(life);
    await settled(life);
  }
  end(life);
  forget(life);
  return {
    seed,
    findings: life.findings,
    fired: life.fired,
    passes: life.passes,
    commits: life.story.commits(),
    services: life.most,
    settling: life.settling,
    hash: life.hash.digest('hex'),
  };
}

function prepare(life: Life): void {
  addForeign(life.world, 'hh', 'aa');
  foreignIs(life.world);
  life.machine.onNews = (trigger) => signal(life, trigger);
  life.machine.onEnded = (hostname) => {
    life.trace(`  certificate ends in a pass: ${hostname}`);
    life.weather.add('certificate ends in a pass');
  };
  commit(life, life.story.next());
}

function start(life: Life): void {
  life.linesSeen = 0;
  // A driver remembers that as long as its agent lives.
  life.world.notTaken.clear();
  const agent: SimulatedAgent = new SimulatedAgent({
    program: life.program,
    machine: life.machine,
    git: life.git,
    file: { db: life.db, isNew: life.isNew },
    path: life.path,
    settings: settingsOf(life.world),
    keepsPlans: life.seed % 32 === 0,
    fired: life.fired,
    trouble: {
      call: (call) => {
        const kind = CALLS[call];
        if (kind !== undefined && !agent.isIntended(kind))
          find(life, [`G13: ${call} without an intent in the journal`]);
        return callFault(life, call);
      },
      dies: (call) => dies(life, agent, call),
      hidden: () => hide(life),
      lookMs: () => (weatherIs(life, 'slow look', 0.3) ? 500 + life.dice.below(4_000) : 0),
      crash: (at, kind) => life.steps.includes(at) && strikes(life, at, kind),
      write: (_name, kind) => {
        const mine = WRITE_FAULTS.filter((one) => life.steps.includes(one));
        const fault = mine.find((one) => one === life.target?.fault) ?? mine[0];
        if (fault === undefined || kind === undefined || !strikes(life, fault, kind)) return undefined;
        life.fired.add(fault, kind);
        return fault;
      },
    },
    onDeath: () => {
      life.crashed += 1;
      collect(life, agent);
      life.time.after(1 + life.dice.below(5_000), () => start(life));
    },
    onPassBegun: () => {
      life.before = [...life.world.containers];
      life.passBegunAt = life.time.monotonic();
      life.passes += 1;
    },
    onPassEnded: (memory) => passed(life, agent, memory),
  });
  life.agent = agent;
  life.isNew = false;
}

function tick(life: Life): void {
  life.time.after(TICK_MS, () => {
    life.agent?.signal('timer');
    tick(life);
  });
}

/** Lets time run until `over`: after each event everything that follows at once is awaited. */
async function live(life: Life, over: () => boolean): Promise<void> {
  for (let turns = 0; !over() && life.findings.length === 0; turns += 1) {
    if (turns > 20_000) throw new Error(`seed ${life.seed}: it does not come to an end`);
    if (life.isCalm) calm(life);
    if (life.chaos && !life.isCalm && life.dice.chance(0.12)) happen(life);
    if (life.chaos && (life.passes >= life.wishAt || (life.isCalm && life.quiet > 0))) grant(life);
    if (!life.time.advance()) throw new Error(`seed ${life.seed}: nothing is left to happen`);
    life.machine.tick();
    await rest(life);
  }
}

/** It ends once the target was met, or does not come. */
function calm(life: Life): void {
  const { target, fired, passes } = life;
  if (target !== undefined && fired.count(target.fault, target.kind) === 0 && passes < CALM_PASSES) return;
  life.isCalm = false;
  life.calmUntil = passes;
  life.wishAt = passes + WISH_EVERY_PASSES;
}

/** Every life has two commits and more, and what its target needs comes about: in calm as soon as all is as it was wished before, or might be. */
function grant(life: Life): void {
  life.wishAt += WISH_EVERY_PASSES;
  life.quiet = 0;
  const kind = life.target?.kind;
  const wish = (kind === undefined ? undefined : WISHED[kind]) ?? (life.isCalm ? 'version' : undefined);
  if (wish === undefined && life.story.commits() >= 2) return;
  commit(life, life.story.next(wish));
  // Work on an image is under way, and nobody wants it any more.
  if (kind === 'cancel-image') life.time.after(2_000, () => commit(life, life.story.next(wish)));
  if (kind === 'record-orphan') strayContainer(life);
}

async function rest(life: Life): Promise<void> {
  for (let turns = 0; ; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (life.agent?.isBusy !== true || life.machine.pending > 0) return;
    if (turns > 5_000) throw new Error(`seed ${life.seed}: a pass hangs although nothing is awaited`);
  }
}

function passed(life: Life, agent: SimulatedAgent, memory: Memory): void {
  const texts = agent.lines.slice(life.linesSeen);
  life.linesSeen = agent.lines.length;
  life.hash.update(texts.map(withoutTime).join(''));
  const { seen } = memory;
  if (seen === undefined) return;
  for (const kind of new Set(seen.results.map(({ step }) => step.kind)))
    for (const weather of [...life.weather, ...lasting(life)]) life.fired.add(weather, kind);
  life.weather.clear();
  const { desired, promised, observed, plan, results } = seen;
  life.most = Math.max(life.most, desired.services.length);
  life.trace(
    `pass ${life.passes} ${desired.commit.oid.slice(0, 6)} ${[...lasting(life), ...life.hidden].join(', ')}`,
  );
  for (const { step, outcome } of results)
    life.trace(
      `  ${step.service}: ${step.kind} ${step.subject}: ${outcome.kind === 'ok' ? 'ok' : outcome.why}`,
    );
  for (const { service, why } of [...plan.waiting, ...plan.refused]) life.trace(`  ${service} waits: ${why}`);
  const settings = {
    ...life.world.settings(),
    removable: removableServices(desired, promised.named),
  };
  const facts: Facts = { desired, promised, observed, settings, now: observed.at };
  const rows = results.length === 0 ? [] : agent.registry.passes(1)[0]?.steps;
  const found = examine(life.world, {
    ...{ facts, plan, results, texts: [...texts, JSON.stringify(plan)], secrets: SECRET_FORMS },
    before: life.before,
    ...(rows === undefined ? {} : { rows }),
  });
  find(life, [...found, ...examineTrials(life, facts, results)]);
  setClock(life, results);
  if (!life.chaos && plan.steps.length > 0) life.settling += 1;
  const isQuiet =
    plan.steps.length === 0 &&
    (memory.lanes?.busy() ?? []).length === 0 &&
    plan.wakeAt === undefined &&
    life.machine.jobs === 0 &&
    // Tidying up rests after a failure without a word: no service waits for it.
    promised.failures.every(({ service }) => service !== NOBODY) &&
    memory.polling === undefined;
  life.quiet = isQuiet ? life.quiet + 1 : 0;
}

/** Somebody puts the clock right just when a version was started, and is not ready yet. */
function setClock(life: Life, results: readonly StepResult[]): void {
  const isTried = results.some(({ step }) => step.kind === 'record-trial' && step.trial.phase === 'trying');
  if (!isTried || !weatherIs(life, 'clock forward', 0.3)) return;
  life.time.after(300, () => {
    life.time.jump(HOUR_MS);
    signal(life, 'engine event');
  });
}

const HOUR_MS = 3_600_000;

/** What a dead or ending agent wrote counts too. */
function collect(life: Life, agent: SimulatedAgent): void {
  life.hash.update(agent.lines.slice(life.linesSeen).map(withoutTime).join(''));
  find(life, examine(life.world));
}

async function settled(life: Life, enough: () => number = () => QUIET_PASSES): Promise<void> {
  life.quiet = 0;
  life.settling = 0;
  const from = life.passes;
  await live(
    life,
    () =>
      life.agent?.isBusy === false &&
      ((life.quiet >= enough() && life.passes >= MIN_PASSES) || life.passes - from > 4 * MAX_SETTLING),
  );
  if (life.findings.length > 0) return;
  const plan = life.agent?.memory.seen?.plan;
  if (life.settling > MAX_SETTLING || plan?.steps.length !== 0)
    find(life, [
      `G1: not stable; steps ${JSON.stringify(plan?.steps.slice(0, 3))} ${JSON.stringify(plan?.waiting).slice(0, 600)}`,
    ]);
}

/** The log stamps its lines with the machine's own time. */
function withoutTime(line: string): string {
  return line.replace(/"time":"[^"]*"/, '');
}
