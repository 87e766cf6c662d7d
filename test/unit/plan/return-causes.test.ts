import { expect } from 'chai';
import { blocked, retry, wait } from '../../../src/base/outcome.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { push, ref, restart, route, shop, started, web, WEB } from './return.kit.ts';

describe('why a version gives way, and what becomes of its routes and siblings', () => {
  it('returns at once, and holds back, what cannot even be started because of what it is', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    const why = 'start container web: exec: "serve": executable file not found';
    world.startErrors.set(ref('v2'), { ...blocked(why), cause: 'definition' });
    const { now } = world;
    for (let i = 0; i < 4; i += 1) await world.pass();
    expect(world.now).to.equal(now);
    expect(world.container('web')).to.include({ image: ref('v1'), state: 'running' });
    await world.converge();
    expect(world.trials[0]).to.deep.include({ phase: 'held back', why });
  });

  for (const why of ['port 5353 is already allocated', 'no space left on device', 'engine unreachable']) {
    it(`returns, but holds nothing back, when a start fails from outside: ${why}`, async () => {
      const world = await started(web('v1'));
      push(world, web('v2'));
      world.startErrors.set(ref('v2'), { ...retry(why), cause: 'outside' });
      for (let i = 0; i < 20 && world.trials[0]?.phase !== 'outside'; i += 1) {
        const { plan } = await world.pass();
        if (plan.steps.length === 0) world.now = plan.wakeAt ?? world.now;
      }
      expect(world.trials[0]).to.include({ phase: 'outside', tries: 1 });
      expect(world.container('web')).to.include({ image: ref('v1'), state: 'running' });
      world.startErrors.clear();
      await world.converge();
      expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
    });
  }

  it('G5 counts only from the start of the new container: what it waits for before is no failure of its own', async () => {
    const world = await started(web('v1'));
    const { id } = world.container('web') ?? {};
    push(world, web('v2'));
    const failed = {
      kind: 'failed',
      at: world.now,
      why: 'the registry is down',
      hint: '',
      retryAt: Infinity,
    };
    world.images[ref('v2')] = failed as never;
    world.now += 3_600_000;
    await world.pass();
    expect(world.trials).to.deep.equal([]);
    expect(world.container('web')).to.include({ id, state: 'running' });
    world.present(ref('v2'));
    world.failing.set('create', { ...retry('no space left on device'), cause: 'outside' });
    world.now += 3_600_000;
    await world.pass();
    world.now += 3_600_000;
    await world.pass();
    expect(world.trials).to.deep.equal([]);
    expect(world.container('web')).to.include({ id, state: 'running' });
  });

  it('does not take a ready version back because its routes are not served: the proxy is outside', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    world.proxyRuns = false;
    for (let i = 0; i < 5; i += 1) await world.pass();
    world.now += 3_600_000;
    await world.pass();
    expect(world.trials[0]?.phase).to.equal('trying');
    expect(world.container('web')?.image).to.contain('v2');
    world.proxyRuns = true;
    await world.converge();
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
  });

  for (const [what, shown, words] of [
    ['fails', { kind: 'failed', why: 'connection reset' }, 'connection reset'],
    [
      'shows another certificate',
      { kind: 'ok', fingerprint256: 'other', notAfter: 0 },
      'another certificate',
    ],
    ['has not ended', undefined, 'is under way'],
  ] as const) {
    it(`L10 does not take a ready version back because a handshake through the proxy ${what}: that is waited for`, async () => {
      const world = await started(web('v1'));
      push(world, web('v2'));
      world.handshakes = shown === undefined ? {} : { [`${WEB}:443`]: shown };
      for (let i = 0; i < 5; i += 1) await world.pass();
      for (let i = 0; i < 3; i += 1) {
        world.now += 3_600_000;
        expect((await world.pass()).plan.steps).to.deep.equal([]);
      }
      expect(world.trials.map((trial) => trial.phase)).to.deep.equal(['trying']);
      expect(world.container('web')).to.include({ image: ref('v2'), state: 'running' });
      const wait = world.plan().waiting.find((entry) => entry.for === 'handshake');
      expect(wait?.why).to.contain(words);
      world.handshakes = undefined;
      await world.converge();
      expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
    });
  }

  it('L10 holds nothing back when it was the handshake that took the time, and its container is not ready for a moment', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    world.handshakes = { [`${WEB}:443`]: { kind: 'failed', why: 'connection reset' } };
    for (let i = 0; i < 5; i += 1) await world.pass();
    world.now += 3_600_000;
    world.unready.add('web');
    for (let i = 0; i < 3; i += 1) await world.pass();
    expect(world.trials[0]).to.include({ cause: 'outside' });
    world.unready.clear();
    world.handshakes = undefined;
    await world.converge();
    expect(world.trials).to.deep.equal([]);
    expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
  });

  for (const [what, ended] of [
    ['ended with it', true],
    ['is not ready yet', false],
  ] as const)
    it(`an engine that was away when the time of a version was over: it gets its time anew, and what ${what} is not blamed`, async () => {
      const world = await started(web('v1'));
      push(world, web('v2'), 'v2');
      await world.pass();
      world.engineUp = false;
      world.now += 3_600_000;
      expect((await world.pass()).plan.steps).to.deep.equal([]);
      world.engineUp = true;
      if (ended) world.kill('web');
      const back = world.now;
      expect(
        (await world.pass()).plan.steps.map(({ kind, because }) => `${kind} ${because.summary}`),
      ).to.deep.equal(['record-trial its time begins anew: nobody could look at the node when it ended']);
      expect(world.trials[0]).to.include({ phase: 'trying', since: back, tries: 0 });
      await world.pass();
      expect(world.container('web')).to.include({ image: ref('v2'), state: 'running' });
      world.bad.clear();
      await world.converge();
      expect(world.applied[0]?.service.components[0]?.image.tag).to.equal('v2');
      expect(world.trials).to.deep.equal([]);
    });

  it('one that is not ready in its new time either gives way, and is held back', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    world.engineUp = false;
    world.now += 3_600_000;
    world.engineUp = true;
    await world.pass();
    const { since } = world.trials[0] ?? {};
    await world.converge();
    expect(world.trials[0]?.phase).to.equal('held back');
    expect(world.trials[0]?.since).to.be.within((since ?? 0) + 60_000, (since ?? 0) + 70_000);
    expect(world.container('web')).to.include({ image: ref('v1'), state: 'running' });
  });

  it('one that was ready when its time ended, and fails before it was ready for long enough, gives way: it was looked at', async () => {
    const world = await started(web('v1'));
    push(world, { ...web('v2'), deploy: { stableForMs: 600_000 } });
    for (let i = 0; i < 10; i += 1) {
      await world.pass();
      world.now += 10_000;
    }
    expect(world.trials[0]).to.include({ phase: 'trying' });
    world.unready.add('web');
    await world.pass();
    expect(world.trials[0]).to.include({ phase: 'returning' });
  });

  it('L20 proves a version whatever the name server says: it gives nothing up, and holds nothing back', async () => {
    for (const trouble of ['down', 'foreign', 'refuses']) {
      const world = await started(web('v1'));
      world.zones = [SUFFIX];
      world.addresses = ['10.0.0.1'];
      push(world, web('v2'));
      if (trouble === 'down') world.dnsAnswers = false;
      if (trouble === 'foreign') world.names[WEB] = { addresses: ['10.9.9.9'] };
      if (trouble === 'refuses') world.failing.set('name', wait('update refused'));
      for (let i = 0; i < 8; i += 1) {
        await world.pass();
        world.now += 3_600_000;
      }
      expect(
        world.trials.filter((trial) => trial.phase !== 'trying'),
        trouble,
      ).to.deep.equal([]);
      expect(world.container('web'), trouble).to.include({ image: ref('v2'), state: 'running' });
      expect(world.applied[0]?.service.components[0]?.image.tag, trouble).to.equal('v2');
      expect(world.failures, trouble).to.deep.equal([]);
    }
  });

  it('returns all components that were replaced together, and only those', async () => {
    const world = await started(shop('v1'));
    const ids = (): string[] =>
      ['shop-api', 'shop-web', 'shop-db'].map((name) => world.container(name)?.id ?? '');
    const before = ids();
    push(world, shop('v2'), 'v2');
    await world.pass();
    expect(ids()[2]).to.equal(before[2]);
    expect(ids()[0]).to.not.equal(before[0]);
    await world.converge();
    expect(ids()).to.deep.equal(before);
    expect(world.containers).to.have.length(3);
  });

  it('L38 leaves a host name to the service that has it now, when its old holder returns to a version that had it', async () => {
    const world = await started(web('v1'), service('other', [component('other')]));
    const moved = service('other', [component('other', { routes: [route(WEB)] })]);
    world.present('mcr.example.net/other:v1.0.0');
    world.desired = desiredOf([web('v2', {}, `new.${SUFFIX}`), moved]);
    world.bad.add(ref('v2'));
    await world.converge();
    expect(world.trials[0]?.phase).to.equal('held back');
    expect(world.table.map((entry) => `${entry.hostname} ${entry.mark ?? ''}`)).to.deep.equal([
      `${WEB} n1/main/other/other/`,
    ]);
  });

  it('holds back a change that needs no other container, and takes its routes back', async () => {
    const world = await started(web('v1'));
    const { table, containers } = world;
    push(world, web('v1', {}, `new.${SUFFIX}`));
    world.unready.add('web');
    restart(world, 'web');
    await world.pass();
    world.now += 60_000;
    await world.pass();
    world.unready.clear();
    await world.converge();
    expect(world.trials[0]?.phase).to.equal('held back');
    expect(world.table).to.deep.equal(table);
    expect(world.containers[0]?.id).to.equal(containers[0]?.id);
  });
});
