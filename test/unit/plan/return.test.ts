import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import { World } from '../../support/world.ts';
import { plain, push, ref, restart, started, web } from './return.kit.ts';

describe('return to the last proved version', () => {
  it('records a version as applied once it was ready for stable_for, and not before', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    await world.pass();
    await world.pass();
    expect(world.plan().waiting.map((entry) => entry.for)).to.deep.equal(['proved']);
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v1');
    world.now += 4_999;
    expect((await world.pass()).plan.steps).to.deep.equal([]);
    world.now += 1;
    await world.converge();
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
  });

  it('begins to count again when the container started anew: ready for stable_for means the same container and start', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    await world.pass();
    await world.pass();
    world.now += 4_000;
    restart(world, 'web');
    await world.pass();
    world.now += 4_000;
    expect((await world.pass()).plan.steps.map((step) => step.kind)).to.not.include('record-applied');
    world.now += 1_000;
    await world.converge();
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
  });

  it('has [deploy] stable_for, timeout and stop_timeout of the file override the settings', async () => {
    const world = await started(web('v1'));
    const deploy = { stableForMs: 60_000, timeoutMs: 90_000, stopTimeoutS: 3 };
    push(world, web('v2', deploy));
    const { plan } = await world.pass();
    expect(plan.steps.find((step) => step.kind === 'retire-container')).to.include({ stopTimeoutS: 3 });
    await world.pass();
    expect(world.plan().waiting[0]?.until).to.equal(world.now + 60_000);
    const late = await started(web('v1'));
    push(late, web('v2', deploy), 'v2');
    await late.pass();
    late.now += 89_999;
    expect((await late.pass()).plan.steps).to.deep.equal([]);
    late.now += 1;
    expect((await late.pass()).plan.steps[0]?.because.summary).to.contain('not proved within 90 s');
  });

  it('G16 does not call a version late that an agent which was just started has not asked once', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    world.now += 60_000;
    const facts = world.facts();
    const id = world.container('web')?.id ?? '';
    const seen = (last?: string): string[] => {
      const probe = { kind: 'starting' as const, since: 0, ...(last === undefined ? {} : { last }) };
      const plan = makePlan({ ...facts, observed: { ...facts.observed, probes: { [id]: probe } } });
      return plan.steps.map((step) => step.because.summary);
    };
    expect(seen()).to.deep.equal([]);
    expect(seen('nothing answers').join()).to.contain('not proved within 60 s');
  });

  it('keeps what a failed container printed last before that is stopped; a log that cannot be read keeps no version from giving way', async () => {
    for (const failing of [false, true]) {
      const world = await started(web('v1'));
      world.prints.set(ref('v1'), ['the first one']);
      world.prints.set(ref('v2'), ['cannot open the store']);
      if (failing) world.failing.set('logs', retry('no log'));
      push(world, web('v2'), 'v2');
      await world.converge();
      expect(world.trials[0]?.phase).to.equal('held back');
      expect(world.container('web')?.image).to.equal(ref('v1'));
      const kept = world.printed.web?.lines.map(({ component, lines }) => [component, lines]);
      expect(kept).to.deep.equal(failing ? [] : [['web', ['cannot open the store']]]);
      expect(world.printed.web?.digest).to.equal(world.trials[0]?.digest);
    }
  });

  it('says of one that runs and ended before how often, and with which code last', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    const whyOf = (change: object): string | undefined => {
      Object.assign(world.container('web') ?? {}, change);
      return world.plan().waiting[0]?.why;
    };
    expect(whyOf({})).to.not.contain('exited');
    expect(whyOf({ restartCount: 1 })).to.match(/ \(exited once\)$/);
    expect(whyOf({ restartCount: 2, lastExitCode: 4 })).to.match(
      / \(exited 2 times, last with exit code 4\)$/,
    );
    world.now += 60_000;
    expect(world.plan().steps[0]?.because.summary).to.match(/exited 2 times, last with exit code 4\)$/);
  });

  it('L07 L32 G41 puts the kept container back when a version is not proved in time, and holds that version back', async () => {
    const world = await started(web('v1'));
    const { id } = world.container('web') ?? {};
    const { table, leases } = world;
    push(world, web('v2'), 'v2');
    const steps = await world.converge();
    expect(steps.map(plain)).to.deep.equal([
      'create web.next',
      'retire web',
      'trying web',
      'start web',
      'returning web',
      'retire web',
      'returning web',
      'start web',
      'held back web',
      'remove web.prev',
    ]);
    expect(world.container('web')).to.include({ id, state: 'running' });
    expect(world.containers).to.have.length(1);
    expect([world.table, world.leases]).to.deep.equal([table, leases]);
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v1');
    expect(world.plan()).to.deep.include({ steps: [], refused: [] });
    const [waiting] = world.plan().waiting;
    expect(waiting).to.include({ for: 'git', since: world.trials[0]?.since });
    expect(waiting?.why).to.match(
      /^the version of cccccccc is held back: not proved within 60 s: web: nothing answers/,
    );
  });

  it('L32 does not try a held-back version again, however long it takes, nor when its container is lost', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.converge();
    world.bad.clear();
    world.now += 10 * 86_400_000;
    expect(await world.converge()).to.deep.equal([]);
    world.containers = [];
    const steps = await world.converge();
    expect(steps.map(plain)).to.deep.equal(['create web.next', 'start web']);
    expect(world.container('web')?.image).to.contain('v1');
    expect(world.trials[0]?.phase).to.equal('held back');
  });

  for (const [how, next] of [
    ['a version that works', web('v3')],
    ['a raised generation', { ...web('v2'), generation: 1 }],
    ['a revert to the version that runs', web('v1')],
  ] as const) {
    it(`L32 L36 lets ${how} end the hold-back at once`, async () => {
      const world = await started(web('v1'));
      push(world, web('v2'), 'v2');
      await world.converge();
      world.bad.clear();
      push(world, next);
      await world.converge();
      expect(world.trials).to.deep.equal([]);
      expect(world.applied[0]?.service).to.deep.equal(next);
      if (next.generation !== undefined) expect(world.container('web')?.image).to.contain('v2');
      expect(world.plan()).to.deep.include({ steps: [], waiting: [] });
    });
  }

  it('makes the containers anew when the generation is raised, and only then', async () => {
    const world = await started(web('v1'));
    push(world, { ...web('v1'), generation: 1 });
    expect((await world.converge()).map(plain)).to.include.members(['create web.next', 'retire web']);
    expect(await world.converge()).to.deep.equal([]);
  });

  it('L36 lets a newer commit pre-empt the wait for a version that is being tried, and one that is being returned from', async () => {
    for (const passes of [1, 2, 4]) {
      const world = await started(web('v1'));
      push(world, web('v2'), 'v2');
      for (let i = 0; i < passes; i += 1) {
        await world.pass();
        if (i > 0) world.now += 30_000;
      }
      const { now } = world;
      push(world, web('v3'));
      await world.pass();
      expect(world.container('web')?.image, `after ${passes} passes`).to.contain('v3');
      expect(world.now).to.equal(now);
      await world.converge();
      expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v3');
      expect(world.containers).to.have.length(1);
      expect(world.trials).to.deep.equal([]);
    }
  });

  it('L36 brings the last proved version back while the fix of a bad one is still being built', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    expect(world.container('web')?.image).to.contain('v2');
    push(world, web('v3'));
    world.images[ref('v3')] = { kind: 'building', since: world.now };
    await world.pass();
    expect(world.container('web')?.image).to.contain('v1');
    expect(world.container('web')?.state).to.equal('running');
    await world.converge();
    world.present(ref('v3'));
    await world.converge();
    expect(world.container('web')?.image).to.contain('v3');
    expect(world.containers).to.have.length(1);
  });

  it('holds nothing back when the last proved version does not become ready either: the cause is outside, and waits grow', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2', 'v1');
    const phases: string[] = [];
    const waits: number[] = [];
    for (let i = 0; i < 60 && waits.length < 3; i += 1) {
      const { plan } = await world.pass();
      const phase = world.trials[0]?.phase ?? '';
      if (phases.at(-1) !== phase) phases.push(phase);
      if (phase === 'outside' && plan.steps.length === 0) {
        const retry = plan.waiting.find((entry) => entry.for === 'retry');
        waits.push((retry?.until ?? 0) - (retry?.since ?? 0));
        expect(retry?.why).to.contain('the last proved version does not become ready either');
        world.now = retry?.until ?? 0;
      } else if (plan.steps.length === 0) {
        world.now = plan.wakeAt ?? world.now;
      }
    }
    expect(waits).to.deep.equal([15_000, 30_000, 60_000]);
    expect(phases.slice(0, 4)).to.deep.equal(['trying', 'returning', 'outside', 'trying']);
    world.bad.clear();
    await world.converge();
    expect(world.applied[0]?.service.components[0]?.image.tag, 'it was not its fault').to.equal('v2');
    expect(world.trials).to.deep.equal([]);
  });

  it('never holds back, nor returns, for healing: the same version is started again and again', async () => {
    const world = await started(web('v1'));
    world.bad.add(ref('v1'));
    restart(world, 'web');
    world.now += 600_000;
    for (let i = 0; i < 4; i += 1) await world.pass();
    expect(world.trials).to.deep.equal([]);
    world.containers = [];
    await world.converge();
    world.now += 600_000;
    await world.pass();
    expect(world.trials).to.deep.equal([]);
    expect(world.container('web')?.state).to.equal('running');
  });

  it('leaves a first version running that is not proved in time: there is none to return to', async () => {
    const world = new World();
    world.present(ref('v1'));
    push(world, web('v1'), 'v1');
    await world.converge();
    expect(world.now - (world.trials[0]?.since ?? 0)).to.be.at.least(60_000);
    expect(world.container('web')?.state).to.equal('running');
    expect(world.trials[0]?.phase).to.equal('trying');
    expect(world.plan().waiting[0]?.hint).to.contain('No earlier version was proved');
    world.bad.clear();
    await world.converge();
    expect(world.applied).to.have.length(1);
    expect(world.trials).to.deep.equal([]);
  });

  it('L15 leaves a version in place that is not proved in time when return = "never"', async () => {
    const world = await started(web('v1'));
    push(world, web('v2', { return: 'never' }), 'v2');
    await world.converge();
    expect(world.container('web')?.image).to.contain('v2');
    expect(world.plan().waiting[0]?.hint).to.contain('deploy.return = "never"');
    world.bad.clear();
    await world.converge();
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
  });

  it('makes the predecessor again from what was applied when somebody pruned its container, its values from its own blob', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    world.containers = world.containers.filter((container) => !container.name.includes('.prev-'));
    await world.pass();
    world.now += 60_000;
    await world.pass();
    const { plan } = await world.pass();
    const made = plan.steps.find((step) => step.kind === 'create-container');
    const { file, oid, commit } = world.applied[0] ?? {};
    expect(made).to.deep.include({ from: { file, oid, commit } });
    await world.converge();
    expect(world.container('web')?.image).to.contain('v1');
    expect(world.trials[0]?.phase).to.equal('held back');
  });

  it('leaves the bad version running when the predecessor was pruned and its image is gone: nothing is stopped in vain', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    world.containers = world.containers.filter((container) => !container.name.includes('.prev-'));
    world.images[ref('v1')] = { kind: 'absent' };
    await world.converge();
    expect(world.container('web')?.image).to.contain('v2');
    expect(world.plan().refused[0]?.why).to.contain('web:v1 is not on this engine');
    world.present(ref('v1'));
    await world.converge();
    expect(world.container('web')?.image).to.contain('v1');
  });
});
