import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { perform } from '../../../src/execute/perform.ts';
import { examine } from '../../support/examine.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

describe('blue-green', () => {
  it('G5 starts the new version beside the old one, switches the route once it is ready, and removes the old one once it is proved', async () => {
    const world = await started(web('v1'));
    const old = world.container('web');
    push(world, web('v2'));
    const steps = await world.converge();
    const [a, b] = ['a', 'b'].map((slot) => world.leases.find((lease) => lease.slot === slot)?.port ?? 0);
    expect(steps.map(plain)).to.deep.equal([
      'create web.next',
      'set-aside web',
      'trying web',
      'start web',
      `route web.${SUFFIX}:443>${b}`,
      'applied web running',
      'remove web.prev',
    ]);
    expect([a, b]).to.not.include(0);
    expect(a).to.equal(old?.publish[0]?.host);
    expect(world.applied[0]?.slotB).to.deep.equal(['web']);
    expect(world.plan()).to.deep.equal({ steps: [], waiting: [], refused: [] });
  });

  it('alternates the slots a and b, and keeps both leases', async () => {
    const world = await started(web('v1'));
    const ports: (number | undefined)[] = [];
    for (const tag of ['v2', 'v3', 'v1', 'v2']) {
      push(world, web(tag));
      await world.converge();
      ports.push(world.container('web')?.publish[0]?.host);
    }
    const [a, b] = ['a', 'b'].map((slot) => world.leases.find((lease) => lease.slot === slot)?.port);
    expect(ports).to.deep.equal([b, a, b, a]);
    expect(world.leases).to.have.length(2);
  });

  it('has the old version running and routed at every moment until the new one is ready', async () => {
    const world = await started(web('v1'));
    const { table } = world;
    push(world, web('v2'), 'v2');
    for (let i = 0; i < 4; i += 1) {
      await world.pass();
      expect(running(world, 'v1')).to.equal(1);
      expect(world.table).to.deep.equal(table);
      expect(examine(world)).to.deep.equal([]);
    }
    expect(running(world, 'v2')).to.equal(1);
  });

  it('L07 L32 returns by switching the route back: the old version never stopped, and the new one is held back', async () => {
    const world = await started(web('v1'));
    const { id, startedAt } = world.container('web') ?? {};
    const { table } = world;
    push(world, web('v2'));
    for (let i = 0; i < 2; i += 1) await world.pass();
    expect(world.table, 'it was ready for a moment').to.not.deep.equal(table);
    world.bad.add(ref('v2'));
    Object.assign(world.container('web') ?? {}, { startedAt: world.now, restartCount: 1 });
    await world.converge();
    expect(world.trials[0]?.phase).to.equal('held back');
    expect(world.container('web')).to.include({ id, startedAt, state: 'running' });
    expect(world.table).to.deep.equal(table);
    expect(world.containers).to.have.length(1);
    expect(world.journal.filter((line) => line === 'retire web')).to.deep.equal([]);
  });

  it('does not stop the old version when the new one ends in a loop', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    await world.pass();
    world.kill('web');
    await world.pass();
    world.kill('web');
    expect(running(world, 'v1')).to.equal(1);
    await world.converge();
    expect(world.trials[0]?.phase).to.equal('held back');
  });

  it('lets established connections end before the old version goes, for drain at most', async () => {
    for (const ends of [true, false]) {
      const world = await started(web('v1'));
      const backend = world.table[0]?.backend ?? '';
      world.connections = { [backend]: 2 };
      push(world, web('v2'));
      for (let i = 0; i < 12 && world.applied[0]?.service.components[0]?.image.tag !== 'v2'; i += 1) {
        const { plan } = await world.pass();
        if (plan.steps.length === 0) world.now = plan.wakeAt ?? world.now;
      }
      const provedAt = world.now;
      await world.pass();
      expect(world.plan().waiting[0]).to.include({ for: 'drained' });
      expect(running(world, 'v1')).to.equal(1);
      if (ends) world.connections = {};
      await world.converge();
      expect(running(world, 'v1')).to.equal(0);
      // The route was switched stable_for before.
      expect(world.now - provedAt).to.equal(ends ? 0 : 25_000);
    }
  });

  it('L36 replaces an unproved version by a newer one, and still has the proved one to return to', async () => {
    const world = await started(web('v1'));
    const { id } = world.container('web') ?? {};
    push(world, web('v2'), 'v2');
    await world.pass();
    push(world, web('v3'), 'v3');
    await world.converge();
    expect(world.container('web')).to.include({ id, state: 'running' });
    expect(world.trials[0]?.phase).to.equal('held back');
    expect(world.containers).to.have.length(1);
  });

  it('L36 G5 a newer commit replaces an unproved version that has the route: the proved one has it again before the other stops', async () => {
    const world = await started(web('v1'));
    const { table } = world;
    push(world, web('v2'));
    for (let i = 0; i < 2; i += 1) await world.pass();
    expect(world.table, 'v2 has the route').to.not.deep.equal(table);
    push(world, web('v3'));
    const images: string[] = [];
    for (let i = 0; i < 12; i += 1) {
      world.accept();
      const plan = world.plan();
      for (const step of plan.steps) {
        expect((await perform(step, world.tools())).kind).to.equal('ok');
        const served = world.containers.find(
          (one) => one.state === 'running' && world.table[0]?.backend.endsWith(`:${one.publish[0]?.host}`),
        );
        expect(served, `after ${step.kind} ${step.subject} nobody answers`).to.not.equal(undefined);
        images.push(served?.image ?? '');
      }
      if (plan.steps.length === 0) world.now = plan.wakeAt ?? world.now;
    }
    expect([...new Set(images)]).to.deep.equal([ref('v1'), ref('v3')]);
    expect(world.plan()).to.deep.equal({ steps: [], waiting: [], refused: [] });
  });

  it('counts the time to drain from the switch of the route, not from the moment the new version was ready', async () => {
    const world = await started(web('v1'));
    world.connections = { [world.table[0]?.backend ?? '']: 2 };
    world.failing.set('route', retry('the proxy is busy'));
    push(world, web('v2'));
    for (let i = 0; i < 6; i += 1) {
      await world.pass();
      world.now += 20_000;
    }
    world.failing.clear();
    world.now += 60_000;
    for (
      let i = 0;
      world.table[0]?.backend.endsWith(`:${world.container('web')?.publish[0]?.host}`) !== true;
      i += 1
    ) {
      expect(i).to.be.lessThan(5);
      await world.pass();
    }
    const switchedAt = world.now;
    expect(running(world, 'v1')).to.equal(1);
    await world.converge();
    expect(running(world, 'v1')).to.equal(0);
    expect(world.now - switchedAt).to.equal(30_000);
  });

  it('replaces the siblings that are told of a port that moves, and no others', async () => {
    const shop = (tag: string): Service =>
      service(
        'shop',
        [
          component('api', { image: image(tag), routes: [route('api', `api.${SUFFIX}`)] }),
          component('page', { routes: [{ ...route('', `page.${SUFFIX}`), containerPort: 80 }] }),
        ],
        { deploy: { strategy: 'blue-green' } },
      );
    const world = await started(shop('v1'));
    push(world, shop('v2'));
    await world.converge();
    expect(world.applied[0]?.slotB).to.deep.equal(['api', 'page']);
    expect(world.plan().steps).to.deep.equal([]);
    expect(world.containers).to.have.length(2);
  });

  it('is refused for a component that may write to a volume or has a fixed port, and what runs goes on', async () => {
    const mount = { kind: 'bind', source: '/srv/web', target: '/data', readOnly: false } as const;
    for (const [change, why] of [
      [{ mounts: [mount] }, 'it may write to /data'],
      [{ ports: [{ host: 5353, container: 53, protocol: 'udp' }] }, 'it has the fixed port 5353/udp'],
    ] as const) {
      const world = await started(web('v1', change));
      const { containers } = world;
      push(world, web('v2', change));
      await world.converge();
      expect(world.containers).to.deep.equal(containers);
      expect(world.plan().refused[0]?.why).to.contain(why);
      expect(world.plan().refused[0]?.hint).to.contain('strategy = "recreate"');
    }
    const world = await started(web('v1', { mounts: [{ ...mount, readOnly: true }] }));
    push(world, web('v2', { mounts: [{ ...mount, readOnly: true }] }));
    await world.converge();
    expect(world.container('web')?.image).to.contain('v2');
  });

  it('begins and ends with a change of strategy: nothing moves for the word alone', async () => {
    const plainWeb = service('web', web('v1').components as Component[]);
    const world = await started(plainWeb);
    push(world, web('v1'));
    expect((await world.converge()).map(plain)).to.deep.equal(['trying web', 'applied web running']);
    push(world, web('v2'));
    await world.converge();
    push(world, service('web', web('v2').components as Component[]));
    expect((await world.converge()).map(plain)).to.deep.equal(['trying web', 'applied web running']);
    expect(world.applied[0]?.slotB).to.deep.equal(['web']);
  });

  it('L06 takes the port of slot b up from the container when the registry was lost, and restarts nothing', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'));
    await world.converge();
    const before = [world.containers, world.table];
    Object.assign(world, { applied: [], leases: [], routes: [], records: [], files: [], failures: [] });
    expect(await world.converge()).to.deep.equal(['applied web running']);
    expect([world.containers, world.table]).to.deep.equal(before);
  });
});

function ref(tag: string): string {
  return `mcr.example.net/web:${tag}`;
}

function image(tag: string): Component['image'] {
  return { reference: ref(tag), host: 'mcr.example.net', repository: 'web', tag };
}

function route(name: string, hostname: string): Route {
  return { name, port: 443, mode: 'l7', hostname, backendTls: false };
}

function web(tag: string, change: Partial<Component> = {}): Service {
  const routes = [route('', `web.${SUFFIX}`)];
  return service('web', [component('web', { image: image(tag), routes, ...change })], {
    deploy: { strategy: 'blue-green' },
  });
}

function push(world: World, version: Service, ...bad: string[]): void {
  world.desired = desiredOf([version]);
  for (const tag of bad) world.bad.add(ref(tag));
}

async function started(version: Service): Promise<World> {
  const world = new World();
  world.desired = desiredOf([version]);
  world.present(...['v1', 'v2', 'v3'].map(ref), ...version.components.map((part) => part.image.reference));
  await world.converge();
  return world;
}

function running(world: World, tag: string): number {
  return world.containers.filter((one) => one.image === ref(tag) && one.state === 'running').length;
}

function plain(line: string): string {
  return line.replace(/\.(next|prev)-.*/, '.$1');
}
