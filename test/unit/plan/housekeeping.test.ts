import { expect } from 'chai';
import type { ObservedContainer } from '../../../src/node/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const HOST = 'mcr.example.net';

function image(tag: string, repository = 'a'): { image: Parameters<typeof component>[1] } {
  const reference = `${HOST}/${repository}:${tag}`;
  return { image: { image: { reference, host: HOST, repository, tag } } };
}

describe('the planner: housekeeping of images', () => {
  let world: World;
  const define = (tag: string, more = {}): void => {
    world.desired = desiredOf([service('a', [component('a', image(tag).image)], more)]);
    world.present(`${HOST}/a:${tag}`);
  };
  const versions = async (...tags: string[]): Promise<void> => {
    for (const tag of tags) {
      define(tag);
      world.now += 60_000;
      await world.converge();
    }
  };
  const removed = (): string[] => world.journal.filter((line) => line.startsWith('remove-image'));

  beforeEach(() => {
    world = new World();
    world.keepImages = 3;
  });

  it('of each repository the newest three stay; what goes is still remembered, so that its tag cannot be moved (L19)', async () => {
    await versions('v1.0.0', 'v1.1.0', 'v1.2.0');
    expect(removed()).to.deep.equal([]);
    await versions('v1.3.0', 'v1.4.0');
    expect(removed()).to.deep.equal([`remove-image ${HOST}/a:v1.0.0`, `remove-image ${HOST}/a:v1.1.0`]);
    expect(await world.converge()).to.deep.equal([]);
    const first = world.records.find(({ reference }) => reference.endsWith(':v1.0.0'));
    expect(first).to.include({ removed: true, imageId: `sha256:${HOST}/a:v1.0.0` });
    world.images[`${HOST}/a:v1.0.0`] = { kind: 'present', imageId: 'sha256:other', user: '', volumes: [] };
    world.desired = desiredOf([service('a', [component('a', image('v1.0.0').image)])]);
    expect((await world.pass()).plan.refused[0]?.why).to.contain('[image/tag-moved]');
  });

  it('never one that a definition names, that any container was made from, or that is not recorded', async () => {
    world.keepImages = 1;
    await versions('v1.0.0', 'v1.1.0');
    expect(removed()).to.deep.equal([`remove-image ${HOST}/a:v1.0.0`]);
    world.present(`${HOST}/a:v0.1.0`);
    await versions('v1.2.0');
    expect(removed().slice(1)).to.deep.equal([`remove-image ${HOST}/a:v1.1.0`]);
    expect(world.images).to.have.property(`${HOST}/a:v0.1.0`);
    const { containers } = world;
    world.containers = [
      ...containers,
      ...containers.map(({ image: made, imageId, publish }): ObservedContainer => ({
        ...{ id: 'foreign', name: 'foreign', image: made, imageId, publish: publish.slice(1) },
        ...{ state: 'running', restartCount: 0, labels: {} },
      })),
    ];
    await versions('v1.3.0', 'v1.4.0');
    expect(removed().slice(2)).to.deep.equal([`remove-image ${HOST}/a:v1.3.0`]);
    world.containers = world.containers.filter(({ id }) => id !== 'foreign');
    await world.converge();
    expect(removed().slice(3)).to.deep.equal([`remove-image ${HOST}/a:v1.2.0`]);
  });

  it('what is applied stays while its successor is being made, and nothing goes while a service is not at rest', async () => {
    world.keepImages = 1;
    await versions('v1.0.0', 'v1.1.0');
    world.unready.add('a');
    define('v1.2.0');
    for (let pass = 0; pass < 5; pass += 1) await world.pass();
    expect(removed()).to.deep.equal([`remove-image ${HOST}/a:v1.0.0`]);
    world.unready.clear();
    await world.converge();
    expect(removed().slice(1)).to.deep.equal([`remove-image ${HOST}/a:v1.1.0`]);
  });

  it("the builder's cache is held to its budget, and not touched while it is not known", async () => {
    define('v1.0.0');
    await world.converge();
    world.buildCacheBytes = 100;
    const disk = { at: world.now, imagesBytes: 1, minFreeBytes: 0 };
    for (const cacheBytes of [undefined, 0, 100]) {
      world.disk = { ...disk, ...(cacheBytes === undefined ? {} : { cacheBytes }) };
      expect(world.plan().steps).to.deep.equal([]);
    }
    world.disk = { ...disk, cacheBytes: 101 };
    expect(await world.converge()).to.deep.equal(['prune-build-cache 100']);
    world.disk = { ...disk, cacheBytes: 101 };
    world.failing.set('prune-build-cache', { kind: 'retry', why: 'the engine is busy' });
    await world.pass();
    expect(world.plan().steps, 'it rests after a failure').to.deep.equal([]);
    world.now += 60_000;
    expect(world.plan().steps).to.have.length(1);
  });

  it('nothing goes while a file cannot be read, or while the engine is not known; a stopped service keeps its image', async () => {
    world.keepImages = 1;
    await versions('v1.0.0');
    define('v1.1.0');
    world.desired = { ...world.desired, unreadable: true };
    await world.converge();
    expect(removed()).to.deep.equal([]);
    world.engineUp = false;
    expect(world.plan().steps).to.deep.equal([]);
    world.engineUp = true;
    define('v1.1.0', { active: false });
    await world.converge();
    expect(removed()).to.deep.equal([`remove-image ${HOST}/a:v1.0.0`]);
    expect(world.images).to.have.property(`${HOST}/a:v1.1.0`);
  });
});
