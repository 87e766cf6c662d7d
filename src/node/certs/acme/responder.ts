import { createServer, type Server } from 'node:http';
import { parseAddress } from '../../../base/routetable.ts';
import { blocked, ok, type Outcome } from '../../../base/outcome.ts';

const PREFIX = '/.well-known/acme-challenge/';
const REQUEST_TIMEOUT_MS = 5_000;

/** Answers http-01 (RFC 8555, section 8.3). It listens only while something is asked for. */
export interface Responder {
  open(token: string, answer: string): Promise<Outcome<undefined>>;
  close(token: string): Promise<void>;
}

export function makeResponder(address: string): Responder {
  const answers = new Map<string, string>();
  let listening: Promise<Outcome<Server>> | undefined;

  return {
    async open(token, answer) {
      answers.set(token, answer);
      listening ??= listenOn(address, answers);
      const outcome = await listening;
      if (outcome.kind === 'ok') return ok();
      answers.delete(token);
      listening = undefined;
      return outcome;
    },
    async close(token) {
      answers.delete(token);
      if (answers.size > 0 || listening === undefined) return;
      const outcome = await listening;
      // Somebody may have begun meanwhile.
      if (answers.size > 0) return;
      listening = undefined;
      if (outcome.kind !== 'ok') return;
      outcome.value.closeAllConnections();
      await new Promise((done) => outcome.value.close(done));
    },
  };
}

function listenOn(address: string, answers: ReadonlyMap<string, string>): Promise<Outcome<Server>> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS, maxHeaderSize: 8_192 },
    (request, response) => {
      const { url = '', method } = request;
      const answer =
        url.startsWith(PREFIX) && (method === 'GET' || method === 'HEAD')
          ? answers.get(url.slice(PREFIX.length))
          : undefined;
      response.writeHead(answer === undefined ? 404 : 200, {
        'content-type': 'text/plain',
        connection: 'close',
      });
      response.end(answer ?? 'no such challenge\n');
    },
  );
  server.maxConnections = 100;
  const { host, port } = parseAddress(address) ?? { host: undefined, port: 0 };
  return new Promise((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      resolve(
        blocked(
          `http-01 cannot be answered on ${address}: ${error.code ?? error.message}`,
          error.code === 'EACCES'
            ? 'Let the agent bind it (AmbientCapabilities=CAP_NET_BIND_SERVICE), or set [certs] acme_http_listen to a port that whatever has port 80 hands /.well-known/acme-challenge/ on to.'
            : 'Free it, or set [certs] acme_http_listen to a port that whatever has port 80 hands /.well-known/acme-challenge/ on to.',
        ),
      ),
    );
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => resolve(ok(server)));
  });
}
