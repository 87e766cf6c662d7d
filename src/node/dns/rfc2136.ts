import pLimit from 'p-limit';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import {
  blocked,
  bug,
  known,
  messageOf,
  ok,
  unknown,
  wait,
  type Known,
  type Outcome,
} from '../../base/outcome.ts';
import type { DnsFacts, NameFacts, ServerRecord, ZoneName } from '../types.ts';
import type { Dns, WantedRecord } from './dns.ts';
import { isShared, lookUp, marksOf, textOf, queryFault, serialOf, textsAt, type NameSeen } from './query.ts';
import { openSearch } from './search.ts';
import { openElsewhere } from './elsewhere.ts';
import { keyFault, type KeyFault } from './key.ts';
import type { RecordMark } from './types.ts';
import { sendUpdate, textScript, updateScript } from './update.ts';

const QUERIES_AT_ONCE = 16;
const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 600_000;

export interface Rfc2136Options {
  /** `<node>/<instance>`: what the marks say. */
  readonly owner: string;
  /** Address, or `address:port`; each gets every update. */
  readonly servers: readonly string[];
  readonly zones: readonly string[];
  /** Key file as `tsig-keygen` writes it; without one updates are not signed. */
  readonly keyFile?: string;
  readonly ttlS: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Names outside our zones, or with our mark inside them, differ from before: look again. */
  readonly onSignal?: () => void;
}

interface Failed {
  readonly why: string;
  readonly retryAt: number;
  readonly count: number;
}

interface Rig {
  readonly options: Rfc2136Options;
  readonly limit: ReturnType<typeof pLimit>;
  /** By server and zone: what was seen at which serial. */
  readonly caches: Map<string, { serial: number; names: Map<string, NameSeen> }>;
  /** By host name. */
  readonly failures: Map<string, Failed>;
  readonly elsewhere: (hostname: string) => Known<readonly string[]>;
  readonly search: ReturnType<typeof openSearch>;
}

/** Driver `rfc2136`: dynamic updates with TSIG to Knot, BIND, PowerDNS and the like, by `nsupdate`; read back from each server (L09). */
export function openRfc2136(options: Rfc2136Options): Dns {
  const rig: Rig = {
    options,
    limit: pLimit(QUERIES_AT_ONCE),
    caches: new Map(),
    failures: new Map(),
    elsewhere: openElsewhere(options),
    search: openSearch(options),
  };
  return {
    observe: (hostnames) => observe(rig, hostnames),
    put: (service, records) => ensureAll(rig, service, records, false),
    remove: (service, records) => ensureAll(rig, service, records, true),
    putText: (name, value) => ensureText(rig, name, value, true),
    removeText: (name, value) => ensureText(rig, name, value, false),
  };
}

export function zoneOf(hostname: string, zones: readonly string[]): string | undefined {
  return zones
    .filter((zone) => hostname === zone || hostname.endsWith(`.${zone}`))
    .sort((a, b) => b.length - a.length)[0];
}

async function observe(rig: Rig, hostnames: readonly string[]): Promise<DnsFacts> {
  const { zones, keyFile } = rig.options;
  const fault = keyFile === undefined ? undefined : await keyFault(keyFile);
  const names: Record<string, NameFacts> = {};
  const left: Record<string, ZoneName> = {};
  let unsearched: string | undefined;
  for (const zone of zones) {
    const inside = hostnames.filter((hostname) => zoneOf(hostname, zones) === zone);
    const marked = searched(rig, zone);
    unsearched ??= marked.why;
    const others = marked.names.filter((hostname) => !inside.includes(hostname));
    if (inside.length + others.length === 0) continue;
    const seen = await lookEverywhere(rig, zone, [...inside, ...others]);
    for (const hostname of inside) names[hostname] = seen(hostname);
    for (const hostname of others) {
      const found = seen(hostname);
      // Looked at anew: what was found a while ago may be gone.
      if (found.servers.some(({ seen: at }) => at.known && at.value.mark?.owner === rig.options.owner))
        left[hostname] = found;
    }
  }
  for (const hostname of hostnames)
    if (zoneOf(hostname, zones) === undefined) names[hostname] = { elsewhere: rig.elsewhere(hostname) };
  return {
    ...{ driver: 'rfc2136', zones, names },
    ...(Object.keys(left).length === 0 ? {} : { left }),
    ...(fault === undefined ? {} : { keyFault: fault }),
    ...(unsearched === undefined ? {} : { unsearched }),
  };
}

/** The names of a zone with our mark on any server, and why one of them could not be searched. */
function searched(
  { options, search }: Rig,
  zone: string,
): { readonly names: readonly string[]; readonly why?: string } {
  const found = options.servers.map((server) => search(server, zone));
  const names = found.flatMap((one) => (one?.known === true ? one.value : []));
  const why = found.flatMap((one) => (one === undefined || one.known ? [] : [one.why]))[0];
  return {
    names: [...new Set(names)].filter((hostname) => zoneOf(hostname, options.zones) === zone).sort(),
    ...(why === undefined ? {} : { why }),
  };
}

async function lookEverywhere(
  rig: Rig,
  zone: string,
  hostnames: readonly string[],
): Promise<(hostname: string) => ZoneName> {
  const { servers, owner } = rig.options;
  const seen = await Promise.all(
    servers.map(async (server) => ({ server, names: await lookAt(rig, server, zone, hostnames) })),
  );
  return (hostname) => {
    const failed = rig.failures.get(hostname);
    return {
      zone,
      servers: seen.map(({ server, names }) => ({ server, seen: recordOf(names, hostname, owner) })),
      ...(failed === undefined ? {} : { failed: { why: failed.why, retryAt: failed.retryAt } }),
    };
  };
}

/**
 * The serial is asked at every look; only when it has moved are the names asked again. Then once more at the end: to Node's
 * resolver a refusal that it does not know (NOTAUTH) is "no such record", and who has the zone can tell its serial (G9).
 */
async function lookAt(
  { limit, caches }: Rig,
  server: string,
  zone: string,
  hostnames: readonly string[],
): Promise<Known<Map<string, NameSeen>>> {
  try {
    const serial = await serialOf(server, zone);
    const place = `${server} ${zone}`;
    const cache = caches.get(place);
    const names = cache?.serial === serial ? cache.names : new Map<string, NameSeen>();
    const missing = hostnames.filter((hostname) => !names.has(hostname));
    await Promise.all(missing.map((name) => limit(async () => names.set(name, await lookUp(server, name)))));
    if (missing.length > 0) await serialOf(server, zone);
    caches.set(place, { serial, names });
    return known(names);
  } catch (error) {
    return unknown(queryFault(server, error));
  }
}

async function ensureAll(
  rig: Rig,
  service: string,
  records: readonly WantedRecord[],
  gone: boolean,
): Promise<Outcome<undefined>> {
  const { failures, options } = rig;
  const whys: string[] = [];
  const fault = options.keyFile === undefined ? undefined : await keyFault(options.keyFile);
  if (fault !== undefined) return withoutUpdate(rig, records, fault);
  try {
    for (const record of records) {
      const said = await Promise.all(
        options.servers.map((server) => ensure(rig, server, service, record, gone)),
      );
      const why = said.filter((text) => text !== undefined).join('; ');
      if (why === '') failures.delete(record.hostname);
      else {
        whys.push(why);
        failures.set(record.hostname, failedAgain(failures.get(record.hostname), why, options.clock.now()));
      }
    }
  } catch (error) {
    return bug(error);
  }
  // Waiting, not a failure of the service: its containers are healed meanwhile, and the pause is ours to keep.
  return whys.length === 0
    ? ok()
    : wait(whys.join('; '), 'Look at the name server, its zone and the key in [mcns] key_file.');
}

/** No server was asked: tried again soon, however often, so that a key that was mended is used at once. */
function withoutUpdate(
  { failures, options }: Rig,
  records: readonly WantedRecord[],
  { why, hint }: KeyFault,
): Outcome<undefined> {
  const retryAt = options.clock.now() + FIRST_PAUSE_MS;
  for (const { hostname } of records) failures.set(hostname, { why, count: 0, retryAt });
  return wait(why, hint);
}

/** One name on one server: look, change what differs in one update, look again. Says why it is not so. */
async function ensure(
  { options, caches }: Rig,
  server: string,
  service: string,
  record: WantedRecord,
  gone: boolean,
): Promise<string | undefined> {
  const { owner, zones, ttlS, keyFile, log } = options;
  const { hostname, addresses } = record;
  const zone = zoneOf(hostname, zones);
  if (zone === undefined) return `${hostname} is in none of our zones`;
  try {
    const seen = await surely(server, zone, lookUp(server, hostname));
    const change = changeOf(seen, record, { owner, service }, gone);
    if (change.kind === 'foreign') return gone ? undefined : `${server}: ${change.why}`;
    const { add, drop } = change;
    const mark = { owner, service, addresses };
    const isMarked = gone ? change.mark === undefined : sameMark(change.mark, mark);
    if (add.length + drop.length === 0 && isMarked) return undefined;
    const markThere = textOf(seen.texts, owner);
    const there = markThere === undefined ? {} : { markThere };
    const update = { server, zone, hostname, seen, ttlS, add, drop, ...there, ...(gone ? {} : { mark }) };
    const refused = await sendUpdate(updateScript(update), keyFile);
    caches.delete(`${server} ${zone}`);
    if (refused !== undefined)
      return `name server ${server} did not take the update of ${hostname}: ${refused}`;
    log.info({ server, hostname, add, drop }, 'record updated');
    const after = changeOf(
      await surely(server, zone, lookUp(server, hostname)),
      record,
      { owner, service },
      gone,
    );
    // What is left of others is theirs.
    const isGone = after.kind === 'foreign' || (after.drop.length === 0 && after.mark === undefined);
    const isThere = after.kind === 'ours' && after.add.length + after.drop.length === 0;
    return (gone ? isGone : isThere)
      ? undefined
      : `name server ${server} took the update of ${hostname}, but does not show it`;
  } catch (error) {
    return isQueryError(error) ? queryFault(server, error) : `${hostname}: ${messageOf(error)}`;
  }
}

async function ensureText(
  { options }: Rig,
  name: string,
  value: string,
  there: boolean,
): Promise<Outcome<undefined>> {
  const { zones, servers, ttlS, keyFile } = options;
  const fault = keyFile === undefined ? undefined : await keyFault(keyFile);
  if (fault !== undefined) return wait(fault.why, fault.hint);
  const zone = zoneOf(name, zones);
  if (zone === undefined) {
    return blocked(
      `${name} is in none of the zones of [mcns]`,
      'Add its zone, or set [certs] acme_challenge = "http-01".',
    );
  }
  const isSo = async (server: string): Promise<boolean> =>
    (await surely(server, zone, textsAt(server, name))).includes(value) === there;
  const onServer = async (server: string): Promise<string | undefined> => {
    try {
      if (await isSo(server)) return undefined;
      const script = textScript({ server, zone, ttlS }, there ? 'add' : 'delete', name, value);
      const refused = await sendUpdate(script, keyFile);
      if (refused !== undefined)
        return `name server ${server} did not take the update of ${name}: ${refused}`;
      return (await isSo(server))
        ? undefined
        : `name server ${server} took the update of ${name}, but does not show it`;
    } catch (error) {
      return isQueryError(error) ? queryFault(server, error) : `${name}: ${messageOf(error)}`;
    }
  };
  const whys = (await Promise.all(servers.map(onServer))).filter((why) => why !== undefined);
  return whys.length === 0
    ? ok()
    : wait(whys.join('; '), 'Look at the name server, its zone and [mcns] key_file.');
}

/** What was seen, of a server that has the zone: from any other nothing is no answer (see `lookAt`). */
async function surely<T>(server: string, zone: string, looking: Promise<T>): Promise<T> {
  const seen = await looking;
  await serialOf(server, zone);
  return seen;
}

type Change =
  | { readonly kind: 'foreign'; readonly why: string }
  | {
      readonly kind: 'ours';
      readonly add: string[];
      readonly drop: string[];
      readonly mark?: RecordMark;
    };

/** What is to be done with what was seen; foreign is what neither carries our mark nor is what we put there by the registry. */
function changeOf(
  seen: NameSeen,
  record: WantedRecord,
  us: { readonly owner: string; readonly service: string },
  gone: boolean,
): Change {
  const { hostname, addresses, before = [] } = record;
  if (seen.alias !== undefined)
    return { kind: 'foreign', why: `${hostname} is an alias (CNAME ${seen.alias}) that is not ours` };
  const marks = marksOf(seen.texts);
  const mark = marks?.find(({ owner }) => owner === us.owner);
  const others = marks?.filter((one) => one !== mark) ?? [];
  const stranger = others.find((one) => !isShared(one, us));
  // Taking away our own does not depend on who else has a mark there.
  if (marks === undefined || (stranger !== undefined && !(gone && mark !== undefined)))
    return { kind: 'foreign', why: `${hostname} carries the mark of ${stranger?.owner ?? 'somebody else'}` };
  const isOthers = (ip: string): boolean => others.some((one) => one.addresses.includes(ip));
  const own = mark === undefined ? [...before, ...(gone ? addresses : [])] : mark.addresses;
  const rest = seen.addresses.filter((ip) => !isOthers(ip));
  const isKnown = rest.every((ip) => own.includes(ip));
  if (mark === undefined && rest.length > 0 && !isKnown)
    return {
      kind: 'foreign',
      why: `${hostname} has records (${rest.join(', ')}) that are not ours`,
    };
  const wanted = gone ? [] : addresses;
  return {
    kind: 'ours',
    add: wanted.filter((ip) => !seen.addresses.includes(ip)),
    // A value that another node's mark lists too is still wanted.
    drop: rest.filter((ip) => own.includes(ip) && !wanted.includes(ip)),
    ...(mark === undefined ? {} : { mark }),
  };
}

function recordOf(found: Known<Map<string, NameSeen>>, hostname: string, owner: string): Known<ServerRecord> {
  if (!found.known) return found;
  const seen = found.value.get(hostname);
  if (seen === undefined) return unknown('not looked at');
  const marks = marksOf(seen.texts);
  const mark = marks?.find((one) => one.owner === owner) ?? marks?.[0];
  const others = marks?.filter((one) => one !== mark) ?? [];
  return known({
    addresses: seen.addresses,
    ...(seen.alias !== undefined || marks === undefined ? { foreign: true } : {}),
    ...(seen.alias === undefined ? {} : { alias: seen.alias }),
    ...(mark === undefined ? {} : { mark }),
    ...(others.length === 0 ? {} : { others }),
  });
}

function sameMark(
  a: RecordMark | undefined,
  b: { owner: string; service: string; addresses: readonly string[] },
): boolean {
  return (
    a?.owner === b.owner &&
    a.service === b.service &&
    [...a.addresses].sort().join() === [...b.addresses].sort().join()
  );
}

function failedAgain(before: Failed | undefined, why: string, now: number): Failed {
  const count = (before?.count ?? 0) + 1;
  return { why, count, retryAt: now + Math.min(FIRST_PAUSE_MS * 2 ** (count - 1), LONGEST_PAUSE_MS) };
}

function isQueryError(error: unknown): boolean {
  return (error as { syscall?: string }).syscall?.startsWith('query') === true;
}
