import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { parseAddress } from '../base/routetable.ts';
import { listen, type Gate } from './gate.ts';
import type { Limits } from './limits.ts';

/** A token is base64url (RFC 8555, section 8.3). */
const CHALLENGE = /^\/\.well-known\/acme-challenge\/[A-Za-z0-9_-]{1,256}$/;
const MAX_ANSWER_BYTES = 8_192;

/**
 * The one address that is served in the clear: what a CA asks for to prove a name (http-01) is handed on to the agent, and nothing
 * else is answered. `backend` is asked for at each request: it may have become another one.
 */
export function makeChallengeGate(
  addr: string,
  backend: () => string | undefined,
  limits: Limits,
  admit: (socket: Socket) => boolean,
): Gate {
  const server = createServer(
    {
      maxHeaderSize: MAX_ANSWER_BYTES,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.headersTimeoutMs,
      connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    },
    (incoming, response) => {
      const { method = '', url = '' } = incoming;
      incoming.resume();
      if ((method !== 'GET' && method !== 'HEAD') || !CHALLENGE.test(url)) {
        say(response, 404, 'Not Found');
        return;
      }
      handOn(incoming, response, backend(), limits);
    },
  );
  server.on('connection', (socket: Socket) => {
    if (!admit(socket)) socket.destroy();
  });
  return {
    key: challengeKey(addr),
    addr,
    listening: () => server.listening,
    listen: () => listen(server, addr),
    stop: () => server.close(),
    drain: () => server.closeIdleConnections(),
    // A CA asks again.
    waiting: () => 0,
    close: () => {
      if (server.listening) server.close();
      server.closeAllConnections();
    },
  };
}

export function challengeKey(addr: string): string {
  return `http-01 ${addr}`;
}

function handOn(
  { method, url, headers }: IncomingMessage,
  response: ServerResponse,
  backend: string | undefined,
  { responseTimeoutMs }: Limits,
): void {
  const { host, port } = parseAddress(backend ?? '') ?? { host: undefined, port: 0 };
  if (host === undefined) {
    say(response, 502, 'Bad Gateway');
    return;
  }
  const call = request({
    host,
    port,
    method,
    path: url,
    agent: false,
    headers: { host: headers.host ?? '' },
    signal: AbortSignal.timeout(responseTimeoutMs),
  });
  call.once('error', () => say(response, 502, 'Bad Gateway'));
  call.once('response', (answer) => {
    const chunks: Buffer[] = [];
    let size = 0;
    answer.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) call.destroy(new Error('too long for a challenge'));
      else chunks.push(chunk);
    });
    answer.once('error', () => say(response, 502, 'Bad Gateway'));
    answer.once('end', () => {
      if (answer.statusCode === 200) send(response, 200, Buffer.concat(chunks));
      else say(response, 404, 'Not Found');
    });
  });
  call.end();
}

function say(response: ServerResponse, status: number, text: string): void {
  send(response, status, Buffer.from(`${status} ${text}\n`));
}

function send(response: ServerResponse, status: number, body: Buffer): void {
  if (response.headersSent) return;
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': body.length,
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(body);
}
