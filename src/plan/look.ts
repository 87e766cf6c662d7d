import type { Desired, DesiredService, Service } from '../definitions/types.ts';
import type { ProbeTarget } from '../node/types.ts';
import type { Promised } from '../registry/types.ts';
import { checksOf } from './checks.ts';
import type { Facts, FrontedComponent } from './facts.ts';
import { appliedByService } from './lists.ts';
import { keptOf, type Kept } from './keep.ts';
import { recordNames } from './records.ts';
import { asApplied, slotted } from './slots.ts';
import { standingOf } from './standing.ts';
import { inTurn } from './turn.ts';
import type { PlanSettings, Wanted } from './types.ts';

/** What has to be looked at for these definitions: images, bind sources, certificates. */
export function wanted(
  desired: Desired,
  settings: Pick<PlanSettings, 'hostnameSuffix'>,
  promised: Pick<Promised, 'images' | 'applied' | 'records'>,
): Wanted {
  const records = new Map(promised.images.map((record) => [record.reference, record]));
  const active = desired.services.filter(({ service }) => service.active);
  const components = active.flatMap(({ service }) => service.components);
  const edges = (desired.edges ?? []).filter((edge) => edge.active);
  // What is kept until its successor can be made has names of its own; not looked at, a lost route of them never came back.
  const names = new Set(active.map(({ service }) => service.name));
  const isActive = ({ name }: Service): boolean => names.has(name);
  const kept = promised.applied.filter(({ state, service }) => state === 'running' && isActive(service));
  // Where two have one host name, the last of them names its files: this node's own.
  const routes = [...kept, ...edges, ...active].flatMap(({ service }) =>
    (service.components as readonly FrontedComponent[]).flatMap((component) =>
      component.routes
        .filter((route) => route.mode === 'l7')
        .map((route) => ({ service: service.name, hostname: route.hostname })),
    ),
  );
  const replaced = active.flatMap(({ service }) => toReplace(service, promised));
  return {
    ...(replaced.length === 0 ? {} : { replaced }),
    images: unique(active.flatMap(imagesOf), (one) => one.image.reference).map((one) => {
      const recorded = records.get(one.image.reference);
      return recorded === undefined ? one : { ...one, recorded };
    }),
    mounts: unique(
      components.flatMap((c) => c.mounts.flatMap((mount) => (mount.kind === 'bind' ? [mount.source] : []))),
      (source) => source,
    ),
    names: recordNames(desired, promised),
    certificates: unique(routes, (route) => route.hostname).map((route) => ({
      ...route,
      isDefault: isDefaultHostname(route.hostname, route.service, settings.hostnameSuffix),
    })),
  };
}

/** Once a component was in line, what is called so is foreign like any other. */
function toReplace({ name, components }: Service, { applied }: Pick<Promised, 'applied'>): string[] {
  const before = appliedByService(applied).get(name)?.[0]?.service.components ?? [];
  return components.flatMap((component) =>
    component.replaces === undefined || before.some((one) => one.name === component.name)
      ? []
      : [component.replaces],
  );
}

function imagesOf({ service }: DesiredService): Wanted['images'][number][] {
  const { name, path, silenced } = service;
  return service.components.map(({ image, dockerfile }) => {
    if (dockerfile === undefined) return { image, build: false };
    return { image, build: true, recipe: { dockerfile, path, service: name, ...silencedRules(silenced) } };
  });
}

/** The ids alone: the reasons are for people. */
export function silencedRules(silenced: Service['silenced']): { readonly silenced?: readonly string[] } {
  return silenced === undefined ? {} : { silenced: silenced.map(({ rule }) => rule) };
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
