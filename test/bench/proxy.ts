import { createServer } from 'node:http';
import { Agent, createServer as createTlsServer, request as httpsRequest } from 'node:https';
import {
  Agent as PlainAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { makeCa } from '../support/certs.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import { freePort } from '../support/ports.ts';
import { DRIVERS, startDriver, type DriverRig } from '../support/proxyrig.ts';
import type { Bench } from './bench.ts';
import { CROWD, measureCrowd } from './crowd.ts';
import { askChild, keepChild } from './child.ts';
import { quantile, type Row } from './table.ts';

const HOST = 'svc.bench.example.net';
const L4_HOST = 'l4.example.net';
const CLIENTS = 16;
const SECONDS = 3;
const WARM_UP_MS = 500;
const SWITCH_EVERY_MS = 250;
const BODY = Buffer.alloc(1024, 'x');

interface Load {
  readonly port: number;
  readonly tls: boolean;
  /** false: a connection, and with TLS a full handshake, for each request. */
  readonly keepAlive: boolean;
  readonly ca: string;
  readonly hostname: string;
}

interface Loaded {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
}

interface Backend {
  readonly plain: number;
  readonly tls: number;
}

/**
 * Requests a second through the bundled router and through HAProxy, next to the same service without them; then the time from a table
 * write to the new route serving, what is lost while routes switch under load, and all of it with 500 routes. Clients and services are processes of their own.
 */
export async function measureProxy(bench: Bench): Promise<Row[]> {
  const ca = await makeCa('bench root');
  const issued = await ca.issue([HOST, L4_HOST]);
  const backends = [
    await keepChild<Backend>(bench, 'backend', issued, 60_000),
    await keepChild<Backend>(bench, 'backend', issued, 60_000),
  ] as const;
  const [backend] = backends;
  const direct = [
    { what: 'direct, plain HTTP', port: backend.plain, tls: false, hostname: HOST, ca: ca.cert },
    { what: 'direct, TLS of the service', port: backend.tls, tls: true, hostname: HOST, ca: ca.cert },
  ];
  const rows = await loadRows(bench, direct);
  for (const kind of DRIVERS) {
    const port = await freePort();
    const rig = await startDriver(kind, port);
    bench.onEnd(() => rig.stop());
    const routes: ObservedRoute[][] = [];
    // One after the other: both tables name the same host names, and a certificate and its key are two files.
    for (const { plain, tls } of backends) {
      routes.push([
        await rig.route(HOST, `127.0.0.1:${plain}`),
        await rig.route(L4_HOST, `127.0.0.1:${tls}`, { mode: 'l4' }),
      ]);
    }
    await put(rig, routes[0]);
    const name = kind === 'file' ? 'bundled' : 'HAProxy';
    const l4 = { what: `${name}, l4 route`, port, tls: true, hostname: L4_HOST, ca: ca.cert };
    const l7 = { what: `${name}, l7 route`, port, tls: true, hostname: HOST, ca: rig.ca.cert };
    rows.push(...(await loadRows(bench, [l4, l7])));
    for (const way of [l4, l7]) rows.push(...(await switching(bench, rig, way, routes)));
    rows.push(...(await measureCrowd(name, rig, port, [backends[0].plain, backends[1].plain])));
    rows.push(...(await loadRows(bench, [{ ...l7, what: `${l7.what}, ${CROWD} others` }])));
  }
  return rows;
}

type Way = Omit<Load, 'keepAlive'> & { readonly what: string };

async function loadRows(bench: Bench, ways: readonly Way[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const keepAlive of [true, false]) {
    for (const { what, ...way } of ways) {
      const load = await askChild<Loaded>(bench, 'load', { ...way, keepAlive } satisfies Load, 60_000);
      if (load.failed > 0) throw new Error(`${what}: ${load.failed} requests failed`);
      const mode = keepAlive ? 'kept connections' : 'a connection each';
      const note = `${CLIENTS} at a time, 1 KiB, ${SECONDS} s; proxy, client and service are three processes`;
      rows.push(
        { bench: 'proxy', what: `${what}, ${mode}`, unit: 'req/s', values: [load.perSecond], note },
        {
          bench: 'proxy',
          what: '  p99',
          unit: 'ms',
          values: [load.p99Ms],
          note: `p50 ${load.p50Ms.toFixed(2)} ms`,
        },
      );
    }
  }
  return rows;
}

/** Switches the routes there and back while they are asked as fast as they answer. */
async function switching(
  bench: Bench,
  rig: DriverRig,
  { what, ...way }: Way,
  routes: readonly (readonly ObservedRoute[])[],
): Promise<Row[]> {
  const load = askChild<Loaded>(bench, 'load', { ...way, keepAlive: false } satisfies Load, 60_000);
  const over = new AbortController();
  void load.finally(() => over.abort()).catch(() => undefined);
  const times: number[] = [];
  while (!over.signal.aborted) {
    const begun = performance.now();
    await put(rig, routes[(times.length + 1) % routes.length]);
    times.push(performance.now() - begun);
    await new Promise((done) => setTimeout(done, SWITCH_EVERY_MS));
  }
  const { perSecond, failed } = await load;
  const asked = Math.round(perSecond * SECONDS);
  return [
    {
      bench: 'proxy',
      what: `${what}, table write to served`,
      unit: 'ms',
      values: times,
      note: 'under full load; ok is given when the new route was read back',
    },
    {
      bench: 'proxy',
      what: '  requests lost meanwhile',
      unit: 'of all',
      values: [failed],
      note: `${times.length} switches during about ${asked} requests, ${perSecond.toFixed(0)} a second`,
    },
  ];
}

async function put(rig: DriverRig, routes: readonly ObservedRoute[] = []): Promise<void> {
  const outcome = await rig.proxy.put(routes);
  if (outcome.kind !== 'ok') throw new Error(outcome.why);
}

/** In a child process: the service, plain and with TLS. */
export async function runBackend(input: { cert: string; key: string }): Promise<Backend> {
  const answer = (_request: IncomingMessage, response: import('node:http').ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': BODY.length });
    response.end(BODY);
  };
  return {
    plain: await listening(createServer(answer)),
    tls: await listening(createTlsServer({ ...input, minVersion: 'TLSv1.3' }, answer)),
  };
}

/** In a child process: asks as fast as it is answered. */
export async function runLoad(input: Load): Promise<Loaded> {
  const options = { keepAlive: input.keepAlive, maxSockets: CLIENTS, maxCachedSessions: 0 };
  const agent = input.tls ? new Agent(options) : new PlainAgent(options);
  let times: number[] = [];
  let failed = 0;
  const begun = performance.now();
  let from = begun;
  const end = begun + WARM_UP_MS + SECONDS * 1000;
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      const at = performance.now();
      await once(input, agent).then(
        () => times.push(performance.now() - at),
        () => (failed += 1),
      );
    }
  };
  setTimeout(() => {
    times = [];
    from = performance.now();
  }, WARM_UP_MS);
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const perSecond = (times.length * 1000) / (performance.now() - from);
  agent.destroy();
  times.sort((a, b) => a - b);
  return { perSecond, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99), failed };
}

function once(input: Load, agent: PlainAgent): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: input.port,
      path: '/',
      agent,
      headers: { host: input.hostname },
    };
    const onAnswer = (response: IncomingMessage): void => {
      response.on('error', reject).on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`status ${response.statusCode ?? 0}`));
      });
      response.resume();
    };
    const request: ClientRequest = input.tls
      ? httpsRequest({ ...options, servername: input.hostname, ca: input.ca }, onAnswer)
      : httpRequest(options, onAnswer);
    request.on('error', reject).end();
  });
}

function listening(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
