import * as net from 'node:net';
import * as tls from 'node:tls';
import { messageOf } from '../../base/outcome.ts';
import type { ProbeCheck } from '../types.ts';

const FAREWELL_MS = 500;

type TlsCheck = Extract<ProbeCheck, { kind: 'tls' }>;

export interface Endpoint {
  readonly ip: string;
  readonly port: number;
  readonly hostname: string;
}

/** A TLS 1.3 handshake with SNI. Resolves with the reason of a failure, undefined when the service answered. */
export async function tryTls(check: TlsCheck, signal: AbortSignal): Promise<string | undefined> {
  try {
    closeGently(await connectTls(check, [], signal));
    return undefined;
  } catch (error) {
    const answer = describe(error, check, `TLS, SNI ${check.hostname}`);
    return answer.startsWith('no TLS')
      ? `${answer} — an l4 route passes TLS through: the service must speak it itself, or the route be l7`
      : answer;
  }
}

/**
 * Opens a TLS 1.3 connection. The certificate is not verified without `roots` (PEM): a service behind an l4 route may have a CA of
 * its own, and what is asked here is whether somebody answers. Rejects with the socket's error.
 */
export async function connectTls(
  { ip, port, hostname }: Endpoint,
  alpn: readonly string[],
  signal: AbortSignal,
  roots?: string,
): Promise<tls.TLSSocket> {
  // The connection apart from the handshake: an abort finds the raw socket at any moment.
  const raw = net.connect({ host: ip, port });
  const abort = (): void => void raw.destroy(new Error('ended'));
  signal.addEventListener('abort', abort, { once: true });
  raw.once('close', () => signal.removeEventListener('abort', abort));
  if (signal.aborted) abort();
  await opened(raw, 'connect');
  const socket = tls.connect({
    socket: raw,
    ...(roots === undefined ? { rejectUnauthorized: false } : { rejectUnauthorized: true, ca: roots }),
    minVersion: 'TLSv1.3',
    ...(net.isIP(hostname) === 0 ? { servername: hostname } : {}),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  });
  await opened(socket, 'secureConnect');
  return socket;
}

/** Rejects with the socket's error; its listener stays, so that a late reset does not become an uncaught exception. */
function opened(socket: net.Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.once('close', () => reject(Object.assign(new Error('closed'), { code: 'ERR_CLOSED' })));
    socket.once(event, () => resolve());
  });
}

/** Lets the end of the handshake and the farewell reach the service, so that its log has no broken handshakes of ours. */
export function closeGently(socket: tls.TLSSocket): void {
  socket.resume();
  socket.end();
  const timer = setTimeout(() => socket.destroy(), FAREWELL_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** One sentence for a failed connection: where, what was tried, what came. */
export function describe(error: unknown, { ip, port }: Endpoint, tried: string): string {
  const where = `${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (code === 'ECONNREFUSED') return `nothing answers on ${where} (${tried}): connection refused`;
  if (code === 'ECONNRESET' || code === 'EPIPE' || code === 'ERR_CLOSED') {
    return `nothing answers on ${where} (${tried}): the connection was closed without an answer`;
  }
  if (code === 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' || code === 'ERR_SSL_UNSUPPORTED_PROTOCOL') {
    return `${where} (${tried}) speaks only TLS older than 1.3, which is the minimum`;
  }
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return `no TLS on ${where} (${tried}): something answers there, but not with TLS`;
  }
  return `${where} (${tried}): ${messageOf(error)}`;
}
