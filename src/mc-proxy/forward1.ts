import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Log } from '../base/log.ts';
import type { TerminatedRoute } from '../base/routetable.ts';
import type { Backends } from './backends.ts';
import type { Client } from './client.ts';
import { requestHeaders } from './headers.ts';
import type { Limits } from './limits.ts';

export interface Forwarding {
  readonly backends: Backends;
  readonly limits: Limits;
  readonly log: Log;
}

// RFC 9110, section 9.2.2: only these may be sent a second time without being asked.
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** Sends a request to the service as HTTP/1.1 and its answer back. Always answers or breaks; never throws. */
export function forwardHttp1(
  client: Client,
  route: TerminatedRoute,
  clientIp: string,
  { backends, limits, log }: Forwarding,
): void {
  let upstream: ClientRequest | undefined;
  let answered = false;
  let over = false;

  const end = (status: number, why: string): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    log.warn(
      { hostname: route.hostname, backend: route.backend, status, why },
      'request not answered by the service',
    );
    upstream?.destroy();
    client.fail(status);
  };
  let timer = setTimeout(() => end(504, 'no answer in time'), limits.responseTimeoutMs);
  const moved = (): void => void timer.refresh();

  client.onClose(() => {
    clearTimeout(timer);
    if (!over) upstream?.destroy();
    over = true;
  });
  client.body?.on('data', moved);

  const send = (fresh: boolean): void => {
    try {
      upstream = backends.request(
        route,
        { method: client.method, path: client.path, headers: framed(client, clientIp) },
        fresh,
      );
    } catch {
      end(400, 'not HTTP/1.1');
      return;
    }
    const request = upstream;
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (over || answered) return;
      const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
      if (stale && client.body === undefined && IDEMPOTENT.has(client.method)) send(true);
      else end(502, error.message);
    });
    request.once('response', (response) => {
      answered = true;
      clearTimeout(timer);
      timer = setTimeout(() => end(504, 'the answer stands still'), limits.idleTimeoutMs);
      giveBack(client, request, response, { moved, fail: (why) => end(502, why) }, () => {
        over = true;
        clearTimeout(timer);
      });
    });
    if (client.body === undefined) request.end();
    else client.body.pipe(request);
  };
  send(false);
}

function giveBack(
  client: Client,
  request: ClientRequest,
  response: IncomingMessage,
  { moved, fail }: { moved: () => void; fail: (why: string) => void },
  done: () => void,
): void {
  try {
    const out = client.answer({
      status: response.statusCode ?? 502,
      message: response.statusMessage ?? '',
      headers: response.rawHeaders,
      trailers: response.headers['transfer-encoding'] !== undefined,
    });
    response.on('data', moved);
    response.pipe(out, { end: false });
  } catch {
    fail('an answer that cannot be passed on');
    return;
  }
  response.once('end', () => {
    if (!response.complete) return;
    done();
    // The service has answered without reading the whole request: nobody will.
    if (!request.writableFinished) {
      client.body?.unpipe(request);
      client.body?.resume();
      request.destroy();
    }
    client.finish(response.rawTrailers);
  });
  response.once('close', () => {
    if (!response.complete) fail('the answer broke off');
  });
  response.on('error', () => undefined);
}

/** The request's headers with the framing of its body said by us, in one way only: no smuggling between two readings. */
function framed(client: Client, clientIp: string): string[] {
  const headers = requestHeaders(client.headers, { clientIp, authority: client.authority });
  if (client.body !== undefined) {
    if (client.contentLength === undefined) headers.push('Transfer-Encoding', 'chunked');
    else headers.push('Content-Length', client.contentLength);
  } else if (
    client.contentLength !== undefined ||
    !['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(client.method)
  ) {
    headers.push('Content-Length', '0');
  }
  return headers;
}
