import { expect } from 'chai';
import type { Component, Service } from '../../../src/definitions/types.ts';
import type { ContainerParts, ObservedContainer, SeenText } from '../../../src/node/types.ts';
import { blocked, retry } from '../../../src/base/outcome.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { wanted } from '../../../src/plan/look.ts';
import { makePlan } from '../../../src/plan/plan.ts';

describe('taking over what was started by hand', () => {
  for (const replaces of ['old-web', 'web']) {
    it(`L27 replaces = "${replaces}": made first, then stopped and set aside, kept stopped, and nothing further`, async () => {
      const world = worldOf(one({ replaces }));
      const old = byHand(world, replaces, 8080);
      const steps = (await world.converge()).map((line) => line.replace(/\.(next)-.*/, '.$1'));
      expect(steps).to.deep.equal([
        'create-network mcpnet',
        'create web.next',
        `take-over ${replaces}`,
        'trying web',
        'start web',
        'applied web running',
      ]);
      expect(world.containers.find(({ id }) => id === old.id)).to.include({
        name: `${replaces}.prev-handmade`,
        state: 'exited',
      });
      expect(world.container('web')?.publish[0]?.host).to.equal(8080);
      expect(world.plan(), 'the second pass').to.deep.include({ steps: [], waiting: [], refused: [] });
    });
  }

  it('L27 says before it is done, and with mode = "observe", what of the old container its successor will not have', async () => {
    const world = worldOf(one({ replaces: 'old-web', user: '1000', env: [{ name: 'MODE', hash: 'h1' }] }));
    const old = byHand(world, 'old-web', 19_001);
    const text = (check: string): SeenText => ({ check, given: false });
    const parts: ContainerParts = {
      ...{
        env: { MODE: 'h2', SECRET: 'h3', PATH: 'h4' },
        agentEnv: {},
        given: ['PATH'],
        labels: {},
        rights: [],
      },
      mounts: [
        { kind: 'bind', source: '/srv/old', target: '/data', readOnly: false },
        { kind: 'volume', volume: 'a'.repeat(64), target: '/db', readOnly: false },
      ],
      ...{ networks: { bridge: [] }, restart: 'always', resources: {} },
      ...{ user: text('u'), entrypoint: { check: 'e', given: true }, cmd: text('c') },
    };
    const said =
      'old-web has what its successor will not have: mount /data (/srv/old), mount /db (an anonymous volume), ' +
      'published port 0.0.0.0:19001:80/tcp, network bridge, variable SECRET; otherwise than its successor: ' +
      'image web (then mcr.example.net/web:v1.0.0), user, restart policy always (then unless-stopped), command, variable MODE';
    expect(differences(world), 'as long as only the list is known').to.equal(
      'old-web has what its successor will not have: published port 0.0.0.0:19001:80/tcp; ' +
        'otherwise than its successor: image web (then mcr.example.net/web:v1.0.0)',
    );
    Object.assign(world.container('old-web') ?? {}, { parts });
    expect(differences(world)).to.equal(said);
    const facts = world.facts();
    const observed = makePlan({ ...facts, settings: { ...facts.settings, mode: 'observe' } });
    expect(observed.waiting.map(({ why }) => why)).to.include(said);
    expect(wanted(facts.desired, facts.settings, facts.promised).replaced).to.deep.equal(['old-web']);
    const step = world.plan().steps.find(({ kind }) => kind === 'take-over-container');
    expect(step?.because.summary, 'the history keeps it').to.equal(`new service web; ${said}`);
    await world.converge();
    expect(world.containers.find(({ id }) => id === old.id)?.state).to.equal('exited');
    expect(world.plan()).to.deep.include({ waiting: [] });
    const after = world.facts();
    expect(wanted(after.desired, after.settings, after.promised)).to.not.have.property('replaced');
  });

  it('L27 the field removed, nothing happens to the container; what is called so later is foreign', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    byHand(world, 'old-web', 8080);
    await world.converge();
    const before = world.container('web');
    world.desired = desiredOf([one()]);
    expect((await world.converge()).at(-1)).to.equal('applied web running');
    expect(world.container('web')).to.deep.equal(before);
    const image = { ...component('web').image, reference: 'mcr.example.net/web:v2.0.0', tag: 'v2.0.0' };
    world.present(image.reference);
    world.desired = desiredOf([one({ replaces: 'old-web', image })]);
    byHand(world, 'old-web', 9090, 'another1');
    expect((await world.converge()).join(), 'once').not.to.contain('take-over');
    expect(world.container('web')?.image).to.equal(image.reference);
    expect(world.container('old-web')?.state).to.equal('running');
  });

  it('L27 a version that is not proved gives the place back, is held back, and tries again when git changes it', async () => {
    for (const replaces of ['old-web', 'web']) {
      const world = worldOf(one({ replaces }));
      const old = byHand(world, replaces, 8080);
      world.unready.add('web');
      await world.pass();
      expect(world.containers.find(({ id }) => id === old.id)?.state).to.equal('exited');
      await world.converge();
      expect(world.containers.find(({ id }) => id === old.id)).to.include({
        name: replaces,
        state: 'running',
      });
      const plan = world.plan();
      expect(plan.steps).to.deep.equal([]);
      expect(plan.waiting[0]?.why).to.contain(
        `it took the place of ${replaces} and gave it back: not proved`,
      );
      expect(plan.waiting[0]?.hint).to.contain('commit');
      world.unready.clear();
      world.present('mcr.example.net/web:v2.0.0');
      const image = { ...component('web').image, reference: 'mcr.example.net/web:v2.0.0', tag: 'v2.0.0' };
      world.desired = desiredOf([one({ replaces, image })]);
      await world.converge();
      expect(world.container('web')).to.include({ image: image.reference, state: 'running' });
      expect(world.containers.find(({ id }) => id === old.id)?.state).to.equal('exited');
    }
  });

  for (const why of ['port 8080 is already allocated', 'no space left on device', 'engine unreachable'])
    it(`L27 gives the place back and holds nothing back when a start fails from outside (${why}): tried again by itself, with growing waits`, async () => {
      const world = worldOf(one({ replaces: 'old-web' }));
      const old = byHand(world, 'old-web', 8080);
      world.startErrors.set('mcr.example.net/web:v1.0.0', { ...retry(why), cause: 'outside' });
      const waits: number[] = [];
      for (let i = 0; i < 120 && waits.length < 7; i += 1) {
        const { plan } = await world.pass();
        if (plan.steps.length > 0) continue;
        const [trial] = world.trials;
        const wait = plan.waiting.find((entry) => entry.hint?.includes('outside the definition'));
        if (wait !== undefined && trial?.phase === 'outside') {
          expect(trial).to.include({ tries: waits.length + 1, cause: 'outside' });
          expect(wait.why).to.contain('it took the place of old-web and gave it back').and.to.contain(why);
          expect(world.container('old-web')).to.include({ id: old.id, state: 'running' });
          expect(wait.until).to.equal(plan.wakeAt);
          waits.push((wait.until ?? 0) - (wait.since ?? 0));
        }
        world.now = plan.wakeAt ?? world.now;
      }
      expect(waits).to.deep.equal([15, 30, 60, 120, 240, 300, 300].map((seconds) => seconds * 1000));
      world.startErrors.clear();
      await world.converge();
      expect(world.container('web')).to.include({ state: 'running' });
      expect(world.applied[0]).to.include({ state: 'running' });
      expect(world.trials).to.deep.equal([]);
      expect(world.containers.find(({ id }) => id === old.id)).to.include({
        name: 'old-web.prev-handmade',
        state: 'exited',
      });
    });

  it('L27 gives the place back at once, and holds back, what cannot even be started because of what it is', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    const old = byHand(world, 'old-web', 8080);
    const why = 'exec: "serve": executable file not found';
    world.startErrors.set('mcr.example.net/web:v1.0.0', { ...blocked(why), cause: 'definition' });
    const { now } = world;
    for (let i = 0; i < 4; i += 1) await world.pass();
    expect(world.now).to.equal(now);
    expect(world.trials[0]).to.include({ phase: 'held back', why });
    expect(world.container('old-web')).to.include({ id: old.id, state: 'running' });
  });

  it('L10 L27 holds nothing back when it was the handshake that took the time, or somebody removed the container meanwhile', async () => {
    const hostname = `web.${SUFFIX}`;
    const route = { name: '', port: 443, mode: 'l7' as const, hostname, backendTls: false };
    for (const trouble of ['handshake', 'removed']) {
      const world = worldOf(one({ replaces: 'old-web', routes: [route] }));
      byHand(world, 'old-web', 8080);
      if (trouble === 'handshake')
        world.handshakes = { [`${hostname}:443`]: { kind: 'failed', why: 'connection reset' } };
      else world.unready.add('web');
      for (let i = 0; i < 5; i += 1) await world.pass();
      expect(world.trials[0]?.phase, trouble).to.equal('trying');
      world.now += 3_600_000;
      if (trouble === 'handshake') world.unready.add('web');
      else world.containers = world.containers.filter(({ name }) => name !== 'web');
      await world.pass();
      expect(world.trials[0], trouble).to.include({ phase: 'outside', tries: 1 });
      world.handshakes = undefined;
      world.unready.clear();
      await world.converge();
      expect(world.applied[0]?.state, trouble).to.equal('running');
    }
  });

  it('L27 holds nothing back when what ran before does not start again either: it is tried again, and nothing is left without both', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    byHand(world, 'old-web', 8080);
    world.unready.add('web');
    world.failing.set('give-back', { ...retry('no space left on device'), cause: 'outside' });
    for (let i = 0; i < 40 && world.trials[0]?.phase !== 'outside'; i += 1) {
      const { plan } = await world.pass();
      if (plan.steps.length === 0) world.now = plan.wakeAt ?? world.now;
    }
    expect(world.trials[0]?.why)
      .to.contain('what ran before does not start again either')
      .and.contain('no space');
    world.unready.clear();
    await world.converge();
    expect(world.container('web')).to.include({ state: 'running' });
    expect(world.trials).to.deep.equal([]);
  });

  it('L27 an agent that was away, and has asked nobody yet, gives no place back', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    byHand(world, 'old-web', 8080);
    await world.pass();
    world.now += 3_600_000;
    const facts = world.facts();
    const unasked = Object.fromEntries(
      Object.keys(facts.observed.probes).map((id) => [id, { kind: 'starting' as const, since: world.now }]),
    );
    const { steps } = makePlan({ ...facts, observed: { ...facts.observed, probes: unasked } });
    expect(steps).to.deep.equal([]);
    await world.converge();
    expect(world.applied[0]?.state).to.equal('running');
  });

  it('L27 an engine that was away when its time was over: it is tried anew, and takes the place without a commit', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    const old = byHand(world, 'old-web', 8080);
    world.unready.add('web');
    await world.pass();
    world.engineUp = false;
    world.now += 3_600_000;
    await world.pass();
    world.engineUp = true;
    world.kill('web');
    await world.pass();
    expect(world.trials[0]).to.include({ phase: 'trying', since: world.now });
    await world.pass();
    world.unready.clear();
    await world.converge();
    expect(world.applied[0]).to.include({ state: 'running' });
    expect(world.trials).to.deep.equal([]);
    expect(world.containers.find(({ id }) => id === old.id)).to.include({
      name: 'old-web.prev-handmade',
      state: 'exited',
    });
  });

  it('L27 a registry that does not answer keeps the place as it is, for as long as it takes: no trial begins, and no commit is needed', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    const old = byHand(world, 'old-web', 8080);
    const image = { kind: 'failed', why: 'the registry is down', hint: 'Wait.' } as const;
    world.images['mcr.example.net/web:v1.0.0'] = { ...image, at: world.now, retryAt: world.now + 9_000_000 };
    for (let i = 0; i < 5; i += 1) {
      expect((await world.pass()).plan.steps).to.deep.equal([]);
      world.now += 600_000;
    }
    expect(world.trials).to.deep.equal([]);
    expect(world.container('old-web')).to.deep.equal(old);
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    expect(world.applied[0]).to.include({ state: 'running' });
  });

  it('L27 with deploy.return = "never" it keeps the place that it took, for a person to see to', async () => {
    const never = { ...one({ replaces: 'old-web' }), deploy: { return: 'never' as const } };
    const world = worldOf(never);
    const old = byHand(world, 'old-web', 8080);
    world.unready.add('web');
    await world.pass();
    world.now += 3_600_000;
    for (let i = 0; i < 3; i += 1) expect((await world.pass()).plan.steps.length).to.be.at.most(1);
    expect(world.trials[0]?.phase).to.equal('trying');
    expect(world.plan().waiting.find((entry) => entry.for === 'ready')?.hint).to.contain('return = "never"');
    expect(world.containers.find(({ id }) => id === old.id)?.state).to.equal('exited');
    world.unready.clear();
    await world.converge();
    expect(world.applied[0]?.state).to.equal('running');
  });

  for (const strategy of ['recreate', 'blue-green'] as const)
    it(`L27 a component that comes later (${strategy}) gives its place back when the version gives way, and takes it with the one that is proved`, async () => {
      const deploy = { strategy };
      const first = service('web', [component('web')], { deploy });
      const world = worldOf(first);
      world.present('mcr.example.net/api:v1.0.0', 'mcr.example.net/api:v2.0.0');
      await world.converge();
      const old = byHand(world, 'old-api', 9090);
      const api = (tag: string): Component => ({
        ...component('api', {
          replaces: 'old-api',
          ports: [{ host: 9090, container: 80, protocol: 'tcp' }],
        }),
        image: { ...component('api').image, reference: `mcr.example.net/api:${tag}`, tag },
      });
      world.bad.add('mcr.example.net/api:v1.0.0');
      world.desired = desiredOf([service('web', [component('web'), api('v1.0.0')], { deploy })]);
      await world.pass();
      expect(world.containers.find(({ id }) => id === old.id)?.state).to.equal('exited');
      await world.converge();
      expect(world.trials[0]?.phase).to.equal('held back');
      expect(world.container('old-api')).to.include({ id: old.id, state: 'running' });
      expect(world.plan().steps).to.deep.equal([]);
      world.desired = desiredOf([service('web', [component('web'), api('v2.0.0')], { deploy })]);
      await world.converge();
      expect(
        world.containers.find(({ name, state }) => name.endsWith('api') && state === 'running')?.image,
      ).to.equal('mcr.example.net/api:v2.0.0');
      expect(world.containers.find(({ id }) => id === old.id)).to.include({
        name: 'old-api.prev-handmade',
        state: 'exited',
      });
    });

  it('L27 touches it only when its successor can start, and never one that carries a mark', async () => {
    const world = worldOf(one({ replaces: 'old-web' }));
    const old = byHand(world, 'old-web', 8080);
    world.images = { 'mcr.example.net/web:v1.0.0': { kind: 'absent' } };
    await world.converge();
    expect(world.container('old-web')).to.deep.equal(old);
    world.present('mcr.example.net/web:v1.0.0');
    const identity = { owner: 'n2/main', service: 'x', component: 'x', spec: 's', leases: {}, format: '1' };
    world.containers = world.containers.map((container) => ({ ...container, identity }));
    await world.converge();
    expect(world.container('old-web')?.state).to.equal('running');
    expect(world.journal.some((line) => line.startsWith('take-over'))).to.equal(false);
  });

  it('G3 a name without `replaces` is refused, and says how to take the place', async () => {
    const world = worldOf(one());
    byHand(world, 'web', 8080);
    await world.converge();
    expect(world.journal).to.deep.equal([]);
    expect(world.plan().refused[0]?.hint).to.contain('`replaces`');
  });
});

function differences(world: World): string | undefined {
  return world.plan().waiting.find((entry) => entry.for === 'take-over')?.why;
}

function byHand(world: World, name: string, port: number, id = 'handmade'): ObservedContainer {
  const container: ObservedContainer = {
    id: `${id}0123456789`,
    name,
    image: 'web',
    imageId: 'sha256:web',
    state: 'running',
    startedAt: world.now,
    restartCount: 0,
    labels: {},
    publish: [{ ip: '0.0.0.0', host: port, container: 80, protocol: 'tcp' }],
  };
  world.containers.push(container);
  return container;
}

function one(change: Partial<Component> = {}): Service {
  const ports = [{ host: 8080, container: 80, protocol: 'tcp' as const }];
  return service('web', [component('web', { ports, ...change })]);
}

function worldOf(...services: Service[]): World {
  const world = new World();
  world.desired = desiredOf(services);
  world.present('mcr.example.net/web:v1.0.0');
  return world;
}
