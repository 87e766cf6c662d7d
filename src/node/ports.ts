import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { known, messageOf, unknown, type Known } from '../base/outcome.ts';
import type { PortFacts } from './types.ts';

export interface ListeningSocket {
  /** Textual address; IPv6 in its short form, IPv4-mapped as `::ffff:a.b.c.d`. */
  readonly ip: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
}

type Protocol = ListeningSocket['protocol'];

const TABLES: readonly { readonly file: string; readonly protocol: Protocol }[] = [
  { file: 'tcp', protocol: 'tcp' },
  { file: 'tcp6', protocol: 'tcp' },
  { file: 'udp', protocol: 'udp' },
  { file: 'udp6', protocol: 'udp' },
];
/** `st` of proc(5): TCP_LISTEN; an unconnected UDP socket is in TCP_CLOSE. */
const WANTED_STATE: Readonly<Record<Protocol, string>> = { tcp: '0A', udp: '07' };

/**
 * The sockets that listen on this host and the kernel's ephemeral range, from `<procRoot>/net` and
 * `<procRoot>/sys/net/ipv4/ip_local_port_range`. Sorted by port, protocol, address. Unknown with the reason where
 * /proc cannot be read: a guess would hand out a port that is taken (L39).
 */
export async function observePorts(procRoot = '/proc'): Promise<Known<PortFacts>> {
  try {
    const listening = await readListening(join(procRoot, 'net'));
    const rangePath = join(procRoot, 'sys/net/ipv4/ip_local_port_range');
    const ephemeral = parsePortRange(await readFile(rangePath, 'utf8'));
    if (ephemeral === undefined) return unknown(`${rangePath} does not hold two port numbers`);
    return known({ listening, ephemeral });
  } catch (error) {
    return unknown(`the host's listening ports cannot be read: ${messageOf(error)}`);
  }
}

/**
 * Listening sockets of the network namespace that `netDirectory` shows (`/proc/net`, `/proc/<pid>/net`). Rejects with the
 * file system's error; a kernel without IPv6 has no `tcp6` and `udp6`, which is no error.
 */
export async function readListening(netDirectory: string): Promise<ListeningSocket[]> {
  const found = await Promise.all(
    TABLES.map(async ({ file, protocol }) => {
      try {
        return parseProcNet(await readFile(join(netDirectory, file), 'utf8'), protocol);
      } catch (error) {
        if (file.endsWith('6') && (error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw error;
      }
    }),
  );
  const unique = new Map(
    found.flat().map((socket) => [`${socket.protocol} ${socket.ip} ${socket.port}`, socket]),
  );
  return [...unique.values()].sort(
    (a, b) => a.port - b.port || compare(a.protocol, b.protocol) || compare(a.ip, b.ip),
  );
}

/** The listening sockets in the text of a `/proc/net/{tcp,tcp6,udp,udp6}` table (proc(5)); lines that are none are passed over. */
export function parseProcNet(text: string, protocol: Protocol): ListeningSocket[] {
  const sockets: ListeningSocket[] = [];
  for (const line of text.split('\n')) {
    const [, local, , state] = line.trim().split(/\s+/);
    if (local === undefined || state !== WANTED_STATE[protocol]) continue;
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/i.exec(local);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    const port = Number.parseInt(match[2], 16);
    if (port > 0) sockets.push({ ip: addressOf(match[1]), port, protocol });
  }
  return sockets;
}

/** True when nobody outside the network namespace can reach a socket bound to `ip`. */
export function isLoopback(ip: string): boolean {
  return ip === '::1' || ip.startsWith('127.') || ip.startsWith('::ffff:127.');
}

/** `32768\t60999` of `ip_local_port_range`: both inclusive. */
export function parsePortRange(text: string): readonly [number, number] | undefined {
  const match = /^\s*(\d+)\s+(\d+)\s*$/.exec(text);
  if (match === null) return undefined;
  const [low, high] = [Number(match[1]), Number(match[2])];
  return low <= high && high <= 65_535 ? [low, high] : undefined;
}

/** The kernel prints each 32-bit word of the address in the machine's own byte order. */
function addressOf(hex: string): string {
  const bytes = Buffer.from(hex, 'hex');
  if (endianness() === 'LE') bytes.swap32();
  if (bytes.length === 4) return bytes.join('.');
  const mapped = bytes.subarray(0, 12).equals(Buffer.from('00000000000000000000ffff', 'hex'));
  if (mapped) return `::ffff:${bytes.subarray(12).join('.')}`;
  const words = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
