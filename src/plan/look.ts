import type { Desired, DesiredService, Service } from '../definitions/types.ts';
import type { ProbeTarget } from '../node/types.ts';
import { checksOf } from './checks.ts';
import type { Facts } from './facts.ts';
import { keptOf, type Kept } from './keep.ts';
import { asApplied, slotted } from './slots.ts';
import { standingOf } from './standing.ts';
import { inTurn } from './turn.ts';
import type { PlanSettings, Wanted } from './types.ts';

/** What has to be looked at for these definitions: images, bind sources, certificates. */
export function wanted(desired: Desired, settings: Pick<PlanSettings, 'hostnameSuffix'>): Wanted {
  const active = desired.services.filter(({ service }) => service.active);
  const components = active.flatMap(({ service }) => service.components);
  const routes = active.flatMap(({ service }) =>
    service.components.flatMap((component) =>
      component.routes
        .filter((route) => route.mode === 'l7')
        .map((route) => ({ service: service.name, hostname: route.hostname })),
    ),
  );
  return {
    images: unique(components, (c) => c.image.reference).map((c) => ({
      image: c.image,
      build: c.dockerfile !== undefined,
    })),
    mounts: unique(
      components.flatMap((c) => c.mounts.flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : []))),
      (source) => source,
    ),
    certificates: unique(routes, (route) => route.hostname).map((route) => ({
      ...route,
      isDefault: isDefaultHostname(route.hostname, route.service, settings.hostnameSuffix),
    })),
  };
}

export function isDefaultHostname(hostname: string, service: string, suffix: string): boolean {
  return hostname === `${service}.${suffix}`;
}

/**
 * The containers whose readiness is asked for: in place and running, of the wanted spec, or kept until their successor
 * can be made. Needs the engine to be known.
 */
export function probeTargets(facts: Facts): ProbeTarget[] {
  return inTurn(facts.desired, facts.promised, facts.now)
    .services.filter(({ service }) => service.active)
    .flatMap((desired) => {
      try {
        return targetsOf(facts, desired);
      } catch {
        // The planner meets the same bug, and says of which service it is.
        return [];
      }
    });
}

function targetsOf(given: Facts, desired: DesiredService): ProbeTarget[] {
  const facts = slotted(given, desired);
  return desired.service.components.flatMap((component) => {
    const standing = standingOf(facts, desired, component);
    const inPlace =
      standing.current === undefined
        ? keptOf(facts, desired, standing)
        : [{ component, container: standing.current }];
    // What is kept has the ports with which it was applied.
    const seen = standing.current === undefined ? asApplied(facts, desired.service.name) : facts;
    return inPlace.flatMap((one) => targetOf(seen, desired.service, one));
  });
}

function targetOf(facts: Facts, service: Service, { component, container }: Kept): ProbeTarget[] {
  if (container.state !== 'running' || container.startedAt === undefined) return [];
  return [
    {
      containerId: container.id,
      startedAt: container.startedAt,
      ...(container.pid === undefined ? {} : { pid: container.pid }),
      ...checksOf(facts, service, component),
    },
  ];
}

function unique<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()].sort((a, b) =>
    key(a) < key(b) ? -1 : 1,
  );
}
