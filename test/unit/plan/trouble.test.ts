import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, World } from '../../support/world.ts';

describe('the planner in trouble', () => {
  it('waits longer after each removal, and after each stop, that fails', async () => {
    for (const desired of [[one('b')], [one('b'), { ...one('a'), active: false }]]) {
      const world = await running(one('a'), one('b'));
      world.desired = desiredOf(desired);
      world.failing.set('remove', retry('device is busy')).set('stop', retry('device is busy'));
      const from = world.journal.length;
      const waits: number[] = [];
      for (let i = 0; i < 3; i += 1) {
        await world.pass();
        expect((await world.pass()).plan.steps).to.deep.equal([]);
        const wakeAt = world.plan().wakeAt ?? 0;
        waits.push(wakeAt - world.now);
        world.now = wakeAt;
      }
      expect(waits).to.deep.equal([2000, 4000, 8000]);
      expect(world.journal.slice(from).filter((line) => /^(remove|stop) a$/.test(line))).to.have.length(3);
      world.failing.clear();
      await world.converge();
      expect(world.failures).to.deep.equal([]);
      expect(world.container('a')?.state).to.equal(desired.length === 1 ? undefined : 'exited');
    }
  });

  it('forgets a failure once the service runs as wanted again, so that the next one begins with a short wait', async () => {
    const world = await running(one('a'));
    world.kill('a');
    world.failing.set('start', retry('no space left'));
    for (let i = 0; i < 4; i += 1) {
      await world.pass();
      world.now = world.plan().wakeAt ?? world.now;
    }
    expect(world.failures[0]?.count).to.equal(4);
    world.failing.clear();
    await world.converge();
    expect(world.failures).to.deep.equal([]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });
});

async function running(...services: Service[]): Promise<World> {
  const world = new World();
  world.desired = desiredOf(services);
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  await world.converge();
  return world;
}

function one(name: string, change: Partial<Component> = {}): Service {
  return service(name, [component(name, change)]);
}
