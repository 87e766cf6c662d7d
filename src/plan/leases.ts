import { createHash } from 'node:crypto';
import type { Component, Service } from '../definitions/types.ts';
import type { ObservedContainer, PortFacts } from '../node/types.ts';
import type { Lease } from '../registry/types.ts';
import { leaseOf, ours, oursOf, slotOf, waitEnds, type Facts } from './facts.ts';
import { leasedPorts, leasesByService, readOnce } from './lists.ts';

/** An engine needs a moment to let go of the ports of a container that ended. */
export const PORT_LINGER_MS = 3_000;

export type LeaseChoice =
  | { readonly kind: 'leased'; readonly missing: readonly Lease[] }
  | { readonly kind: 'unknown' | 'exhausted'; readonly why: string; readonly hint: string };

/**
 * The leases a service still needs, port by port: taken up from a container of ours that has it already (a lost
 * registry), else chosen by the service's name as seed, so that the same facts give the same port (L06, L39).
 */
export function leasesFor(facts: Facts, service: Service): LeaseChoice {
  // Most services miss none: a node has hundreds of leases, and is asked for each of its services.
  let taken: Set<number> | undefined;
  const missing: Lease[] = [];
  for (const component of service.components) {
    for (const route of component.routes) {
      const held = leaseOf(facts, service.name, component.name, route.name);
      if (held !== undefined && !isStolen(facts, held)) continue;
      taken ??= new Set(leasedPorts(facts.promised.leases));
      const slot = slotOf(facts, service.name, component.name);
      const port =
        adoptedPort(facts, service, component, route.name, taken) ??
        choosePort(facts, `${service.name}/${component.name}/${route.name}/${slot}`, taken);
      if (typeof port !== 'number') return port;
      taken.add(port);
      missing.push({ service: service.name, component: component.name, route: route.name, slot, port });
    }
  }
  return { kind: 'leased', missing };
}

/** The leases that containers of a service have by their labels, and that the registry does not know. */
export function adoptedLeases(facts: Facts, service: Service): Lease[] {
  const taken = new Set(leasedPorts(facts.promised.leases));
  return service.components.flatMap((component) =>
    component.routes.flatMap((route): Lease[] => {
      if (leaseOf(facts, service.name, component.name, route.name) !== undefined) return [];
      const port = adoptedPort(facts, service, component, route.name, taken);
      if (port === undefined) return [];
      taken.add(port);
      return [{ service: service.name, component: component.name, route: route.name, slot: 'a', port }];
    }),
  );
}

/** The facts as they are once these leases are given. */
export function withLeases(facts: Facts, given: readonly Lease[]): Facts {
  if (given.length === 0) return facts;
  const slotOf = (lease: Lease): string =>
    [lease.service, lease.component, lease.route, lease.slot].join('/');
  const slots = new Set(given.map(slotOf));
  const kept = facts.promised.leases.filter((lease) => !slots.has(slotOf(lease)));
  return { ...facts, promised: { ...facts.promised, leases: [...kept, ...given] } };
}

/** The leases of components and routes that the definition no longer has. */
export function staleLeases(facts: Facts, service: Service): Lease[] {
  return (leasesByService(facts.promised.leases).get(service.name) ?? []).filter(
    (lease) =>
      !service.components.some(
        (component) =>
          component.name === lease.component && component.routes.some((route) => route.name === lease.route),
      ),
  );
}

/** Somebody else listens on the leased port while no container of ours holds it: the lease moves, the route follows (G36). */
function isStolen(facts: Facts, lease: Lease): boolean {
  const { ports, engine } = facts.observed;
  if (!ports.known || !engine.known) return false;
  if (!tcpPorts(ports.value.listening).has(lease.port)) return false;
  return !ours(facts).some((container) => publishes(container, lease.port) && mayHold(container, facts.now));
}

/** May this container hold the ports that it publishes, now? */
export function mayHold(container: ObservedContainer, now: number): boolean {
  if (container.state === 'created') return false;
  if (container.state !== 'exited' && container.state !== 'dead') return true;
  return (
    container.startError === undefined && waitEnds(container.finishedAt ?? now, PORT_LINGER_MS, now) > now
  );
}

/** A node has hundreds of sockets, and is asked for each of its leases. */
const tcpPorts = readOnce(
  (sockets: PortFacts['listening']): ReadonlySet<number> =>
    new Set(sockets.flatMap(({ protocol, port }) => (protocol === 'tcp' ? [port] : []))),
);

function publishes(container: ObservedContainer, port: number): boolean {
  return container.publish.some((published) => published.host === port);
}

/** The port that a container of this component has by its label: of one that runs first, else of one whose port nobody took. */
function adoptedPort(
  facts: Facts,
  service: Service,
  component: Component,
  route: string,
  taken: ReadonlySet<number>,
): number | undefined {
  const { ports } = facts.observed;
  const isFree = (port: number): boolean =>
    ports.known && !ports.value.listening.some((socket) => socket.port === port);
  const mine = oursOf(facts, service.name).filter((c) => c.identity?.component === component.name);
  const held = mine.flatMap((container) => {
    const port = container.identity?.leases[route];
    if (port === undefined || taken.has(port) || !publishes(container, port)) return [];
    const isRunning = container.state === 'running';
    return isRunning || isFree(port) ? [{ port, isRunning }] : [];
  });
  return (held.find(({ isRunning }) => isRunning) ?? held[0])?.port;
}

function choosePort(
  facts: Facts,
  seed: string,
  taken: ReadonlySet<number>,
): number | Exclude<LeaseChoice, { kind: 'leased' }> {
  const { ports } = facts.observed;
  if (!ports.known)
    return {
      kind: 'unknown',
      why: ports.why,
      hint: 'Ports are chosen once the listening sockets can be read.',
    };
  const [low, high] = facts.settings.portRange;
  const [ephemeralLow, ephemeralHigh] = ports.value.ephemeral;
  const listening = new Set(ports.value.listening.map((socket) => socket.port));
  const published = new Set(
    facts.observed.engine.known
      ? facts.observed.engine.value.containers.flatMap((c) => c.publish.map((p) => p.host))
      : [],
  );
  const fixed = new Set(
    facts.desired.services.flatMap((entry) =>
      entry.service.components.flatMap((one) => one.ports.map((port) => port.host)),
    ),
  );
  // The kernel's ephemeral ports are left out before the choice, so that the seeds spread over what remains.
  const gapFrom = Math.max(low, ephemeralLow);
  const gap = Math.max(0, Math.min(high, ephemeralHigh) - gapFrom + 1);
  const usable = high - low + 1 - gap;
  const start = createHash('sha256').update(seed).digest().readUInt32BE(0);
  const used = [taken, listening, published, fixed];
  for (let offset = 0; offset < usable; offset += 1) {
    const nth = low + ((start + offset) % usable);
    const port = gap > 0 && nth >= gapFrom ? nth + gap : nth;
    if (!used.some((ports) => ports.has(port))) return port;
  }
  return {
    kind: 'exhausted',
    why: `no host port is free in ${low}-${high} outside the kernel's ephemeral range ${ephemeralLow}-${ephemeralHigh}`,
    hint: 'Widen [ports] range, or move the ephemeral range away: sysctl net.ipv4.ip_local_port_range="40000 60999".',
  };
}
