import fc from 'fast-check';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { addForeign } from '../../support/foreign.ts';
import { World } from '../../support/world.ts';

export const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const FAILING = ['create', 'start', 'retire', 'stop', 'remove', 'route', 'unroute', 'certificate'] as const;

/** One definition, as small numbers: its variants differ in version, components, routes and fixed port. */
interface Draft {
  readonly version: number;
  readonly parts: number;
  readonly hostname: number;
  readonly port: boolean;
  readonly active: boolean;
}

export type Event =
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
export const events = fc.array(event, { minLength: 5, maxLength: 40 });
/** One event; `pass` is what a pass is, and what is examined in it. */
export async function happen(
  world: World,
  one: Event,
  pass: (world: World) => Promise<unknown>,
): Promise<void> {
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
      for (let i = 0; i < one.times; i += 1) await pass(world);
  }
}

export function heal(world: World): void {
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

export function worldWithForeign(): World {
  const world = new World();
  addForeign(world, 'g', 'a');
  return world;
}

export function foreignOf(world: World): unknown {
  return [
    world.containers.filter((c) => c.identity?.owner !== 'n1/main'),
    world.table.filter((route) => route.mark === undefined),
  ];
}
