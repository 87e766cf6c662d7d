import { expect } from 'chai';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const HINT =
  /^Nothing that runs is stopped before its successor can start\. Let one of them go first, in a commit/;

describe('services that want what the others have', () => {
  it('two that change their fixed ports for each other are refused, both go on running, and no step is taken (L07)', async () => {
    const world = await settled(one('a', { port: 53 }), one('b', { port: 54 }));
    const before = world.containers;
    change(world, one('a', { port: 54 }), one('b', { port: 53 }));
    expect(await world.converge()).to.deep.equal([]);
    expect(refusals(world)).to.deep.equal([
      'a: port 54/tcp is held by container b, and each of these waits for what the next one has: a, b, a',
      'b: port 53/tcp is held by container a, and each of these waits for what the next one has: b, a, b',
    ]);
    expect(world.plan().refused[0]?.hint).to.match(HINT);
    expect(world.plan().waiting).to.deep.equal([]);
    expect(world.containers).to.deep.equal(before);
  });

  it('they change as soon as one of them makes room, as the hint says: by another port, or stopped for a while', async () => {
    for (const first of [one('a', { port: 55 }), { ...one('a', { port: 54 }), active: false }]) {
      const world = await settled(one('a', { port: 53 }), one('b', { port: 54 }));
      change(world, first, one('b', { port: 53 }));
      await world.converge();
      expect(refusals(world)).to.deep.equal([]);
      change(world, one('a', { port: 54 }), one('b', { port: 53 }));
      await world.converge();
      expect(refusals(world)).to.deep.equal([]);
      expect(ports(world)).to.deep.equal(['a 54', 'b 53']);
    }
  });

  it('a ring of three, and one of container names, is found; a row without an end to it only waits its turn', async () => {
    const ring = await settled(...['a', 'b', 'c'].map((name, at) => one(name, { port: 53 + at })));
    change(ring, one('a', { port: 54 }), one('b', { port: 55 }), one('c', { port: 53 }));
    expect(await ring.converge()).to.deep.equal([]);
    expect(refusals(ring).map((text) => text.split(': ').at(-1))).to.deep.equal([
      'a, b, c, a',
      'b, c, a, b',
      'c, a, b, c',
    ]);
    change(ring, one('a', { port: 54 }), one('b', { port: 55 }), one('c', { port: 56 }));
    await ring.converge();
    expect(ports(ring)).to.deep.equal(['a 54', 'b 55', 'c 56']);

    const names = await settled(one('a', { container: 'x' }), one('b', { container: 'y' }));
    change(names, one('a', { container: 'y' }), one('b', { container: 'x' }));
    expect(await names.converge()).to.deep.equal([]);
    expect(refusals(names)).to.deep.equal([
      'a: the container name y is still held by service b, and each of these waits for what the next one has: a, b, a',
      'b: the container name x is still held by service a, and each of these waits for what the next one has: b, a, b',
    ]);
  });

  it('a port that one service gets back in this plan is not free for another one, whose container would be stopped for nothing', async () => {
    for (const gone of ['a', 'b']) {
      const world = await settled(one('a', { port: 53 }), one('b', { port: 54 }));
      change(world, one('a', { port: 54 }), one('b', { port: 53 }));
      await world.converge();
      world.containers = world.containers.filter(({ name }) => name !== gone);
      const publishing = world
        .plan()
        .steps.flatMap((step) => (step.kind === 'create-container' ? step.spec.publish : []))
        .map(({ host }) => host);
      expect(new Set(publishing).size, gone).to.equal(publishing.length);
      let stopped = 0;
      for (let pass = 0; pass < 20; pass += 1) {
        const { plan, results } = await world.pass();
        stopped += plan.steps.filter(({ kind }) => kind === 'retire-container').length;
        expect(results.filter(({ outcome }) => outcome.kind !== 'ok')).to.deep.equal([]);
        if (plan.steps.length === 0) world.now = Math.max(world.now, plan.wakeAt ?? 0);
      }
      expect(stopped, gone).to.be.at.most(1);
      expect(
        ports(world)
          .map((line) => line.split(' ')[1])
          .sort(),
      ).to.deep.equal(['53', '54']);
    }
  });

  it('who waits behind a ring, or for one that is paused or goes, is not said to be in it', async () => {
    const world = await settled(...['a', 'b', 'c'].map((name, at) => one(name, { port: 53 + at })));
    change(world, one('a', { port: 54 }), one('b', { port: 53 }), one('c', { port: 53 }));
    await world.pass();
    expect(refusals(world).map((text) => text.split(':')[0])).to.deep.equal(['a', 'b']);
    expect(world.plan().waiting.map(({ service: name, for: what }) => `${name} ${what}`)).to.deep.equal([
      'c port',
    ]);
    change(
      world,
      one('a', { port: 54 }),
      { ...one('b', { port: 53 }), paused: true },
      one('c', { port: 55 }),
    );
    expect(refusals(world)).to.deep.equal([]);
    expect(world.plan().waiting.map(({ service: name, for: what }) => `${name} ${what}`)).to.include.members([
      'a port',
      'b paused',
    ]);
  });
});

function one(name: string, { port, container = name }: { port?: number; container?: string }): Service {
  const ports: Component['ports'] =
    port === undefined ? [] : [{ host: port, container: 53, protocol: 'tcp' }];
  return { ...service(name, []), components: [component(name, { container, ports })] };
}

async function settled(...services: Service[]): Promise<World> {
  const world = new World();
  change(world, ...services);
  await world.converge();
  expect(world.applied.map(({ service: { name } }) => name)).to.deep.equal(services.map(({ name }) => name));
  return world;
}

function change(world: World, ...services: Service[]): void {
  for (const { components } of services) for (const { image } of components) world.present(image.reference);
  world.desired = desiredOf(services);
}

function refusals(world: World): string[] {
  return world.plan().refused.map(({ service: name, why }) => `${name}: ${why}`);
}

function ports(world: World): string[] {
  return world.containers
    .filter(({ state }) => state === 'running')
    .map(({ name, publish }) => `${name} ${publish.map(({ host }) => host).join()}`)
    .sort();
}
