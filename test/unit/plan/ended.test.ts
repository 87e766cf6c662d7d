import { expect } from 'chai';
import { retry, wait } from '../../../src/base/outcome.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const L7 = { name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false } as const;

async function running(engine: World['engineKind']): Promise<World> {
  const world = new World();
  world.engineKind = engine;
  world.desired = web();
  world.present('mcr.example.net/web:v1.0.0');
  await world.converge();
  return world;
}

function web(version = 'v1.0.0'): World['desired'] {
  const image = { host: 'mcr.example.net', repository: 'web', tag: version };
  const reference = `mcr.example.net/web:${version}`;
  return desiredOf([service('web', [component('web', { routes: [L7], image: { ...image, reference } })])]);
}

describe('a container that ended a moment ago', () => {
  it('is begun again after a second on Podman, which shows one so that it is just removing; the plan wakes for it', async () => {
    const world = await running('podman');
    world.kill('web');
    const endedAt = world.now;
    for (const ms of [0, 400, 999]) {
      world.now = endedAt + ms;
      const { steps, waiting, wakeAt } = world.plan();
      expect(steps, `${ms} ms`).to.deep.equal([]);
      expect(waiting[0]).to.include({ service: 'web', component: 'web', for: 'ready', since: endedAt });
      expect(waiting[0]?.why).to.equal('web: ended with exit code 137 a moment ago');
      expect(wakeAt).to.equal(endedAt + 1_000);
    }
    world.now = endedAt + 1_000;
    expect(await world.converge()).to.deep.equal(['start web']);
  });

  it('is made again at once when it is gone by then', async () => {
    const world = await running('podman');
    world.kill('web');
    expect(world.plan().steps).to.deep.equal([]);
    world.containers = [];
    const { plan } = await world.pass();
    expect(plan.steps.map(({ kind }) => kind)).to.deep.equal(['create-container', 'start-container']);
    expect(world.container('web')?.state).to.equal('running');
  });

  it('is begun at once on Docker, which says `removing` of one that it removes', async () => {
    const world = await running('docker');
    world.kill('web');
    expect(world.plan().steps.map(({ kind }) => kind)).to.deep.equal(['start-container']);
  });

  it('G42 a clock that was set back since keeps it for no longer', async () => {
    const world = await running('podman');
    world.kill('web');
    world.now -= 3_600_000;
    expect(world.plan().steps.map(({ kind }) => kind)).to.include('start-container');
  });

  it('is left alone for as long while its successor cannot be made', async () => {
    const world = await running('podman');
    world.desired = web('v1.1.0');
    const failed = { kind: 'failed', why: 'the registry is down', hint: 'Wait for it.' } as const;
    const image = { ...failed, at: world.now, retryAt: world.now + 3_600_000 };
    world.images['mcr.example.net/web:v1.1.0'] = image;
    world.kill('web');
    const { steps, wakeAt } = world.plan();
    expect(steps.map(({ kind }) => kind)).to.not.include('start-container');
    expect(wakeAt).to.equal(world.now + 1_000);
    world.now += 1_000;
    expect(world.plan().steps.map(({ kind }) => kind)).to.include('start-container');
  });
});

describe('a container that is removed while it is started', () => {
  it('is made again by the next pass, without the wait after a failure', async () => {
    const world = await running('docker');
    world.kill('web');
    world.failing.set('start', wait('container web was removed while it was started'));
    await world.pass();
    world.containers = [];
    world.failing.clear();
    const { plan } = await world.pass();
    expect(plan.waiting).to.deep.equal([]);
    expect(plan.steps.map(({ kind }) => kind)).to.deep.equal(['create-container', 'start-container']);
  });

  it('L09 a start that the engine said was done is not trusted: the next look misses the container, and makes it at once', async () => {
    const world = await running('docker');
    world.kill('web');
    await world.pass();
    world.containers = [];
    const { plan } = await world.pass();
    expect(plan.steps.map(({ kind }) => kind)).to.deep.equal(['create-container', 'start-container']);
  });

  it('what fails otherwise waits as before', async () => {
    const world = await running('docker');
    world.kill('web');
    world.failing.set('start', retry('the engine is out of order'));
    await world.pass();
    expect(world.plan().waiting[0]).to.include({ for: 'retry', until: world.now + 2_000 });
  });
});

describe('a wait with an end of its own', () => {
  it('does not last until the end of the trial that its version is in', async () => {
    const world = await running('podman');
    world.desired = web('v1.1.0');
    world.present('mcr.example.net/web:v1.1.0');
    world.bad.add('mcr.example.net/web:v1.1.0');
    for (let i = 0; i < 3; i += 1) await world.pass();
    expect(world.container('web')?.image).to.equal('mcr.example.net/web:v1.1.0');
    world.kill('web');
    const { waiting } = world.plan();
    expect(waiting.find((entry) => entry.for === 'ready')?.until).to.equal(world.now + 1_000);
  });
});
