import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Desired } from '../../../src/definitions/types.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import { cacheSteps, housekeeping } from '../../../src/plan/housekeeping.ts';
import type { Step } from '../../../src/plan/types.ts';
import type { ImageRecord } from '../../../src/registry/types.ts';
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

  it('of a repository that nobody has any more: what fails waits longer each time, and is forgotten when nothing is left to do', async () => {
    await versions('v1.0.0', 'v1.1.0', 'v1.2.0', 'v1.3.0');
    world.keepImages = 1;
    world.desired = desiredOf([], { removals: ['a'] });
    world.removable = ['a'];
    world.failing.set('remove-image', retry('in use'));
    const fails = (): number => world.failures.find(({ service }) => service === '(node)')?.count ?? 0;
    for (let pass = 0; pass < 20; pass += 1) await world.pass();
    expect(fails(), 'tries with the clock standing still').to.equal(1);
    const { waiting, wakeAt } = world.plan();
    expect(
      waiting.map(({ service, for: what, why }) => `${service} ${what}: ${why}`),
      'told once',
    ).to.deep.equal(['(node) retry: in use (try 1)']);
    expect(wakeAt, 'looked at again when it has rested').to.equal(world.now + 2_000);
    world.now += 2_000;
    await world.pass();
    await world.pass();
    expect(fails()).to.equal(2);
    world.failing.clear();
    world.now += 4_000;
    await world.converge();
    expect(removed().length).to.be.greaterThan(1);
    expect(world.failures).to.deep.equal([]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
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
    expect(world.plan().waiting.map(({ for: what, why }) => `${what}: ${why}`)).to.deep.equal([
      'retry: the engine is busy (try 1)',
    ]);
    world.now = world.plan().wakeAt ?? Number.NaN;
    expect(world.plan()).to.deep.include({ waiting: [] });
    expect(world.plan().steps).to.have.length(1);
  });

  it('a tidying up that fails is no failure of a service, also of one that is called images (G8)', async () => {
    world.buildCacheBytes = 100;
    world.disk = { at: world.now, imagesBytes: 1, minFreeBytes: 0, cacheBytes: 101 };
    world.failing.set('prune-build-cache', { kind: 'retry', why: 'the engine is busy' });
    world.present(`${HOST}/images:v1.0.0`);
    world.desired = desiredOf([service('images', [component('images', image('v1.0.0', 'images').image)])]);
    await world.pass();
    await world.pass();
    expect(world.failures.map((failure) => failure.service)).to.deep.equal(['(node)']);
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

describe('the planner: which images go', () => {
  let world: World;
  const REASON = 'versions of mcr.example.net:8443/team/a are kept, and nothing names this one any more';
  const record = (reference: string, change: Partial<ImageRecord> = {}): ImageRecord => ({
    ...{ reference, imageId: `sha256:${reference}`, firstSeenAt: 0, built: true, ...change },
  });
  const steps = (records: readonly ImageRecord[], settled: readonly string[]): readonly Step[] => {
    const facts = world.facts();
    const plan = housekeeping(
      { ...facts, promised: { ...facts.promised, images: records } },
      new Set(settled),
      newest ?? facts.desired,
    );
    expect(plan).to.deep.include({ waiting: [], refused: [] });
    return plan.steps;
  };
  let newest: Desired | undefined;
  const going = (records: readonly ImageRecord[], ...settled: string[]): string[] =>
    steps(records, settled).map(({ service: name, subject }) => `${name} ${subject}`);

  beforeEach(() => {
    world = new World();
    newest = undefined;
    world.keepImages = 1;
    const of = (repository: string, tag: string): Parameters<typeof component>[1] => ({
      image: { reference: `mcr.example.net:8443/team/${repository}:${tag}`, host: 'h', repository, tag },
    });
    world.desired = desiredOf([
      service('a', [component('a', of('a', 'v3.0.0')), component('side', of('side', 'v3.0.0'))]),
      service('b', [component('b', of('a', 'v2.0.0')), component('own', of('own', 'v3.0.0'))]),
    ]);
  });

  const all = (repository: string): ImageRecord[] =>
    ['v1.0.0', 'v2.0.0', 'v3.0.0', 'v4.0.0'].map((tag, at) =>
      record(`mcr.example.net:8443/team/${repository}:${tag}`, { firstSeenAt: at }),
    );

  it('each repository counts by itself, with its port and folder, whatever tag or digest; what any service names stays', () => {
    const pinned = record(`mcr.example.net:8443/team/a:v0.1.0@sha256:${'a'.repeat(64)}`, { firstSeenAt: -1 });
    expect(going([pinned, ...all('a'), ...all('side'), ...all('own')], 'a', 'b')).to.deep.equal([
      'a mcr.example.net:8443/team/a:v1.0.0',
      `a ${pinned.reference}`,
      'a mcr.example.net:8443/team/side:v2.0.0',
      'a mcr.example.net:8443/team/side:v1.0.0',
      'b mcr.example.net:8443/team/own:v2.0.0',
      'b mcr.example.net:8443/team/own:v1.0.0',
    ]);
  });

  it('a service that is not at rest keeps what is of it, and only that; what is of nobody any more goes', () => {
    const gone = all('gone');
    expect(going([...all('own'), ...all('side'), ...gone], 'b')).to.deep.equal([
      'b mcr.example.net:8443/team/own:v2.0.0',
      'b mcr.example.net:8443/team/own:v1.0.0',
      '(node) mcr.example.net:8443/team/gone:v3.0.0',
      '(node) mcr.example.net:8443/team/gone:v2.0.0',
      '(node) mcr.example.net:8443/team/gone:v1.0.0',
    ]);
  });

  it('a repository that two services name is at rest with the first of them; both versions stay', () => {
    expect(going(all('a'), 'b')).to.deep.equal([]);
    expect(going(all('a'), 'a')).to.deep.equal(['a mcr.example.net:8443/team/a:v1.0.0']);
  });

  it('what was seen at one moment goes by its name, and what was removed before is not counted', () => {
    const [first, second] = [record('x/own:v1.0.0'), record('x/own:v1.1.0')];
    const removed = record('x/own:v1.2.0', { firstSeenAt: 9, removed: true });
    for (const records of [
      [first, second, removed],
      [removed, second, first],
    ])
      expect(going(records).map((line) => line.split(' ').at(-1))).to.deep.equal(['x/own:v1.0.0']);
  });

  it('what git names stays while an older version serves in its place: it may be tried again', () => {
    const held = world.desired;
    expect(going(all('a'), 'a', 'b')).to.include('a mcr.example.net:8443/team/a:v1.0.0');
    newest = {
      ...held,
      services: desiredOf([
        service('a', [
          component('a', {
            image: {
              ...{ reference: 'mcr.example.net:8443/team/a:v1.0.0', host: 'h' },
              ...{ repository: 'a', tag: 'v1.0.0' },
            },
          }),
        ]),
      ]).services,
    };
    expect(going(all('a'), 'a', 'b')).to.deep.equal([]);
  });

  it('what a person loaded, and no registry has, nobody could bring back: it stays; what was built here goes', () => {
    const local = (built: boolean): ImageRecord[] =>
      ['gone:v1.0.0', 'team/gone:v1.0.0', 'localhost/gone:v1.0.0', 'mcr:5000/gone:v1.0.0'].flatMap(
        (oldest) => [
          record(oldest, { built }),
          record(oldest.replace('v1', 'v2'), { built, firstSeenAt: 1 }),
        ],
      );
    expect(going(local(false)).map((line) => line.split(' ')[1])).to.deep.equal([
      'localhost/gone:v1.0.0',
      'mcr:5000/gone:v1.0.0',
    ]);
    expect(going(local(true))).to.have.length(4);
  });

  it('what a container was made from stays, also under another name', () => {
    const [before, old, newest] = ['x/y:v1.0.0', 'x/y:v1.1.0', 'x/y:v1.2.0'].map((name, at) =>
      record(name, { firstSeenAt: at }),
    ) as [ImageRecord, ImageRecord, ImageRecord];
    const made = (change: Partial<ObservedContainer>): void => {
      world.containers = [
        {
          ...{ id: 'c', name: 'c', image: '', imageId: '', state: 'exited', restartCount: 0 },
          ...{ labels: {}, publish: [], ...change },
        },
      ];
    };
    made({ image: before.reference, imageId: 'sha256:moved' });
    expect(going([before, old, newest]))
      .to.have.length(1)
      .and.to.match(/v1\.1\.0/);
    made({ image: 'other', imageId: before.imageId });
    expect(going([before, old, newest]))
      .to.have.length(1)
      .and.to.match(/v1\.1\.0/);
  });

  it('its reason says how many are kept, of which repository, and by which commit', () => {
    const [step] = steps(all('a'), ['a']);
    expect(step?.because).to.deep.equal({ summary: `1 ${REASON}`, commit: 'c'.repeat(40) });
    expect(step).to.include({ kind: 'remove-image', imageId: 'sha256:mcr.example.net:8443/team/a:v1.0.0' });
  });

  it("the builder's cache: in MiB, of the whole node, and never without a budget", () => {
    const facts = world.facts();
    const disk = { at: 0, imagesBytes: 0, minFreeBytes: 0, cacheBytes: 3 * 1_048_576 + 1 };
    const full = { ...facts, observed: { ...facts.observed, disk } };
    expect(cacheSteps(full).steps).to.deep.equal([]);
    const plan = cacheSteps({
      ...full,
      settings: { ...facts.settings, buildCacheBytes: 2 * 1_048_576 },
    });
    expect(plan).to.deep.equal({
      steps: [
        {
          service: '(node)',
          subject: "builder's cache",
          because: {
            summary: "the builder's cache has 4 MiB, and its budget is 2 MiB",
            commit: 'c'.repeat(40),
          },
          kind: 'prune-build-cache',
          keepBytes: 2 * 1_048_576,
        },
      ],
      waiting: [],
      refused: [],
    });
  });
});

describe('the planner: certificates that are left', () => {
  const NAME = 'a.svc.mcp.metacircular.net';
  let world: World;
  const left = { kind: 'left', name: 'a' } as const;
  const planned = (): string[] => world.plan().steps.map(({ kind, subject }) => `${kind} ${subject}`);

  beforeEach(async () => {
    world = new World();
    world.present(`${HOST}/a:v1.0.0`);
    world.desired = desiredOf([service('b', [component('b', { container: 'b' })])]);
    world.present('mcr.example.net/b:v1.0.0');
    await world.converge();
    world.certificates[NAME] = left;
  });

  it('what was issued here and nobody names goes, once; after a failure it rests', async () => {
    world.failing.set('remove-certificate', { kind: 'retry', why: 'the directory cannot be written' });
    await world.pass();
    expect(planned(), 'it rests after a failure').to.deep.equal([]);
    world.failing.clear();
    world.now += 60_000;
    expect(await world.converge()).to.deep.equal([`remove-certificate ${NAME}`, 'forget (node)']);
    expect(planned()).to.deep.equal([]);
  });

  it('it stays while any definition has its name, stopped or put back, while a route has it, and while a file cannot be read', () => {
    const route = { name: '', hostname: NAME, port: 8443, mode: 'l7', backendTls: false } as const;
    const a = service('a', [component('a', { routes: [route] })], { active: false });
    const alone = world.desired;
    const is = (what: string, change: () => void, back: () => void): void => {
      change();
      expect(
        planned().filter((line) => line.startsWith('remove-certificate')),
        what,
      ).to.deep.equal([]);
      back();
      expect(planned(), `not ${what}`).to.deep.equal([`remove-certificate ${NAME}`]);
    };
    const desired =
      (next: typeof alone): (() => void) =>
      () =>
        void (world.desired = next);
    const both = desiredOf([a, ...alone.services.map((entry) => entry.service)]);
    is('stopped', desired(both), desired(alone));
    is('unreadable', desired({ ...alone, unreadable: true }), desired(alone));
    is('refused', desired({ ...alone, refused: ['a'] }), desired(alone));
    is('an edge unread', desired({ ...alone, edgesUnread: ['a@n2'] }), desired(alone));
    const foreign = {
      listenerPort: 8443,
      hostname: NAME,
      backend: 'x:1',
      mode: 'l4',
      backendTls: false,
    } as const;
    is(
      'a foreign route',
      () => void (world.table = [...world.table, foreign]),
      () => void (world.table = world.table.filter((one) => one !== foreign)),
    );
    is(
      'the table unseen',
      () => void (world.proxyKnown = false),
      () => void (world.proxyKnown = true),
    );
  });
});
