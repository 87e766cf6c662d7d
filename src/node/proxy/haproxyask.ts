import { connect, isIP } from 'node:net';
import { withDeadline } from '../../base/deadline.ts';
import { messageOf } from '../../base/outcome.ts';
import { parseAddress, type Route } from '../../base/routetable.ts';
import { v } from '../../base/shape.ts';
import { bundleKey, rootsKey, waysOf, type MapValue } from './haproxyconfig.ts';

const ASK_TIMEOUT_MS = 3_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

const VALUE = v.object({
  addr: v.string(),
  name: v.string(),
  bundle: v.optional(v.string()),
  roots: v.optional(v.string()),
  route: v.looseObject({ hostname: v.string(), backend: v.string(), mode: v.picklist(['l4', 'l7']) }),
});

/** What the running worker serves. */
export interface HaproxyLive {
  readonly version: string;
  readonly pid: number;
  readonly listeners: readonly { readonly addr: string; readonly routes: readonly Route[] }[];
  /** Certificate bundle of each l7 route, by `bundleKey`. */
  readonly bundles: Readonly<Record<string, string>>;
}

export type HaproxyAnswer<T> =
  | { readonly kind: 'answer'; readonly value: T }
  /** Nobody listens on the socket: HAProxy is not running. */
  | { readonly kind: 'down'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** The version in force: what the worker carries in its `description`; empty when its configuration is not ours. */
export async function askVersion(socket: string): Promise<HaproxyAnswer<{ version: string; pid: number }>> {
  const info = await askHaproxy(socket, 'show info');
  if (info.kind !== 'answer') return info;
  const version = /^description: mc-gitops ([0-9a-f]+)$/m.exec(info.value)?.[1] ?? '';
  const pid = Number(/^Pid: (\d+)$/m.exec(info.value)?.[1] ?? 0);
  return { kind: 'answer', value: { version, pid } };
}

/** Reads the routing maps and the servers' addresses of the running worker (L09). */
export async function askLive(socket: string): Promise<HaproxyAnswer<HaproxyLive>> {
  const asked = await askVersion(socket);
  if (asked.kind !== 'answer') return asked;
  const { version, pid } = asked.value;
  const servers = await askHaproxy(socket, 'show servers state');
  if (servers.kind !== 'answer') return servers;
  const maps = await askHaproxy(socket, 'show map');
  if (maps.kind !== 'answer') return maps;
  const addresses = serverAddresses(servers.value);
  const routes = new Map<string, Route[]>();
  const bundles: Record<string, string> = {};
  for (const [, id] of maps.value.matchAll(/^(\d+) \(\S+\/routes-\d+\.map\)/gm)) {
    const shown = await askHaproxy(socket, `show map #${id ?? ''}`);
    if (shown.kind !== 'answer') return shown;
    for (const { value, astray } of mapValues(shown.value)) {
      const { addr, name, bundle, roots, route } = value;
      const host = parseAddress(route.backend)?.host ?? '';
      const server = isIP(host) === 0 ? route.backend : (addresses.get(name) ?? 'no server');
      const backend = astray ?? server;
      routes.set(addr, [...(routes.get(addr) ?? []), { ...route, backend }]);
      if (bundle !== undefined) bundles[bundleKey(addr, route.hostname)] = bundle;
      if (roots !== undefined) bundles[rootsKey(addr, route.hostname)] = roots;
    }
  }
  const listeners = [...routes].map(([addr, list]) => ({ addr, routes: list }));
  return { kind: 'answer', value: { version, pid, listeners, bundles } };
}

/** Rows of a map. `astray`: where it really sends the name, when that is another way than the row says of itself. */
function mapValues(text: string): { readonly value: MapValue; readonly astray?: string }[] {
  return text.split('\n').flatMap((line) => {
    const [, hostname = '', ways = '', json = ''] = /^\S+ (\S+) ([^|{]*\|[^|{]*)\|(\{.*)$/.exec(line) ?? [];
    if (json === '') return [];
    try {
      const parsed = v.safeParse(VALUE, JSON.parse(json));
      if (!parsed.success) return [];
      const value = parsed.output as unknown as MapValue;
      // Somebody may have changed the file of a map: HAProxy goes by the name and the ways.
      const really = { ...value, route: { ...value.route, hostname } };
      return [
        ways === waysOf(value) ? { value: really } : { value: really, astray: ways.replace(/^\||\|$/, '') },
      ];
    } catch {
      return [];
    }
  });
}

/** `show servers state`: by backend, `host:port` of its server. The columns are named in the second line. */
function serverAddresses(text: string): Map<string, string> {
  const lines = text.split('\n');
  const names = (lines.find((line) => line.startsWith('# ')) ?? '').slice(2).split(' ');
  const [backend, host, port] = ['be_name', 'srv_addr', 'srv_port'].map((name) => names.indexOf(name));
  const found = new Map<string, string>();
  for (const line of lines) {
    const cells = line.split(' ');
    const [name, ip] = [cells[backend ?? -1], cells[host ?? -1]];
    if (line.startsWith('#') || name === undefined || ip === undefined) continue;
    found.set(name, `${ip.includes(':') ? `[${ip}]` : ip}:${cells[port ?? -1] ?? ''}`);
  }
  return found;
}

/** One command on a runtime or master socket; never rejects. The answer ends when HAProxy closes. */
export async function askHaproxy(socketPath: string, command: string): Promise<HaproxyAnswer<string>> {
  try {
    const value = await withDeadline(`HAProxy on ${socketPath}`, ASK_TIMEOUT_MS, (signal) =>
      exchange(socketPath, `${command}\n`, signal),
    );
    return { kind: 'answer', value };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      return { kind: 'down', why: `HAProxy is not running (nobody answers on ${socketPath})` };
    }
    return { kind: 'unknown', why: `HAProxy cannot be asked on ${socketPath}: ${messageOf(error)}` };
  }
}

function exchange(path: string, command: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const chunks: Buffer[] = [];
    let size = 0;
    const end = (): void => void socket.destroy();
    signal.addEventListener('abort', end, { once: true });
    socket.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) socket.destroy(new Error(`more than ${MAX_ANSWER_BYTES} bytes`));
      else chunks.push(chunk);
    });
    socket.once('error', reject);
    socket.once('close', () => {
      signal.removeEventListener('abort', end);
      resolve(Buffer.concat(chunks).toString('utf8'));
    });
    // The writing half stays open: HAProxy would take its end for a client that is gone. A master keeps the connection until it is told.
    socket.once('connect', () => socket.write(`${command}quit\n`));
  });
}
