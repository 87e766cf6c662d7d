import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Readable, Writable } from 'node:stream';
import { headerObject, rawOf, responseHeaders, type RawHeaders } from './headers.ts';

/** What an error page says: never what is behind (a header would name the product, a body the address). */
const PAGES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  421: 'Misdirected Request',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  504: 'Gateway Timeout',
};

/** A request and the way to answer it, the same for HTTP/1.1 and HTTP/2. */
export interface Client {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  readonly headers: RawHeaders;
  /** Undefined when the request has none. */
  readonly body: Readable | undefined;
  /** As the client announced it; undefined with a body means: unknown. */
  readonly contentLength: string | undefined;
  /** Sends status and headers; what is written to the result is the body. */
  answer(answer: Answer): Writable;
  /** Ends the body. */
  finish(trailers: RawHeaders): void;
  /** An error page; when the answer has begun, the connection (or stream) breaks, so that nobody takes a part for the whole. */
  fail(status: number): void;
  /** Called once when the answer is through or the client is gone. */
  onClose(listener: () => void): void;
}

interface Answer {
  readonly status: number;
  readonly message: string;
  readonly headers: RawHeaders;
  /** Trailers may follow. */
  readonly trailers: boolean;
}

export function clientOfHttp1(
  req: IncomingMessage,
  res: ServerResponse,
  target: { path: string; authority: string },
): Client {
  const contentLength = req.headers['content-length'];
  const chunked = req.headers['transfer-encoding'] !== undefined;
  return {
    method: req.method ?? 'GET',
    ...target,
    headers: req.rawHeaders,
    body: chunked || (contentLength !== undefined && contentLength !== '0') ? req : undefined,
    contentLength: chunked ? undefined : contentLength,
    answer: ({ status, message, headers }) => res.writeHead(status, message, responseHeaders(headers)),
    finish: (trailers) => {
      if (trailers.length > 0) res.addTrailers(pairs(trailers));
      res.end();
    },
    fail: (status) => failHttp1(res, status),
    onClose: (listener) => res.once('close', listener),
  };
}

export function failHttp1(res: ServerResponse, status: number): void {
  if (res.headersSent) {
    res.destroy();
    return;
  }
  const body = pageOf(status);
  // The rest of a body that nobody reads would be taken for the next request: the connection ends here.
  res.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': body.length,
    Connection: 'close',
  });
  res.end(body);
}

export function clientOfHttp2(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  target: { path: string; authority: string },
): Client {
  const method = headers[':method'] ?? 'GET';
  return {
    method,
    ...target,
    headers: rawOf(headers),
    body: stream.endAfterHeaders ? undefined : stream,
    contentLength: headers['content-length'],
    answer: ({ status, headers: raw, trailers }) => {
      const bodyless = method === 'HEAD' || status === 204 || status === 304;
      stream.respond(http2Headers(status, raw), {
        endStream: bodyless,
        waitForTrailers: trailers && !bodyless,
      });
      return stream;
    },
    finish: (trailers) => {
      if (trailers.length > 0) stream.once('wantTrailers', () => stream.sendTrailers(headerObject(trailers)));
      else stream.once('wantTrailers', () => stream.sendTrailers({}));
      stream.end();
    },
    fail: (status) => failHttp2(stream, status),
    onClose: (listener) => stream.once('close', listener),
  };
}

export function failHttp2(stream: ServerHttp2Stream, status: number): void {
  if (stream.destroyed || stream.closed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    return;
  }
  const body = pageOf(status);
  stream.respond({
    ':status': status,
    'content-type': 'text/plain; charset=utf-8',
    'content-length': body.length,
  });
  stream.end(body);
  stream.resume();
}

/** Headers of a service's HTTP/1.1 answer for an HTTP/2 client. */
function http2Headers(status: number, raw: RawHeaders): OutgoingHttpHeaders {
  const headers = headerObject(responseHeaders(raw));
  delete headers['trailer'];
  return { ...headers, ':status': status };
}

export function pageOf(status: number): Buffer {
  return Buffer.from(`${status} ${PAGES[status] ?? 'Error'}\n`);
}

function pairs(raw: RawHeaders): [string, string][] {
  const out: [string, string][] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) out.push([raw[index] ?? '', raw[index + 1] ?? '']);
  return out;
}
