import type { DesiredService } from '../../src/definitions/types.ts';
import { leaseOf, type Facts } from '../../src/plan/facts.ts';
import { NOBODY } from '../../src/base/nobody.ts';
import { slotted } from '../../src/plan/slots.ts';
import { specDigest, specOf } from '../../src/plan/spec.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import type { World } from './world.ts';
import { servedInVain } from './worldcertificates.ts';
import { nameServers } from './worldnames.ts';

/** What must hold once nothing is left to do: the node is what git says, and holds nothing else of ours. */
export function examineEnd(world: World): string[] {
  const findings: string[] = [];
  const expect = (what: string, actual: readonly unknown[], wanted: readonly unknown[]): void => {
    const [is, shall] = [actual.map((one) => JSON.stringify(one)), wanted.map((one) => JSON.stringify(one))];
    const more = is.filter((one) => !shall.includes(one));
    const less = shall.filter((one) => !is.includes(one));
    if (more.length + less.length > 0 || is.length !== shall.length)
      findings.push(`${what}: there is ${more.join(' ')}, and there is not ${less.join(' ')}`);
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
  // A failure of tidying up stays until the next time that there is something to tidy: no service has it; and one of a
  // definition that git took back before it came about is of no consequence: it is not the one that is in force.
  const isTakenBack = ({ service, digest }: { readonly service: string; readonly digest: string }): boolean =>
    desired.some((entry) => entry.service.name === service && entry.digest !== digest);
  expect(
    'failures',
    world.failures.filter((failure) => failure.service !== NOBODY && !isTakenBack(failure)),
    [],
  );
  if (world.zones.length > 0) expectRecords(world, desired, expect);
  if (world.takenUp !== undefined) expect('served with a certificate that is over', servedInVain(world), []);
  return findings;
}

type Expect = (what: string, actual: readonly unknown[], wanted: readonly unknown[]) => void;

/** On each server: each name of a service that runs has its record, and no name of ours is left that no service has. */
function expectRecords(world: World, desired: readonly DesiredService[], expect: Expect): void {
  const { owner, addresses = [] } = world.settings();
  const namesOf = (services: readonly DesiredService[]): string[] => [
    ...new Set(
      services
        .flatMap(({ service }) =>
          service.components.flatMap(({ routes }) => routes.map((one) => one.hostname)),
        )
        .filter((name) => world.zones.some((zone) => name.endsWith(`.${zone}`))),
    ),
  ];
  const active = namesOf(desired.filter(({ service }) => service.active));
  const stopped = namesOf(desired).filter((name) => !active.includes(name));
  for (const { server, names } of nameServers(world))
    expect(
      `records on ${server}`,
      Object.entries(names)
        .filter(([name, { mark }]) => mark?.owner === owner && !stopped.includes(name))
        .map(([name, record]) => `${name} ${record.addresses.join()}`)
        .sort(),
      active.map((name) => `${name} ${[...addresses].sort().join()}`).sort(),
    );
}
