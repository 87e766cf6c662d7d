import {
  createServer as createHttp1,
  type IncomingMessage,
  type Server as Http1Server,
  type ServerResponse,
} from 'node:http';
import {
  createServer as createHttp2,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { Socket } from 'node:net';
import { createServer as createTls, type SecureContext } from 'node:tls';
import { messageOf } from '../base/outcome.ts';
import type { Route, TerminatedRoute } from '../base/routetable.ts';
import { clientOfHttp1, clientOfHttp2, failHttp1, failHttp2 } from './client.ts';
import { forwardHttp1, type Forwarding } from './forward1.ts';
import { forwardHttp2, isGrpc } from './forward2.ts';
import { hostOf } from './headers.ts';
import { failUpgrade, forwardUpgrade } from './upgrade.ts';

/** What a listener is to its connections: always the table of now, so that a kept connection follows a switched route. */
export interface Lookup {
  find(serverName: string): Route | undefined;
  context(route: TerminatedRoute): SecureContext | undefined;
  /** One more request under way to this service; call the result when it is over. */
  begin(backend: string): () => void;
}

export interface Terminator {
  /** Takes over a paused socket whose bytes have been put back. */
  accept(socket: Socket): void;
  /** Lets go of every connection on which no request is under way, and of the others after it. */
  drain(): void;
  /** Connections whose first request has not come: a client may have sent it by now. */
  waiting(): number;
  close(): void;
}

/** What is asked of a TLS socket, or of what HTTP/2 shows of it. */
interface Peer {
  readonly servername?: string | false | null | undefined;
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

/** From telling an HTTP/2 client that nothing more is taken to closing its connection. */
const GOODBYE_MS = 1_000;

/** Ends TLS 1.3 and serves HTTP/1.1 and HTTP/2 on the sockets that it is given; it listens nowhere itself. */
export function makeTerminator(lookup: Lookup, forwarding: Forwarding): Terminator {
  const { limits } = forwarding;
  const waiting = new Set<string>();
  const heard = (peer: Peer | undefined): void => void waiting.delete(placeOf(peer));
  const answers = new Set<ServerResponse>();
  let isDraining = false;
  const http1 = makeHttp1(lookup, forwarding, ({ socket }, res) => {
    heard(socket);
    if (isDraining) res.shouldKeepAlive = false;
    answers.add(res);
    res.once('close', () => answers.delete(res));
  });
  http1.on('upgrade', (req) => heard(req.socket));
  const sessions = new Set<ServerHttp2Session>();
  const http2 = makeHttp2(lookup, forwarding, sessions);
  http2.on('stream', (stream) => heard(stream.session?.socket));
  const tls = createTls({
    // Nothing older: the version is agreed on before the name is looked at, so it has to be said here as well.
    minVersion: 'TLSv1.3',
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: limits.handshakeTimeoutMs,
    SNICallback: (name, done) => {
      const route = lookup.find(name.toLowerCase());
      const context = route?.mode === 'l7' ? lookup.context(route) : undefined;
      if (context === undefined) done(new Error('no such name'));
      else done(null, context);
    },
  });
  tls.on('tlsClientError', (_error, socket) => socket.destroy());
  tls.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    if (socket.alpnProtocol === 'h2') http2.emit('connection', socket);
    else http1.emit('connection', socket);
  });
  return {
    accept: (socket) => {
      socket.allowHalfOpen = false;
      const place = placeOf(socket);
      waiting.add(place);
      socket.once('close', () => waiting.delete(place));
      tls.emit('connection', socket);
    },
    waiting: () => waiting.size,
    drain: () => {
      isDraining = true;
      // Said with the answer: who would send another one on this connection would meet its end.
      for (const res of answers) res.shouldKeepAlive = false;
      http1.closeIdleConnections();
      for (const session of sessions) session.close();
    },
    close: () => {
      http1.closeAllConnections();
      http1.close();
      for (const session of sessions) session.destroy();
    },
  };
}

/** The other end of a connection, which is the same with and without TLS around it. */
function placeOf(peer: Peer | undefined): string {
  return `${peer?.remoteAddress ?? ''} ${peer?.remotePort ?? ''}`;
}

function makeHttp1(
  lookup: Lookup,
  forwarding: Forwarding,
  begun: (req: IncomingMessage, res: ServerResponse) => void,
): Http1Server {
  const { limits } = forwarding;
  const server = createHttp1({
    maxHeaderSize: limits.maxHeaderBytes,
    headersTimeout: limits.headersTimeoutMs,
    // A whole upload may take long; one that stands still is ended by the forwarding.
    requestTimeout: 0,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(limits.headersTimeoutMs / 2, 5_000),
  });
  // A server that does not listen does not begin to check its connections for slow headers by itself.
  server.emit('listening');
  server.on('request', (req, res) => {
    begun(req, res);
    const admitted = admitHttp1(req, lookup);
    if (typeof admitted === 'number') {
      failHttp1(res, admitted);
      return;
    }
    const over = lookup.begin(admitted.route.backend);
    res.once('close', over);
    res.on('error', () => undefined);
    forwardHttp1(clientOfHttp1(req, res, admitted), admitted.route, clientIpOf(req.socket), forwarding);
  });
  server.on('upgrade', (req: IncomingMessage, socket, head: Buffer) => {
    if (!(socket instanceof Socket)) {
      socket.destroy();
      return;
    }
    const admitted = admitHttp1(req, lookup);
    const hasBody =
      req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
    // Any other protocol (h2c above all) would be a way around the rules for headers.
    const websocket = req.headers.upgrade?.toLowerCase() === 'websocket' && req.method === 'GET' && !hasBody;
    if (typeof admitted === 'number' || !websocket) {
      failUpgrade(socket, typeof admitted === 'number' ? admitted : 400);
      return;
    }
    const over = lookup.begin(admitted.route.backend);
    forwardUpgrade(req, socket, head, { ...admitted, clientIp: clientIpOf(socket) }, forwarding, over);
  });
  return server;
}

function makeHttp2(lookup: Lookup, forwarding: Forwarding, sessions: Set<ServerHttp2Session>): Http2Server {
  const { limits } = forwarding;
  const server = createHttp2({
    settings: {
      maxConcurrentStreams: limits.maxStreams,
      maxHeaderListSize: limits.maxHeaderBytes,
      initialWindowSize: 1_048_576,
    },
  });
  server.on('sessionError', () => undefined);
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    session.setLocalWindowSize(4_194_304);
    closeWhenUnused(session, limits.keepAliveTimeoutMs);
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    serveStream(stream, headers, lookup, forwarding).catch((error: unknown) => {
      forwarding.log.error({ why: messageOf(error) }, 'a request ended in a defect of the router');
      failHttp2(stream, 502);
    });
  });
  return server;
}

/** Counts requests, not bytes: a client that drips a header for ever does not keep its connection by it. */
function closeWhenUnused(session: ServerHttp2Session, idleMs: number): void {
  let streams = 0;
  let timer: NodeJS.Timeout | undefined;
  const rest = (): void => {
    timer = setTimeout(() => {
      session.close();
      setTimeout(() => session.destroy(), GOODBYE_MS).unref();
    }, idleMs);
    timer.unref();
  };
  session.on('stream', (stream) => {
    streams += 1;
    clearTimeout(timer);
    stream.once('close', () => {
      streams -= 1;
      if (streams === 0 && !session.closed) rest();
    });
  });
  session.once('close', () => clearTimeout(timer));
  rest();
}

async function serveStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  lookup: Lookup,
  forwarding: Forwarding,
): Promise<void> {
  const peer: Peer | undefined = stream.session?.socket;
  const path = headers[':path'];
  const authority = headers[':authority'] ?? headers.host;
  if (headers[':method'] === 'CONNECT') {
    failHttp2(stream, 501);
    return;
  }
  if (peer === undefined || authority === undefined || path === undefined) {
    failHttp2(stream, 400);
    return;
  }
  if (!path.startsWith('/') && path !== '*') {
    failHttp2(stream, 400);
    return;
  }
  const route = routeFor(peer, authority, lookup);
  if (route === undefined) {
    failHttp2(stream, 421);
    return;
  }
  if (headers.host !== undefined && headers.host !== authority) {
    failHttp2(stream, 400);
    return;
  }

  const clientIp = clientIpOf(peer);
  stream.once('close', lookup.begin(route.backend));
  if (headers.expect !== undefined) stream.additionalHeaders({ ':status': 100 });
  if (isGrpc(headers) || route.backendTls) {
    const session = await forwarding.backends.session(route).catch((error: unknown) => {
      forwarding.log.warn(
        { hostname: route.hostname, backend: route.backend, status: 502, why: messageOf(error) },
        'request not answered by the service',
      );
      return 'unreachable' as const;
    });
    if (stream.destroyed || stream.closed) return;
    if (session === 'unreachable') {
      failHttp2(stream, 502);
      return;
    }
    if (session !== undefined) {
      forwardHttp2(stream, headers, route, session, clientIp, forwarding);
      return;
    }
  }
  forwardHttp1(clientOfHttp2(stream, headers, { path, authority }), route, clientIp, forwarding);
}

/** Where an HTTP/1.1 request goes, or the status that refuses it. */
function admitHttp1(
  req: IncomingMessage,
  lookup: Lookup,
): { route: TerminatedRoute; path: string; authority: string } | number {
  const hosts = req.headersDistinct['host'] ?? [];
  let path = req.url ?? '';
  let authority = hosts[0];
  // RFC 9112, section 3.2.2: the absolute form's host counts, and Host is ignored.
  const absolute = /^https?:\/\/([^/?#]+)(.*)$/i.exec(path);
  if (absolute !== null) {
    authority = absolute[1];
    path = absolute[2]?.startsWith('/') === true ? absolute[2] : `/${absolute[2] ?? ''}`;
  }
  if (hosts.length !== 1 || authority === undefined) return 400;
  if (!path.startsWith('/') && path !== '*') return 400;
  const route = routeFor(req.socket, authority, lookup);
  return route === undefined ? 421 : { route, path, authority };
}

/** The name in the request must be the name that was asked for in TLS: the certificate was given for that one only. */
function routeFor(peer: Peer, authority: string, lookup: Lookup): TerminatedRoute | undefined {
  const { servername } = peer;
  if (typeof servername !== 'string' || hostOf(authority) !== servername.toLowerCase()) return undefined;
  const route = lookup.find(servername.toLowerCase());
  return route?.mode === 'l7' ? route : undefined;
}

function clientIpOf({ remoteAddress }: Peer): string {
  return (remoteAddress ?? '').replace(/^::ffff:/, '');
}
