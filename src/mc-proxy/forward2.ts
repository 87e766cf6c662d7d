import {
  constants,
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { messageOf } from '../base/outcome.ts';
import type { TerminatedRoute } from '../base/routetable.ts';
import { failHttp2 } from './client.ts';
import type { Session } from './backends.ts';
import type { Forwarding } from './forward1.ts';
import { headerObject, rawOf, requestHeaders } from './headers.ts';

/** gRPC proper. gRPC-Web has its trailers in the body and is ordinary HTTP. */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return /^application\/grpc(?:[+;]|$)/i.test(headers['content-type'] ?? '');
}

/** Relays one HTTP/2 stream to a service that speaks HTTP/2, trailers and resets included. Never throws. */
export function forwardHttp2(
  client: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  route: TerminatedRoute,
  session: Session,
  clientIp: string,
  { limits, log }: Forwarding,
): void {
  let over = false;
  let upstream: ClientHttp2Stream | undefined;
  const release = session.take();
  const end = (status: number, why: string): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    log.warn(
      { hostname: route.hostname, backend: route.backend, status, why },
      'request not answered by the service',
    );
    upstream?.close(constants.NGHTTP2_CANCEL);
    failHttp2(client, status);
  };
  // A gRPC stream may rightly be silent for long, before its headers too.
  const grpc = isGrpc(headers);
  let timer = setTimeout(
    () => end(504, 'no answer in time'),
    grpc ? limits.tunnelIdleTimeoutMs : limits.responseTimeoutMs,
  );
  const moved = (): void => void timer.refresh();
  client.once('close', () => {
    clearTimeout(timer);
    over = true;
    upstream?.close(client.rstCode === constants.NGHTTP2_NO_ERROR ? undefined : constants.NGHTTP2_CANCEL);
    if (upstream === undefined) release();
  });

  try {
    upstream = session.http2.request(upstreamHeaders(headers, clientIp, route.backendTls), {
      endStream: client.endAfterHeaders,
    });
  } catch (error) {
    release();
    end(502, messageOf(error));
    return;
  }
  const stream = upstream;
  stream.once('close', () => {
    release();
    if (over) return;
    if (stream.readableEnded) {
      // Answered before the request was through: the rest has to be read away, or the client's stream never ends.
      client.resume();
    } else if (client.headersSent) {
      clearTimeout(timer);
      client.close(stream.rstCode);
    } else {
      end(502, `stream reset (${stream.rstCode})`);
    }
  });
  stream.on('error', (error: Error) => {
    if (!client.headersSent) end(502, error.message);
  });
  if (!client.endAfterHeaders) {
    client.on('data', moved);
    client.pipe(stream);
  }
  stream.once('response', (answer: IncomingHttpHeaders, flags: number) => {
    if (over) return;
    clearTimeout(timer);
    timer = setTimeout(
      () => end(504, 'the answer stands still'),
      grpc ? limits.tunnelIdleTimeoutMs : limits.idleTimeoutMs,
    );
    giveBack(client, stream, answer, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, moved);
  });
}

function giveBack(
  client: ServerHttp2Stream,
  upstream: ClientHttp2Stream,
  answer: IncomingHttpHeaders,
  bare: boolean,
  moved: () => void,
): void {
  if (bare) {
    client.respond({ ...answer }, { endStream: true });
    upstream.resume();
    return;
  }
  let trailers: IncomingHttpHeaders = {};
  upstream.once('trailers', (received: IncomingHttpHeaders) => {
    trailers = received;
  });
  client.once('wantTrailers', () => client.sendTrailers({ ...trailers }));
  client.respond({ ...answer }, { waitForTrailers: true });
  upstream.on('data', moved);
  upstream.pipe(client);
}

function upstreamHeaders(headers: IncomingHttpHeaders, clientIp: string, tls: boolean): OutgoingHttpHeaders {
  const authority = headers[':authority'] ?? headers.host ?? '';
  const rest = headerObject(requestHeaders(rawOf(headers), { clientIp, authority }));
  delete rest['host'];
  return {
    ...rest,
    ...(headers.te === undefined ? {} : { te: 'trailers' }),
    ...(headers['content-length'] === undefined ? {} : { 'content-length': headers['content-length'] }),
    ':method': headers[':method'],
    ':path': headers[':path'],
    ':scheme': tls ? 'https' : 'http',
    ':authority': authority,
  };
}
