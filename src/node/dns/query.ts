import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { messageOf } from '../../base/outcome.ts';
import type { RecordMark } from './types.ts';

const QUERY_TIMEOUT_MS = 2_000;
const TRIES = 2;
const MARK = 'mc-gitops';
/** What a mark's name begins with. */
export const MARK_LABEL = '_mc-gitops.';

/** What one server says of one name. Addresses are sorted. */
export interface NameSeen {
  readonly addresses: readonly string[];
  /** What it is a CNAME of. */
  readonly alias?: string;
  /** Text strings at the mark's name, one entry a record. */
  readonly texts: readonly (readonly string[])[];
}

/** Where the mark of a name stands: its own TXT records are nobody's business. */
export function markName(hostname: string): string {
  return `${MARK_LABEL}${hostname}`;
}

export function formatMark({ owner, service, addresses }: RecordMark): string[] {
  return [MARK, `owner=${owner}`, `service=${service}`, ...[...addresses].sort().map((ip) => `ip=${ip}`)];
}

/** The marks among the texts of a name; undefined when something else stands there. */
export function marksOf(texts: NameSeen['texts']): RecordMark[] | undefined {
  const marks = texts.map(markIn);
  return marks.every((mark) => mark !== undefined) ? marks : undefined;
}

/** The strings of the mark of one owner. */
export function textOf(texts: NameSeen['texts'], owner: string): readonly string[] | undefined {
  return texts.find((strings) => markIn(strings)?.owner === owner);
}

/**
 * Marks of one service, of which at least one is its edge's: they stand beside each other, and each node writes and takes away
 * what its own mark lists, so that no two ever want the same value otherwise. All others are foreign to each other.
 */
export function isShared(
  one: Pick<RecordMark, 'owner' | 'service'>,
  other: Pick<RecordMark, 'owner' | 'service'>,
): boolean {
  const isEdge = one.service.includes('@') || other.service.includes('@');
  return isEdge && originOf(one) === originOf(other);
}

/** `<service>@<home>`, also of the home node's own mark. */
function originOf({ owner, service }: Pick<RecordMark, 'owner' | 'service'>): string {
  return service.includes('@') ? service : `${service}@${owner.split('/')[0] ?? ''}`;
}

function markIn(strings: readonly string[]): RecordMark | undefined {
  if (strings[0] !== MARK) return undefined;
  const value = (key: string): string[] =>
    strings.filter((text) => text.startsWith(`${key}=`)).map((text) => text.slice(key.length + 1));
  const [owner, service] = [value('owner')[0], value('service')[0]];
  return owner === undefined || service === undefined
    ? undefined
    : { owner, service, addresses: value('ip').filter((ip) => isIP(ip) !== 0) };
}

/** Asks one server, always anew: a resolver of its own keeps no answers of before. Rejects when it does not answer. */
export async function lookUp(server: string, hostname: string): Promise<NameSeen> {
  const resolver = resolverOf(server);
  const [four, six, alias, texts] = await Promise.all([
    answers(resolver.resolve4(hostname)),
    answers(resolver.resolve6(hostname)),
    answers(resolver.resolveCname(hostname)),
    answers(resolver.resolveTxt(markName(hostname))),
  ]);
  const [target] = alias;
  return { addresses: [...four, ...six].sort(), ...(target === undefined ? {} : { alias: target }), texts };
}

/** Texts at a name, each as one string. */
export async function textsAt(server: string, name: string): Promise<string[]> {
  return (await answers(resolverOf(server).resolveTxt(name))).map((strings) => strings.join(''));
}

/** The serial of a zone: it moves with every change, so what was seen at the same serial still holds. */
export async function serialOf(server: string, zone: string): Promise<number> {
  return (await resolverOf(server).resolveSoa(zone)).serial;
}

/** By the resolver of the system; empty when there is no such name. */
export async function resolveAnywhere(hostname: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: 1 });
  const [four, six] = await Promise.all([
    answers(resolver.resolve4(hostname)),
    answers(resolver.resolve6(hostname)),
  ]);
  return [...four, ...six].sort();
}

export function queryFault(server: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  const words: Readonly<Record<string, string>> = {
    ETIMEOUT: 'does not answer',
    // One and the same outage is told now so, now so: over UDP it hangs on which answer comes first.
    ECONNREFUSED: 'does not answer',
    EREFUSED: 'refuses the query',
    ESERVFAIL: 'answers SERVFAIL',
    ENOTFOUND: 'does not know the zone',
    ENODATA: 'does not know the zone',
  };
  return `name server ${server} ${words[code ?? ''] ?? `cannot be asked: ${messageOf(error)}`}`;
}

function resolverOf(server: string): Resolver {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: TRIES });
  resolver.setServers([server]);
  return resolver;
}

/** No such name, or no such record, is an answer: none. */
async function answers<T>(asked: Promise<T[]>): Promise<T[]> {
  try {
    return await asked;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTFOUND' || code === 'ENODATA') return [];
    throw error;
  }
}
