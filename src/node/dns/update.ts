import { readFile } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { isIP } from 'node:net';
import { withDeadline } from '../../base/deadline.ts';
import { messageOf } from '../../base/outcome.ts';
import type { RecordMark } from './types.ts';
import { formatMark, markName, type NameSeen } from './query.ts';

const UPDATE_TIMEOUT_MS = 8_000;
const NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9])?$/;
const WORD = /^[A-Za-z0-9_./:=@-]+$/;

export interface Update {
  readonly server: string;
  readonly zone: string;
  readonly hostname: string;
  /** What was seen a moment ago: the server changes nothing when it is no longer so (RFC 2136, section 2.4). */
  readonly seen: NameSeen;
  readonly add: readonly string[];
  readonly drop: readonly string[];
  /** Our mark as it stands there; absent: there is none. Those of others stay. */
  readonly markThere?: readonly string[];
  /** Absent: the mark goes. */
  readonly mark?: RecordMark;
  readonly ttlS: number;
}

/**
 * The update as `nsupdate` reads it. Its prerequisites are everything that was seen, so that a record which somebody else made in between
 * is never written over, and only our own values are deleted, never a whole set. Throws on a name that is none.
 */
export function updateScript(update: Update): string {
  const { hostname, seen, add, drop, markThere, mark, ttlS } = update;
  const marked = markName(hostname);
  for (const name of [hostname, update.zone])
    if (!NAME.test(name)) throw new Error(`${name} is no host name`);
  return [
    `server ${serverWords(update.server)}`,
    `zone ${update.zone}`,
    ...(['A', 'AAAA'] as const).flatMap((type) => {
      const values = seen.addresses.filter((ip) => typeOf(ip) === type);
      return values.length === 0
        ? [`prereq nxrrset ${hostname} ${type}`]
        : values.map((ip) => `prereq yxrrset ${hostname} ${type} ${ip}`);
    }),
    `prereq nxrrset ${hostname} CNAME`,
    ...(seen.texts.length === 0
      ? [`prereq nxrrset ${marked} TXT`]
      : seen.texts.map((texts) => `prereq yxrrset ${marked} TXT ${quoted(texts)}`)),
    ...drop.map((ip) => `update delete ${hostname} ${typeOf(ip)} ${ip}`),
    ...add.map((ip) => `update add ${hostname} ${ttlS} ${typeOf(ip)} ${ip}`),
    ...(markThere === undefined ? [] : [`update delete ${marked} TXT ${quoted(markThere)}`]),
    ...(mark === undefined ? [] : [`update add ${marked} ${ttlS} TXT ${quoted(formatMark(mark))}`]),
    'send',
    '',
  ].join('\n');
}

/** One text more or less at a name; what else stands there is not looked at. Throws on a name that is none. */
export function textScript(
  { server, zone, ttlS }: Pick<Update, 'server' | 'zone' | 'ttlS'>,
  change: 'add' | 'delete',
  name: string,
  value: string,
): string {
  for (const one of [name, zone]) if (!NAME.test(one)) throw new Error(`${one} is no host name`);
  return [
    `server ${serverWords(server)}`,
    `zone ${zone}`,
    `update ${change} ${name} ${change === 'add' ? `${ttlS} ` : ''}TXT ${quoted([value])}`,
    'send',
    '',
  ].join('\n');
}

/** Sends a script; resolves with why the server did not take it, or undefined when it did. The key stays in its file. */
export async function sendUpdate(script: string, keyFile: string | undefined): Promise<string | undefined> {
  try {
    const refused = await withDeadline('nsupdate', UPDATE_TIMEOUT_MS, (signal) =>
      run(script, keyFile, signal),
    );
    return refused === undefined || keyFile === undefined ? refused : await withoutKey(refused, keyFile);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? 'nsupdate is not installed (Debian: bind9-dnsutils)' : messageOf(error);
  }
}

/** nsupdate repeats what it cannot read of a key file, the secret itself too, whole or cut off (G10): nothing of that goes further. */
async function withoutKey(said: string, keyFile: string): Promise<string> {
  if (/could not (read|create) key/.test(said)) return `nsupdate does not understand the key file ${keyFile}`;
  const content = await readFile(keyFile, 'utf8').catch(() => '');
  const words = (content.match(/[^\s"';{}]{6,}/g) ?? []).filter((word) => !PLAIN_WORDS.test(word));
  return words.sort((a, b) => b.length - a.length).reduce((text, word) => text.replaceAll(word, '•••'), said);
}

/** Of a key file, what may be shown. */
const PLAIN_WORDS = /^(algorithm|secret|hmac-[a-z0-9]+|private-key-format:|algorithm:)$/i;

function run(script: string, keyFile: string | undefined, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const key = keyFile === undefined ? [] : ['-k', keyFile];
    const child = spawn('nsupdate', ['-t', '6', '-u', '2', '-r', '1', ...key], {
      env: { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/nonexistent' },
      stdio: ['pipe', 'ignore', 'pipe'],
      signal,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (said.length < 4_096) said += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      const lines = said.split('\n').map((line) => line.replace(/^[;\s]+/, '').trim());
      const told = lines.filter((line) => line !== '').join('; ') || `exit ${code ?? ''}`;
      resolve(code === 0 ? undefined : `${told}${meaningOf(told)}`);
    });
    child.stdin.once('error', () => undefined);
    child.stdin.end(script);
  });
}

/** What a name server means by refusing a signature (RFC 8945, section 5.2), or an update (RFC 2136, section 3.3). */
function meaningOf(said: string): string {
  const meanings: readonly (readonly [RegExp, string])[] = [
    [/BADKEY/, 'it does not know a key of this name and algorithm'],
    [/BADSIG/, 'its key of this name has another secret'],
    [/BADTIME/, "its clock and this node's differ"],
    [/NOTAUTH/, 'it does not know the key, or is not primary for the zone'],
    [/REFUSED/, 'the key may not change this name there'],
  ];
  const meaning = meanings.find(([pattern]) => pattern.test(said))?.[1];
  return meaning === undefined ? '' : ` (${meaning})`;
}

function typeOf(ip: string): 'A' | 'AAAA' {
  const kind = isIP(ip);
  if (kind === 0) throw new Error(`${ip} is no address`);
  return kind === 4 ? 'A' : 'AAAA';
}

function quoted(texts: readonly string[]): string {
  for (const text of texts)
    if (!WORD.test(text)) throw new Error('a mark has characters that it may not have');
  return texts.map((text) => `"${text}"`).join(' ');
}

function serverWords(server: string): string {
  const { address, port } = serverOf(server);
  return isIP(server) === 0 ? `${address} ${port}` : address;
}

/** Of `address` or `address:port`. Throws on what is neither. */
export function serverOf(server: string): { readonly address: string; readonly port: string } {
  if (isIP(server) !== 0) return { address: server, port: '53' };
  const match = /^\[?([0-9a-fA-F.:]+?)\]?:(\d+)$/.exec(server);
  if (match === null) throw new Error(`${server} is no address of a server`);
  return { address: match[1] ?? '', port: match[2] ?? '' };
}
