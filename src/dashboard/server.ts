import { fastify, type FastifyInstance } from 'fastify';
import { systemClock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import { blocked, messageOf, ok, type Failure, type Outcome } from '../base/outcome.ts';
import type { View } from '../report/types.ts';
import { addApi, type ApiSources } from './api.ts';
import { HEADERS, isOurHost, type HostRules } from './guard.ts';
import { renderService } from './history.tsx';
import { renderPage } from './page.tsx';
import { ICON, STYLE } from './style.ts';

const REQUEST_TIMEOUT_MS = 10_000;
const HISTORY_ENTRIES = 50;
const MAX_CONNECTIONS = 200;
const MAX_HEADER_BYTES = 16 * 1024;
const TEXT = 'text/plain; charset=utf-8';

export interface DashboardOptions extends ApiSources {
  /** `host:port`, `[ip6]:port`, or `:port` for all addresses; port 0 draws one. */
  readonly listenAddr: string;
  /** Further names that a `Host` header may have. */
  readonly hosts?: readonly string[];
  readonly log: Log;
  /** What is shown, made anew for every request; undefined before there is anything. */
  readonly view: () => View | undefined;
  /** The node's exported state, as bytes of JSON, for `mc-gitops plan`; undefined before there is any. */
  readonly state: () => string | undefined;
  /** What is wrong with the loop; undefined while it is well. */
  readonly trouble: () => string | undefined;
  /** The root of the node's own CA, PEM: public, for those who have to trust it. */
  readonly root: () => Promise<Outcome<string>>;
}

export interface Dashboard {
  /** For people and programs, for example `http://127.0.0.1:8077`. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves the view: `/` and `/services/NAME` for people, `/api/v1/…` for programs, `/healthz` for a watchdog. Read-only: nothing here changes
 * anything. A port that is taken is an outcome; the agent goes on without a dashboard (G56).
 */
export async function startDashboard(options: DashboardOptions): Promise<Outcome<Dashboard>> {
  const { listenAddr, log } = options;
  const listen = parseListen(listenAddr);
  if (listen === undefined)
    return blocked(
      `server.listen_addr: "${listenAddr}" is no address`,
      'For example "127.0.0.1:8077", or ":8077" for all addresses.',
    );
  let app: FastifyInstance | undefined;
  try {
    app = makeApp(options, { listenHost: listen.host, hosts: options.hosts ?? [] });
    const address = await listenOn(app, listen);
    const opened = app;
    return ok({
      address,
      close: async () => {
        try {
          await opened.close();
        } catch (error) {
          log.warn({ why: messageOf(error) }, 'the dashboard did not close cleanly');
        }
      },
    });
  } catch (error) {
    await app?.close().catch(() => undefined);
    return listenFailure(listenAddr, error);
  }
}

function makeApp(options: DashboardOptions, rules: HostRules): FastifyInstance {
  const { log } = options;
  const app = fastify({
    logger: false,
    bodyLimit: 1024,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // A browser that keeps its connection must not hold the agent when it stops.
    forceCloseConnections: true,
    http: { maxHeaderSize: MAX_HEADER_BYTES },
  });
  app.server.maxConnections = MAX_CONNECTIONS;

  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS);
    if (!isOurHost(request.headers.host, request.socket.localAddress ?? '', rules)) {
      return reply.code(421).type(TEXT).send(NOT_OURS);
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      // The body is not read: a connection that goes on would be out of step.
      return reply
        .code(405)
        .headers({ allow: 'GET, HEAD', connection: 'close' })
        .type(TEXT)
        .send('Nothing can be changed here: operators push TOML to git.\n');
    }
    return undefined;
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).type(TEXT).send(NO_PAGE));
  app.setErrorHandler((error, request, reply) => {
    log.error({ why: messageOf(error), path: request.routeOptions.url }, 'the dashboard could not answer');
    return reply
      .code(500)
      .type(TEXT)
      .send('The page could not be made; the agent goes on. Its log says why.\n');
  });

  addRoutes(app, options);
  addApi(app, options);
  return app;
}

function addRoutes(app: FastifyInstance, options: DashboardOptions): void {
  const { view, state, trouble, root, history } = options;
  app.get('/', async (request, reply) => {
    const paused = Object.hasOwn(request.query as object, 'pause');
    return reply
      .type('text/html; charset=utf-8')
      .send(renderPage(view(), { now: systemClock.now(), refresh: !paused }));
  });
  app.get('/services/:name', async (request, reply) => {
    const { name } = request.params as { readonly name: string };
    const shown = view();
    if (shown === undefined) return reply.redirect('/');
    const page = renderService(shown, {
      name,
      entries: history(name, HISTORY_ENTRIES),
      now: systemClock.now(),
      refresh: !Object.hasOwn(request.query as object, 'pause'),
    });
    if (page === undefined) return reply.code(404).type(TEXT).send(NO_PAGE);
    return reply.type('text/html; charset=utf-8').send(page);
  });
  app.get('/api/v1/status', async (_request, reply) => {
    const shown = view();
    reply.type('application/json; charset=utf-8');
    return shown === undefined ? reply.code(503).send(NOT_YET) : reply.send(JSON.stringify(shown));
  });
  app.get('/api/v1/state', async (_request, reply) => {
    const bytes = state();
    reply.type('application/json; charset=utf-8');
    return bytes === undefined ? reply.code(503).send(NOT_YET) : reply.send(bytes);
  });
  app.get('/healthz', async (_request, reply) => {
    const wrong = trouble();
    return reply
      .code(wrong === undefined ? 200 : 503)
      .type(TEXT)
      .send(`${wrong ?? 'ok'}\n`);
  });
  app.get('/ca.pem', async (_request, reply) => {
    const pem = await root();
    if (pem.kind !== 'ok') return reply.code(404).type(TEXT).send(`${pem.why}\n`);
    return reply
      .type('application/x-pem-file')
      .header('content-disposition', 'attachment; filename="mc-gitops-ca.pem"')
      .send(pem.value);
  });
  app.get('/style.css', async (_request, reply) => reply.type('text/css; charset=utf-8').send(STYLE));
  app.get('/favicon.svg', async (_request, reply) => reply.type('image/svg+xml').send(ICON));
}

const NO_PAGE = 'There is no such page.\n';
const NOT_YET = JSON.stringify({ error: 'the first pass has not ended yet' });
const NOT_OURS =
  'This server does not answer to that name. Add it to [server] hosts, or use the listen address.\n';

interface Listen {
  readonly host: string;
  readonly port: number;
}

function parseListen(text: string): Listen | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]\s/]*):(\d{1,5})$/i.exec(text);
  if (match === null) return undefined;
  const port = Number(match[2]);
  return port > 65_535 ? undefined : { host: (match[1] ?? '').replaceAll(/[[\]]/g, ''), port };
}

/** Resolves with the address to tell people: a loopback one when all addresses are listened on. */
async function listenOn(app: FastifyInstance, { host, port }: Listen): Promise<string> {
  if (host === '') {
    try {
      await app.listen({ port, host: '::' });
    } catch (error) {
      if (!['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(codeOf(error))) throw error;
      await app.listen({ port, host: '0.0.0.0' });
    }
  } else {
    await app.listen({ port, host });
  }
  const bound = app.server.address();
  const actual = bound !== null && typeof bound === 'object' ? bound.port : port;
  const name = host === '' || host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${actual}`;
}

function listenFailure(listenAddr: string, error: unknown): Failure {
  const why = `the dashboard cannot listen on ${listenAddr}: ${messageOf(error)}`;
  if (codeOf(error) === 'EADDRINUSE')
    return blocked(
      why,
      'Another program has that port: stop it, or give [server] listen_addr another port, and restart the agent.',
    );
  return blocked(why, 'Check [server] listen_addr: an address of this machine, and a port that may be used.');
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
