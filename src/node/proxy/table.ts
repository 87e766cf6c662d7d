import { blocked, bug, ok, type Outcome } from '../../base/outcome.ts';
import {
  parseAddress,
  type ChallengeFront,
  type Listener,
  type Route,
  type RouteTable,
} from '../../base/routetable.ts';
import type { ObservedRoute } from '../types.ts';

/** A route in the proxy: its external port and host name. */
export interface RouteKey {
  readonly listenerPort: number;
  readonly hostname: string;
}

export type Change =
  | { readonly kind: 'put'; readonly routes: readonly ObservedRoute[] }
  | { readonly kind: 'remove'; readonly keys: readonly RouteKey[] };

export interface TableRules {
  /** The addresses of the settings: where our routes are served. */
  readonly listeners: readonly string[];
  /** Where http-01 is answered through the proxy, and what answers. */
  readonly challenges?: ChallengeFront;
  /** Marks that begin with another owner are foreign; every mark is ours when it is not given. */
  readonly owner?: string;
}

/** The routes of a table as the rest of the agent sees them; a route that stands on two addresses of one port is one. */
export function observedRoutes(listeners: readonly ListenerLike[]): ObservedRoute[] {
  const found = new Map<string, ObservedRoute>();
  for (const { addr, routes } of listeners) {
    const listenerPort = parseAddress(addr)?.port;
    if (listenerPort === undefined) continue;
    for (const route of routes) {
      const key = keyOf({ listenerPort, hostname: route.hostname });
      if (!found.has(key)) found.set(key, toObserved(route, listenerPort));
    }
  }
  return [...found.values()].sort(
    (a, b) => a.listenerPort - b.listenerPort || (a.hostname < b.hostname ? -1 : 1),
  );
}

/**
 * The table after a change, or why it may not be made. Foreign routes are carried over as they are (house rule 9), and
 * every listener of the settings is in the result. Removing what is not there, or is foreign, changes nothing.
 */
export function changedTable(table: RouteTable, change: Change, rules: TableRules): Outcome<RouteTable> {
  const ours = new Map<string, ObservedRoute>();
  for (const route of observedRoutes(table.listeners)) {
    if (isOurs(route.mark, rules)) ours.set(keyOf(route), route);
  }
  const foreign = table.listeners.map(({ addr, routes }) => ({
    addr,
    routes: routes.filter((route) => !isOurs(route.owner, rules)),
  }));
  if (change.kind === 'remove') {
    for (const key of change.keys) ours.delete(keyOf(key));
    return ok(composed(foreign, ours, rules));
  }
  const taken = new Set(observedRoutes(foreign).map(keyOf));
  for (const route of change.routes) {
    const refusal = refusalOf(route, taken, rules);
    if (refusal !== undefined) return refusal;
    ours.set(keyOf(route), { ...route, hostname: route.hostname.toLowerCase() });
  }
  return ok(composed(foreign, ours, rules));
}

/** What the next write does to the listeners: those of the settings that are missing come, those without use go. */
export interface ListenerChange {
  readonly missing: readonly string[];
  readonly surplus: readonly string[];
}

/** Undefined when the table has the listeners that it should have. */
export function listenerChange(table: RouteTable, rules: TableRules): ListenerChange | undefined {
  const next = changedTable(table, { kind: 'put', routes: [] }, rules);
  if (next.kind !== 'ok') return undefined;
  const [now, then] = [addressesOf(table), addressesOf(next.value)];
  const missing = then.filter((addr) => !now.includes(addr));
  const surplus = now.filter((addr) => !then.includes(addr));
  return missing.length + surplus.length === 0 ? undefined : { missing, surplus };
}

function addressesOf({ listeners, challenges }: RouteTable): string[] {
  const clear = challenges === undefined ? [] : [`${challenges.addr} (http-01, to ${challenges.backend})`];
  return [...listeners.map(({ addr }) => addr), ...clear];
}

function refusalOf(
  route: ObservedRoute,
  taken: ReadonlySet<string>,
  rules: TableRules,
): Outcome<never> | undefined {
  const name = `${route.hostname}:${route.listenerPort}`;
  if (!isOurs(route.mark, rules)) return bug(new Error(`the route ${name} does not carry our mark`));
  if (taken.has(keyOf(route))) {
    return blocked(
      `the proxy has a route ${name} that is not ours`,
      'Remove it from the route table, or give the service another host name.',
    );
  }
  if (!rules.listeners.some((addr) => parseAddress(addr)?.port === route.listenerPort)) {
    return blocked(
      `the proxy has no listener on port ${route.listenerPort}, which ${name} needs`,
      'Add it to [mcproxy] listeners, or use one of the ports that are there.',
    );
  }
  if (route.mode === 'l7' && (route.tlsCert === undefined || route.tlsKey === undefined)) {
    return bug(new Error(`the l7 route ${name} has no certificate`));
  }
  return undefined;
}

/** Ours go to the settings' listeners of their port; where none is left, they stay where they are until they are removed. */
function composed(
  foreign: readonly Listener[],
  ours: ReadonlyMap<string, ObservedRoute>,
  { listeners, challenges }: TableRules,
): RouteTable {
  const routes = new Map<string, Route[]>(listeners.map((addr) => [addr, []]));
  for (const route of ours.values()) {
    const served = listeners.filter((addr) => parseAddress(addr)?.port === route.listenerPort);
    const left = foreign.find(({ addr }) => parseAddress(addr)?.port === route.listenerPort);
    for (const addr of served.length > 0 ? served : left === undefined ? [] : [left.addr]) {
      routes.set(addr, [...(routes.get(addr) ?? []), toRoute(route)]);
    }
  }
  for (const { addr, routes: kept } of foreign) {
    if (kept.length > 0) routes.set(addr, [...(routes.get(addr) ?? []), ...kept]);
  }
  return {
    listeners: [...routes].map(([addr, list]) => ({ addr, routes: list })),
    ...(challenges === undefined ? {} : { challenges }),
  };
}

function isOurs(mark: string | undefined, { owner }: TableRules): boolean {
  return mark !== undefined && (owner === undefined || mark.startsWith(`${owner}/`));
}

interface RouteLike {
  readonly hostname: string;
  readonly backend: string;
  readonly mode: 'l4' | 'l7';
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly backendTls?: boolean;
  readonly backendCa?: string | undefined;
  readonly owner?: string | undefined;
}

interface ListenerLike {
  readonly addr: string;
  readonly routes: readonly RouteLike[];
}

function toObserved(route: RouteLike, listenerPort: number): ObservedRoute {
  return {
    listenerPort,
    hostname: route.hostname,
    backend: route.backend,
    mode: route.mode,
    ...(route.tlsCert === undefined ? {} : { tlsCert: route.tlsCert }),
    ...(route.tlsKey === undefined ? {} : { tlsKey: route.tlsKey }),
    backendTls: route.backendTls ?? false,
    ...(route.backendCa === undefined ? {} : { backendCa: route.backendCa }),
    ...(route.owner === undefined ? {} : { mark: route.owner }),
  };
}

function toRoute({ hostname, backend, mode, mark, ...route }: ObservedRoute): Route {
  const owner = mark === undefined ? {} : { owner: mark };
  if (mode === 'l4') return { hostname, backend, mode, ...owner };
  const { tlsCert = '', tlsKey = '', backendTls, backendCa } = route;
  const ca = backendCa === undefined ? {} : { backendCa };
  return { hostname, backend, mode, tlsCert, tlsKey, backendTls, ...ca, ...owner };
}

export function keyOf({ listenerPort, hostname }: RouteKey): string {
  return `${listenerPort} ${hostname.toLowerCase()}`;
}
