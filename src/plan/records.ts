import type { Desired } from '../definitions/types.ts';
import type { RecordMark } from '../node/dns/types.ts';
import { REPAIRED } from './because.ts';
import type { NameFacts, ServerRecord } from '../node/types.ts';
import type { Because, DnsRecord, Promised } from '../registry/types.ts';
import { appliedOf, isEdgeName, type Facts, type Fronted, type ServicePlan } from './facts.ts';
import { recordsByHostname, recordsByService } from './lists.ts';
import type { Refused, Step, Waiting } from './types.ts';

type Inside = Extract<NameFacts, { zone: string }>;

/** The host names whose records are looked at: of services that run or ran, and those that the registry knows. */
export function recordNames(desired: Desired, promised: Pick<Promised, 'applied' | 'records'>): string[] {
  const names = [
    ...desired.services.filter(({ service }) => service.active).flatMap(understood(ownNames)),
    ...(desired.edges ?? []).flatMap(understood(ownNames)),
    ...promised.applied.flatMap(understood(hostnames)),
    ...(promised.records ?? []).map((record) => record.hostname),
  ];
  return [...new Set(names)].sort();
}

/** One that cannot be understood holds up no other (L33): that is told where it is planned. */
function understood<T>(read: (entry: T) => readonly string[]): (entry: T) => readonly string[] {
  return (entry) => {
    try {
      return read(entry);
    } catch {
      return [];
    }
  };
}

/**
 * Records of the service's host names inside our zones, once its routes are served; those of names that it no longer has go. A
 * name server that is down holds up nothing but its own records.
 */
export function planRecords(facts: Facts, desired: Fronted, because: Because): ServicePlan {
  const { service } = desired;
  const { dns } = facts.observed;
  if (dns === undefined || dns.driver === 'none') return { steps: [], waiting: [], refused: [] };
  const waiting: Waiting[] = [];
  const refused: Refused[] = [];
  const put: Extract<Step, { kind: 'put-records' }>['records'][number][] = [];
  const addresses = [...(facts.settings.addresses ?? [])].sort();
  const of = { service: service.name };
  for (const hostname of ownNames(desired)) {
    const seen = dns.names[hostname];
    if (seen === undefined || 'elsewhere' in seen) continue;
    const judged = judge(facts, hostname, seen, addresses, service.name);
    if (judged.kind === 'waiting') waiting.push({ ...of, for: 'dns', ...judged.waiting });
    else if (judged.kind === 'refused') refused.push({ ...of, ...judged.refused });
    else if (judged.kind === 'differs')
      put.push({ ...of, hostname, addresses, before: beforeOf(facts, hostname) });
  }
  const gone = recordsGone(facts, service.name, ownNames(desired));
  const steps: Step[] = [
    ...(put.length === 0
      ? []
      : [
          {
            service: service.name,
            subject: put.map((record) => record.hostname).join(', '),
            because: isWithoutReason(facts, desired, put, because)
              ? { ...because, summary: foundIn(facts, put) }
              : because,
            kind: 'put-records' as const,
            records: put,
          },
        ]),
    ...gone.steps.map((entry) => ({
      ...entry,
      because: { ...because, summary: whyGone(facts, entry.records) },
    })),
  ];
  return { steps, waiting: [...waiting, ...gone.waiting], refused };
}

/** All name servers that answer have the name as it should be, and at least one does; or it is none of ours to put there. */
export function isPublished(facts: Facts, { service }: Fronted, hostname: string): boolean {
  const { dns } = facts.observed;
  const seen = dns?.names[hostname];
  if (dns === undefined || dns.driver === 'none' || seen === undefined || 'elsewhere' in seen) return true;
  const servers = seen.servers.filter(({ seen: at }) => at.known);
  const addresses = [...(facts.settings.addresses ?? [])].sort();
  return (
    servers.length > 0 &&
    judge(facts, hostname, { ...seen, servers }, addresses, service.name).kind === 'good'
  );
}

/** Why there is an edge is no reason for what is done to a record that it had. */
function isWithoutReason(
  { promised }: Facts,
  { home }: Fronted,
  put: readonly DnsRecord[],
  { summary }: Because,
): boolean {
  const recorded = recordsByHostname(promised.records ?? []);
  return summary === REPAIRED || (home !== undefined && put.some(({ hostname }) => recorded.has(hostname)));
}

/** A definition may have a name still, and have handed it to its edge nodes. */
function whyGone({ desired }: Facts, gone: readonly DnsRecord[]): string {
  const { handed } = wantedNames(desired);
  const names = gone.map(({ hostname }) => hostname);
  const given = names.filter((name) => handed.has(name));
  if (given.length === 0) return 'the definition no longer has these names';
  const nodes = [...new Set(given.flatMap((name) => handed.get(name) ?? []))].sort().join(', ');
  const rest = names.length > given.length ? '; the definition no longer has the others' : '';
  return `the name${given.length === 1 ? '' : 's'} ${given.join(', ')} lead${given.length === 1 ? 's' : ''} to the edge now (${nodes})${rest}`;
}

/** What became of records that were in line before; one that was never made has not become anything. */
function foundIn(facts: Facts, put: readonly DnsRecord[]): string {
  const names = facts.observed.dns?.names ?? {};
  const words = put.map(({ service, hostname, addresses }) => {
    const seen = names[hostname];
    const servers = seen !== undefined && 'zone' in seen ? seen.servers : [];
    const isRecorded = recordsByHostname(facts.promised.records ?? []).has(hostname);
    const isMarked = servers.some(
      ({ seen: at }) => at.known && shareOf(facts, at.value, service).mark !== undefined,
    );
    if (!isRecorded && !isMarked) return `${hostname} of ${service} has no record yet`;
    for (const { server, seen: at } of servers) {
      if (!at.known) continue;
      const { there } = shareOf(facts, at.value, service);
      const told = `the record of ${hostname} on name server ${server}`;
      if (there.length === 0) return `${told} is missing`;
      if (there.join() !== addresses.join())
        return `${told} has ${there.join(', ')} instead of ${addresses.join(', ')}`;
    }
    return `the mark of ${hostname} is missing or not as it was written`;
  });
  return words.join('; ');
}

/**
 * Takes away what is ours under names that no service has any more. Not known is not gone (G9): it waits. `own`: the names of
 * the version that is planned, which may be the one before the newest.
 */
export function recordsGone(
  facts: Facts,
  service: string,
  own: readonly string[] = [],
): { steps: Extract<Step, { kind: 'remove-records' }>[]; waiting: Waiting[] } {
  const { observed, promised, desired, settings, now } = facts;
  const { dns } = observed;
  if (dns === undefined || dns.driver === 'none') return { steps: [], waiting: [] };
  const { led, handed } = wantedNames(desired);
  const applied = appliedOf(facts, service);
  const recorded = recordsByService(promised.records ?? []).get(service) ?? [];
  const names = [
    ...recorded.map((record) => record.hostname),
    ...(applied === undefined ? [] : hostnames(applied)),
  ];
  const gone: DnsRecord[] = [];
  const waiting: Waiting[] = [];
  for (const hostname of new Set(names)) {
    const seen = dns.names[hostname];
    if (led.has(hostname) || own.includes(hostname) || seen === undefined || 'elsewhere' in seen) continue;
    const record = recorded.find((entry) => entry.hostname === hostname);
    const isMarked = seen.servers.some(
      ({ seen: at }) =>
        at.known &&
        marksOf(at.value).some((mark) => mark.owner === settings.owner && mark.service === service),
    );
    if (record === undefined && !isMarked) continue;
    const unseen = seen.servers.find(({ seen: at }) => !at.known)?.seen;
    const hint =
      'It goes on once the name is gone there. Mend the server or its key, or take it out of [mcns].';
    if (unseen !== undefined && !unseen.known) waiting.push({ service, for: 'dns', why: unseen.why, hint });
    else if (seen.failed !== undefined && seen.failed.retryAt > now)
      waiting.push({ service, for: 'dns', why: seen.failed.why, hint, until: seen.failed.retryAt });
    else if (
      handed.has(hostname) &&
      !seen.servers.every(({ seen: at }) => isServedAtEdge(at, facts, service))
    )
      // Taken away now, the name would lead nowhere for a while.
      waiting.push({
        ...{ service, for: 'dns', why: `${hostname} still leads here: no edge node has its record yet` },
        hint: `It goes as soon as one of ${handed.get(hostname)?.join(', ') ?? ''} has; look there if it does not.`,
      });
    else gone.push({ service, hostname, addresses: record?.addresses ?? [] });
  }
  const because: Because = { summary: `${service} no longer has these names`, commit: desired.commit.oid };
  return {
    steps:
      gone.length === 0
        ? []
        : [
            {
              service,
              subject: gone.map((record) => record.hostname).join(', '),
              because,
              kind: 'remove-records' as const,
              records: gone,
            },
          ],
    waiting,
  };
}

type Judged =
  | { readonly kind: 'good' | 'differs' }
  | { readonly kind: 'waiting'; readonly waiting: Omit<Waiting, 'service' | 'for'> }
  | { readonly kind: 'refused'; readonly refused: Omit<Refused, 'service'> };

function judge(
  facts: Facts,
  hostname: string,
  seen: Inside,
  addresses: readonly string[],
  service: string,
): Judged {
  if (addresses.length === 0) {
    return {
      kind: 'waiting',
      waiting: {
        why: `${hostname}: this node has no addresses that a record could name`,
        hint: `Set addresses = ["…"] in nodes/${facts.settings.node}.toml.`,
      },
    };
  }
  const before = beforeOf(facts, hostname);
  let unknown: string | undefined;
  let differs = false;
  for (const { server, seen: at } of seen.servers) {
    if (!at.known) {
      unknown ??= at.why;
      continue;
    }
    const { mark, foreign, there, isStrange } = shareOf(facts, at.value, service);
    const isOurs = mark !== undefined && !isStrange;
    const isFit = mark === undefined && !isStrange;
    const isLeft = isFit && there.length > 0 && there.every((ip) => before.includes(ip));
    const isFree = isFit && there.length === 0 && foreign !== true;
    if (!isOurs && !isLeft && !isFree) {
      // Somebody else's that says the same does no harm, and is nobody's to repeat.
      const isUnmarked = marksOf(at.value).length === 0;
      if (foreign !== true && isUnmarked && there.join() === addresses.join()) continue;
      return {
        kind: 'refused',
        refused: {
          why: `${hostname} has a record on name server ${server} that is not ours${valuesOf(at.value, there)}`,
          hint: 'Remove it there, or give the route another host name; foreign records are never written over.',
        },
      };
    }
    const isMarked = mark?.service === service && mark.addresses.join() === addresses.join();
    const stale = [...before, ...(mark?.addresses ?? [])].filter((ip) => !addresses.includes(ip));
    differs ||=
      !isMarked ||
      addresses.some((ip) => !at.value.addresses.includes(ip)) ||
      stale.some((ip) => there.includes(ip));
  }
  const { failed } = seen;
  if (differs && failed !== undefined && failed.retryAt > facts.now) {
    const hint =
      'Look at the name server, its zone and [mcns] key_file. What is served goes on being served.';
    return { kind: 'waiting', waiting: { why: failed.why, hint, until: failed.retryAt } };
  }
  // One server that is down does not keep the others from being right: it follows when it is back (L20).
  if (unknown !== undefined && !differs)
    return {
      kind: 'waiting',
      waiting: { why: unknown, hint: 'Records follow when it answers; the service itself is served.' },
    };
  return { kind: differs ? 'differs' : 'good' };
}

function valuesOf({ alias }: ServerRecord, there: readonly string[]): string {
  const values = [...(alias === undefined ? [] : [`CNAME ${alias}`]), ...there];
  return values.length === 0 ? '' : `: ${values.join(', ')}`;
}

function beforeOf({ promised }: Facts, hostname: string): readonly string[] {
  return recordsByHostname(promised.records ?? []).get(hostname)?.[0]?.addresses ?? [];
}

/**
 * What of a name is ours to judge. A name with several edge nodes has a mark of each of them, and while it is handed over that of
 * its home node too: each writes and takes away its own values alone, so that no two ever want the same value otherwise.
 */
function shareOf(
  { settings }: Facts,
  seen: ServerRecord,
  service: string,
): { mark?: RecordMark; there: readonly string[]; isStrange: boolean; foreign?: boolean } {
  const marks = marksOf(seen);
  const mark = marks.find(({ owner }) => owner === settings.owner);
  const others = marks.filter((one) => one !== mark);
  const theirs = others.filter((one) => isShared(one, { owner: settings.owner, service }));
  const there = seen.addresses.filter(
    (ip) => mark?.addresses.includes(ip) === true || !theirs.some(({ addresses }) => addresses.includes(ip)),
  );
  return {
    there,
    isStrange: theirs.length < others.length,
    ...(mark === undefined ? {} : { mark }),
    ...(seen.foreign === undefined ? {} : { foreign: seen.foreign }),
  };
}

function marksOf({ mark, others = [] }: ServerRecord): readonly RecordMark[] {
  return mark === undefined ? others : [mark, ...others];
}

type Marked = Pick<RecordMark, 'owner' | 'service'>;

/** Of one service, and at least one of the two is its edge. */
function isShared(one: Marked, other: Marked): boolean {
  return (isEdgeName(one.service) || isEdgeName(other.service)) && originOf(one) === originOf(other);
}

/** `<service>@<home>`, also of the home node's own mark. */
function originOf({ owner, service }: Marked): string {
  return isEdgeName(service) ? service : `${service}@${owner.split('/')[0] ?? ''}`;
}

function isServedAtEdge(
  seen: Inside['servers'][number]['seen'],
  { settings }: Facts,
  service: string,
): boolean {
  return (
    seen.known &&
    marksOf(seen.value).some(
      (mark) => isEdgeName(mark.service) && isShared(mark, { owner: settings.owner, service }),
    )
  );
}

interface WantedNames {
  /** Those that lead to this node. */
  readonly led: ReadonlySet<string>;
  /** Those that lead to edge nodes, with these. */
  readonly handed: ReadonlyMap<string, readonly string[]>;
}

/** Of all that is wanted: asked for by each service, and the same for as long as these definitions are in force. */
function wantedNames(desired: Desired): WantedNames {
  const before = wantedOf.get(desired);
  if (before !== undefined) return before;
  const names: WantedNames = {
    led: new Set([...desired.services, ...(desired.edges ?? [])].flatMap((entry) => ownNames(entry))),
    handed: new Map(desired.services.flatMap((entry) => handedNames(entry))),
  };
  wantedOf.set(desired, names);
  return names;
}

const wantedOf = new WeakMap<Desired, WantedNames>();

/** The host names that lead to this node: at home not those that an edge serves. */
function ownNames(entry: Fronted): readonly string[] {
  const all = hostnames(entry);
  const handed = handedNames(entry).map(([hostname]) => hostname);
  return handed.length === 0 ? all : all.filter((hostname) => !handed.includes(hostname));
}

/** Host names of a service of this node that lead to its edge nodes, with these. */
function handedNames({ home, service }: Fronted): [string, readonly string[]][] {
  if (home !== undefined) return [];
  return service.components
    .flatMap(({ routes }) => routes)
    .flatMap(({ hostname, edge }): [string, readonly string[]][] =>
      edge === undefined ? [] : [[hostname, edge]],
    );
}

function hostnames({ service }: Pick<Fronted, 'service'>): readonly string[] {
  const before = hostnamesOf.get(service);
  if (before !== undefined) return before;
  const all = service.components.flatMap(({ routes }) => routes.map((route) => route.hostname));
  const names = [...new Set(all)].sort();
  hostnamesOf.set(service, names);
  return names;
}

const hostnamesOf = new WeakMap<Fronted['service'], readonly string[]>();
