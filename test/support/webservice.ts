import {
  createServer as createHttp,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import {
  createSecureServer as createHttp2,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
} from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { Readable } from 'node:stream';
import type { TestCertificate } from './certs.ts';
import { bigStream, hashOf } from './tlsclient.ts';

/** Claims about the client that no service may see. */
export const FORGED = {
  'X-Forwarded-For': '6.6.6.6',
  'X-Forwarded-Proto': 'http',
  'X-Forwarded-Host': 'evil.test',
  'X-Forwarded-Port': '1',
  'X-Real-IP': '6.6.6.6',
  Forwarded: 'for=6.6.6.6',
};

/** A service that says what it got, and does on request what services do. */
function serve(req: IncomingMessage, res: ServerResponse): void {
  const url = new URL(req.url ?? '/', 'http://x');
  if (url.pathname === '/hash') {
    hashOf(req as AsyncIterable<Buffer>).then(
      (got) => res.end(JSON.stringify(got)),
      () => res.destroy(),
    );
  } else if (url.pathname === '/big') {
    bigStream(Number(url.searchParams.get('mb'))).stream.pipe(res);
  } else if (url.pathname === '/trailers') {
    if (req.httpVersionMajor === 1) res.setHeader('Trailer', 'X-Sum');
    res.write('body');
    res.addTrailers({ 'X-Sum': '42' });
    res.end();
  } else if (url.pathname === '/half') {
    res.writeHead(200, { 'Content-Length': 1_000 });
    res.write('x', () => setTimeout(() => res.socket?.destroy(), 20));
  } else if (url.pathname === '/early') {
    res.writeHead(413, { 'Content-Type': 'text/plain' });
    res.end('too much');
  } else if (url.pathname === '/events') {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.write('data: 1\n\n');
  } else if (url.pathname === '/none') {
    res.writeHead(204).end();
  } else if (url.pathname === '/cookies') {
    res.setHeader('Set-Cookie', ['a=1', 'b=2']);
    if (req.httpVersionMajor === 1) res.setHeader('X-Hop', '1').setHeader('Connection', 'close, X-Hop');
    res.end();
  } else if (url.pathname !== '/never') {
    res.setHeader('X-Service', 'yes');
    req.resume().once('end', () =>
      res.end(
        JSON.stringify({
          method: req.method,
          url: req.url,
          headers: { host: req.headers[':authority'], ...req.headers },
        }),
      ),
    );
  }
}

export function serviceOf(speaks: string, issued: TestCertificate): Server {
  if (speaks === 'HTTP/1.1') return createHttp(serve);
  if (speaks === 'HTTP/1.1 over TLS') return createHttps(issued, serve);
  // The compatible half of http2 has the same request and answer, as far as they are used here.
  return createHttp2({ ...issued, allowHTTP1: true }, serve as never) as unknown as Server;
}

export interface Echo {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
}

export interface Http2Answer {
  headers: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders;
  body: Buffer;
}

export function over2(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body?: Readable | string,
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/', ...headers }, { endStream: body === undefined });
    const parts: Buffer[] = [];
    let answer: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    stream.on('response', (received: IncomingHttpHeaders) => (answer = received));
    stream.on('trailers', (received: IncomingHttpHeaders) => (trailers = received));
    stream.on('data', (part: Buffer) => parts.push(part));
    stream.on('end', () => resolve({ headers: answer, trailers, body: Buffer.concat(parts) }));
    stream.on('error', reject);
    stream.on('close', () => reject(new Error(`reset ${stream.rstCode}`)));
    if (body instanceof Readable) body.pipe(stream);
    else if (body !== undefined) stream.end(body);
  });
}
