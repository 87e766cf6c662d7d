import { expect } from 'chai';
import type { Route, Service } from '../../../src/definitions/types.ts';
import { perform } from '../../../src/execute/perform.ts';
import { inTurn } from '../../../src/plan/turn.ts';
import type { Step } from '../../../src/plan/types.ts';
import { examineEnd } from '../../support/examine-end.ts';
import { examine } from '../../support/examine.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

/** A change of the whole node: from these services to those. */
interface Change {
  readonly title: string;
  readonly before: readonly Service[];
  readonly after: readonly Service[];
  readonly lose?: boolean;
  /** An image whose containers never become ready. */
  readonly bad?: string;
  /** What happened to the node since it was in line with `before`. */
  readonly happened?: (world: World) => void;
  /** Nothing is in its place at the end: it is held back, and there is no version before it. */
  readonly isHeldBack?: true;
  /** The commit after it, which comes just after the crash. */
  readonly next?: readonly Service[];
}

const CHANGES: readonly Change[] = [
  { title: 'a new service', before: [], after: [web('v1')] },
  { title: 'a new version', before: [web('v1')], after: [web('v2')] },
  { title: 'a stop', before: [web('v1')], after: [{ ...web('v1'), active: false }] },
  { title: 'a start', before: [{ ...web('v1'), active: false }], after: [web('v1')] },
  {
    title: 'a stop and a new version at once',
    before: [web('v1')],
    after: [{ ...web('v2'), active: false }],
  },
  { title: 'a removal', before: [web('v1'), shop()], after: [web('v1')] },
  { title: 'another host name', before: [web('v1')], after: [web('v1', 'www.example.net')] },
  { title: 'a component renamed', before: [shop('api', 'worker')], after: [shop('api', 'cron')] },
  { title: 'a component more', before: [shop('api')], after: [shop('api', 'worker')] },
  { title: 'a component less', before: [shop('api', 'worker')], after: [shop('api')] },
  {
    title: 'a route that moves to another component',
    before: [shop('api', 'worker')],
    after: [service('shop', [part('api', false), part('worker', true, 'api')])],
  },
  {
    title: 'a host name that moves to another service',
    before: [web('v1', 'www.example.net'), other('api.example.net')],
    after: [web('v1', 'api.example.net'), other('www.example.net')],
  },
  {
    title: 'a service renamed, that keeps its host name and fixed port',
    before: [other('www.example.net', 'old')],
    after: [other('www.example.net', 'new')],
  },
  {
    title: 'a lost registry and a new version',
    before: [web('v1'), shop()],
    after: [web('v2'), shop()],
    lose: true,
  },
  {
    title: 'a version that is not proved, and the return',
    before: [web('v1')],
    after: [web('v2')],
    bad: 'mcr.example.net/web:v2',
  },
  { title: 'a new version with blue-green', before: [blueGreen('v1')], after: [blueGreen('v2')] },
  {
    title: 'a version with blue-green that is not proved, and the return',
    before: [blueGreen('v1')],
    after: [blueGreen('v2')],
    bad: 'mcr.example.net/web:v2',
  },
  { title: 'a take-over of what was started by hand', before: [], after: [taking('v1')], happened: byHand },
  {
    title: 'a take-over that is not proved, and gives the place back',
    before: [],
    after: [taking('v2')],
    happened: byHand,
    bad: 'mcr.example.net/web:v2',
    isHeldBack: true,
  },
  {
    title: 'a component more, that takes a place and gives it back, as its version is not proved',
    before: [shop('api')],
    after: [service('shop', [part('api', true), { ...part('worker', false), replaces: 'hand-web' }])],
    happened: byHand,
    bad: 'mcr.example.net/worker:v1.0.0',
  },
  { title: 'a build of an image', before: [web('v1')], after: [built('v3')], happened: unbuilt },
  {
    title: 'a port that somebody took while its container was down',
    before: [web('v1'), shop()],
    after: [web('v1'), shop()],
    happened: stolen,
  },
  {
    title: 'a container changed by hand, another removed, a third stopped, and a route lost',
    before: [web('v1'), shop('api', 'worker')],
    after: [web('v1'), shop('api', 'worker')],
    happened: drifted,
  },
  {
    title: 'two commits in a row, the second in the middle of the first',
    before: [web('v1'), shop('api', 'worker')],
    after: [web('v2'), shop('api', 'cron')],
    next: [web('v1', 'www.example.net'), shop('cron')],
  },
];

describe('a crash of the agent', () => {
  for (const change of CHANGES) {
    it(`G13 after every step of ${change.title} ends as if there had been none, and no component runs twice meanwhile`, async () => {
      const whole = await started(change);
      const total = await run(whole, Infinity);
      expect(total).to.be.greaterThan(0);
      if (goOn(whole, change)) await ends(whole, 'without a crash');
      for (let cut = 0; cut < total; cut += 1) {
        const world = await started(change);
        await run(world, cut);
        goOn(world, change);
        await ends(world, `cut after ${cut} of ${total}`, change.isHeldBack);
        expect(shape(world), `cut after ${cut} of ${total}`).to.deep.equal(shape(whole));
      }
    });

    it(`G13 in the middle of a step of ${change.title} ends as if there had been none`, async () => {
      const whole = await started(change);
      await run(whole, Infinity);
      if (goOn(whole, change)) await ends(whole, 'without a crash');
      for (const kind of ['start', 'retire', 'put-routes', 'takeOver', 'giveBack']) {
        const world = await started(change);
        world.cutInside = kind;
        await run(world, Infinity).catch((error: unknown) => {
          if (!String(error).includes('cut inside')) throw error;
        });
        goOn(world, change);
        await ends(world, `cut inside ${kind}`, change.isHeldBack);
        expect(shape(world), `cut inside ${kind}`).to.deep.equal(shape(whole));
      }
    });
  }

  for (const change of [
    { title: 'a new version', before: [shop('api', 'worker')], after: [shop('api', 'cron')] },
    {
      title: 'a return',
      before: [blueGreen('v1')],
      after: [blueGreen('v2')],
      bad: 'mcr.example.net/web:v2',
    },
    { title: 'a take-over', before: [], after: [taking('v1')], happened: byHand },
    {
      title: 'a build and drift',
      before: [web('v1'), shop('api', 'worker')],
      after: [built('v3'), shop('api', 'worker')],
      happened: (world: World) => {
        unbuilt(world);
        drifted(world);
      },
    },
  ])
    it(`G14 twice in a row, at every pair of steps of ${change.title}, ends as if there had been none`, async () => {
      const whole = await started(change);
      const total = await run(whole, Infinity);
      for (let first = 0; first < total; first += 1) {
        for (let second = 0; second < total - first; second += 1) {
          const world = await started(change);
          await run(world, first);
          await run(world, second);
          await ends(world, `cut after ${first} and ${second}`);
          expect(shape(world), `cut after ${first} and ${second}`).to.deep.equal(shape(whole));
        }
      }
    });
});

async function started(change: Change): Promise<World> {
  const world = new World();
  for (const name of ['web', 'api', 'worker', 'cron', 'other'])
    world.present(
      ...['v1', 'v2'].map((tag) => `mcr.example.net/${name}:${tag}`),
      `mcr.example.net/${name}:v1.0.0`,
    );
  world.desired = desiredOf(change.before);
  await world.converge();
  change.happened?.(world);
  if (change.lose === true)
    Object.assign(world, { applied: [], leases: [], routes: [], records: [], files: [], failures: [] });
  world.desired = desiredOf(change.after, { removals: ['old'] });
  world.removable = ['old'];
  if (change.bad !== undefined) world.bad.add(change.bad);
  return world;
}

/** The next commit comes; false when there is none. */
function goOn(world: World, { next }: Change): boolean {
  if (next !== undefined) world.desired = desiredOf(next);
  return next !== undefined;
}

/** Takes steps, as `execute` does, until that many are taken or nothing is left to do; the agent dies then. */
async function run(world: World, most: number): Promise<number> {
  let taken = 0;
  for (let idle = 0; idle < 3;) {
    world.accept();
    const plan = world.plan();
    for (const step of plan.steps) {
      if (taken >= most) return taken;
      await take(world, step);
      taken += 1;
    }
    if (plan.steps.length > 0) continue;
    if (plan.wakeAt === undefined) return taken;
    world.now = Math.max(world.now, plan.wakeAt);
  }
  throw new Error('the steps do not end');
}

async function take(world: World, step: Step): Promise<void> {
  const before = world.containers;
  const outcome = await perform(step, world.tools());
  const what = `${step.kind} ${step.subject}`;
  expect(outcome.kind, `${what}: ${'why' in outcome ? outcome.why : ''}`).to.equal('ok');
  expect(examine(world), what).to.deep.equal([]);
  const isBeside = world.desired.services.some(
    ({ service: { deploy } }) => deploy?.strategy === 'blue-green',
  );
  expect(isBeside ? [] : runTwice(world), `two of one component run after ${what}`).to.deep.equal([]);
  // The predecessor is not given up before its successor runs (L07).
  const turned = inTurn(world.desired, world.promised(), world.now).services;
  const desired = turned.find((entry) => entry.service.name === step.service);
  if (step.kind !== 'remove-container' || desired?.service.active !== true) return;
  const gone = before.find((container) => container.id === step.containerId);
  if (gone?.startedAt === undefined) return;
  for (const { container } of desired.service.components)
    expect(world.container(container)?.state, `${what}, and ${container} does not run`).to.equal('running');
}

/** Two processes on one database, say: never but with blue-green. */
function runTwice(world: World): string[] {
  const up = world.containers
    .filter(({ state }) => state === 'running')
    .map(({ identity }) => `${identity?.service}/${identity?.component}`);
  return up.filter((name, index) => up.indexOf(name) !== index);
}

async function ends(world: World, when: string, isHeldBack = false): Promise<void> {
  await world.converge();
  expect(examine(world), when).to.deep.equal([]);
  if (!isHeldBack) expect(examineEnd(world), when).to.deep.equal([]);
  expect(world.plan().steps, `G2 ${when}`).to.deep.equal([]);
}

/** A world without its accidents: ids, times and the order of writes. */
function shape(world: World): unknown {
  return {
    containers: world.containers.map((c) => `${c.name} ${c.state} ${c.identity?.spec ?? ''}`).sort(),
    table: world.table.map((route) => JSON.stringify(route)).sort(),
    routes: world.routes
      .map((route) => JSON.stringify(route, (key, value: unknown) => (key === 'putAt' ? undefined : value)))
      .sort(),
    leases: world.leases.map((lease) => JSON.stringify(lease)).sort(),
    applied: world.applied.map((entry) => `${entry.service.name} ${entry.state} ${entry.digest}`).sort(),
    networks: [...world.networks].sort(),
    files: world.files.map((entry) => entry.service).sort(),
    trials: world.trials.map((trial) => `${trial.service} ${trial.phase} ${trial.digest}`),
  };
}

function route(hostname: string): Route {
  return { name: '', port: 443, mode: 'l7', hostname, backendTls: false };
}

function part(name: string, routed: boolean, hostname = name): ReturnType<typeof component> {
  return component(name, routed ? { routes: [route(`${hostname}.${SUFFIX}`)] } : {});
}

function web(tag: string, hostname = `web.${SUFFIX}`): Service {
  const image = { reference: `mcr.example.net/web:${tag}`, host: 'mcr.example.net', repository: 'web', tag };
  return service('web', [component('web', { image, routes: [route(hostname)] })]);
}

/** It takes the place of a container that was started by hand. */
function taking(tag: string): Service {
  const { components, ...rest } = web(tag);
  return { ...rest, components: components.map((one) => ({ ...one, replaces: 'hand-web' })) };
}

function byHand(world: World): void {
  world.containers.push({
    ...{ id: 'handmade', name: 'hand-web', image: 'web', imageId: 'sha256:web', state: 'running' },
    ...{ restartCount: 0, labels: {}, publish: [], startedAt: world.now },
  });
}

/** Its image is built here. */
function built(tag: string): Service {
  const { components, ...rest } = web(tag);
  return { ...rest, components: components.map((one) => ({ ...one, dockerfile: 'Dockerfile' })) };
}

function unbuilt(world: World): void {
  world.images['mcr.example.net/web:v3'] = { kind: 'absent' };
}

function stolen(world: World): void {
  const [lease] = world.leases.filter((one) => one.service === 'web');
  if (lease === undefined) throw new Error('web has no port');
  world.kill('web');
  // An engine needs a moment to let go of a port.
  world.now += 10_000;
  world.listening.push({ ip: '0.0.0.0', port: lease.port, protocol: 'tcp' });
}

function drifted(world: World): void {
  world.edit('web', { mounts: [{ kind: 'volume', volume: 'v', target: '/v', readOnly: false }] });
  world.containers = world.containers.filter(({ name }) => name !== 'shop-api');
  world.kill('shop-worker');
  world.table = world.table.filter(({ hostname }) => hostname !== `web.${SUFFIX}`);
}

function blueGreen(tag: string): Service {
  return { ...web(tag), deploy: { strategy: 'blue-green' } };
}

function shop(...names: string[]): Service {
  const parts = names.length === 0 ? ['api', 'worker'] : names;
  return service(
    'shop',
    parts.map((name) => part(name, name !== 'worker')),
  );
}

function other(hostname: string, name = 'other'): Service {
  const image = component('other').image;
  const ports = [{ host: 5353, container: 53, protocol: 'udp' as const }];
  return service(name, [component(name, { image, routes: [route(hostname)], ports })]);
}
