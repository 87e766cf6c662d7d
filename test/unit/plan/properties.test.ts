import { expect } from 'chai';
import fc from 'fast-check';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Service } from '../../../src/definitions/types.ts';
import type { Plan, StepKind } from '../../../src/plan/types.ts';
import { examineEnd } from '../../support/examine-end.ts';
import { examine } from '../../support/examine.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { tally } from '../../support/tally.ts';
import { World } from '../../support/world.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const FAILING = ['create', 'start', 'retire', 'stop', 'remove', 'route', 'unroute', 'certificate'] as const;

/** One definition, as small numbers: its variants differ in version, components, routes and fixed port. */
interface Draft {
  readonly version: number;
  readonly parts: number;
  readonly hostname: number;
  readonly port: boolean;
  readonly active: boolean;
}

type Event =
  | { readonly kind: 'set'; readonly name: string; readonly draft: Draft }
  | { readonly kind: 'delete' | 'hold'; readonly name: string }
  | { readonly kind: 'kill' | 'rm' | 'exit' | 'unready' | 'image'; readonly at: number }
  | { readonly kind: 'fail'; readonly step: string }
  | { readonly kind: 'engine' | 'proxy' | 'table' | 'router' | 'ports' | 'steal' | 'lose' | 'heal' }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'pass'; readonly times: number };

const draft = fc.record({
  version: fc.integer({ min: 1, max: 3 }),
  parts: fc.integer({ min: 1, max: 3 }),
  hostname: fc.integer({ min: 0, max: 3 }),
  port: fc.boolean(),
  active: fc.boolean(),
});
const name = fc.constantFrom(...NAMES);
const at = fc.nat(20);
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('set' as const), name, draft }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('delete' as const, 'hold' as const), name }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('kill', 'rm', 'exit', 'unready', 'image'),
      at,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('fail' as const), step: fc.constantFrom(...FAILING) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('engine', 'proxy', 'table', 'router', 'ports', 'steal', 'lose', 'heal'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), times: fc.integer({ min: 1, max: 4 }) }),
  },
);
const events = fc.array(event, { minLength: 5, maxLength: 40 });
/** A run before a release (`PLANNER_CASES`) has them all; one of CI as many as fit into its time. */
const CASES = 10_000;
const RUNS =
  process.env.PLANNER_CASES === undefined
    ? { numRuns: CASES, interruptAfterTimeLimit: 7_000 }
    : { numRuns: Number(process.env.PLANNER_CASES) };
const LIMIT_MS = process.env.PLANNER_CASES === undefined ? 180_000 : 3_600_000;

const REMOVING: readonly StepKind[] = [
  'stop-container',
  'remove-container',
  'retire-container',
  'release-leases',
  'forget-service',
];

describe('whatever happens to a node', () => {
  it('G1 G2 G3 G4 G5 G7 its promises hold at every pass, and it is as git says soon after the last fault', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        const foreign = JSON.stringify(foreignOf(world));
        for (const one of list) await happen(world, one);
        expect(JSON.stringify(foreignOf(world)), 'G3').to.equal(foreign);
        heal(world);
        world.removable = [...NAMES];
        world.desired = { ...world.desired, refused: [], unreadable: false };
        await settled(world);
        expect(JSON.stringify(foreignOf(world)), 'G3').to.equal(foreign);
      }),
    );
  });

  it('house rule 1: with the clock standing still the steps come to an end, whatever fails', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        for (const one of list) await happen(world, one);
        for (let pass = 0; pass < 14; pass += 1) {
          const { plan } = await world.pass();
          if (plan.steps.length === 0) return;
        }
        throw new Error(`steps without end: ${world.journal.slice(-6).join(', ')}`);
      }),
    );
  });

  it('house rule 3: the same facts give the same bytes, and are left as they were', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        for (const one of list) await happen(world, one);
        const facts = world.facts();
        const before = JSON.stringify(facts);
        expect(JSON.stringify(world.plan())).to.equal(JSON.stringify(world.plan()));
        expect(JSON.stringify(facts)).to.equal(before);
      }),
    );
  });
});

/** For every list of events; how many there were stands in the table at the end of the run. */
async function holds(property: fc.IAsyncProperty<[Event[]]>): Promise<void> {
  const begun = performance.now();
  const details = await fc.check(property, RUNS);
  tally({
    kind: 'properties of the planner',
    fired: details.numRuns,
    unit: 'cases',
    ms: performance.now() - begun,
  });
  if (details.failed) throw new Error(await fc.asyncDefaultReportMessage(details));
}

async function happen(world: World, one: Event): Promise<void> {
  switch (one.kind) {
    case 'set': {
      const set = serviceOf(one.name, one.draft);
      commit(world, [...others(world, one.name).map((other) => without(other, set)), set]);
      return;
    }
    case 'delete': {
      commit(world, others(world, one.name));
      return;
    }
    case 'hold':
      world.desired = { ...world.desired, unreadable: !world.desired.unreadable };
      return;
    case 'kill':
    case 'exit': {
      onContainer(world, one.at, (target) => {
        if (target.state === 'running')
          Object.assign(target, {
            state: 'exited',
            // A job that was killed is a person's business: it is shown, and never ends well.
            exitCode: one.kind === 'kill' && target.identity?.component !== 'job' ? 137 : 0,
            finishedAt: world.now,
          });
      });
      return;
    }
    case 'rm': {
      onContainer(world, one.at, (target) => {
        world.containers = world.containers.filter((c) => c.id !== target.id);
      });
      return;
    }
    case 'unready': {
      onContainer(world, one.at, (target) => void world.unready.add(target.name));
      return;
    }
    case 'image': {
      const reference = Object.keys(world.images)[one.at];
      if (reference !== undefined) world.images[reference] = { kind: 'absent' };
      return;
    }
    case 'fail':
      world.failing.set(one.step, retry(`${one.step} fails`));
      return;
    case 'engine':
      world.engineUp = !world.engineUp;
      return;
    case 'proxy':
      world.proxyRuns = !world.proxyRuns;
      return;
    case 'table':
      world.table = world.table.filter((route) => route.mark === undefined);
      return;
    case 'router':
      world.proxyKnown = !world.proxyKnown;
      return;
    case 'ports':
      world.portsKnown = !world.portsKnown;
      return;
    case 'steal': {
      const lease = world.leases[0];
      const free = !world.containers.some(
        (c) => c.state === 'running' && c.publish.some((p) => p.host === lease?.port),
      );
      if (lease !== undefined && free)
        world.listening.push({ ip: '0.0.0.0', port: lease.port, protocol: 'tcp' });
      return;
    }
    case 'lose':
      Object.assign(world, { applied: [], leases: [], routes: [], records: [], files: [], failures: [] });
      return;
    case 'heal':
      heal(world);
      return;
    case 'wait':
      world.now += one.ms;
      return;
    case 'pass':
      for (let i = 0; i < one.times; i += 1) await passed(world);
  }
}

/** One pass, and what must hold in it. */
async function passed(world: World): Promise<Plan> {
  const recorded = new Set([
    ...world.applied.map((a) => a.service.name),
    ...world.files.map((f) => f.service),
    ...world.leases.map((l) => l.service),
    ...world.routes.map((r) => r.service),
  ]);
  const before = world.containers;
  const facts = world.facts();
  const { plan, results } = await world.pass();
  expect(examine(world)).to.deep.equal([]);
  const wanted = world.desired.services.map((entry) => entry.service.name);
  // That an orphan is taken in, or that a route of nobody goes, removes no service.
  const removed = new Set(
    plan.steps
      .filter((step) => REMOVING.includes(step.kind) && !wanted.includes(step.service))
      .map((step) => step.service),
  );
  const budget =
    wanted.length === 0 || world.desired.unreadable ? 0 : Math.max(1, Math.floor(recorded.size * 0.2));
  expect(removed.size, 'G7').to.be.at.most(budget);
  for (const { step, outcome } of results) {
    if (outcome.kind !== 'ok') continue;
    const desired = world.desired.services.find((entry) => entry.service.name === step.service);
    if (desired?.service.active !== true) continue;
    if (step.kind === 'retire-container') {
      const old = before.find((container) => container.id === step.containerId);
      const still = desired.service.components.find((part) => part.name === old?.identity?.component);
      if (still === undefined) continue;
      const { component: name } = old?.identity ?? {};
      const successor = world.containers.some(
        (c) =>
          c.identity?.service === step.service &&
          c.identity.component === name &&
          c.id !== step.containerId &&
          c.identity.spec !== old?.identity?.spec,
      );
      expect(successor, `G5: ${step.subject} was stopped without a successor`).to.equal(true);
      expect(facts.observed.engine.known, 'G9').to.equal(true);
    }
  }
  return plan;
}

async function settled(world: World): Promise<void> {
  await quietened(world);
  // An orphan is a person's business; it may hold a port or a name until it is gone.
  const orphaned = world
    .plan()
    .waiting.filter((entry) => entry.for === 'orphan')
    .map((entry) => entry.service);
  world.containers = world.containers.filter(
    (c) => c.identity?.owner !== 'n1/main' || !orphaned.includes(c.identity.service),
  );
  world.table = world.table.filter((route) => !orphaned.includes(route.mark?.split('/')[2] ?? '-'));
  await quietened(world);
  expect(examineEnd(world)).to.deep.equal([]);
}

async function quietened(world: World): Promise<void> {
  let quiet = 0;
  for (let i = 0; i < 80 && quiet < 5; i += 1) {
    const plan = await passed(world).catch((error: unknown) => {
      // Removals are named by now: the budget does not bind.
      if (String(error).includes('G7')) return world.plan();
      throw error;
    });
    quiet = plan.steps.length === 0 && plan.wakeAt === undefined ? quiet + 1 : 0;
    if (plan.steps.length === 0 && plan.wakeAt !== undefined) world.now = Math.max(world.now, plan.wakeAt);
  }
  expect(quiet, `G1 not stable; last steps: ${world.journal.slice(-6).join(', ')}`).to.equal(5);
}

function heal(world: World): void {
  world.failing.clear();
  world.unready.clear();
  world.listening = [];
  for (const reference of Object.keys(world.images)) world.present(reference);
  Object.assign(world, { engineUp: true, proxyRuns: true, proxyKnown: true, portsKnown: true });
}

function commit(world: World, services: Service[]): void {
  const sorted = [...services].sort((a, b) => (a.name < b.name ? -1 : 1));
  const { unreadable } = world.desired;
  world.desired = desiredOf(sorted, { unreadable });
  for (const one of sorted.flatMap((entry) => entry.components))
    if (world.images[one.image.reference] === undefined) world.present(one.image.reference);
}

function others(world: World, name: string): Service[] {
  return world.desired.services.map((entry) => entry.service).filter((entry) => entry.name !== name);
}

/** A host name or fixed port that one service takes is given up by the other in the same commit; a clash never reaches the planner. */
function without(other: Service, taker: Service): Service {
  const names = taker.components.flatMap((part) => part.routes.map((route) => route.hostname));
  const ports = taker.components.flatMap((part) => part.ports.map((port) => port.host));
  return {
    ...other,
    components: other.components.map((part) => ({
      ...part,
      routes: part.routes.filter((route) => !names.includes(route.hostname)),
      ports: part.ports.filter((port) => !ports.includes(port.host)),
    })),
  };
}

function serviceOf(name: string, { version, parts, hostname, port, active }: Draft): Service {
  const tag = `v${version}`;
  const names = [name, 'api', 'job'].slice(0, parts);
  const components = names.map((part, index): Component => {
    const repository = part === name ? name : part;
    const image = {
      reference: `mcr.example.net/${repository}:${tag}`,
      host: 'mcr.example.net',
      repository,
      tag,
    };
    const route = {
      name: '',
      port: 443,
      mode: index === 0 ? ('l7' as const) : ('l4' as const),
      hostname: hostname === 3 ? `www${index}.example.net` : `${part}${hostname}.${name}.${SUFFIX}`,
      backendTls: false,
    };
    return component(part, {
      image,
      routes: part === 'job' || hostname === 0 ? [] : [route],
      ports:
        port && index === 0 ? [{ host: version === 3 ? 10_007 : 5353, container: 53, protocol: 'tcp' }] : [],
      ...(part === 'job' ? { restart: 'no' as const } : {}),
    });
  });
  return service(name, components, { active });
}

function onContainer(world: World, at: number, change: (target: World['containers'][number]) => void): void {
  const ours = world.containers.filter((container) => container.identity?.owner === 'n1/main');
  const picked = ours[at % Math.max(1, ours.length)];
  if (picked === undefined) return;
  const copy = { ...picked };
  world.containers = world.containers.map((container) => (container.id === picked.id ? copy : container));
  change(copy);
}

function worldWithForeign(): World {
  const world = new World();
  const foreign = {
    image: 'x',
    imageId: 'y',
    state: 'running',
    restartCount: 0,
    labels: {},
    publish: [],
  } as const;
  world.containers.push(
    { ...foreign, id: 'f1', name: 'legacy' },
    {
      ...foreign,
      id: 'f2',
      name: 'g',
      identity: { owner: 'n2/main', service: 'a', component: 'a', spec: 's', leases: {}, format: '1' },
    },
  );
  world.table.push({
    listenerPort: 443,
    hostname: 'legacy.example.net',
    backend: '127.0.0.1:9',
    mode: 'l4',
    backendTls: false,
  });
  return world;
}

function foreignOf(world: World): unknown {
  return [
    world.containers.filter((c) => c.identity?.owner !== 'n1/main'),
    world.table.filter((route) => route.mark === undefined),
  ];
}
