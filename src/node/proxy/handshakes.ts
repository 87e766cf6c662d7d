import { readFile } from 'node:fs/promises';
import pLimit from 'p-limit';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../base/clock.ts';
import { withDeadline } from '../../base/deadline.ts';
import { parseAddress } from '../../base/routetable.ts';
import { closeGently, connectTls, describe } from '../probes/tls.ts';
import type { Handshake, ObservedRoute } from '../types.ts';

const TRY_TIMEOUT_MS = 5_000;
const AT_ONCE = 8;
/** Whoever made a certificate may have written a book into it. */
const MAX_NAMES_LENGTH = 200;
const AGAIN_AFTER_MS = 60_000;
const AGAIN_AFTER_FAILURE_MS = 5_000;
/**
 * The node behind an edge goes without a word: nothing here calls for a look then. So its routes are tried by themselves, and however
 * many there are, not more than so many a second.
 */
const EDGE_AGAIN_MS = 10_000;
const EDGES_A_SECOND = 10;
/** The look that a timer calls for comes when the pause is surely over. */
const TIMER_SLACK_MS = 50;
/** A proxy that is just taking up another certificate shows the one before for a moment. */
const OLD_CERTIFICATE_TRIES = 4;
const OLD_CERTIFICATE_PAUSE_MS = 500;

export interface HandshakeOptions {
  /** Addresses the proxy listens on. */
  readonly listeners: readonly string[];
  readonly clock: Clock;
  /** A handshake ended otherwise than before, or one that failed may be tried again: look again. */
  readonly onSignal: () => void;
  readonly failurePauseMs?: number;
  /** One of an edge is tried again after this, whatever came of it. */
  readonly edgePauseMs?: number;
}

/** Real TLS handshakes by host name through the proxy (L10). They run beside the passes, which see the newest result. */
export interface Handshakes {
  /**
   * By `<host name>:<port>`; a route that is not here is being tried for the first time. `certificates`: fingerprints of what is to be
   * shown. `held`: keys of routes that are about to be put again, and are not tried before.
   */
  observe(
    routes: readonly ObservedRoute[],
    certificates: Readonly<Record<string, string>>,
    held?: ReadonlySet<string>,
  ): Readonly<Record<string, Handshake>>;
}

interface Entry {
  /** What the result holds for: another backend or certificate is tried anew. */
  readonly stamp: string;
  readonly at: number;
  readonly result: Handshake;
  /** How often in a row it was not as it should be. */
  readonly failures: number;
}

export function openHandshakes(options: HandshakeOptions): Handshakes {
  const { listeners, clock, onSignal } = options;
  const { failurePauseMs = AGAIN_AFTER_FAILURE_MS, edgePauseMs = EDGE_AGAIN_MS } = options;
  let edges = 0;
  let heldNow: ReadonlySet<string> | undefined;
  const limit = pLimit(AT_ONCE);
  const done = new Map<string, Entry>();
  const running = new Map<string, string>();

  const attempt = async (route: ObservedRoute, meant: string | undefined): Promise<Handshake> => {
    const ip = addressOf(listeners, route.listenerPort);
    for (let tries = 1; ; tries += 1) {
      const result = await limit(() => handshake(ip, route));
      const isL4 = route.mode === 'l4';
      // What the proxy only hands on fails with whoever is behind it.
      if (isL4 ? isEdge(route) && result.kind === 'failed' : isMeant(result, meant))
        return (await limit(() => behind(route))) ?? result;
      if (isMeant(result, meant) || result.kind === 'failed' || tries === OLD_CERTIFICATE_TRIES)
        return result;
      await clock.sleep(OLD_CERTIFICATE_PAUSE_MS);
    }
  };

  const begin = (key: string, stamp: string, route: ObservedRoute, meant: string | undefined): void => {
    if (running.get(key) === stamp) return;
    running.set(key, stamp);
    void attempt(route, meant).then((result) => {
      if (running.get(key) === stamp) running.delete(key);
      const before = done.get(key);
      const failures = isMeant(result, meant) ? 0 : (before?.stamp === stamp ? before.failures : 0) + 1;
      const entry = { stamp, at: clock.monotonic(), result, failures };
      done.set(key, entry);
      const pauseMs = Math.min(failurePauseMs * 2 ** (failures - 1), AGAIN_AFTER_MS);
      if (isEdge(route)) tryAgain(key, entry, route, meant);
      else if (failures > 0)
        // Nothing else may call for a look.
        setTimeout(() => {
          if (done.get(key) === entry) onSignal();
        }, pauseMs + TIMER_SLACK_MS).unref();
      if (before?.stamp !== stamp || JSON.stringify(before.result) !== JSON.stringify(result)) onSignal();
    });
  };

  /**
   * As long as nothing has changed for it; only what comes of it calls for a look. Good or not, the pause is the same: a home that is
   * back after an hour is served again as soon as one that was away for a moment.
   */
  const tryAgain = (key: string, entry: Entry, route: ObservedRoute, meant: string | undefined): void => {
    const isDue = (): boolean => done.get(key) === entry && heldNow?.has(key) !== true;
    const pauseMs = Math.max(edgePauseMs, (edges * 1_000) / EDGES_A_SECOND);
    setTimeout(() => {
      if (isDue()) begin(key, entry.stamp, route, meant);
    }, pauseMs).unref();
  };

  return {
    observe(routes, certificates, held) {
      heldNow = held;
      edges = routes.filter(isEdge).length;
      const keys = new Set<string>();
      const seen: Record<string, Handshake> = {};
      for (const route of routes) {
        const key = `${route.hostname}:${route.listenerPort}`;
        keys.add(key);
        const meant = route.mode === 'l7' ? certificates[route.hostname] : undefined;
        const stamp = [route.backend, certificates[route.hostname], route.backendCa].join(' ');
        const entry = done.get(key);
        if (held?.has(key) === true) {
          if (entry !== undefined) seen[key] = entry.result;
          continue;
        }
        const age = entry === undefined ? 0 : clock.monotonic() - entry.at;
        const isFresh =
          entry?.stamp === stamp && age < (isMeant(entry.result, meant) ? AGAIN_AFTER_MS : failurePauseMs);
        if (!isFresh) begin(key, stamp, route, meant);
        if (entry?.stamp === stamp) seen[key] = entry.result;
      }
      for (const key of done.keys()) if (!keys.has(key)) done.delete(key);
      return seen;
    },
  };
}

/** Its service is marked with its home: `<service>@<home>`. */
function isEdge({ mark }: ObservedRoute): boolean {
  return mark?.split('/')[2]?.includes('@') === true;
}

function isMeant(result: Handshake, fingerprint256: string | undefined): boolean {
  return result.kind === 'ok' && (fingerprint256 === undefined || result.fingerprint256 === fingerprint256);
}

/**
 * The home node of an edge, which is asked as the proxy does. The proxy ends the TLS of an l7 route by itself, and whoever is behind it may not
 * prove itself; of an l4 route it says no more than that nothing came.
 */
async function behind({ mode, backend, backendCa, hostname }: ObservedRoute): Promise<Handshake | undefined> {
  if (mode === 'l7' && backendCa === undefined) return undefined;
  const { host, port } = parseAddress(backend) ?? {};
  const endpoint = { ip: host ?? '127.0.0.1', port: port ?? 0, hostname };
  const verified = backendCa === undefined ? '' : `, verified by ${backendCa} ([mcproxy] edge_ca)`;
  const tried = `the home node, SNI ${hostname}${verified}`;
  try {
    const roots = backendCa === undefined ? undefined : await readFile(backendCa, 'utf8');
    const socket = await withDeadline(`the home node of ${hostname}`, TRY_TIMEOUT_MS, (signal) =>
      connectTls(endpoint, [], signal, roots),
    );
    closeGently(socket);
    return undefined;
  } catch (error) {
    return { kind: 'failed', why: describe(error, endpoint, tried), isHome: true };
  }
}

async function handshake(ip: string, { listenerPort, hostname }: ObservedRoute): Promise<Handshake> {
  const endpoint = { ip, port: listenerPort, hostname };
  try {
    const socket = await withDeadline(`the proxy on port ${listenerPort}`, TRY_TIMEOUT_MS, (signal) =>
      connectTls(endpoint, [], signal),
    );
    const shown = shownBy(socket, hostname);
    closeGently(socket);
    return shown ?? { kind: 'failed', why: `${hostname}:${listenerPort} shows no certificate` };
  } catch (error) {
    return { kind: 'failed', why: describe(error, endpoint, `through the proxy, SNI ${hostname}`) };
  }
}

function shownBy(socket: TLSSocket, hostname: string): Handshake | undefined {
  const leaf = socket.getPeerX509Certificate();
  if (leaf === undefined) return undefined;
  const isMine = leaf.checkHost(hostname) !== undefined;
  return {
    ...{ kind: 'ok', fingerprint256: leaf.fingerprint256, notAfter: Date.parse(leaf.validTo) },
    ...(isMine ? {} : { otherNames: (leaf.subjectAltName ?? leaf.subject).slice(0, MAX_NAMES_LENGTH) }),
  };
}

/** Where the proxy is reached from its own node. */
function addressOf(listeners: readonly string[], port: number): string {
  const host = listeners.map(parseAddress).find((address) => address?.port === port)?.host;
  if (host === undefined || host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
