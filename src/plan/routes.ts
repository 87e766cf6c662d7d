import { isIP } from 'node:net';
import type { Component, DesiredService, Route } from '../definitions/types.ts';
import type { ObservedRoute, ProxyFacts } from '../node/types.ts';
import type { Because, RouteRecord } from '../registry/types.ts';
import {
  isEdgeName,
  leaseOf,
  ours,
  recordedServices,
  type Facts,
  type Fronted,
  type FrontedComponent,
  type ServicePlan,
} from './facts.ts';
import { keyOf, markedRoutes, readOnce, tableByName } from './lists.ts';
import { judgePut, judgeSurplus, type Repairs } from './repairs.ts';
import { isNobody } from '../base/nobody.ts';
import type { Refused, Step, Waiting } from './types.ts';

export interface RoutePlan extends ServicePlan {
  /** Every wanted route of the ready components stands in the table and is being served. */
  readonly served: boolean;
}

/** A table that a person spoiled may have routes of others in it, so that it is not written over. */
const TABLE_HINT =
  'Routes are written once the table can be read. One that was spoiled by hand: mend it, or take the file away, and those of this node are written anew.';

/**
 * Puts the routes of ready components that are missing or wrong, and takes away ours that are no longer wanted
 * (L08, L38): the latter only when the service is `complete`, so that an old name serves until the new one does.
 */
export function planRoutes(
  facts: Facts,
  desired: Fronted,
  ready: readonly FrontedComponent[],
  because: Because,
  complete: boolean,
): RoutePlan {
  const service = desired.service.name;
  const lost = desired.insteadOf === undefined ? NONE : claimedRoutes(facts, desired, []);
  const isOurs = (route: Route): boolean =>
    !lost.has(keyOf({ listenerPort: route.port, hostname: route.hostname }));
  const all = desired.service.components.flatMap((component) => component.routes.filter(isOurs));
  const waiting = (why: string, hint: string): RoutePlan => ({
    steps: [],
    waiting: [{ service, for: 'proxy', why, hint }],
    refused: [],
    served: false,
  });
  const nothing = { steps: [], waiting: [], refused: [], served: true };
  if (!facts.settings.proxy) {
    if (all.length === 0) return nothing;
    return {
      ...waiting(
        'its routes are not served: no proxy is configured',
        'Set [mcproxy] driver in the settings.',
      ),
      served: true,
    };
  }
  const { proxy } = facts.observed;
  if (!proxy.known && all.length === 0) return nothing;
  if (!proxy.known) return waiting(proxy.why, TABLE_HINT);
  const wanted = ready.flatMap((component) =>
    component.routes
      .filter((route) => isOurs(route) && proxy.value.listenerPorts.includes(route.port))
      .flatMap((route) => wantedRoute(facts, desired, component, route)),
  );
  const unlistened = all.find((route) => !proxy.value.listenerPorts.includes(route.port));
  const stale = staleNames(proxy.value.stale ?? NOTHING_STALE);
  const wrong = wanted.filter((route) => stale.has(keyOf(route)) || !stands(proxy.value.table, route));
  const keep = new Set(all.map((route) => keyOf({ listenerPort: route.port, hostname: route.hostname })));
  const surplus =
    complete && wanted.length === all.length
      ? ofService(facts, proxy.value.table, service).filter((route) => !keep.has(keyOf(route)))
      : [];
  const steps: Step[] = [];
  if (wrong.length > 0) {
    const records = recordsOf(desired, ready).filter(
      (record) => !lost.has(keyOf({ ...record, listenerPort: record.port })),
    );
    steps.push({
      service,
      subject: [...new Set(wrong.map((route) => route.hostname))].join(', '),
      ...judgePut(facts, desired, wrong, proxy.value, because),
      kind: 'put-routes',
      routes: wrong,
      records,
    });
  }
  if (surplus.length > 0) {
    const { because: why, ...repairs } = judgeSurplus(facts, desired, surplus, because);
    steps.push(removal(service, surplus, why, repairs));
  }
  const behind =
    wrong.length > 0
      ? undefined
      : (notServed(service, wanted, proxy.value) ?? notShown(facts, service, wanted));
  return {
    steps,
    waiting: behind === undefined ? [] : [behind],
    refused: unlistened === undefined ? [] : [noListener(service, unlistened, proxy.value.listenerPorts)],
    served: wrong.length === 0 && behind === undefined && wanted.length === all.length,
  };
}

const NONE: ReadonlySet<string> = new Set();

/**
 * What others are wanted to serve is theirs, although it was ours in a version before: else both would write it by turns.
 * Also what our own components that are in place serve already.
 */
export function claimedRoutes(
  facts: Facts,
  desired: Fronted,
  inPlace: readonly Component[],
): ReadonlySet<string> {
  const others = facts.desired.services
    .filter((other) => other.service.name !== desired.service.name && other.service.active)
    .flatMap((other) => other.service.components);
  return new Set(
    [...others, ...inPlace].flatMap((component) =>
      component.routes.map((route) => keyOf({ listenerPort: route.port, hostname: route.hostname })),
    ),
  );
}

function noListener(service: string, route: Route, ports: readonly number[]): Refused {
  return {
    service,
    why: `route ${route.hostname}:${route.port}: the proxy of this node does not listen on port ${route.port}`,
    hint: `Use one of ${ports.join(', ')}, or add the port to [mcproxy] listeners.`,
  };
}

function notServed(
  service: string,
  wanted: readonly ObservedRoute[],
  { live, faults = [] }: ProxyFacts,
): Waiting | undefined {
  if (wanted.length === 0) return undefined;
  if (!live.known) {
    return {
      service,
      for: 'proxy',
      why: live.why,
      hint: 'The routes are written; they are served as soon as the proxy runs.',
    };
  }
  if (wanted.every((route) => stands(live.value, route))) return undefined;
  const fault = faults.find((entry) =>
    wanted.some((route) => route.hostname === entry.hostname && route.listenerPort === entry.listenerPort),
  );
  return { service, for: 'proxy', why: fault?.why ?? 'the proxy does not serve the newest table yet' };
}

/** A handshake through the proxy shows what clients see: the service answers, with the certificate that was meant (L10). */
function notShown(facts: Facts, service: string, wanted: readonly ObservedRoute[]): Waiting | undefined {
  const { handshakes, certificates } = facts.observed;
  if (handshakes === undefined) return undefined;
  for (const route of wanted) {
    const name = keyOf(route);
    const shown = handshakes[name];
    const wait = (why: string, hint?: string): Waiting => ({
      service,
      for: 'handshake',
      why,
      ...(hint === undefined ? {} : { hint }),
    });
    if (shown === undefined) return wait(`a TLS handshake with ${name} through the proxy is under way`);
    if (shown.kind === 'failed') return wait(shown.why, hintTo(shown, service));
    const certificate = certificates[route.hostname];
    if (
      route.mode === 'l7' &&
      certificate?.kind === 'valid' &&
      certificate.fingerprint256 !== shown.fingerprint256
    ) {
      return wait(
        `the proxy shows another certificate for ${name} than ${certificate.certPath}`,
        'It is tried again; if it stays so, look at what else answers there.',
      );
    }
  }
  return undefined;
}

function hintTo({ isHome }: { readonly isHome?: true }, service: string): string {
  return isHome === true
    ? `Look at the proxy of ${homeOf(service)}, and at what it shows for this name; it is tried again every few seconds.`
    : 'The route stands in the proxy; it is tried again.';
}

function homeOf(edge: string): string {
  return edge.split('@')[1] ?? edge;
}

/**
 * Does a handshake with an L7 route fail, or show another certificate? There the proxy itself answers, so no container is to
 * blame; the handshake of an L4 route is the container's own.
 */
export function isShownWrong(facts: Facts, { service }: DesiredService): boolean {
  const { handshakes, certificates } = facts.observed;
  const routes = service.components.flatMap((component) => component.routes);
  return routes.some(({ mode, hostname, port }) => {
    const shown = handshakes?.[keyOf({ listenerPort: port, hostname })];
    const certificate = certificates[hostname];
    if (mode !== 'l7' || shown === undefined) return false;
    return (
      shown.kind === 'failed' ||
      (certificate?.kind === 'valid' && certificate.fingerprint256 !== shown.fingerprint256)
    );
  });
}

/** All routes of a service that are ours, by mark or by record. */
export function ofService(
  facts: Facts,
  table: readonly ObservedRoute[],
  service: string,
): readonly ObservedRoute[] {
  return markedRoutes(table, facts.settings.owner).get(service) ?? [];
}

/**
 * Services of which nothing is left but routes with our mark: written late by a call that was given up, say. Nobody else
 * takes them away, and what they point at may be anybody's tomorrow (L08). Also those of which only a failure is left.
 */
export function strayServices(facts: Facts): string[] {
  const { desired, promised, observed, settings } = facts;
  const table = settings.proxy && observed.proxy.known ? observed.proxy.value.table : [];
  const known = new Set([
    ...recordedServices(promised),
    ...(promised.orphans ?? []).map((orphan) => orphan.service),
    ...desired.services.map((entry) => entry.service.name),
    ...desired.refused,
    ...ours(facts).flatMap(({ identity }) => identity?.service ?? []),
  ]);
  const prefix = `${settings.owner}/`;
  const marked = table.flatMap(({ mark }) =>
    mark?.startsWith(prefix) === true ? [mark.slice(prefix.length).split('/')[0] ?? ''] : [],
  );
  // The last route may be gone although the call that took it away failed.
  const failed = promised.failures.map(({ service }) => service).filter((service) => !isNobody(service));
  return [...new Set([...marked, ...failed])]
    .filter((service) => !known.has(service) && !isEdgeName(service))
    .sort();
}

export function removal(
  service: string,
  routes: readonly ObservedRoute[],
  because: Because,
  repairs: Repairs = {},
): Step {
  return {
    service,
    subject: [...new Set(routes.map((route) => route.hostname))].join(', '),
    because,
    ...repairs,
    kind: 'remove-routes',
    routes: routes.map(({ listenerPort, hostname, mark }) => ({
      listenerPort,
      hostname,
      ...(mark === undefined ? {} : { mark }),
    })),
  };
}

export function wantedRoute(
  facts: Facts,
  desired: Fronted,
  component: FrontedComponent,
  route: Route,
): ObservedRoute[] {
  const behind = behindOf(facts, desired, component, route);
  if (behind === undefined) return [];
  const certificate = facts.observed.certificates[route.hostname];
  // No route before its certificate (L11).
  if (route.mode === 'l7' && certificate?.kind !== 'valid') return [];
  return [
    {
      listenerPort: route.port,
      hostname: route.hostname,
      ...behind,
      mode: route.mode,
      ...(route.mode === 'l7' && certificate?.kind === 'valid'
        ? { tlsCert: certificate.certPath, tlsKey: certificate.keyPath }
        : {}),
      mark: [facts.settings.owner, desired.service.name, component.name, route.name].join('/'),
    },
  ];
}

/** Where Debian and most others keep the roots that the system trusts. */
const SYSTEM_ROOTS = '/etc/ssl/certs/ca-certificates.crt';

/**
 * What stands behind a route: the leased port of the container, or of an edge the listener of the home node's proxy, which is
 * asked over TLS again and verified by name. The leased port behind that may change: the edge never knows it (L06).
 */
function behindOf(
  { settings, ...facts }: Facts,
  { service, home, address }: Fronted,
  component: FrontedComponent,
  route: Route,
): Pick<ObservedRoute, 'backend' | 'backendTls' | 'backendCa'> | undefined {
  if (home !== undefined) {
    if (address === undefined) return undefined;
    const backend = `${isIP(address) === 6 ? `[${address}]` : address}:${route.port}`;
    return route.mode === 'l4'
      ? { backend, backendTls: false }
      : { backend, backendTls: true, backendCa: settings.edgeCa ?? SYSTEM_ROOTS };
  }
  const lease = leaseOf({ settings, ...facts }, service.name, component.name, route.name);
  if (lease === undefined) return undefined;
  const ip = settings.publishIp === '0.0.0.0' ? '127.0.0.1' : settings.publishIp;
  return { backend: `${ip}:${lease.port}`, backendTls: route.backendTls };
}

export function recordsOf(desired: Fronted, ready: readonly FrontedComponent[]): RouteRecord[] {
  return ready.flatMap((component) =>
    component.routes.map((route) => ({
      service: desired.service.name,
      component: component.name,
      route: route.name,
      hostname: route.hostname,
      port: route.port,
    })),
  );
}

function stands(table: readonly ObservedRoute[], route: ObservedRoute): boolean {
  return (
    tableByName(table)
      .get(keyOf(route))
      ?.some((present) => equal(present, route)) === true
  );
}

const NOTHING_STALE: NonNullable<ProxyFacts['stale']> = [];
const staleNames = readOnce(
  (stale: NonNullable<ProxyFacts['stale']>): ReadonlySet<string> => new Set(stale.map(keyOf)),
);

function equal(a: ObservedRoute, b: ObservedRoute): boolean {
  return (
    a.listenerPort === b.listenerPort &&
    a.hostname === b.hostname &&
    a.backend === b.backend &&
    a.mode === b.mode &&
    a.tlsCert === b.tlsCert &&
    a.tlsKey === b.tlsKey &&
    a.backendTls === b.backendTls &&
    a.backendCa === b.backendCa &&
    a.mark === b.mark
  );
}
