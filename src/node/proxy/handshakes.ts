import pLimit from 'p-limit';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { withDeadline } from '../../base/deadline.ts';
import { parseAddress } from '../../base/routetable.ts';
import { closeGently, connectTls, describe } from '../probes/tls.ts';
import type { Handshake, ObservedRoute } from '../types.ts';

const TRY_TIMEOUT_MS = 5_000;
const AT_ONCE = 8;
const AGAIN_AFTER_MS = 60_000;
const AGAIN_AFTER_FAILURE_MS = 5_000;

export interface HandshakeOptions {
  /** Addresses the proxy listens on. */
  readonly listeners: readonly string[];
  readonly clock: Clock;
  /** A handshake ended otherwise than before: look again. */
  readonly onSignal: () => void;
}

/** Real TLS handshakes by host name through the proxy (L10). They run beside the passes, which see the newest result. */
export interface Handshakes {
  /** By `<host name>:<port>`; a route that is not here is being tried for the first time. */
  observe(
    routes: readonly ObservedRoute[],
    certificates: Readonly<Record<string, string>>,
  ): Readonly<Record<string, Handshake>>;
}

interface Entry {
  /** What the result holds for: another backend or certificate is tried anew. */
  readonly stamp: string;
  readonly at: number;
  readonly result: Handshake;
}

export function openHandshakes({ listeners, clock, onSignal }: HandshakeOptions): Handshakes {
  const limit = pLimit(AT_ONCE);
  const done = new Map<string, Entry>();
  const running = new Map<string, string>();

  const begin = (key: string, stamp: string, route: ObservedRoute): void => {
    if (running.get(key) === stamp) return;
    running.set(key, stamp);
    void limit(() => handshake(addressOf(listeners, route.listenerPort), route)).then((result) => {
      if (running.get(key) === stamp) running.delete(key);
      const before = done.get(key);
      done.set(key, { stamp, at: clock.monotonic(), result });
      if (before?.stamp !== stamp || JSON.stringify(before.result) !== JSON.stringify(result)) onSignal();
    });
  };

  return {
    observe(routes, certificates) {
      const keys = new Set<string>();
      const seen: Record<string, Handshake> = {};
      for (const route of routes) {
        const key = `${route.hostname}:${route.listenerPort}`;
        keys.add(key);
        const stamp = `${route.backend} ${certificates[route.hostname] ?? ''}`;
        const entry = done.get(key);
        const age = entry === undefined ? 0 : clock.monotonic() - entry.at;
        const isFresh =
          entry?.stamp === stamp &&
          age < (entry.result.kind === 'ok' ? AGAIN_AFTER_MS : AGAIN_AFTER_FAILURE_MS);
        if (!isFresh) begin(key, stamp, route);
        if (entry?.stamp === stamp) seen[key] = entry.result;
      }
      for (const key of done.keys()) if (!keys.has(key)) done.delete(key);
      return seen;
    },
  };
}

async function handshake(ip: string, { listenerPort, hostname }: ObservedRoute): Promise<Handshake> {
  const endpoint = { ip, port: listenerPort, hostname };
  try {
    const socket = await withDeadline(`the proxy on port ${listenerPort}`, TRY_TIMEOUT_MS, (signal) =>
      connectTls(endpoint, [], signal),
    );
    const shown = shownBy(socket);
    closeGently(socket);
    return shown ?? { kind: 'failed', why: `${hostname}:${listenerPort} shows no certificate` };
  } catch (error) {
    return { kind: 'failed', why: describe(error, endpoint, `through the proxy, SNI ${hostname}`) };
  }
}

function shownBy(socket: TLSSocket): Handshake | undefined {
  const leaf = socket.getPeerX509Certificate();
  return leaf === undefined
    ? undefined
    : { kind: 'ok', fingerprint256: leaf.fingerprint256, notAfter: Date.parse(leaf.validTo) };
}

/** Where the proxy is reached from its own node. */
function addressOf(listeners: readonly string[], port: number): string {
  const host = listeners.map(parseAddress).find((address) => address?.port === port)?.host;
  if (host === undefined || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
