import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, createSecureContext, TLSSocket, type ConnectionOptions } from 'node:tls';
import { parseAddress, type TerminatedRoute } from '../base/routetable.ts';
import { authorityOf } from './certificates.ts';
import type { Limits } from './limits.ts';

/** The connections to the services, shared by all listeners. */
export interface Backends {
  /** A request that is not sent yet. `fresh` never takes a kept connection. Throws on a path or header that HTTP does not allow. */
  request(route: TerminatedRoute, options: RequestOptions, fresh?: boolean): ClientRequest;
  /** An HTTP/2 session, or undefined when the service (with TLS) does not speak it. Rejects when it cannot be reached. */
  session(route: TerminatedRoute): Promise<Session | undefined>;
  close(): void;
}

export interface Session {
  readonly http2: ClientHttp2Session;
  /** Takes a place; call the result when the stream is over. */
  take(): () => void;
}

const NO_HTTP2_FOR_MS = 60_000;
const STREAM_WINDOW_BYTES = 1_048_576;
const SESSION_WINDOW_BYTES = 4_194_304;

export function makeBackends(limits: Limits): Backends {
  const kept = { keepAlive: true, maxFreeSockets: 256, timeout: limits.backendKeepAliveMs };
  const http = new HttpAgent(kept);
  const https = new HttpsAgent({ ...kept, maxCachedSessions: 500 });
  const sessions = new Map<string, PooledSession[]>();
  const opening = new Map<string, Promise<PooledSession | undefined>>();
  const withoutHttp2 = new Map<string, number>();

  const open = async (key: string, route: TerminatedRoute): Promise<PooledSession | undefined> => {
    const http2 = await openHttp2(route, limits);
    if (http2 === undefined) {
      withoutHttp2.set(key, performance.now() + NO_HTTP2_FOR_MS);
      return undefined;
    }
    const list = sessions.get(key) ?? [];
    sessions.set(key, list);
    const pooled = poolSession(http2, limits, () => {
      const index = list.indexOf(pooled);
      if (index >= 0) list.splice(index, 1);
      if (list.length === 0) sessions.delete(key);
    });
    list.push(pooled);
    return pooled;
  };

  return {
    request: (route, options, fresh = false) => {
      const common = { ...addressOf(route), ...options, maxHeaderSize: limits.maxHeaderBytes };
      const request = route.backendTls
        ? httpsRequest({ ...common, ...tlsOptions(route, ['http/1.1']), agent: fresh ? false : https })
        : httpRequest({ ...common, agent: fresh ? false : http });
      limitConnecting(request, route.backendTls ? 'secureConnect' : 'connect', limits.connectTimeoutMs);
      return request;
    },
    session: async (route) => {
      const key = `${route.backend} ${route.backendTls ? route.hostname : ''} ${route.backendCa ?? ''}`;
      if ((withoutHttp2.get(key) ?? 0) > performance.now()) return undefined;
      const free = sessions.get(key)?.find((session) => session.free());
      if (free !== undefined) return free;
      const pending = opening.get(key) ?? open(key, route).finally(() => opening.delete(key));
      opening.set(key, pending);
      const opened = await pending;
      // So many were waiting for this one that it is full already: open another.
      return opened === undefined || opened.free() ? opened : open(key, route);
    },
    close: () => {
      http.destroy();
      https.destroy();
      for (const session of [...sessions.values()].flat()) session.http2.destroy();
    },
  };
}

interface PooledSession extends Session {
  free(): boolean;
}

function poolSession(http2: ClientHttp2Session, limits: Limits, onGone: () => void): PooledSession {
  let streams = 0;
  let idle: NodeJS.Timeout | undefined;
  const rest = (): void => {
    clearTimeout(idle);
    idle = setTimeout(() => http2.close(), limits.keepAliveTimeoutMs);
    idle.unref();
  };
  http2.once('goaway', onGone);
  http2.once('close', () => {
    clearTimeout(idle);
    onGone();
  });
  rest();
  return {
    http2,
    free: () =>
      !http2.closed && !http2.destroyed && streams < (http2.remoteSettings.maxConcurrentStreams ?? Infinity),
    take: () => {
      streams += 1;
      clearTimeout(idle);
      let taken = true;
      return () => {
        if (!taken) return;
        taken = false;
        streams -= 1;
        if (streams === 0) rest();
      };
    },
  };
}

/** HTTP/2 with prior knowledge in clear, or what TLS has agreed on. */
async function openHttp2(route: TerminatedRoute, limits: Limits): Promise<ClientHttp2Session | undefined> {
  const socket = await openSocket(route, limits.connectTimeoutMs);
  if (socket instanceof TLSSocket && socket.alpnProtocol !== 'h2') {
    socket.destroy();
    return undefined;
  }
  const session = connectHttp2(`${route.backendTls ? 'https' : 'http'}://${route.hostname}`, {
    createConnection: () => socket,
    settings: {
      enablePush: false,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
  });
  // Each stream tells its own error; without a listener the session's would end the process.
  session.on('error', () => undefined);
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => session.destroy(), limits.connectTimeoutMs);
    session.once('remoteSettings', () => {
      clearTimeout(timer);
      session.setLocalWindowSize(SESSION_WINDOW_BYTES);
      resolve();
    });
    session.once('close', () => {
      clearTimeout(timer);
      reject(new Error('the service closed the connection instead of speaking HTTP/2'));
    });
  });
  return session;
}

function openSocket(route: TerminatedRoute, timeoutMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const options = { ...addressOf(route), noDelay: true, keepAlive: true };
    const socket = route.backendTls
      ? connectTls({ ...options, ...tlsOptions(route, ['h2', 'http/1.1']) })
      : connectTcp(options);
    const timer = setTimeout(
      () => socket.destroy(new Error(`no connection within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.once('error', reject);
    socket.once('close', () => clearTimeout(timer));
    socket.once(route.backendTls ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

function limitConnecting(request: ClientRequest, connected: string, timeoutMs: number): void {
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(
      () => request.destroy(new Error(`no connection within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.once(connected, () => clearTimeout(timer));
    request.once('close', () => clearTimeout(timer));
  });
}

/**
 * With `backendCa` it is another node's proxy: it proves the host name to these roots, or is not asked. Without, the service is
 * asked by its own name. On this machine its certificate is not verified: whoever could answer on the leased
 * loopback port could read the key as well, and services make their own certificates. Anywhere else it is.
 */
function tlsOptions(route: TerminatedRoute, protocols: string[]): ConnectionOptions {
  const servername = isIP(route.hostname) === 0 ? route.hostname : '';
  const common = { servername, ALPNProtocols: protocols };
  if (route.backendCa === undefined)
    return { ...common, rejectUnauthorized: !isLoopback(addressOf(route).host) };
  const secureContext = authorityOf(route) ?? NOBODY;
  return { ...common, secureContext, rejectUnauthorized: true };
}

/** Trusts no root at all. */
const NOBODY = createSecureContext({ ca: [] });

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function addressOf(route: TerminatedRoute): { host: string; port: number } {
  const address = parseAddress(route.backend);
  return { host: address?.host ?? '127.0.0.1', port: address?.port ?? 0 };
}
