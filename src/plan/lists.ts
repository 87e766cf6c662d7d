import type { DesiredService } from '../definitions/types.ts';
import type { ObservedContainer, ObservedRoute } from '../node/types.ts';
import type {
  AcceptedFile,
  Applied,
  DnsRecord,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  RouteRecord,
  Trial,
} from '../registry/types.ts';

/**
 * The lists of the facts by what they are asked for. Facts never change once they are made, so what was read out of a list stands
 * as long as the list does; without it a plan's cost would grow with the square of the services.
 */
export const containersByOwner = indexed<ObservedContainer>((container) => container.identity?.owner);
export const containersByService = indexed<ObservedContainer>(({ identity }) =>
  identity === undefined ? undefined : `${identity.owner} ${identity.service}`,
);
export const containersByName = indexed<ObservedContainer>(({ name }) => name);
/** Of nobody: no identity, and no label of ours. */
export const unmarkedContainers = readOnce((containers: readonly ObservedContainer[]) =>
  containers.filter(({ identity, labels }) => identity === undefined && Object.keys(labels).length === 0),
);
export const desiredByName = indexed<DesiredService>(({ service }) => service.name);
export const appliedByService = indexed<Applied>(({ service }) => service.name);
export const runningByDigest = indexed<Applied>(({ state, digest }) =>
  state === 'running' ? digest : undefined,
);
export const filesByService = indexed<AcceptedFile>(({ service }) => service);
export const failuresByService = indexed<FailureRecord>(({ service }) => service);
export const trialsByService = indexed<Trial>(({ service }) => service);
export const flapsByService = indexed<FlapRecord>(({ service }) => service);
export const imagesByReference = indexed<ImageRecord>(({ reference }) => reference);
export const leasesByService = indexed<Lease>(({ service }) => service);
export const leasesByRoute = indexed<Lease>(({ service, component, route, slot }) =>
  routeKey(service, component, route, slot),
);
export const leasedPorts = readOnce(
  (leases: readonly Lease[]): ReadonlySet<number> => new Set(leases.map(({ port }) => port)),
);
export const routesByService = indexed<RouteRecord>(({ service }) => service);
export const recordsByService = indexed<DnsRecord>(({ service }) => service);
export const recordsByHostname = indexed<DnsRecord>(({ hostname }) => hostname);
/** A table by `<host name>:<listener port>`. */
export const tableByName = indexed<ObservedRoute>(keyOf);
export function routeKey(service: string, component: string, route: string, slot: Lease['slot']): string {
  return [service, component, route, slot].join('/');
}

export function keyOf(route: { readonly listenerPort: number; readonly hostname: string }): string {
  return `${route.hostname}:${route.listenerPort}`;
}

/** The routes of a table with a mark of this owner, by service. */
export function markedRoutes(
  table: readonly ObservedRoute[],
  owner: string,
): ReadonlyMap<string, readonly ObservedRoute[]> {
  const known = markedByOwner(table);
  const before = known.get(owner);
  if (before !== undefined) return before;
  const prefix = `${owner}/`;
  const marked = indexed<ObservedRoute>(({ mark }) => {
    if (mark?.startsWith(prefix) !== true) return undefined;
    const [service, ...rest] = mark.slice(prefix.length).split('/');
    return rest.length === 0 ? undefined : service;
  })(table);
  known.set(owner, marked);
  return marked;
}

const markedByOwner = readOnce<
  readonly ObservedRoute[],
  Map<string, ReadonlyMap<string, readonly ObservedRoute[]>>
>(() => new Map());

/** Something that is read out of a list once. */
export function readOnce<T extends object, R>(read: (list: T) => R): (list: T) => R {
  const known = new WeakMap<T, { readonly result: R }>();
  return (list) => {
    const before = known.get(list);
    if (before !== undefined) return before.result;
    const result = read(list);
    known.set(list, { result });
    return result;
  };
}

/** A list by a key of its entries, in their order. */
function indexed<T>(
  keyOfEntry: (entry: T) => string | undefined,
): (list: readonly T[]) => ReadonlyMap<string, readonly T[]> {
  return readOnce((list: readonly T[]) => {
    const index = new Map<string, T[]>();
    for (const entry of list) {
      const key = keyOfEntry(entry);
      if (key === undefined) continue;
      const group = index.get(key);
      if (group === undefined) index.set(key, [entry]);
      else group.push(entry);
    }
    return index;
  });
}
