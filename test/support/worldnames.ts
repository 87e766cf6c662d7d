import { isDeepStrictEqual } from 'node:util';
import { known, ok, unknown, wait, type Known, type Outcome } from '../../src/base/outcome.ts';
import type { NodeWriter } from '../../src/execute/types.ts';
import type { RecordMark } from '../../src/node/dns/types.ts';
import type { DnsFacts, NameFacts, ServerRecord, ZoneName } from '../../src/node/types.ts';
import { recordNames } from '../../src/plan/records.ts';
import type { World } from './world.ts';

/** As `rfc2136.ts` has them. */
const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 600_000;

type Names = Record<string, ServerRecord>;

/** What a name server has, by host name. */
export interface NameServer {
  readonly server: string;
  readonly names: Names;
}

/** The first, and the second where there is one. */
export function nameServers({ names, secondNames }: World): readonly NameServer[] {
  return [
    { server: 'ns', names },
    ...(secondNames === undefined ? [] : [{ server: 'ns2', names: secondNames }]),
  ];
}

/** Every name that one of them has. */
export function namesAnywhere(world: World): string[] {
  return [...new Set(nameServers(world).flatMap(({ names }) => Object.keys(names)))];
}

/** Somebody takes names away, wherever they are. */
export function takeNames(
  servers: readonly NameServer[],
  which: (name: string, record: ServerRecord) => boolean,
): void {
  for (const { names } of servers)
    for (const [name, record] of Object.entries(names))
      if (which(name, record)) Reflect.deleteProperty(names, name);
}

/** The name servers as a look finds them. */
export function dnsFacts(world: World): DnsFacts {
  const { zones } = world;
  return {
    driver: zones.length === 0 ? 'none' : 'rfc2136',
    zones,
    names: new Proxy(
      {},
      {
        get: (_all, name): NameFacts => {
          const zone = zones.find((one) => String(name).endsWith(`.${one}`));
          return zone === undefined ? { elsewhere: known([]) } : nameIn(world, zone, String(name));
        },
      },
    ),
    ...leftNames(world),
  };
}

function nameIn(world: World, zone: string, hostname: string): ZoneName {
  const failed = world.notTaken.get(hostname);
  return {
    zone,
    servers: nameServers(world).map((one) => ({ server: one.server, seen: recordAt(world, one, hostname) })),
    ...(failed === undefined ? {} : { failed: { why: failed.why, retryAt: failed.retryAt } }),
  };
}

function recordAt(world: World, { server, names }: NameServer, hostname: string): Known<ServerRecord> {
  const why = silence(world, server);
  return why === undefined ? known(names[hostname] ?? { addresses: [] }) : unknown(why);
}

function silence({ dnsAnswers, silent }: World, server: string): string | undefined {
  return dnsAnswers && !silent.has(server) ? undefined : `name server ${server} does not answer`;
}

/** Names with our mark that nobody asks for: what a search of the zones finds. */
function leftNames(world: World): Pick<DnsFacts, 'left'> {
  const asked = recordNames(world.desired, { applied: world.applied, records: world.dnsRecords });
  const owner = `${world.nodeName}/main`;
  const left = namesAnywhere(world).flatMap((hostname): [string, ZoneName][] => {
    const zone = world.zones.find((one) => hostname.endsWith(`.${one}`));
    if (zone === undefined || asked.includes(hostname)) return [];
    const found = nameIn(world, zone, hostname);
    const isOurs = found.servers.some(({ seen }) => seen.known && seen.value.mark?.owner === owner);
    return isOurs ? [[hostname, found]] : [];
  });
  return left.length === 0 ? {} : { left: Object.fromEntries(left) };
}

type Put = Parameters<NodeWriter['dns']['put']>[1][number];

/** Each record on every server: one that does not take it keeps the others from nothing. */
export function putNames(world: World, service: string, records: readonly Put[]): Outcome<undefined> {
  return onEach(world, records, ({ hostname, addresses, before = [] }, { server, names }) => {
    const { owner } = world.settings();
    const there = names[hostname];
    const marks = marksIn(there);
    const mine = marks.find((mark) => mark.owner === owner);
    const others = marks.filter((mark) => mark !== mine);
    const isShared = [service, ...others.map((mark) => mark.service)].some((name) => name.includes('@'));
    const isOurs =
      mine !== undefined ||
      (others.length > 0 && isShared) ||
      there?.addresses.every((ip) => before.includes(ip));
    if (there !== undefined && isOurs !== true) return `${server}: ${hostname} is not ours`;
    const record = recordOf([{ owner, service, addresses }, ...others]);
    const refusal = isDeepStrictEqual(there, record) ? undefined : refused(world, server, hostname);
    if (refusal !== undefined) return refusal;
    names[hostname] = record;
    world.cutHere('put');
    return undefined;
  });
}

/** Our own go from every server, those of others stay. */
export function removeNames(
  world: World,
  records: readonly { readonly hostname: string }[],
): Outcome<undefined> {
  return onEach(world, records, ({ hostname }, { server, names }) => {
    const marks = marksIn(names[hostname]);
    const others = marks.filter(({ owner }) => owner !== world.settings().owner);
    if (others.length === marks.length) return undefined;
    const refusal = refused(world, server, hostname);
    if (refusal !== undefined) return refusal;
    if (others.length === 0) Reflect.deleteProperty(names, hostname);
    else names[hostname] = recordOf(others);
    return undefined;
  });
}

function onEach<T extends { readonly hostname: string }>(
  world: World,
  records: readonly T[],
  work: (record: T, at: NameServer) => string | undefined,
): Outcome<undefined> {
  const whys = records.flatMap((record) => {
    const why = nameServers(world)
      .flatMap((at) => silence(world, at.server) ?? work(record, at) ?? [])
      .join('; ');
    if (why === '') world.notTaken.delete(record.hostname);
    else world.notTaken.set(record.hostname, failedAgain(world, record.hostname, why));
    return why === '' ? [] : [why];
  });
  return whys.length === 0 ? ok() : wait(whys.join('; '));
}

function refused({ refusing }: World, server: string, hostname: string): string | undefined {
  return refusing.has(server)
    ? `name server ${server} did not take the update of ${hostname}: REFUSED`
    : undefined;
}

function failedAgain({ notTaken, now }: World, hostname: string, why: string): NotTaken {
  const count = (notTaken.get(hostname)?.count ?? 0) + 1;
  return { why, count, retryAt: now + Math.min(FIRST_PAUSE_MS * 2 ** (count - 1), LONGEST_PAUSE_MS) };
}

/** Why an update was not taken, how often in a row, and when it may be tried again. */
export interface NotTaken {
  readonly why: string;
  readonly count: number;
  readonly retryAt: number;
}

function marksIn(record: ServerRecord | undefined): RecordMark[] {
  return [...(record?.mark === undefined ? [] : [record.mark]), ...(record?.others ?? [])];
}

/** A name as its server has it: the values of all marks, each once. */
function recordOf([mark, ...others]: RecordMark[]): ServerRecord {
  const addresses = [...new Set([mark, ...others].flatMap((one) => one?.addresses ?? []))].sort();
  return {
    addresses,
    ...(mark === undefined ? {} : { mark }),
    ...(others.length === 0 ? {} : { others }),
  };
}
