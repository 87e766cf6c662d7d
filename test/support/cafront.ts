import { createServer, request, type ServerOptions } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { endWithConnections, listen } from './mcproxy.ts';
import type { Pebble } from './pebble.ts';

/** Between a client and a Pebble, as the front of a large CA is: it counts, and answers for the CA when it has had enough. */
export interface CaFront {
  readonly directory: string;
  /** Method and path of each request that has come. */
  readonly asked: readonly string[];
  /** The next request that the pattern fits (`POST /order-plz`) is answered with 429 and this `Retry-After`; those after it are not. */
  limitOnce(pattern: RegExp, retryAfter: string): void;
  /**
   * A CA that takes its time, as Pebble does not: the second look at each thing that the pattern fits still shows what the first
   * one did, and every answer says `Retry-After`.
   */
  slow(pattern: RegExp, retryAfter: string): void;
  /** The request after so many more goes wrong; those after it do not. */
  failAfter(more: number, way: CaFault): void;
  close(): void;
}

/** Never heard; heard, and the answer is lost; an error of the server; an answer that is none. */
export const CA_FAULTS = ['unheard', 'unanswered', 'error', 'rubbish'] as const;
type CaFault = (typeof CA_FAULTS)[number];

/** Its certificate is `localhost`'s; what Pebble links to leads to the front, as it goes by the `Host` of the request. */
export async function openCaFront(pebble: Pebble, issued: ServerOptions, ca: string): Promise<CaFront> {
  const behind = new URL(pebble.directory);
  const asked: string[] = [];
  const shown = new Map<string, Buffer[]>();
  let limited: { pattern: RegExp; retryAfter: string } | undefined;
  let slowed: { pattern: RegExp; retryAfter: string } | undefined;
  let fault: { at: number; way: CaFault } | undefined;
  const server = createServer(issued, (incoming, response) => {
    const what = `${incoming.method ?? ''} ${incoming.url ?? ''}`;
    asked.push(what);
    const way = fault?.at === asked.length ? fault.way : undefined;
    if (way === 'unheard') {
      incoming.destroy();
      return;
    }
    if (way === 'error' || way === 'rubbish') {
      incoming.resume();
      response.writeHead(way === 'error' ? 500 : 200, { 'content-type': 'application/json' });
      response.end('{');
      return;
    }
    if (limited?.pattern.test(what) === true) {
      const { retryAfter } = limited;
      limited = undefined;
      incoming.resume();
      response.writeHead(429, { 'content-type': 'application/problem+json', 'retry-after': retryAfter });
      response.end('{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many\\nnew orders"}');
      return;
    }
    const { method, headers, url: path } = incoming;
    const slow = slowed?.pattern.test(what) === true ? slowed : undefined;
    const onward = request(
      { host: '127.0.0.1', servername: 'localhost', port: behind.port, ca, method, path, headers },
      (answer) => {
        const status = answer.statusCode ?? 502;
        if (way === 'unanswered') {
          answer.resume();
          response.destroy();
          return;
        }
        if (slow === undefined) {
          response.writeHead(status, answer.headers);
          answer.pipe(response);
          return;
        }
        void buffer(answer).then((body) => {
          const looks = [...(shown.get(what) ?? []), body];
          shown.set(what, looks);
          const told = looks.length === 2 ? (looks[0] ?? body) : body;
          const more = { 'retry-after': slow.retryAfter, 'content-length': told.length };
          response.writeHead(status, { ...answer.headers, ...more });
          response.end(told);
        });
      },
    );
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
  });
  const end = endWithConnections(server);
  const port = await listen(server);
  return {
    directory: `https://localhost:${port}${behind.pathname}`,
    asked,
    limitOnce: (pattern, retryAfter) => (limited = { pattern, retryAfter }),
    slow: (pattern, retryAfter) => (slowed = { pattern, retryAfter }),
    failAfter: (more, way) => (fault = { at: asked.length + more + 1, way }),
    close: end,
  };
}
