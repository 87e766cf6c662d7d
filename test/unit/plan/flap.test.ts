import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import { openExits } from '../../../src/node/exits.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import type { PlanSettings, Waiting } from '../../../src/plan/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const WINDOW_MS = 600_000;

class FlappingWorld extends World {
  override settings(): PlanSettings {
    return { ...super.settings(), flapping: { exits: 3, windowMs: WINDOW_MS }, protect: this.protectedOnes };
  }
  protectedOnes: string[] = [];

  /** The engine has started it again so many times, just now. */
  exit(name: string, times = 1): void {
    const id = this.container(name)?.id ?? '';
    this.exits[id] = [...(this.exits[id] ?? []), ...Array.from({ length: times }, () => this.now)];
  }

  flapping(): Waiting | undefined {
    return this.plan().waiting.find((entry) => entry.for === 'flapping');
  }
}

describe('flapping (G41)', () => {
  let world: FlappingWorld;

  beforeEach(async () => {
    world = new FlappingWorld();
    world.desired = desiredOf([
      service('web', [component('web', { network: 'none' }), component('side', { network: 'none' })]),
      service('calm', [component('calm', { network: 'none' })]),
    ]);
    world.present(
      ...world.desired.services.flatMap((s) => s.service.components.map((c) => c.image.reference)),
    );
    await world.converge();
  });

  it('a container that exits too often in the window is stopped to rest, and its siblings and neighbours go on', async () => {
    world.exit('web', 2);
    expect(world.plan().steps).to.deep.equal([]);
    world.exit('web');
    const { plan } = await world.pass();
    expect(plan.steps.map(({ kind, subject, because }) => [kind, subject, because.summary])).to.deep.equal([
      ['rest-container', 'web', 'container web exited 3 times in 10 min'],
    ]);
    expect(world.container('web')?.state).to.equal('exited');
    const after = (await world.pass()).plan;
    expect(after.steps).to.deep.equal([]);
    expect(after.waiting.map((entry) => [entry.for, entry.component])).to.deep.equal([['flapping', 'web']]);
    expect(world.container('web-side')?.state).to.equal('running');
    expect(after.wakeAt).to.equal(world.now + 10_000);
  });

  it('rests grow from 10 s to 5 min while it goes on, also over a restart of the agent', async () => {
    const rests: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      world.exit('web', 3);
      await world.pass();
      // The agent that counted is gone; what it recorded is not.
      world.exits = {};
      const { until = 0 } = world.flapping() ?? {};
      rests.push((until - world.now) / 1000);
      world.now = until;
      await world.pass();
      expect(world.container('web')?.state).to.equal('running');
      world.now += 1_000;
    }
    expect(rests).to.deep.equal([10, 20, 40, 80, 160, 300, 300, 300]);
  });

  it('the code with which it exited last is told from then on: while it rests, when it runs again, and by an agent that was started anew', async () => {
    world.update('web', { restartCount: 3, lastExitCode: 4 });
    world.exit('web', 3);
    await world.pass();
    // Nobody can see it any more: the stop for the rest has a code of its own.
    world.update('web', { exitCode: 137, restartCount: 0 });
    const { lastExitCode, ...rest } = world.container('web') ?? {};
    expect(lastExitCode).to.equal(4);
    world.containers = world.containers.map((one) => (one.name === 'web' ? (rest as typeof one) : one));
    world.exits = {};
    const told = 'container web exited 3 times in 10 min, last with exit code 4';
    expect(world.flapping()?.why).to.equal(`${told}: it rests (rest 1)`);
    world.now += 10_000;
    await world.pass();
    expect(world.flapping()?.why).to.equal(`${told}: started again after rest 1, and watched`);
  });

  it('is called flapping until it was quiet for a whole window, and counts anew then', async () => {
    world.exit('web', 3);
    await world.pass();
    world.now += 10_000;
    await world.pass();
    await world.pass();
    expect(world.flapping()?.why).to.contain('started again after rest 1, and watched');
    world.now += WINDOW_MS;
    expect(world.flapping()).to.equal(undefined);
    world.exits = {};
    world.exit('web', 3);
    await world.pass();
    expect(world.flaps).to.have.length(1);
    expect(world.flaps[0]?.count).to.equal(1);
  });

  it('is called flapping in every pass from its first rest on: while it rests, is started, runs, exits, is stopped again, cannot be started, and is away', async () => {
    world.exit('web', 3);
    await world.pass();
    const told: string[] = [];
    const pass = async (what: string): Promise<void> => {
      const { plan } = await world.pass();
      const waits = plan.waiting.filter((entry) => entry.for === 'flapping');
      if (waits.length === 1) told.push(what);
    };
    await pass('rests');
    world.now += 10_000;
    await pass('is started');
    await pass('runs');
    world.exit('web', 2);
    await pass('exits');
    world.exit('web');
    await pass('is stopped again');
    await pass('rests again');
    world.now += 20_000;
    world.failing.set('start', retry('the engine is busy'));
    await pass('cannot be started');
    await pass('waits after the failure');
    world.failing.clear();
    world.containers = world.containers.filter(({ name }) => name !== 'web');
    world.now += 10_000;
    await pass('is away');
    await pass('is there again');
    expect(told).to.deep.equal([
      ...['rests', 'is started', 'runs', 'exits', 'is stopped again', 'rests again'],
      ...['cannot be started', 'waits after the failure', 'is away', 'is there again'],
    ]);
  });

  it('exits that are too few for a rest keep it flapping, until a whole window passes without any', async () => {
    world.exit('web', 3);
    await world.pass();
    world.now += 10_000;
    await world.pass();
    for (let i = 0; i < 4; i += 1) {
      world.now += WINDOW_MS - 1;
      world.exit('web');
      expect(world.flapping()?.until).to.equal(world.now + WINDOW_MS);
    }
    world.now += WINDOW_MS;
    expect(world.flapping()).to.equal(undefined);
    world.exit('web');
    expect(world.flapping(), 'one exit later is no trouble yet').to.equal(undefined);
  });

  it('a job that is stopped to rest is started again, although restart = "on-failure" leaves a job alone that has failed', async () => {
    world.desired = desiredOf(
      [service('job', [component('job', { network: 'none', restart: 'on-failure' })])],
      {
        removals: ['web', 'calm'],
      },
    );
    world.removable = ['web', 'calm'];
    world.present(
      ...world.desired.services.flatMap((s) => s.service.components.map((c) => c.image.reference)),
    );
    await world.converge();
    world.exit('job', 3);
    await world.pass();
    world.now += 10_000;
    await world.pass();
    expect(world.container('job')?.state).to.equal('running');
  });

  it('a changed definition is tried at once', async () => {
    world.exit('web', 3);
    await world.pass();
    world.desired = desiredOf(
      world.desired.services.map(({ service: one }) =>
        one.name === 'web'
          ? { ...one, components: one.components.map((c) => ({ ...c, cmd: ['better'] })) }
          : one,
      ),
    );
    await world.converge();
    expect(world.container('web')?.state).to.equal('running');
    expect(world.flapping()).to.equal(undefined);
  });

  it('what another definition did is no trouble of this one, also when its container is away for a moment', async () => {
    const before = world.desired;
    world.desired = desiredOf(
      before.services.map(({ service: one }) => ({
        ...one,
        components: one.components.map((c) => (c.name === 'web' ? { ...c, cmd: ['worse'] } : c)),
      })),
    );
    await world.converge();
    world.exit('web', 3);
    await world.pass();
    expect(world.flapping()?.component).to.equal('web');
    world.desired = before;
    await world.converge();
    expect(world.flapping()).to.equal(undefined);
    world.kill('web');
    world.containers = world.containers.filter(({ name }) => name !== 'web');
    expect(world.flapping()).to.equal(undefined);
    const { plan } = await world.pass();
    expect(plan.steps[0]?.because.summary).to.contain('container web is missing');
  });

  it('a service that the settings protect is never stopped for it', () => {
    world.protectedOnes = ['web'];
    world.exit('web', 9);
    expect(world.plan().steps).to.deep.equal([]);
  });
});

describe('the exits that an agent counts', () => {
  const seen = (restartCount: number): ObservedContainer[] => [
    {
      ...{
        id: 'i',
        name: 'web',
        image: 'x',
        imageId: 'x',
        state: 'running',
        restartCount,
        labels: {},
        publish: [],
      },
      identity: { owner: 'o', service: 'web', component: 'web', spec: 's', leases: {}, format: '1' },
    },
  ];

  it('are those it sees grow: not what was before, nor a counter that begins again', () => {
    const exits = openExits();
    expect(exits.seen(seen(7), 1)).to.deep.equal({});
    expect(exits.seen(seen(9), 2)).to.deep.equal({ i: [2, 2] });
    expect(exits.seen(seen(0), 3)).to.deep.equal({ i: [2, 2] });
    expect(exits.seen(seen(1), 4)).to.deep.equal({ i: [2, 2, 4] });
    expect(exits.seen([], 5)).to.deep.equal({});
    expect(exits.seen(seen(2), 6)).to.deep.equal({});
  });

  it('are not made up of a container of which the engine tells nothing for a while', () => {
    const exits = openExits();
    const unseen = seen(0).map((one) => ({ ...one, unseen: 'it does not answer' }));
    exits.seen(seen(7), 1);
    exits.seen(seen(8), 2);
    expect(exits.seen(unseen, 3)).to.deep.equal({ i: [2] });
    expect(exits.seen(seen(8), 4)).to.deep.equal({ i: [2] });
    expect(exits.seen(seen(9), 5)).to.deep.equal({ i: [2, 5] });
  });

  it('are bounded, whatever an engine says', () => {
    const exits = openExits();
    exits.seen(seen(0), 1);
    expect(exits.seen(seen(10 ** 9), 2)['i']).to.have.length(100);
  });
});
