import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Waiting } from '../../../src/plan/types.ts';
import type { Seen } from '../../../src/report/causes.ts';
import { openSinces, type Sinces } from '../../../src/report/sinces.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const FAILED = { ...retry('the engine has no room'), cause: 'outside' } as const;

describe('since when something is waited for', () => {
  let world: World;
  let sinces: Sinces;
  /** What a pass saw, and the pass; as it is told. */
  const pass = async (): Promise<readonly Waiting[]> => {
    const seen: Seen & { at: number } = { ...world.facts(), plan: world.plan(), at: world.now };
    await world.pass();
    return sinces.look(seen).plan.waiting;
  };
  const sinceOf = (waiting: readonly Waiting[], what: string): number | undefined =>
    waiting.find((entry) => entry.for === what)?.since;
  const push = (tag = 'v1.0.0'): void => {
    const reference = `mcr.example.net/web:${tag}`;
    const image = { ...component('web').image, reference, tag };
    world.present(reference);
    world.desired = desiredOf([service('web', [component('web', { image, network: 'none' })])]);
  };
  /** Goes on to the next wait for another try. */
  const retried = async (): Promise<number | undefined> => {
    for (let i = 0; i < 6; i += 1) {
      const since = sinceOf(await pass(), 'retry');
      if (since !== undefined) {
        world.now = world.plan().wakeAt ?? world.now;
        return since;
      }
    }
    return undefined;
  };

  beforeEach(async () => {
    world = new World();
    sinces = openSinces();
    push();
    await world.converge();
    world.kill('web');
    world.failing.set('start', FAILED);
  });

  it('is told over all tries: it does not move with each of them', async () => {
    const first = await retried();
    expect(first).to.equal(world.now - 2_000);
    const sinceThen = [await retried(), await retried(), await retried()];
    expect(sinceThen).to.deep.equal([first, first, first]);
    expect(world.failures[0]?.count, 'tries').to.equal(4);
  });

  it('stays while the engine is away, and begins anew once it was over', async () => {
    const first = await retried();
    world.engineUp = false;
    await pass();
    world.engineUp = true;
    expect(await retried()).to.equal(first);
    world.failing.clear();
    await pass();
    await world.converge();
    expect(await pass()).to.deep.equal([]);
    world.kill('web');
    world.failing.set('start', FAILED);
    const { now } = world;
    expect(await retried()).to.be.at.least(now);
  });

  it('begins anew with a changed definition: that one waits for the first time', async () => {
    const first = (await retried()) ?? 0;
    push('v2.0.0');
    world.now += 3_600_000;
    expect(await retried()).to.be.greaterThan(first);
  });

  it('is what the planner says where that is longer ago, and not written where nobody says it', async () => {
    const seen = { ...world.facts(), at: world.now };
    const wait = { service: 'web', for: 'x', why: 'w' };
    const look = (waiting: readonly Waiting[]): readonly Waiting[] =>
      sinces.look({ ...seen, plan: { steps: [], refused: [], waiting } }).plan.waiting;
    expect(look([wait])).to.deep.equal([wait]);
    expect(look([{ ...wait, since: 5 }])).to.deep.equal([{ ...wait, since: 5 }]);
    expect(look([{ ...wait, since: world.now }])).to.deep.equal([{ ...wait, since: 5 }]);
    expect(look([])).to.deep.equal([]);
    expect(look([{ ...wait, since: world.now }])).to.deep.equal([{ ...wait, since: world.now }]);
  });

  it('two waits of one kind keep their own', () => {
    const seen = { ...world.facts(), at: world.now };
    const waits = (since: number): Waiting[] =>
      ['a', 'b'].map((name, index) => ({
        ...{
          service: 'web',
          for: 'dns',
          why: `${name}.example.net is refused (try ${since})`,
          since: since + index,
        },
      }));
    const look = (waiting: readonly Waiting[]): (number | undefined)[] =>
      sinces
        .look({ ...seen, plan: { steps: [], refused: [], waiting } })
        .plan.waiting.map((one) => one.since);
    expect(look(waits(10))).to.deep.equal([10, 11]);
    expect(look(waits(20))).to.deep.equal([10, 11]);
  });
});
