import { join } from 'node:path';
import { digestOf } from '../../base/json.ts';
import {
  formatRouteTable,
  parseAddress,
  parseRouteTable,
  type ChallengeFront,
  type Route,
  type RouteTable,
} from '../../base/routetable.ts';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';

/** Raised when the same table is to be written otherwise: every configuration then gets a new version. */
const FORMAT = 1;
const HEAD = '# Written by mc-gitops, which writes over every change. The route table that it stands for:';
const TABLE_LINE = '#| ';
const BUNDLE_LINE = '#= ';

/** How long HAProxy waits, milliseconds. */
export interface HaproxyTimeouts {
  /** From accepting a connection to its whole ClientHello. */
  readonly helloMs: number;
  /** From the first byte of a request to the end of its headers. */
  readonly headersMs: number;
  /** Opening a connection to a service; then 502. */
  readonly connectMs: number;
  /** From the last byte that moved to the next one of an answer; before its first one then 504. */
  readonly responseMs: number;
  /** An l4 connection, a WebSocket or a gRPC call of which no byte moves. */
  readonly tunnelMs: number;
}

export const HAPROXY_TIMEOUTS: HaproxyTimeouts = {
  helloMs: 10_000,
  headersMs: 10_000,
  connectMs: 5_000,
  responseMs: 60_000,
  tunnelMs: 3_600_000,
};

/** What a configuration is made of. */
export interface HaproxyContent {
  /** All routes, as they are wanted: what the agent reads back as the written table. */
  readonly table: RouteTable;
  /**
   * Certificate bundle (its digest) of each l7 route that is served, by `bundleKey`, and of its roots, by `rootsKey`; an l7
   * route without one that it needs is left out.
   */
  readonly bundles: Readonly<Record<string, string>>;
}

export interface HaproxyPlaces {
  /** Directory of the driver's own: versions, bundles. */
  readonly directory: string;
  readonly runtimeSocket: string;
  readonly timeouts: HaproxyTimeouts;
  /** Whether the node has IPv6: `:443` then means all addresses of both kinds. */
  readonly ipv6: boolean;
}

/** Files of one version, by name, below `<directory>/v-<version>/`. */
export interface Rendered {
  readonly version: string;
  /** The configuration file itself. */
  readonly config: string;
  readonly files: Readonly<Record<string, string>>;
}

export function bundleKey(addr: string, hostname: string): string {
  return `${addr} ${hostname}`;
}

/** Of the roots by which the service behind a route is verified. */
export function rootsKey(addr: string, hostname: string): string {
  return `${addr} ${hostname} roots`;
}

export function bundlePath(directory: string, digest: string): string {
  return join(directory, 'certs', `${digest}.pem`);
}

export function versionPath(directory: string, version: string): string {
  return join(directory, `v-${version}`);
}

/** Id of the content: HAProxy carries it in its `description`, where it is read back (L09). */
function versionOf(content: HaproxyContent, places: HaproxyPlaces): string {
  return digestOf({ FORMAT, ...sortedContent(content), ...places }).slice(0, 24);
}

/**
 * One TCP front a listener, that looks at the SNI only (exact, any case) and knows no name that is not in its map; l4 goes
 * straight to the service, l7 to an inner front over a socket of its own, which ends TLS 1.3.
 */
export function renderHaproxy(content: HaproxyContent, places: HaproxyPlaces): Rendered {
  const version = versionOf(content, places);
  const below = versionPath(places.directory, version);
  const files: Record<string, string> = { '502.http': BAD_GATEWAY };
  const sections: string[] = [];
  for (const [index, { addr, routes }] of sortedContent(content).table.listeners.entries()) {
    const served = routes.flatMap((route): Served[] => {
      const bundle = content.bundles[bundleKey(addr, route.hostname)];
      const roots = content.bundles[rootsKey(addr, route.hostname)];
      const isVerified = route.mode === 'l7' && route.backendCa !== undefined;
      if ((route.mode === 'l7' && bundle === undefined) || (isVerified && roots === undefined)) return [];
      const name = `${index}.${route.hostname}`;
      const parts = { ...(bundle === undefined ? {} : { bundle }), ...(isVerified ? { roots } : {}) };
      return [{ route, name, ...parts }];
    });
    const isInner = served.some(({ route }) => route.mode === 'l7');
    const map = join(below, `routes-${index}.map`);
    const list = join(below, `certs-${index}.list`);
    files[`routes-${index}.map`] = served.map((one) => mapLine(one, addr)).join('');
    if (isInner) files[`certs-${index}.list`] = served.map((one) => listLine(one, places.directory)).join('');
    const inner = `${places.runtimeSocket}.l7-${index}`;
    sections.push(outerFront(index, addr, map, places));
    if (isInner) sections.push(innerFront(index, inner, map, list, places));
    sections.push(...served.map((one) => backends(one, places)));
  }
  const { challenges } = content.table;
  if (challenges !== undefined) sections.push(challengeFront(challenges, places));
  const config = [
    HEAD,
    ...commented(TABLE_LINE, formatRouteTable(content.table)),
    ...Object.entries(content.bundles)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, digest]) => `${BUNDLE_LINE}${digest} ${key}`),
    '',
    global(version, below, places),
    ...sections,
  ].join('\n');
  return { version, config, files };
}

/** Reads back what a configuration of ours stands for. A file that we did not write is refused: it is somebody else's. */
export function parseHaproxy(config: string, path: string): Outcome<HaproxyContent & { version?: string }> {
  const lines = config.split('\n');
  if (lines[0] !== HEAD) {
    return blocked(
      `${path} was not written by mc-gitops`,
      'Move it away, or name another file in [mcproxy] haproxy_config; HAProxy reads several with -f.',
    );
  }
  const table = parseRouteTable(uncommented(TABLE_LINE, lines).join('\n'));
  if (table.kind !== 'ok') return table;
  const bundles = uncommented(BUNDLE_LINE, lines).map((line): [string, string] => {
    const at = line.indexOf(' ');
    return [line.slice(at + 1), line.slice(0, at)];
  });
  const version = /^ {2}description mc-gitops ([0-9a-f]+)$/m.exec(config)?.[1];
  return ok({
    table: table.value,
    bundles: Object.fromEntries(bundles),
    ...(version === undefined ? {} : { version }),
  });
}

interface Served {
  readonly route: Route;
  /** Of its backend. */
  readonly name: string;
  readonly bundle?: string;
  readonly roots?: string | undefined;
}

/** What stands in a map: where the front goes, where the inner front goes, and what the agent reads back. */
export interface MapValue {
  readonly addr: string;
  readonly name: string;
  readonly bundle?: string;
  readonly roots?: string | undefined;
  readonly route: Route;
}

function mapLine({ route, name, bundle, roots }: Served, addr: string): string {
  const value: MapValue = { addr, name, route, ...(bundle === undefined ? {} : { bundle }), roots };
  return `${route.hostname} ${waysOf(value)}|${JSON.stringify(value)}\n`;
}

/** Where the front sends a name of a map, and the inner front: what HAProxy goes by, whatever stands beside it. */
export function waysOf({ route, name }: Pick<MapValue, 'route' | 'name'>): string {
  return route.mode === 'l4' ? `${name}|` : `l7-${name.slice(0, name.indexOf('.'))}|${name}`;
}

function listLine({ route, bundle }: Served, directory: string): string {
  return bundle === undefined ? '' : `${bundlePath(directory, bundle)} ${route.hostname}\n`;
}

function global(version: string, below: string, { runtimeSocket, timeouts }: HaproxyPlaces): string {
  return `global
  description mc-gitops ${version}
  stats socket ${runtimeSocket} mode 600 level operator expose-fd listeners
  # As many connections as the process may open files for, but no more than this stands for.
  fd-hard-limit 50000
  # Connections of before a reload stay with their worker that long.
  hard-stop-after 1h
  ssl-default-bind-options ssl-min-ver TLSv1.3
  tune.bufsize 32768
  tune.h2.max-concurrent-streams 250

defaults
  timeout connect ${timeouts.connectMs}ms
  timeout client ${timeouts.tunnelMs}ms
  timeout server ${timeouts.tunnelMs}ms
  timeout tunnel ${timeouts.tunnelMs}ms
  timeout client-fin 60s
  timeout server-fin 60s
  timeout http-request ${timeouts.headersMs}ms
  timeout http-keep-alive 75s
  retries 1
  # What HAProxy itself answers when a service cannot be reached.
  errorfile 503 ${join(below, '502.http')}
  default-server init-addr last,libc,none
`;
}

const BAD_GATEWAY = `HTTP/1.1 502 Bad Gateway\r
Content-Type: text/plain; charset=utf-8\r
Cache-Control: no-store\r
Content-Length: 16\r
\r
502 Bad Gateway
`;

function outerFront(index: number, addr: string, map: string, places: HaproxyPlaces): string {
  return `frontend l4-${index}
${binds(addr, places.ipv6)}
  mode tcp
  tcp-request inspect-delay ${places.timeouts.helloMs}ms
  tcp-request content reject unless { req.ssl_hello_type 1 }
  tcp-request content set-var(sess.to) req.ssl_sni,lower,map_str(${map}),field(1,|)
  # No certificate is shown, and no alert sent: the connection is closed.
  tcp-request content reject unless { var(sess.to) -m found }
  use_backend %[var(sess.to)]
`;
}

function innerFront(
  index: number,
  socket: string,
  map: string,
  list: string,
  { timeouts }: HaproxyPlaces,
): string {
  return `backend l7-${index}
  mode tcp
  server inner unix@${socket} send-proxy-v2

frontend inner-${index}
  mode http
  bind unix@${socket} mode 600 accept-proxy ssl strict-sni crt-list ${list} alpn h2,http/1.1
  timeout client ${Math.max(timeouts.responseMs, 75_000)}ms
  option idle-close-on-response
  http-request set-var(txn.host) req.hdr(host),host_only,lower
  http-request return status 421 content-type text/plain string "421 Misdirected Request" unless { ssl_fc_sni,lower,strcmp(txn.host) eq 0 }
  # Nobody but us says who the client is; with an underscore it is the same claim to a CGI.
  http-request del-header ^x[-_](forwarded[-_].*|forwarded|real[-_]ip)$ -m reg
  http-request del-header forwarded
  http-request del-header te unless { req.hdr(te) -m str -i trailers }
  http-request del-header proxy-authorization
  http-request del-header proxy-connection
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request disable-l7-retry unless METH_GET
  use_backend g.%[ssl_fc_sni,lower,map_str(${map}),field(2,|)] if { req.hdr(content-type) -m beg -i application/grpc }
  use_backend %[ssl_fc_sni,lower,map_str(${map}),field(2,|)]
`;
}

/** In the clear, and for what a CA asks alone (RFC 8555, section 8.3). */
function challengeFront({ addr, backend }: ChallengeFront, { ipv6, timeouts }: HaproxyPlaces): string {
  return `frontend http-01
${binds(addr, ipv6)}
  mode http
  timeout client ${timeouts.headersMs}ms
  option http-server-close
  http-request return status 404 content-type text/plain string "404 Not Found" unless METH_GET { pathq -m reg ^/\\.well-known/acme-challenge/[A-Za-z0-9_-]+$ }
  default_backend http-01

backend http-01
  mode http
  timeout server ${timeouts.responseMs}ms
  server agent ${backend}
`;
}

function backends({ route, name, roots }: Served, { timeouts, directory }: HaproxyPlaces): string {
  if (route.mode === 'l4') {
    return `backend ${name}
  mode tcp
  server s ${route.backend}
`;
  }
  // A service on this node proves itself by nothing that we know: its name is what it is asked for. Another node's proxy proves it.
  const verify =
    roots === undefined
      ? 'verify none'
      : `verify required ca-file ${bundlePath(directory, roots)} verifyhost ${route.hostname}`;
  const tls = `ssl ${verify} sni str(${route.hostname}) ssl-min-ver TLSv1.2 ws h1`;
  const [http, grpc] = route.backendTls ? [`${tls} alpn h2,http/1.1`, `${tls} alpn h2`] : ['', 'proto h2'];
  return `backend ${name}
  mode http
  timeout server ${timeouts.responseMs}ms
  retry-on conn-failure empty-response
  server s ${[route.backend, http, 'pool-purge-delay 2s'].filter((part) => part !== '').join(' ')}

backend g.${name}
  mode http
  server s ${route.backend} ${grpc}
`;
}

function binds(addr: string, ipv6: boolean): string {
  const parsed = parseAddress(addr);
  const port = parsed?.port ?? 0;
  const { host } = parsed ?? {};
  // One socket for both would have clients of IPv4 called ::ffff:192.0.2.1.
  if (host === undefined) return `  bind *:${port}${ipv6 ? `\n  bind :::${port} v6only` : ''}`;
  return host.includes(':') ? `  bind [${host}]:${port}` : `  bind ${host}:${port}`;
}

function sortedContent(content: HaproxyContent): HaproxyContent {
  const by =
    <T>(key: (item: T) => string) =>
    (a: T, b: T) =>
      key(a) < key(b) ? -1 : 1;
  const listeners = [...content.table.listeners]
    .sort(by(({ addr }) => addr))
    .map(({ addr, routes }) => ({ addr, routes: [...routes].sort(by(({ hostname }) => hostname)) }));
  const { challenges } = content.table;
  return {
    table: { listeners, ...(challenges === undefined ? {} : { challenges }) },
    bundles: content.bundles,
  };
}

function commented(prefix: string, text: string): string[] {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `${prefix}${line}`);
}

function uncommented(prefix: string, lines: readonly string[]): string[] {
  return lines.filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length));
}
