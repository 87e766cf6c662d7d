import { digestOf } from './json.ts';
import { blocked, ok, type Outcome } from './outcome.ts';
import { shapeIssues, v } from './shape.ts';
import { parseToml, stringifyToml } from './toml.ts';

/** What the TLS router serves: the table that the agent writes and the router reads, in the platform's TOML form. */
export interface RouteTable {
  /** The writer's own mark of this version; only carried through. */
  readonly generation?: string;
  readonly listeners: readonly Listener[];
  /** There is when http-01 is answered through the router (RFC 8555, section 8.3). */
  readonly challenges?: ChallengeFront;
}

/** What a CA asks for in the clear on `addr`, below `/.well-known/acme-challenge/`, is handed on to `backend`; nothing else. */
export interface ChallengeFront {
  /** As of a listener. */
  readonly addr: string;
  /** `host:port` */
  readonly backend: string;
}

export interface Listener {
  /** `ip:port`, `[ip6]:port`, or `:port` for every address. */
  readonly addr: string;
  readonly routes: readonly Route[];
}

export type Route = PassRoute | TerminatedRoute;

/** The service ends TLS itself: bytes are relayed. */
interface PassRoute {
  readonly hostname: string;
  /** `host:port` */
  readonly backend: string;
  readonly mode: 'l4';
  /** Whose route it is, in the writer's own words; only carried through. A route without it was written by hand. */
  readonly owner?: string;
}

/** The router ends TLS and proxies HTTP. */
export interface TerminatedRoute {
  readonly hostname: string;
  readonly backend: string;
  readonly mode: 'l7';
  /** Absolute path of the full chain, PEM. */
  readonly tlsCert: string;
  /** Absolute path of the private key, PEM. */
  readonly tlsKey: string;
  /** The service speaks TLS behind the router as well. */
  readonly backendTls: boolean;
  /** PEM file of the roots by which the service is verified, by the host name; absent: as its place asks for. Only with `backendTls`. */
  readonly backendCa?: string;
  readonly owner?: string;
}

/** A host and a port, split. `host` is undefined for `:port`; an IPv6 address has no brackets. */
export interface Address {
  readonly host: string | undefined;
  readonly port: number;
}

/**
 * Reads a route table. Strict: unknown keys, wildcards, a host name twice on a listener, a listener twice are errors,
 * because a table that is half understood would route half. Host names come back in lower case.
 */
export function parseRouteTable(text: string): Outcome<RouteTable> {
  const toml = parseToml(text);
  if (!toml.ok) {
    return refuse(`line ${toml.line}, column ${toml.column}: ${toml.message}`);
  }
  const shaped = v.safeParse(TABLE, toml.value);
  if (!shaped.success) {
    const [first] = shapeIssues(shaped.issues);
    const where = first === undefined || first.path.length === 0 ? 'the table' : pathOf(first.path);
    return refuse(`${where}: ${first?.message ?? 'not a route table'}`);
  }
  const { generation, listeners, challenges } = shaped.output;
  const table: RouteTable = {
    ...(generation === undefined ? {} : { generation }),
    listeners: listeners.map(({ addr, routes }) => ({ addr, routes: routes.map(routeOf) })),
    ...(challenges === undefined ? {} : { challenges }),
  };
  const wrong = findTwice(table) ?? findUnverified(table);
  return wrong === undefined ? ok(table) : refuse(wrong);
}

/** The same table in TOML, sorted, so that equal tables are equal bytes. `parseRouteTable` gives it back. */
export function formatRouteTable(table: RouteTable): string {
  return stringifyToml({
    ...(table.generation === undefined ? {} : { generation: table.generation }),
    ...(table.challenges === undefined ? {} : { challenges: { ...table.challenges } }),
    listeners: sorted(table).map(({ addr, routes }) => ({
      addr,
      routes: routes.map((route) => ({
        hostname: route.hostname,
        backend: route.backend,
        mode: route.mode,
        ...(route.mode === 'l7' ? { tls_cert: route.tlsCert, tls_key: route.tlsKey } : {}),
        ...(route.mode === 'l7' && route.backendTls ? { backend_tls: true } : {}),
        ...(route.mode === 'l7' && route.backendCa !== undefined ? { backend_ca: route.backendCa } : {}),
        ...(route.owner === undefined ? {} : { owner: route.owner }),
      })),
    })),
  });
}

/** Digest of what is routed, whatever the order and the generation: the agent compares its own with the served one. */
export function routeTableDigest(table: RouteTable): string {
  const { challenges } = table;
  // As it always was where there are none: a router and an agent of different versions must agree.
  return digestOf(challenges === undefined ? sorted(table) : { listeners: sorted(table), challenges });
}

/** Splits `host:port`, `[ip6]:port` or `:port`; undefined when it is none of them. */
export function parseAddress(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return undefined;
  const host = match[1] ?? match[2];
  return { host: host === undefined || host === '' ? undefined : host, port };
}

const HOSTNAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

const hostname = v.pipe(
  v.string('a host name is missing'),
  v.toLowerCase(),
  v.check((name) => !name.includes('*'), 'wildcards are not served: name each host'),
  v.regex(HOSTNAME, (issue) => `${issue.received} is not a host name`),
);
const backend = v.pipe(
  v.string('a backend "host:port" is missing'),
  v.check((text) => parseAddress(text)?.host !== undefined, 'expected "host:port"'),
);
const absolutePath = v.pipe(
  v.string('an l7 route needs this path'),
  v.startsWith('/', 'expected an absolute path'),
);
const owner = v.optional(v.pipe(v.string(), v.nonEmpty('an owner is not empty'), v.maxLength(1_024)));

const ROUTE = v.variant(
  'mode',
  [
    v.strictObject({ hostname, backend, mode: v.literal('l4'), owner }),
    v.strictObject({
      hostname,
      backend,
      mode: v.literal('l7'),
      tls_cert: absolutePath,
      tls_key: absolutePath,
      backend_tls: v.optional(v.boolean(), false),
      backend_ca: v.optional(absolutePath),
      owner,
    }),
  ],
  'mode must be "l4" or "l7"',
);
const addr = v.pipe(
  v.string('a listener needs addr = "host:port"'),
  v.check((text) => parseAddress(text) !== undefined, 'expected "ip:port" or ":port"'),
);
const TABLE = v.strictObject({
  generation: v.optional(v.string()),
  challenges: v.optional(v.strictObject({ addr, backend })),
  listeners: v.optional(
    v.array(
      v.strictObject({
        addr,
        routes: v.optional(v.array(ROUTE), []),
      }),
    ),
    [],
  ),
});

function routeOf(route: v.InferOutput<typeof ROUTE>): Route {
  const { hostname: name, backend: target } = route;
  const mark = route.owner === undefined ? {} : { owner: route.owner };
  if (route.mode === 'l4') return { hostname: name, backend: target, mode: 'l4', ...mark };
  return {
    hostname: name,
    backend: target,
    mode: 'l7',
    tlsCert: route.tls_cert,
    tlsKey: route.tls_key,
    backendTls: route.backend_tls,
    ...(route.backend_ca === undefined ? {} : { backendCa: route.backend_ca }),
    ...mark,
  };
}

function findTwice(table: RouteTable): string | undefined {
  const addresses = new Set(table.challenges === undefined ? [] : [table.challenges.addr]);
  for (const { addr: address, routes } of table.listeners) {
    if (addresses.has(address)) return `the listener ${address} is there twice`;
    addresses.add(address);
    const names = new Set<string>();
    for (const { hostname: name } of routes) {
      if (names.has(name)) return `${name} is there twice on the listener ${address}`;
      names.add(name);
    }
  }
  return undefined;
}

/** Roots without TLS would verify nothing, and look as if they did. */
function findUnverified({ listeners }: RouteTable): string | undefined {
  const route = listeners
    .flatMap(({ routes }) => routes)
    .find((one) => one.mode === 'l7' && one.backendCa !== undefined && !one.backendTls);
  return route === undefined ? undefined : `${route.hostname} has backend_ca without backend_tls`;
}

function sorted(table: RouteTable): Listener[] {
  return [...table.listeners]
    .sort((a, b) => order(a.addr, b.addr))
    .map(({ addr: address, routes }) => ({
      addr: address,
      routes: [...routes].sort((a, b) => order(a.hostname, b.hostname)),
    }));
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function pathOf(path: readonly (string | number)[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join('');
}

function refuse(why: string): Outcome<never> {
  return blocked(`route table: ${why}`, 'Mend the table; the last good one stays in force.');
}
