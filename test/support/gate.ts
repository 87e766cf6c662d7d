import { createServer, request as ask, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from './until.ts';

/** A proxy before a server on loopback that can hold requests back: so a transfer is under way for as long as a test wants. */
export interface Gate {
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  /** From now on requests whose `METHOD /path` fits wait at the gate. */
  hold(what: RegExp): void;
  /** Resolves when one waits. */
  held(): Promise<void>;
  /** Lets those that wait on, and every later one. */
  release(): void;
  close(): Promise<void>;
}

export async function openGate(target: string): Promise<Gate> {
  const [hostname = '127.0.0.1', targetPort] = target.split(':');
  let held: RegExp | undefined;
  const waiting = new Map<IncomingMessage, () => void>();
  const pass = (request: IncomingMessage, response: ServerResponse): void => {
    const { method, url: path, headers } = request;
    const behind = ask({ hostname, port: targetPort, method, path, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    behind.on('error', () => response.destroy());
    response.on('close', () => behind.destroy());
    request.pipe(behind);
  };
  const server = createServer((request, response) => {
    response.on('close', () => waiting.delete(request));
    if (held?.test(`${request.method} ${request.url}`) !== true) pass(request, response);
    else waiting.set(request, () => pass(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: (what) => (held = what),
    held: async () => {
      await until('a request at the gate', () => waiting.size > 0, 60_000);
    },
    release: () => {
      held = undefined;
      for (const [request, go] of [...waiting]) {
        waiting.delete(request);
        go();
      }
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
