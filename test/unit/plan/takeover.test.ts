import { expect } from 'chai';
import type { Component, Service } from '../../../src/definitions/types.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

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
      expect(plan.waiting[0]?.why).to.contain(`it took the place of ${replaces}, was not proved`);
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
