import type { ObservedContainer } from '../../src/node/types.ts';
import { leaseOf, type Facts } from '../../src/plan/facts.ts';
import { slotted } from '../../src/plan/slots.ts';
import { specDigest, specOf } from '../../src/plan/spec.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { World } from './world.ts';

/** What must hold at every moment (reliability.md B5): each finding is one sentence. */
export function examine(world: World): string[] {
  return [...oneOwnerAPort(world), ...oneOwnerAName(world), ...oneOwnerARoute(world)];
}

/** What must hold once nothing is left to do: the node is what git says, and holds nothing else of ours. */
export function examineEnd(world: World): string[] {
  const findings: string[] = [];
  const expect = (what: string, actual: unknown, wanted: unknown): void => {
    const [is, shall] = [JSON.stringify(actual), JSON.stringify(wanted)];
    if (is !== shall) findings.push(`${what}: ${is}, and not ${shall}`);
  };
  const facts = world.facts();
  const desired = inTurn(world.desired, facts.promised, facts.now).services;
  const services = desired.map((entry) => entry.service);
  const inSlots = (service: string): Facts => {
    const entry = desired.find((one) => one.service.name === service);
    return entry === undefined ? facts : slotted(facts, entry);
  };
  const active = services.filter((service) => service.active);
  const components = active.flatMap((service) =>
    service.components.map((component) => ({ service, component })),
  );
  const ours = world.containers.filter((container) => container.identity?.owner === facts.settings.owner);
  const isJob = (container: ObservedContainer): boolean =>
    container.state === 'exited' &&
    components.some(({ component }) => component.container === container.name && component.restart === 'no');
  const running = ours.filter((container) => container.state === 'running' || isJob(container));
  expect(
    'running',
    running.map((container) => `${container.name} ${container.identity?.spec ?? ''}`).sort(),
    components
      .map(
        ({ service, component }) =>
          `${component.container} ${specDigest(specOf(inSlots(service.name), service, component), facts.settings.keyId)}`,
      )
      .sort(),
  );
  const inactive = services.filter((service) => !service.active).map((service) => service.name);
  const left = ours.filter((c) => !running.includes(c) && !inactive.includes(c.identity?.service ?? ''));
  expect('left over', left.map((container) => container.name).sort(), []);
  expect(
    'routes',
    world.table
      .filter((route) => route.mark?.startsWith(`${facts.settings.owner}/`) === true)
      .map((route) => `${route.hostname}:${route.listenerPort} ${route.backend} ${route.mark ?? ''}`)
      .sort(),
    components
      .flatMap(({ service, component }) =>
        component.routes.map((route) => {
          const lease = leaseOf(inSlots(service.name), service.name, component.name, route.name);
          const mark = [facts.settings.owner, service.name, component.name, route.name].join('/');
          return `${route.hostname}:${route.port} 127.0.0.1:${lease?.port ?? '?'} ${mark}`;
        }),
      )
      .sort(),
  );
  expect(
    'leases of unknown routes',
    world.leases
      .filter((lease) => {
        const service = services.find((one) => one.name === lease.service);
        if (service === undefined) return true;
        if (!service.active) return false;
        const component = service.components.find((one) => one.name === lease.component);
        return component?.routes.every((route) => route.name !== lease.route) ?? true;
      })
      .map((lease) => `${lease.service}/${lease.component}/${lease.route}`),
    [],
  );
  expect(
    'applied',
    world.applied.map((a) => `${a.service.name} ${a.state} ${a.digest}`).sort(),
    desired
      .map((entry) => `${entry.service.name} ${entry.service.active ? 'running' : 'stopped'} ${entry.digest}`)
      .sort(),
  );
  expect('failures', world.failures, []);
  return findings;
}

function isUp(container: ObservedContainer): boolean {
  return container.state === 'running' || container.state === 'restarting';
}

function oneOwnerAPort(world: World): string[] {
  const held = world.containers
    .filter(isUp)
    .flatMap((container) => container.publish.map((port) => `${port.host}/${port.protocol}`));
  const leased = world.leases.map((lease) => String(lease.port));
  return [
    ...twice(held).map((port) => `G4: two containers run on port ${port}`),
    ...twice(leased).map((port) => `G4: two leases of port ${port}`),
  ];
}

function oneOwnerAName(world: World): string[] {
  return twice(world.containers.map((container) => container.name)).map(
    (name) => `two containers are named ${name}`,
  );
}

function oneOwnerARoute(world: World): string[] {
  return twice(world.table.map((route) => `${route.hostname}:${route.listenerPort}`)).map(
    (key) => `G4: two routes of ${key}`,
  );
}

function twice(items: readonly string[]): string[] {
  return [...new Set(items.filter((item, index) => items.indexOf(item) !== index))];
}
