import { expect } from 'chai';
import type { ImageState } from '../../../src/node/images/state.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const REFERENCE = 'mcr.example.net/a:v1.0.0';
const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;

type Present = Extract<ImageState, { kind: 'present' }>;

function present(change: Partial<Present> = {}): Present {
  return { kind: 'present', imageId: A, user: '', volumes: [], ...change };
}

describe('the planner: images', () => {
  let world: World;
  const define = (change: Parameters<typeof component>[1] = {}, more = {}): void => {
    world.desired = desiredOf([service('a', [component('a', change)], more)]);
  };
  const told = (): string[] => {
    const { waiting, refused } = world.plan();
    return [...refused.map(({ why }) => `refused: ${why}`), ...waiting.map(({ why }) => `waiting: ${why}`)];
  };

  beforeEach(async () => {
    world = new World();
    define();
    world.images[REFERENCE] = present();
  });

  it('two components of one image ask for it, and record it, once', async () => {
    const image = component('a').image;
    world.desired = desiredOf([service('a', [component('web', { image }), component('api', { image })])]);
    world.images[REFERENCE] = { kind: 'remote', manifestDigest: B };
    const kinds = (): string[] =>
      world
        .plan()
        .steps.map(({ kind }) => kind)
        .filter((kind) => kind.endsWith('-image'));
    expect(kinds()).to.deep.equal(['pull-image']);
    world.images[REFERENCE] = present({ manifestDigest: B });
    expect(kinds()).to.deep.equal(['record-image']);
    await world.converge();
    expect(world.records).to.have.length(1);
  });

  it('a digest that no image has is told as that: no build can give it', () => {
    const digest = `sha256:${'5'.repeat(64)}`;
    const image = { ...component('a').image, reference: `${REFERENCE}@${digest}`, digest };
    define({ image });
    world.images[image.reference] = { kind: 'absent' };
    world.registries = ['mcr.example.net'];
    const [refused] = world.plan().refused;
    expect(refused?.why).to.equal(
      `${image.reference} is neither here nor in mcr.example.net: no image of that digest`,
    );
    expect(refused?.hint).to.contain('Correct the digest');
  });

  describe('a tag is a promise about bytes (L19)', () => {
    it('what it means is recorded at first sight, image id and manifest digest apart', async () => {
      world.images[REFERENCE] = present({ manifestDigest: B });
      await world.converge();
      expect(world.records).to.deep.equal([
        {
          reference: REFERENCE,
          imageId: A,
          manifestDigest: B,
          built: false,
          firstSeenAt: world.records[0]?.firstSeenAt,
        },
      ]);
      expect(await world.converge()).to.deep.equal([]);
    });

    it('the digest of a later push is recorded once; another digest of the same bytes is no news', async () => {
      await world.converge();
      expect(world.records[0]).to.not.have.property('manifestDigest');
      world.images[REFERENCE] = present({ manifestDigest: B });
      const { plan } = await world.pass();
      expect(plan.steps.map(({ kind }) => kind)).to.deep.equal(['record-image']);
      expect(world.records[0]).to.include({ imageId: A, manifestDigest: B });
      world.images[REFERENCE] = present({ manifestDigest: A });
      expect((await world.pass()).plan.steps).to.deep.equal([]);
      expect(world.records[0]).to.include({ manifestDigest: B });
    });

    it('a tag that names another image is refused and told, and what runs is left alone', async () => {
      await world.converge();
      world.images[REFERENCE] = present({ imageId: B });
      expect(told()).to.deep.equal([
        `waiting: ${REFERENCE} names bbbbbbbbbbbb on this engine, and was recorded as aaaaaaaaaaaa: the tag was moved [image/tag-moved]`,
      ]);
      const running = world.container('a')?.id;
      define({ cmd: ['other'] });
      const { plan } = await world.pass();
      expect(plan.steps).to.deep.equal([]);
      expect(plan.refused.map(({ why }) => why).join()).to.contain('[image/tag-moved]');
      expect(world.container('a')).to.include({ id: running, state: 'running' });
      expect(world.records[0]?.imageId).to.equal(A);
    });

    it('a tag that was moved in its registry is not pulled', async () => {
      world.images[REFERENCE] = present({ manifestDigest: A });
      await world.converge();
      world.containers = [];
      world.images[REFERENCE] = { kind: 'remote', manifestDigest: B };
      const { plan } = await world.pass();
      expect(plan.steps).to.deep.equal([]);
      expect(plan.refused[0]?.why).to.contain('names bbbbbbbbbbbb in its registry');
      world.images[REFERENCE] = { kind: 'remote', manifestDigest: A };
      expect(world.plan().steps.map(({ kind }) => kind)).to.deep.equal(['pull-image']);
    });

    it('a rebuild of the same commit may have another id, and says so; of another commit it is a moved tag', async () => {
      define({ dockerfile: 'Dockerfile' });
      world.images[REFERENCE] = present({ revision: 'c1' });
      await world.converge();
      expect(world.records[0]).to.include({ built: true, revision: 'c1' });
      world.containers = [];
      world.images[REFERENCE] = present({ imageId: B, revision: 'c2' });
      expect(told().join()).to.contain('[image/tag-moved]');
      world.images[REFERENCE] = present({ imageId: B, revision: 'c1' });
      const record = world.plan().steps.find(({ kind }) => kind === 'record-image');
      expect(record?.because.summary).to.contain('built again from the same commit, with another id');
      await world.converge();
      expect(world.records[0]?.imageId).to.equal(B);
    });

    it('a tag that was moved in git is refused before the build, and stays refused while it is looked at again', async () => {
      define({ dockerfile: 'Dockerfile' });
      world.images[REFERENCE] = present({ revision: 'c1' });
      await world.converge();
      world.containers = [];
      world.images[REFERENCE] = { kind: 'absent' };
      const build = (): unknown => world.plan().steps.find(({ kind }) => kind === 'build-image');
      expect(build()).to.include({ revision: 'c1' });
      const moved = {
        why: 'git tag v1.0.0 names c2, built from c1',
        hint: 'Tag a new one.',
        moved: true,
      } as const;
      const [at, retryAt] = [world.now, world.now + 60_000];
      const states: ImageState[] = [
        { kind: 'failed', at, retryAt, ...moved },
        { kind: 'building', since: at, progress: 'reading the source', failed: moved },
      ];
      for (const state of states) {
        world.images[REFERENCE] = state;
        const { steps, waiting, refused } = world.plan();
        expect([steps, waiting]).to.deep.equal([[], []]);
        expect(refused).to.deep.equal([
          { service: 'a', why: moved.why, hint: 'Tag a new one. What runs goes on running.' },
        ]);
      }
      [world.images[REFERENCE], world.now] = [{ kind: 'failed', at, retryAt, ...moved }, retryAt];
      expect(build(), 'somebody may have moved it back').to.include({ revision: 'c1' });
      expect(world.plan().refused.map(({ why }) => why)).to.deep.equal([moved.why]);
      world.images[REFERENCE] = { kind: 'absent', failed: moved };
      expect(build()).to.include({ revision: 'c1' });
      expect(world.plan().refused.map(({ why }) => why)).to.deep.equal([moved.why]);
    });

    it('a tag that somebody moved in the registry it was pushed to is told, and nothing is pushed over it', async () => {
      define({ dockerfile: 'Dockerfile' });
      world.images[REFERENCE] = present({ manifestDigest: A, revision: 'c1' });
      world.pushes[REFERENCE] = { kind: 'pushed' };
      await world.converge();
      world.pushes[REFERENCE] = { kind: 'moved', was: A, is: B };
      const { steps, waiting } = world.plan();
      expect(steps).to.deep.equal([]);
      expect(waiting.map((one) => [one.for, one.why])).to.deep.equal([
        [
          'image push',
          `${REFERENCE} names bbbbbbbbbbbb in its registry, and was there as aaaaaaaaaaaa: the tag was moved [image/tag-moved]`,
        ],
      ]);
    });

    it('what our own push gave it after the registry had lost it is recorded: another manifest of the same image', async () => {
      world.images[REFERENCE] = present({ manifestDigest: A });
      await world.converge();
      world.images[REFERENCE] = present({ manifestDigest: B });
      world.pushes[REFERENCE] = { kind: 'pushed', digest: B };
      await world.converge();
      expect(world.records[0]).to.include({ imageId: A, manifestDigest: B });
    });

    it('a container that runs another image than was recorded is told', async () => {
      await world.converge();
      world.records = world.records.map((record) => ({ ...record, imageId: B }));
      world.images[REFERENCE] = present({ imageId: B });
      expect(told()).to.deep.equal([
        `waiting: container a runs image aaaaaaaaaaaa, but ${REFERENCE} was recorded as bbbbbbbbbbbb`,
      ]);
    });
  });

  describe('an image that is missing', () => {
    const C = 'mcr.example.net/b:v1.0.0';

    it('of several images of a service each is built when its own tag is missing, and only then', async () => {
      const built = { dockerfile: 'Dockerfile' };
      world.desired = desiredOf([service('a', [component('a', built), component('b', built)])]);
      world.images[C] = { kind: 'absent' };
      const one = world.plan().steps.filter(({ kind }) => kind === 'build-image');
      expect(one.map(({ subject }) => subject)).to.deep.equal([C]);
      world.images = { [REFERENCE]: { kind: 'absent' }, [C]: { kind: 'absent' } };
      const both = world.plan().steps.filter(({ kind }) => kind === 'build-image');
      expect(both.map(({ subject }) => subject)).to.deep.equal([REFERENCE, C]);
    });

    it('that services of several nodes build is built by the first by name; the others wait for it, and pull it', async () => {
      define({ dockerfile: 'Dockerfile' });
      world.images = { [REFERENCE]: { kind: 'absent' } };
      world.desired = { ...world.desired, builtElsewhere: { [REFERENCE]: 'm9' } };
      world.registries = ['mcr.example.net'];
      expect(await world.converge()).to.deep.equal([]);
      expect(told()).to.deep.equal([
        `waiting: ${REFERENCE}: is built by node m9, the first by name of those that share it, and is taken from mcr.example.net once it is there`,
      ]);
      world.images[REFERENCE] = { kind: 'remote', manifestDigest: B };
      expect((await world.converge()).slice(0, 1)).to.deep.equal([`pull ${REFERENCE}`]);
      expect(world.container('a')?.state).to.equal('running');
    });

    it('is built here all the same where no registry could bring it', () => {
      define({ dockerfile: 'Dockerfile' });
      world.images = { [REFERENCE]: { kind: 'absent' } };
      world.desired = { ...world.desired, builtElsewhere: { [REFERENCE]: 'm9' } };
      expect(world.plan().steps.map(({ kind }) => kind)).to.deep.equal(['build-image']);
    });
  });

  it('a build that is tried again says so, and why it failed before', () => {
    define({ dockerfile: 'Dockerfile' });
    const failed = { why: 'step 2 of 3 failed', hint: 'Mend the Dockerfile.' };
    world.images[REFERENCE] = { kind: 'building', since: world.now, progress: 'queued', failed };
    expect(world.plan().waiting[0]).to.include({
      why: `${REFERENCE}: building, queued, 0 s; tried again after: step 2 of 3 failed`,
      hint: 'Mend the Dockerfile.',
    });
  });

  it('a build or pull that no active definition names any more is ended, once, and those that are named go on', async () => {
    define({ dockerfile: 'Dockerfile' });
    const old = 'mcr.example.net/a:v0.9.0';
    world.images[REFERENCE] = { kind: 'building', since: world.now };
    world.strayWork = {
      [old]: { kind: 'building', since: world.now },
      'mcr.example.net/b:v1.0.0': { kind: 'pulling', since: world.now },
    };
    const { plan } = await world.pass();
    expect(plan.steps.map(({ kind, subject, because }) => [kind, subject, because.summary])).to.deep.equal([
      [
        'cancel-image',
        old,
        `the build of ${old} is ended: no active definition of this node names it any more`,
      ],
      [
        'cancel-image',
        'mcr.example.net/b:v1.0.0',
        'the pull of mcr.example.net/b:v1.0.0 is ended: no active definition of this node names it any more',
      ],
    ]);
    expect((await world.pass()).plan.steps).to.deep.equal([]);
  });

  it('a registry that does not say is asked again at a time that is told, with what to do about it (G37)', () => {
    define({ dockerfile: 'Dockerfile' });
    const [at, retryAt] = [world.now - 1_000, world.now + 25_000];
    const why = 'registry mcr.example.net answers with status 429';
    world.images[REFERENCE] = { kind: 'unknown', why, hint: 'It is asked again by itself.', at, retryAt };
    const plan = world.plan();
    expect([plan.steps, plan.wakeAt]).to.deep.equal([[], retryAt]);
    expect(plan.waiting[0]).to.deep.include({
      ...{ for: 'image', why: `${REFERENCE}: ${why}`, hint: 'It is asked again by itself.' },
      ...{ since: at, until: retryAt },
    });
  });

  it('too little room on the disk is a wait with an end, and nothing else: the build is begun again then', () => {
    define({ dockerfile: 'Dockerfile' });
    const why = 'the disk of the engine has 5 MiB free [disk/shortage]';
    const retryAt = world.now + 60_000;
    world.images[REFERENCE] = { kind: 'failed', at: world.now, why, hint: 'Free some space.', retryAt };
    const full = world.plan();
    expect([full.steps, full.refused]).to.deep.equal([[], []]);
    expect(full.waiting.map((one) => [one.for, one.why, one.until])).to.deep.equal([
      ['image', `${REFERENCE}: ${why}`, retryAt],
    ]);
    world.now = retryAt;
    expect(world.plan().steps.map(({ kind }) => kind)).to.deep.equal(['build-image']);
  });

  it('a push that fails holds nothing back: the service runs, and is pushed later', async () => {
    define({ dockerfile: 'Dockerfile' });
    const failed = { kind: 'failed', at: world.now, why: 'registry is down' } as const;
    world.pushes[REFERENCE] = { ...failed, retryAt: world.now + 60_000 };
    const steps = await world.converge();
    expect(world.container('a')?.state).to.equal('running');
    expect(steps.indexOf('applied a running'))
      .to.be.below(steps.indexOf(`push ${REFERENCE}`))
      .and.at.least(0);
    expect(world.pushes[REFERENCE]).to.deep.equal({ kind: 'pushed' });
  });

  describe('the configuration of an image is looked at before anything is started from it (L18)', () => {
    const built = { dockerfile: 'Dockerfile' };
    const cases: readonly [string, Partial<Present>, Parameters<typeof component>[1], RegExp | undefined][] =
      [
        ['another architecture', { architecture: 'arm64' }, {}, /is made for arm64, and this node is amd64/],
        ['the same architecture', { architecture: 'amd64' }, {}, undefined],
        ['nothing to start', { runnable: false }, {}, /neither ENTRYPOINT nor CMD/],
        ['nothing to start, but a cmd', { runnable: false }, { cmd: ['x'] }, undefined],
        ['USER of an image that is built here', { user: '1000' }, built, /has USER 1000/],
        ['USER root', { user: 'root' }, built, undefined],
        ['USER, overruled by the definition', { user: '1000' }, { ...built, user: '0:0' }, undefined],
        ['USER of an image of others', { user: '1000' }, {}, undefined],
        ['a VOLUME that nothing covers', { volumes: ['/data'] }, {}, /VOLUME \/data, which no mount covers/],
        [
          'a covered VOLUME of an image that is built here',
          { volumes: ['/srv/a'] },
          {
            ...built,
            mounts: [{ kind: 'bind', source: '/srv/a', target: '/srv/a', readOnly: false }],
          },
          /declares VOLUME \/srv\/a \[dockerfile\/volume\]/,
        ],
      ];
    for (const [title, state, change, why] of cases) {
      it(`${title}: ${why === undefined ? 'good' : 'refused'}`, async () => {
        world.architecture = 'amd64';
        define(change);
        world.images[REFERENCE] = present(state);
        const { plan } = await world.pass();
        if (why === undefined) expect(plan.refused).to.deep.equal([]);
        else {
          expect(plan.refused.map((entry) => entry.why).join()).to.match(why);
          expect(world.containers).to.deep.equal([]);
        }
      });
    }

    it('a silenced rule holds for the base image as well', async () => {
      define(built, { silenced: [{ rule: 'dockerfile/user', reason: 'the base image has it' }] });
      world.images[REFERENCE] = present({ user: '1000' });
      await world.converge();
      expect(world.container('a')?.state).to.equal('running');
    });
  });
});
