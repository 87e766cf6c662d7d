import { expect } from 'chai';
import type { ImageState, PushState } from '../../../src/node/images/state.ts';
import type { PlanSettings } from '../../../src/plan/types.ts';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { stepsBy, toldBy } from './words.kit.ts';

const REFERENCE = 'mcr.example.net/a:v1.0.0';
const A = `sha256:${'a'.repeat(64)}`;
const B = `sha256:${'b'.repeat(64)}`;
const NOW = new World().now;
const FAILED = { why: 'the build failed', hint: 'Mend it.' };
const BUILT = { dockerfile: 'Dockerfile' };
const LOCAL = { image: { reference: 'x/a:v1.0.0', repository: 'x/a', tag: 'v1.0.0' } };
const COVERED = { mounts: [{ kind: 'volume', volume: 'v', target: '/da', readOnly: false }] } as const;

interface Case {
  readonly state: ImageState;
  readonly component?: Partial<Component>;
  readonly service?: Partial<Service>;
  readonly settings?: Partial<PlanSettings>;
  readonly builtElsewhere?: string;
  readonly told: readonly string[];
}

function present(change: Partial<Extract<ImageState, { kind: 'present' }>> = {}): ImageState {
  return { kind: 'present', imageId: A, user: '', volumes: [], ...change };
}

function worldOf({ state, component: change = {}, service: more, builtElsewhere }: Case): World {
  const world = new World();
  const wanted = component('a', change);
  world.desired = desiredOf([service('a', [wanted], more)], {
    ...(builtElsewhere === undefined ? {} : { builtElsewhere: { [REFERENCE]: builtElsewhere } }),
  });
  world.images[wanted.image.reference] = state;
  return world;
}

/** By what is promised. */
const CASES: Readonly<Record<string, Case>> = {
  'a pull is told': {
    state: { kind: 'remote', manifestDigest: B },
    told: [`a image: ${REFERENCE}: is in its registry and is being pulled`],
  },
  'a build is told': {
    state: { kind: 'absent' },
    component: BUILT,
    told: [`a image: ${REFERENCE}: is being built`],
  },
  'what could be built, but not on this node, says both ways out': {
    state: { kind: 'absent' },
    component: BUILT,
    settings: { canBuild: false },
    told: [
      `a refused: ${REFERENCE} is not on this engine, and no registry is configured for mcr.example.net | Set [registries."mcr.example.net"] in the settings of this node if that is where it is; or set [build] workspace in the settings of this node so that the agent can build it.`,
    ],
  },
  'what nobody can build, and no registry has, says both ways out': {
    state: { kind: 'absent' },
    told: [
      `a refused: ${REFERENCE} is not on this engine, and no registry is configured for mcr.example.net | Set [registries."mcr.example.net"] in the settings of this node if that is where it is; or let the agent build it: [build.images] a = "Dockerfile".`,
    ],
  },
  'what its own registry does not have is to be put there': {
    state: { kind: 'absent' },
    settings: { registries: ['mcr.example.net'] },
    told: [
      `a refused: ${REFERENCE} is neither here nor in mcr.example.net | Put it there; or let the agent build it: [build.images] a = "Dockerfile".`,
    ],
  },
  'what names no registry is to be put on the engine': {
    state: { kind: 'absent' },
    component: LOCAL,
    told: [
      'a refused: x/a:v1.0.0 is not on this engine, and names no registry to pull it from | Put it there; or let the agent build it: [build.images] a = "Dockerfile".',
    ],
  },
  'what another node builds is waited for where this one can take it from the registry': {
    state: { kind: 'absent' },
    component: BUILT,
    settings: { registries: ['mcr.example.net'] },
    builtElsewhere: 'atlas',
    told: [
      `a image: ${REFERENCE}: is built by node atlas, the first by name of those that share it, and is taken from mcr.example.net once it is there | See what keeps atlas from it. A version that its services do not name is built here.`,
    ],
  },
  'what another node builds is built here too where no registry connects them': {
    state: { kind: 'absent' },
    component: BUILT,
    builtElsewhere: 'atlas',
    told: [`a image: ${REFERENCE}: is being built`],
  },
  'work under way says how far it is': {
    state: { kind: 'building', since: NOW - 12_000, progress: 'step 3 of 9' },
    told: [`a image: ${REFERENCE}: building, step 3 of 9, 12 s (since -12 s)`],
  },
  'work that was tried before says how that failed, and no time below zero': {
    state: { kind: 'pulling', since: NOW + 500, failed: FAILED },
    told: [
      `a image: ${REFERENCE}: pulling, 0 s; tried again after: the build failed | Mend it. (since 0.5 s)`,
    ],
  },
  'a tag that was moved in git stays refused while it is looked at again': {
    state: { kind: 'building', since: NOW, failed: { ...FAILED, moved: true } },
    told: ['a refused: the build failed | Mend it. What runs goes on running.'],
  },
  'a failure says why, what to do, and when it is tried again': {
    state: { kind: 'failed', ...FAILED, at: NOW - 1_000, retryAt: NOW + 2_000 },
    told: [`a image: ${REFERENCE}: the build failed | Mend it. (since -1 s) (until 2 s)`],
  },
  'a failure that a person has to mend is refused': {
    state: { kind: 'failed', ...FAILED, moved: true, at: NOW - 1_000, retryAt: NOW + 2_000 },
    told: ['a refused: the build failed | Mend it. What runs goes on running.'],
  },
  'a failure that a person has to mend stays refused while it is tried again': {
    state: { kind: 'failed', ...FAILED, moved: true, at: NOW - 1_000, retryAt: NOW },
    component: BUILT,
    told: ['a refused: the build failed | Mend it. What runs goes on running.'],
  },
  'a registry that does not answer is told': {
    state: { kind: 'unknown', why: 'it does not answer' },
    told: [`a image: ${REFERENCE}: it does not answer`],
  },
  'a registry that does not answer is told with what to do, and when it is asked again': {
    state: { kind: 'unknown', why: 'it is silent', hint: 'Look.', at: NOW - 5_000, retryAt: NOW + 5_000 },
    told: [`a image: ${REFERENCE}: it is silent | Look. (since -5 s) (until 5 s)`],
  },
  'a time to ask again that has come is none to wait for': {
    state: { kind: 'unknown', why: 'it is silent', at: NOW - 5_000, retryAt: NOW },
    told: [`a image: ${REFERENCE}: it is silent (since -5 s)`],
  },
  'an image without a program is not started': {
    state: present({ runnable: false }),
    told: [
      `a refused: ${REFERENCE} has neither ENTRYPOINT nor CMD: there is nothing to start | Give it one, or set \`cmd\` in the definition.`,
    ],
  },
  'an image without a program is fit for a definition that has a command': {
    state: present({ runnable: false }),
    component: { cmd: ['x'] },
    told: [],
  },
  'an image without a program is fit for a definition that has an entrypoint': {
    state: present({ runnable: false }),
    component: { entrypoint: ['x'] },
    told: [],
  },
  'a VOLUME beside the mounts would lose its data': {
    state: present({ volumes: ['/data'] }),
    component: COVERED,
    told: [
      `a refused: ${REFERENCE} declares VOLUME /data, which no mount covers: its data would be lost at each replacement | Mount something there, for example volumes = ["/srv/a:/data"], or drop VOLUME from the image.`,
    ],
  },
  'a VOLUME at a mount, or below one, is covered': {
    state: present({ volumes: ['/da/x', '/da'] }),
    component: COVERED,
    told: [],
  },
  'a VOLUME of an image that is built here is an error also where it is covered': {
    state: present({ volumes: ['/da', '/da/x'] }),
    component: { ...COVERED, ...BUILT },
    told: [
      `a refused: ${REFERENCE} declares VOLUME /da, /da/x [dockerfile/volume] | Drop VOLUME from the Dockerfile or its base image and tag a new version: the mount in the definition is enough.`,
    ],
  },
  'a VOLUME of an image that is built here may be silenced': {
    state: present({ volumes: ['/da'] }),
    component: { ...COVERED, ...BUILT },
    service: { silenced: [{ rule: 'dockerfile/volume', reason: 'r' }] },
    told: [],
  },
  'a USER of an image that is built here is an error': {
    state: present({ user: 'app' }),
    component: BUILT,
    told: [
      `a refused: ${REFERENCE} has USER app, which cannot write below /srv on this node [dockerfile/user] | Drop USER from the Dockerfile or its base image and tag a new version, or set user = "0:0" in the definition.`,
    ],
  },
  'a USER that is root by another word is fit': {
    state: present({ user: 'root:0' }),
    component: BUILT,
    told: [],
  },
  'a USER is fit where the definition has another': {
    state: present({ user: 'app' }),
    component: { ...BUILT, user: '0:0' },
    told: [],
  },
  'a USER may be silenced': {
    state: present({ user: 'app' }),
    component: BUILT,
    service: { silenced: [{ rule: 'dockerfile/user', reason: 'r' }] },
    told: [],
  },
  'a USER of an image that others build is not judged': { state: present({ user: 'app' }), told: [] },
};

describe('what is told of an image that is not in place', () => {
  for (const [title, one] of Object.entries(CASES))
    it(title, () => {
      expect(toldBy(worldOf(one), one.settings)).to.deep.equal(one.told);
    });

  it('of another architecture: which it is, and which this node is', () => {
    const world = worldOf({ state: present({ architecture: 'arm64' }), told: [] });
    expect(toldBy(world), 'an engine that does not say').to.deep.equal([]);
    world.architecture = 'amd64';
    expect(toldBy(world)).to.deep.equal([
      `a refused: ${REFERENCE} is made for arm64, and this node is amd64 | Build it for amd64 too, and push it under the next version.`,
    ]);
  });

  it('the build says in the history what it is made from, and briefly how the one before failed', () => {
    const built = `build-image ${REFERENCE}: ${REFERENCE} is missing: built from tag v1.0.0 of a`;
    const after = (why: string): string[] =>
      stepsBy(worldOf({ state: { kind: 'absent', failed: { why, hint: 'h' } }, component: BUILT, told: [] }));
    expect(stepsBy(worldOf({ state: { kind: 'absent' }, component: BUILT, told: [] }))).to.deep.equal([
      built,
    ]);
    expect(after('it broke; its last lines: secret')).to.deep.equal([
      `${built}; once more, as before: it broke`,
    ]);
    expect(after('x'.repeat(300))).to.deep.equal([`${built}; once more, as before: ${'x'.repeat(300)}`]);
    expect(after('x'.repeat(301))).to.deep.equal([`${built}; once more, as before: ${'x'.repeat(300)}…`]);
  });
});

describe('what is told of an image that is in place', () => {
  let world: World;
  beforeEach(async () => {
    world = worldOf({ state: present(), told: [] });
    await world.converge();
  });
  const push = (state: PushState): string[] => {
    world.pushes[REFERENCE] = state;
    return [...toldBy(world), ...stepsBy(world).map((step) => step.split(':')[0] ?? '')];
  };

  it('a push that failed waits with its reason, and is begun again at its time', () => {
    const failed = {
      kind: 'failed',
      at: world.now - 1_000,
      why: 'denied',
      retryAt: world.now + 1_000,
    } as const;
    expect(push(failed)).to.deep.equal(['a image push: denied (since -1 s) (until 1 s)']);
    expect(push({ ...failed, hint: 'Log in.' })).to.deep.equal([
      'a image push: denied | Log in. (since -1 s) (until 1 s)',
    ]);
    expect(push({ ...failed, retryAt: world.now })).to.deep.equal(['push-image mcr.example.net/a']);
    expect(push({ kind: 'pending' })).to.deep.equal(['push-image mcr.example.net/a']);
    expect(push({ kind: 'pushing', since: world.now })).to.deep.equal([]);
  });

  it('L19 a tag that somebody moved in the registry is not pushed over', () => {
    expect(push({ kind: 'moved', was: A, is: B })).to.deep.equal([
      `a image push: ${REFERENCE} names bbbbbbbbbbbb in its registry, and was there as aaaaaaaaaaaa: the tag was moved [image/tag-moved] | What runs here goes on running, and nothing is pushed over it. Find out who moved it, and tag a new version.`,
    ]);
  });

  it('L19 a container that runs another image than was recorded is told', () => {
    world.containers = world.containers.map((one) => ({ ...one, imageId: B }));
    expect(toldBy(world)).to.deep.equal([
      `a image: container a runs image bbbbbbbbbbbb, but ${REFERENCE} was recorded as aaaaaaaaaaaa | Tag a new version; or raise \`generation\` in the definition to have the container made again from the recorded image.`,
    ]);
  });

  it('L19 a tag that names another image on this engine is told with the way out', () => {
    world.images[REFERENCE] = present({ imageId: B });
    expect(toldBy(world)).to.deep.equal([
      `a image: ${REFERENCE} names bbbbbbbbbbbb on this engine, and was recorded as aaaaaaaaaaaa: the tag was moved [image/tag-moved] | A version is one image for ever. Tag a new version, and name it in the definition; what runs goes on running.`,
    ]);
  });

  it('a digest that its registry gives it later is recorded, and says so', () => {
    world.images[REFERENCE] = present({ manifestDigest: B });
    expect(stepsBy(world)).to.deep.equal([
      `record-image ${REFERENCE}: its registry has it now under this digest`,
    ]);
  });
});
