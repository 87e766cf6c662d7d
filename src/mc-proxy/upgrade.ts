import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { messageOf } from '../base/outcome.ts';
import type { TerminatedRoute } from '../base/routetable.ts';
import { pageOf } from './client.ts';
import type { Forwarding } from './forward1.ts';
import { requestHeaders, responseHeaders, type RawHeaders } from './headers.ts';
import { tie } from './l4.ts';

/**
 * A WebSocket: the opening request goes to the service; once it agrees, bytes are relayed both ways. Whatever else the
 * service answers is given back and the connection closed. `done` is called once. Never throws.
 */
export function forwardUpgrade(
  req: IncomingMessage,
  client: Socket,
  head: Buffer,
  target: { route: TerminatedRoute; path: string; authority: string; clientIp: string },
  { backends, limits, log }: Forwarding,
  done: () => void,
): void {
  const { route, path, authority, clientIp } = target;
  const headers = requestHeaders(req.rawHeaders, { clientIp, authority });
  headers.push('Connection', 'Upgrade', 'Upgrade', 'websocket');
  let over = false;
  const end = (status: number, why: string): void => {
    if (over) return;
    over = true;
    clearTimeout(timer);
    log.warn(
      { hostname: route.hostname, backend: route.backend, status, why },
      'WebSocket not opened by the service',
    );
    failUpgrade(client, status);
    done();
  };
  const timer = setTimeout(() => {
    end(504, 'no answer in time');
    request?.destroy();
  }, limits.responseTimeoutMs);

  let request: ReturnType<typeof backends.request> | undefined;
  try {
    request = backends.request(route, { method: 'GET', path, headers }, true);
  } catch (error) {
    end(400, messageOf(error));
    return;
  }
  const opening = request;
  client.on('error', () => opening.destroy());
  client.once('close', () => {
    opening.destroy();
    end(502, 'the client has gone');
  });
  opening.on('error', (error) => end(502, error.message));
  opening.once('upgrade', (response, backend, backendHead) => {
    over = true;
    clearTimeout(timer);
    client.write(headOf(101, response.statusMessage ?? '', response.rawHeaders), 'latin1');
    if (backendHead.length > 0) client.write(backendHead);
    if (head.length > 0) backend.write(head);
    tie(client, backend, limits, done);
    client.pipe(backend);
    backend.pipe(client);
  });
  opening.once('response', (response) => {
    over = true;
    clearTimeout(timer);
    const kept = responseHeaders(response.rawHeaders);
    client.write(
      headOf(response.statusCode ?? 502, response.statusMessage ?? '', [...kept, 'Connection', 'close']),
      'latin1',
    );
    client.setTimeout(limits.idleTimeoutMs, () => client.destroy());
    client.once('close', done);
    response.on('error', () => client.destroy());
    response.pipe(client);
  });
  opening.end();
}

/** Answers a raw socket with an error page and closes it. */
export function failUpgrade(client: Socket, status: number): void {
  if (client.destroyed) return;
  const body = pageOf(status);
  const text = body.toString('latin1').trim().slice(4);
  const headers = [
    'Content-Type',
    'text/plain; charset=utf-8',
    'Content-Length',
    String(body.length),
    'Connection',
    'close',
  ];
  client.on('error', () => undefined);
  client.end(Buffer.concat([Buffer.from(headOf(status, text, headers), 'latin1'), body]));
}

function headOf(status: number, message: string, headers: RawHeaders): string {
  let head = `HTTP/1.1 ${status} ${message}\r\n`;
  for (let index = 0; index + 1 < headers.length; index += 2)
    head += `${headers[index] ?? ''}: ${headers[index + 1] ?? ''}\r\n`;
  return `${head}\r\n`;
}
