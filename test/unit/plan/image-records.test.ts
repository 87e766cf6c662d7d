import { expect } from 'chai';
import type { ImageState } from '../../../src/node/images/state.ts';
import type { Component } from '../../../src/definitions/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { stepsBy, toldBy } from './words.kit.ts';

const REFERENCE = 'mcr.example.net/a:v1.0.0';
const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;
const MOVED = 'the tag was moved [image/tag-moved]';

function present(change: Partial<Extract<ImageState, { kind: 'present' }>> = {}): ImageState {
  return { kind: 'present', imageId: A, user: '', volumes: [], ...change };
}

async function running(change: Partial<Component> = {}, state = present()): Promise<World> {
  const world = new World();
  world.desired = desiredOf([service('a', [component('a', change)])]);
  world.images[REFERENCE] = state;
  await world.converge();
  return world;
}

/** The steps that concern images, by kind and reason. */
function imageSteps(world: World): string[] {
  return stepsBy(world).filter((step) => /^\w+-image /.test(step));
}

describe('what is recorded of an image', () => {
  it('its id alone, where neither a registry nor a build has more to say', async () => {
    const world = new World();
    world.desired = desiredOf([service('a', [component('a')])]);
    world.images[REFERENCE] = present({ revision: 'c1' });
    const record = world.plan().steps.find(({ kind }) => kind === 'record-image');
    expect(record).to.have.all.keys('service', 'subject', 'because', 'kind', 'reference', 'imageId');
    world.desired = desiredOf([service('a', [component('a', { dockerfile: 'Dockerfile' })])]);
    expect(world.plan().steps.find(({ kind }) => kind === 'record-image')).to.include({ revision: 'c1' });
    world.images[REFERENCE] = present();
    expect(world.plan().steps.find(({ kind }) => kind === 'record-image')).to.not.have.property('revision');
  });

  it('again, when it was removed and is back, or its digest is known by then; not when that is silent', async () => {
    const world = await running();
    world.containers = [];
    expect(imageSteps(world)).to.deep.equal([]);
    const [record] = world.records;
    if (record === undefined) throw new Error('nothing is recorded');
    world.records = [{ ...record, removed: true }];
    expect(imageSteps(world)).to.have.length(1);
    world.records = [record];
    world.images[REFERENCE] = present({ manifestDigest: B });
    const [digest = ''] = imageSteps(world);
    expect(digest)
      .to.match(/^record-image/)
      .and.not.contain('built again');
    world.records = [{ ...record, manifestDigest: B }];
    expect(imageSteps(world)).to.deep.equal([]);
    world.images[REFERENCE] = present();
    expect(imageSteps(world), 'the registry may be down (L02)').to.deep.equal([]);
  });

  it('L19 no digest of an image that is another one, or is not here', async () => {
    const world = await running();
    world.images[REFERENCE] = present({ imageId: B, manifestDigest: B });
    expect(imageSteps(world)).to.deep.equal([]);
    world.images[REFERENCE] = { kind: 'remote', manifestDigest: B };
    expect(imageSteps(world)).to.deep.equal([]);
  });

  it('once for two components of one image, and the digest that our own push gave it anew', async () => {
    const world = new World();
    const { image } = component('a');
    world.desired = desiredOf([service('a', [component('web', { image }), component('api', { image })])]);
    world.images[REFERENCE] = present();
    await world.converge();
    world.images[REFERENCE] = present({ manifestDigest: B });
    expect(imageSteps(world)).to.deep.equal([
      `record-image ${REFERENCE}: its registry has it now under this digest`,
    ]);
    await world.converge();
    world.images[REFERENCE] = present({ manifestDigest: A });
    world.pushes[REFERENCE] = { kind: 'pushed', digest: A };
    expect(imageSteps(world), 'lost by the registry, and pushed again').to.have.length(1);
    world.pushes[REFERENCE] = { kind: 'pushed', digest: B };
    expect(imageSteps(world), 'as it was recorded').to.deep.equal([]);
    world.pushes[REFERENCE] = { kind: 'pushed' };
    expect(imageSteps(world), 'it was there already').to.deep.equal([]);
  });
});

describe('what is done about an image that was recorded', () => {
  it('one that is gone is pulled although no digest was recorded: there is none to hold it against', async () => {
    const world = await running();
    world.containers = [];
    world.images[REFERENCE] = { kind: 'remote', manifestDigest: B };
    expect(toldBy(world)).to.deep.equal([`a image: ${REFERENCE}: is in its registry and is being pulled`]);
  });

  it('L19 another id is another version, but for a build here from the very same commit', async () => {
    for (const [change, before, now, isMoved] of [
      [{ dockerfile: 'D' }, 'c1', 'c1', false],
      [{ dockerfile: 'D' }, 'c1', 'c2', true],
      [{ dockerfile: 'D' }, undefined, undefined, true],
      [{}, 'c1', 'c1', true],
    ] as const) {
      const state = (imageId: string, revision: string | undefined): ImageState =>
        present({ imageId, ...(revision === undefined ? {} : { revision }) });
      const world = await running(change, state(A, before));
      world.records = world.records.map((one) => ({
        ...one,
        ...(before === undefined ? {} : { revision: before }),
      }));
      world.containers = [];
      world.images[REFERENCE] = state(B, now);
      expect(toldBy(world).join().includes(MOVED), JSON.stringify([change, before, now])).to.equal(isMoved);
    }
  });

  it('one that is lost is built again from the commit that it was built from', async () => {
    const world = await running({ dockerfile: 'D' }, present({ revision: 'c1' }));
    world.containers = [];
    world.images[REFERENCE] = { kind: 'absent' };
    expect(world.plan().steps[0]).to.include({ kind: 'build-image', revision: 'c1' });
    world.records = [];
    expect(world.plan().steps[0]).to.include({ kind: 'build-image' }).and.not.have.property('revision');
  });

  it('a component without a container is no container of another image', async () => {
    const world = await running();
    world.containers = [];
    expect(toldBy(world)).to.deep.equal([]);
  });

  it('one that nobody has looked for yet is waited for', async () => {
    const world = await running();
    Object.assign(world, { images: {}, containers: [] });
    expect(toldBy(world)).to.deep.equal([`a image: ${REFERENCE}: it was not looked for yet`]);
  });

  it('ids are told by twelve digits, with and without their kind; what is no id as it is', async () => {
    const world = await running({}, present({ imageId: 'c'.repeat(64) }));
    for (const [id, shown] of [
      ['d'.repeat(64), 'dddddddddddd'],
      [B, 'bbbbbbbbbbbb'],
      ['md5:' + 'e'.repeat(32), 'md5:' + 'e'.repeat(32)],
      [`${'e'.repeat(32)}-dirty`, `${'e'.repeat(32)}-dirty`],
    ] as const) {
      world.images[REFERENCE] = present({ imageId: id });
      expect(toldBy(world)[0]).to.contain(`names ${shown} on this engine, and was recorded as cccccccccccc:`);
    }
  });
});
