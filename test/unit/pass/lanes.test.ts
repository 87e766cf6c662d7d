import { expect } from 'chai';
import { ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import type { Clock } from '../../../src/base/clock.ts';
import { execute } from '../../../src/execute/execute.ts';
import { openLanes, type Lanes } from '../../../src/execute/lanes.ts';
import type { StepResult, Tools } from '../../../src/execute/types.ts';
import { type Busy } from '../../../src/plan/facts.ts';
import { NOBODY } from '../../../src/base/nobody.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Plan, Step } from '../../../src/plan/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { VirtualTime } from '../../support/simulation/time.ts';
import { until } from '../../support/until.ts';
import { World } from '../../support/world.ts';

const OCCASION = { trigger: 'test', commit: 'c', digests: new Map<string, string>() };
const NEVER = new AbortController().signal;

/** Steps whose calls end when they are told to. */
class Held {
  readonly world = new World();
  readonly time = new VirtualTime();
  late = 0;
  readonly lanes: Lanes = openLanes(() => (this.late += 1));
  readonly begun: string[] = [];
  readonly #ends = new Map<string, (outcome: Outcome<undefined>) => void>();

  /** `quick-…` ends at once. */
  tools(parallel = 4): Tools {
    const { engine, ...node } = this.world.node();
    const createNetwork = (name: string): Promise<Outcome<undefined>> => {
      this.begun.push(name);
      if (name.startsWith('quick')) return Promise.resolve(ok());
      return new Promise((resolve) => this.#ends.set(name, resolve));
    };
    const clock: Clock = this.time.clock(() => true);
    const tools = { ...this.world.tools(), clock, parallel, lanes: this.lanes };
    return { ...tools, node: { ...node, engine: { ...engine, createNetwork } } };
  }

  /** One pass, with time running until it is over. */
  async pass(steps: Record<string, readonly string[]>, parallel?: number): Promise<StepResult[]> {
    const state = { isOver: false };
    const running = execute(planOf(steps), this.tools(parallel), OCCASION, NEVER).finally(
      () => (state.isOver = true),
    );
    const isOver = (): boolean => state.isOver;
    for (let turn = 0; !isOver() && turn < 1_000; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!isOver()) this.time.advance();
    }
    const outcome = await running;
    if (outcome.kind !== 'ok') throw new Error(outcome.why);
    return outcome.value;
  }

  async end(name: string, outcome: Outcome<undefined> = ok()): Promise<void> {
    this.#ends.get(name)?.(outcome);
    await until(
      `${name} to have ended`,
      () => !this.lanes.busy().some(({ step }) => step.endsWith(` ${name}`)),
    );
  }
}

function planOf(steps: Record<string, readonly string[]>): Plan {
  return {
    steps: Object.entries(steps).flatMap(([of, names]) =>
      names.map((name): Step => ({
        ...{ service: of, subject: name, because: { summary: 'a test' }, kind: 'create-network', name },
      })),
    ),
    waiting: [],
    refused: [],
  };
}

const subjects = (results: readonly StepResult[]): string[] => results.map(({ step }) => step.subject);

describe('steps that take long (L40)', () => {
  let held: Held;
  beforeEach(() => {
    held = new Held();
  });

  it('keep their own service: the pass goes on without them once nothing else moves, and the rest of their chain is planned again', async () => {
    const results = await held.pass({ a: ['slow', 'quick-after'], b: ['quick-1', 'quick-2'] });
    expect(subjects(results)).to.deep.equal(['quick-1', 'quick-2']);
    expect(held.lanes.busy().map(({ service: of, step }) => [of, step])).to.deep.equal([
      ['a', 'create-network slow'],
    ]);
    expect(subjects(await held.pass({ b: ['quick-3'] }))).to.deep.equal(['quick-3']);
    expect(held.late).to.equal(0);
    await held.end('slow');
    expect(held.late).to.equal(1);
    expect(held.begun).to.not.include('quick-after');
    expect(subjects(held.lanes.takeLate())).to.deep.equal(['slow']);
    expect(held.lanes.takeLate(), 'told once').to.deep.equal([]);
  });

  it('are journalled like any other: result, and the failure that makes the next try wait', async () => {
    await held.pass({ a: ['slow'] });
    await held.end('slow', retry('the engine was too busy'));
    const [late] = held.lanes.takeLate();
    expect(late?.outcome).to.include({ kind: 'retry', why: 'the engine was too busy' });
    expect(held.world.promised().failures.map((entry) => [entry.service, entry.why])).to.deep.equal([
      ['a', 'the engine was too busy'],
    ]);
  });

  it('do not keep the places of others, and are only so many at once', async () => {
    const slow = (from: number): Record<string, string[]> =>
      Object.fromEntries([0, 1, 2].map((index) => [`s${from + index}`, [`slow-${from + index}`]]));
    const planned = { ...slow(0), ...slow(3), z: ['quick-z'] };
    expect(subjects(await held.pass(planned, 3))).to.deep.equal([]);
    expect(held.lanes.busy()).to.have.length(3);
    expect(held.lanes.isLeft(planOf(planned).steps, 3), 'three and z have had no turn').to.equal(true);
    expect(subjects(await held.pass({ ...slow(3), z: ['quick-z'] }, 3))).to.deep.equal([]);
    expect(subjects(await held.pass({ z: ['quick-z'] }, 3))).to.deep.equal(['quick-z']);
    await held.pass(slow(6), 3);
    await held.pass(slow(9), 3);
    expect(held.lanes.busy()).to.have.length(12);
    expect(held.lanes.isLeft(planOf(slow(12)).steps, 3), 'no place: nothing spins').to.equal(false);
    expect(await held.pass(slow(12), 3)).to.deep.equal([]);
    expect(held.lanes.busy()).to.have.length(12);
    await held.end('slow-0');
    expect(held.lanes.isLeft(planOf(slow(12)).steps, 3)).to.equal(true);
  });

  it('that had no place before the pass went on are not begun by it: a later pass may be at their service', async () => {
    await held.pass({ a: ['slow-a'], b: ['slow-b'] }, 1);
    await held.pass({ b: ['slow-c'] }, 1);
    await held.end('slow-a');
    await new Promise((resolve) => setImmediate(resolve));
    expect(held.begun).to.deep.equal(['slow-a', 'slow-c']);
    expect(held.lanes.busy().map(({ service: of }) => of)).to.deep.equal(['b']);
  });

  it('are waited for by a stop of the agent', async () => {
    await held.pass({ a: ['slow'] });
    let idle = false;
    const waiting = held.lanes.idle().then(() => (idle = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(idle).to.equal(false);
    await held.end('slow');
    await waiting;
    await held.lanes.idle();
  });
});

describe('a plan while steps are under way', () => {
  let world: World;
  const busy = (...names: string[]): { busy: readonly Busy[] } => ({
    busy: names.map((name) => ({ service: name, step: `stop-container ${name}`, since: world.now })),
  });

  beforeEach(() => {
    world = new World();
    world.desired = desiredOf(
      ['aa', 'bb', 'cc'].map((name) => service(name, [component(name, { network: 'none' })])),
    );
    world.present(
      ...world.desired.services.flatMap((s) => s.service.components.map((c) => c.image.reference)),
    );
  });

  it('has no step of their services, says what is under way, and is the same for the others', () => {
    world.accept();
    const whole = world.plan();
    const plan = makePlan({ ...world.facts(), ...busy('bb') });
    expect(whole.steps.some((step) => step.service === 'bb')).to.equal(true);
    expect(plan.steps).to.deep.equal(whole.steps.filter((step) => step.service !== 'bb'));
    expect(plan.waiting[0]).to.deep.include({
      service: 'bb',
      for: 'busy',
      why: 'stop-container bb is under way',
    });
  });

  it('L42 starts nothing that comes after one of them, whatever it looks like', async () => {
    await world.converge();
    const [aa, bb, cc] = world.desired.services.map((entry) => entry.service);
    if (aa === undefined || bb === undefined || cc === undefined) throw new Error('three services');
    world.desired = desiredOf([aa, { ...bb, after: ['aa'] }, cc]);
    await world.converge();
    world.kill('bb');
    expect(world.plan().steps.map((step) => step.kind)).to.include('start-container');
    const plan = makePlan({ ...world.facts(), ...busy('aa') });
    expect(plan.steps).to.deep.equal([]);
    expect(plan.waiting.find((entry) => entry.for === 'after')?.why).to.contain('aa is being worked on');
  });

  it('goes on to the next service of a change of all only when nothing is under way in the one before', async () => {
    await world.converge();
    world.logMaxSize = '20m';
    const first = world.plan().steps[0]?.service;
    expect(first).to.equal('aa');
    // Looked at before the first step showed: the second must not have its turn for that.
    expect(makePlan({ ...world.facts(), ...busy('aa') }).steps).to.deep.equal([]);
    expect(makePlan({ ...world.facts(), ...busy('cc') }).steps).to.deep.equal([]);
  });

  it('begins no tidying up while one is under way', async () => {
    await world.converge();
    world.buildCacheBytes = 100;
    world.disk = { cacheBytes: 101, imagesBytes: 0, minFreeBytes: 0, at: world.now };
    expect(world.plan().steps.map((step) => [step.service, step.kind])).to.deep.equal([
      [NOBODY, 'prune-build-cache'],
    ]);
    expect(makePlan({ ...world.facts(), ...busy(NOBODY) }).steps).to.deep.equal([]);
  });

  it('G9 leaves alone what the engine lists and does not tell of, whatever git wants of it: changed, stopped, or gone', async () => {
    await world.converge();
    world.update('bb', { unseen: 'it does not answer' });
    const [aa, bb, cc] = world.desired.services.map((entry) => entry.service);
    if (aa === undefined || bb === undefined || cc === undefined) throw new Error('three services');
    const changed = { ...bb, components: bb.components.map((one) => ({ ...one, cmd: ['other'] })) };
    for (const wanted of [
      [aa, changed, cc],
      [aa, { ...bb, active: false }, cc],
      [aa, cc],
    ]) {
      world.desired = desiredOf(wanted);
      world.removable = ['bb'];
      world.accept();
      const { steps, waiting } = world.plan();
      expect(steps).to.deep.equal([]);
      expect(waiting.map((entry) => [entry.service, entry.for, entry.why])).to.deep.equal([
        ['bb', 'engine', 'bb: it does not answer'],
      ]);
    }
    world.kill('aa');
    expect(world.plan().steps.map((step) => [step.service, step.kind])).to.deep.equal([
      ['aa', 'start-container'],
    ]);
  });
});
