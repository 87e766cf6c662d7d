import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { messageOf } from '../base/outcome.ts';
import { parseAddress, type Route, type RouteTable, type TerminatedRoute } from '../base/routetable.ts';

interface Certificate {
  /** Of the content of both files: the same digest is the same context, so that a reload costs nothing. */
  readonly digest: string;
  readonly context: SecureContext;
  readonly leaf: X509Certificate;
  /** Of `backendCa`: whom the service has to prove itself to. */
  readonly authority?: Authority;
}

/** Roots; many routes have the same, and to read a system's takes a while. */
interface Authority {
  readonly digest: string;
  readonly context: SecureContext;
}

/** A route whose certificate cannot be taken from its files. `why` says whether it is served nevertheless. */
export interface RouteFault {
  readonly addr: string;
  readonly hostname: string;
  readonly why: string;
  /** ISO 8601: since when the route has no good certificate in its files. */
  readonly since: string;
}

/** What of a table can be served, and what not. */
export interface Served {
  /** Only the routes that are served; an l7 route names the files that its certificate came from. */
  readonly table: RouteTable;
  /** By the route objects of `table`. */
  readonly certificates: ReadonlyMap<TerminatedRoute, Certificate>;
  readonly faults: readonly RouteFault[];
}

const READ_AT_ONCE = 32;
/** A real chain is below 20 KB. */
const MAX_FILE_BYTES = 1_048_576;

export function terminatedRoutes(table: RouteTable): TerminatedRoute[] {
  return table.listeners.flatMap(({ routes }) => routes.filter((route) => route.mode === 'l7'));
}

/**
 * Reads every certificate that the table uses. One that is missing, does not fit its key or does not name its host is never
 * served: it would only fail later and in the client (L10). It is the fault of its own route alone: that goes on with
 * the certificate `before` served it with, or it is left out. An expired one is served where nothing better was: its date is in the
 * status. Never rejects.
 */
export async function serveable(table: RouteTable, before: Served): Promise<Served> {
  const byDigest = new Map([...before.certificates.values()].map((one) => [one.digest, one]));
  const routes = terminatedRoutes(table);
  const read = new Map<TerminatedRoute, Certificate | { readonly why: string }>();
  for (let first = 0; first < routes.length; first += READ_AT_ONCE) {
    const group = routes.slice(first, first + READ_AT_ONCE);
    await Promise.all(group.map(async (route) => read.set(route, await loadOne(route, byDigest))));
  }

  const earlier = servedBefore(before);
  const since = new Map(before.faults.map((fault) => [`${fault.addr} ${fault.hostname}`, fault.since]));
  const certificates = new Map<TerminatedRoute, Certificate>();
  const faults: RouteFault[] = [];
  const served = (addr: string, route: Route): Route[] => {
    if (route.mode === 'l4') return [route];
    const { hostname } = route;
    const kept = earlier(addr, hostname);
    const found = better(read.get(route), kept, route);
    if (found === undefined || 'why' in found) {
      // One that is to be verified does not go on with whom it was verified by before, or not at all.
      const goesOn = kept !== undefined && kept.route.backendCa === route.backendCa;
      const so = goesOn ? 'it goes on with the certificate of before' : 'it is not served';
      faults.push({
        addr,
        hostname,
        why: `${found?.why ?? 'not read'}; ${so} until the files are good`,
        since: since.get(`${addr} ${hostname}`) ?? new Date().toISOString(),
      });
      if (!goesOn) return [];
      const lives = { ...route, tlsCert: kept.route.tlsCert, tlsKey: kept.route.tlsKey };
      certificates.set(lives, kept.certificate);
      trust(lives, kept.certificate);
      return [lives];
    }
    certificates.set(route, found);
    trust(route, found);
    return [route];
  };
  const listeners = table.listeners.map((listener) => ({
    addr: listener.addr,
    routes: listener.routes.flatMap((route) => served(listener.addr, route)),
  }));
  return { table: { ...table, listeners }, certificates, faults };
}

/** Whoever puts an expired certificate in the place of a good one has made a mistake, and clients need not see it. */
function better(
  found: Certificate | { readonly why: string } | undefined,
  kept: Earlier | undefined,
  { hostname, tlsCert }: TerminatedRoute,
): typeof found {
  if (found === undefined || 'why' in found || kept === undefined) return found;
  if (!isOver(found) || isOver(kept.certificate)) return found;
  return {
    why: `route ${hostname}: the certificate ${tlsCert} expired at ${found.leaf.validTo}`,
  };
}

function isOver({ leaf }: Certificate): boolean {
  return Date.parse(leaf.validTo) <= Date.now();
}

/** By the route objects that are served; a route with `backendCa` that is not here trusts nobody. */
const authorities = new WeakMap<TerminatedRoute, SecureContext>();

function trust(route: TerminatedRoute, { authority }: Certificate): void {
  if (authority !== undefined) authorities.set(route, authority.context);
}

/** The roots of a route with `backendCa`; undefined when it is none of those that are served. */
export function authorityOf(route: TerminatedRoute): SecureContext | undefined {
  return authorities.get(route);
}

interface Earlier {
  readonly route: TerminatedRoute;
  readonly certificate: Certificate;
}

/** A route is the same one when its listener has got another address of the same port. */
function servedBefore({ table, certificates }: Served): (addr: string, name: string) => Earlier | undefined {
  const found = new Map<string, Earlier>();
  for (const { addr, routes } of table.listeners) {
    for (const route of routes) {
      const certificate = route.mode === 'l7' ? certificates.get(route) : undefined;
      if (route.mode !== 'l7' || certificate === undefined) continue;
      found.set(`${addr} ${route.hostname}`, { route, certificate });
      found.set(`${portOf(addr)} ${route.hostname}`, { route, certificate });
    }
  }
  return (addr, name) => found.get(`${addr} ${name}`) ?? found.get(`${portOf(addr)} ${name}`);
}

function portOf(addr: string): number {
  return parseAddress(addr)?.port ?? 0;
}

async function loadOne(
  route: TerminatedRoute,
  byDigest: Map<string, Certificate>,
): Promise<Certificate | { readonly why: string }> {
  const { hostname, tlsCert, tlsKey, backendCa } = route;
  const roots = backendCa === undefined ? undefined : await readRoots(backendCa).catch(messageOf);
  if (typeof roots === 'string')
    return {
      why: `route ${hostname}: the roots ${backendCa ?? ''} ([mcproxy] edge_ca) cannot be used: ${roots}`,
    };
  try {
    const certificate = await readOne(route, byDigest, roots);
    if (certificate.leaf.checkHost(route.hostname) !== undefined) return certificate;
    throw new Error(`it is not for ${route.hostname}`);
  } catch (error) {
    return {
      why: `route ${hostname}: the certificate ${tlsCert} with the key ${tlsKey} cannot be served: ${messageOf(error)}`,
    };
  }
}

async function readOne(
  { tlsCert, tlsKey }: TerminatedRoute,
  byDigest: Map<string, Certificate>,
  ca: Buffer | undefined,
): Promise<Certificate> {
  const [cert, key] = await Promise.all([readSmall(tlsCert), readSmall(tlsKey)]);
  const hash = createHash('sha256').update(`${cert.length}\n`).update(cert).update(key);
  const digest = (ca === undefined ? hash : hash.update(ca)).digest('hex');
  const same = byDigest.get(digest);
  if (same !== undefined) return same;
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error('the key belongs to another certificate');
  const certificate = {
    digest,
    leaf,
    context: createSecureContext({ cert, key, minVersion: 'TLSv1.3' }),
    ...(ca === undefined ? {} : { authority: sharedAuthority(ca, byDigest) }),
  };
  byDigest.set(digest, certificate);
  return certificate;
}

function sharedAuthority(ca: Buffer, byDigest: ReadonlyMap<string, Certificate>): Authority {
  const digest = createHash('sha256').update(ca).digest('hex');
  for (const { authority } of byDigest.values()) if (authority?.digest === digest) return authority;
  return { digest, context: createSecureContext({ ca, minVersion: 'TLSv1.3' }) };
}

/** An empty file would be no roots, and Node would then take its own. */
async function readRoots(path: string): Promise<Buffer> {
  const pem = await readSmall(path);
  if (!pem.includes('-----BEGIN CERTIFICATE-----'))
    throw new Error(`${path} (backend_ca) holds no certificate`);
  return pem;
}

/** Reading a pipe would never end, and hold up every other route. */
async function readSmall(path: string): Promise<Buffer> {
  const there = await stat(path);
  if (!there.isFile()) throw new Error(`${path} is not a file`);
  if (there.size > MAX_FILE_BYTES) throw new Error(`${path} is larger than ${MAX_FILE_BYTES} bytes`);
  return readFile(path);
}
