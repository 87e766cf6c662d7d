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
import { freePort, startRig } from '../support/mcproxy.ts';
import type { Bench } from './bench.ts';
import { askChild, keepChild } from './child.ts';
import { quantile, type Row } from './table.ts';

const HOST = 'svc.bench.example.net';
const CLIENTS = 16;
const SECONDS = 3;
const WARM_UP_MS = 500;
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

/** Requests a second through the bundled router, next to the same service without it. Client and service are processes of their own. */
export async function measureProxy(bench: Bench): Promise<Row[]> {
  const ca = await makeCa('bench root');
  const own = await ca.issue([HOST, 'l4.example.net']);
  const backend = await keepChild<Backend>(bench, 'backend', own, 20_000);
  const rig = await startRig();
  bench.onEnd(() => rig.stop());
  const port = await freePort();
  const addr = `127.0.0.1:${port}`;
  const l7 = await rig.l7(HOST, `127.0.0.1:${backend.plain}`);
  const l4 = {
    hostname: 'l4.example.net',
    backend: `127.0.0.1:${backend.tls}`,
    mode: 'l4' as const,
    backendTls: false,
  };
  await rig.serve({ addr, routes: [l7, l4] });
  const ways = [
    { what: 'direct, plain HTTP', port: backend.plain, tls: false, hostname: HOST, ca: ca.cert },
    { what: 'direct, TLS of the service', port: backend.tls, tls: true, hostname: HOST, ca: ca.cert },
    { what: 'l4 route (TLS of the service)', port, tls: true, hostname: 'l4.example.net', ca: ca.cert },
    { what: 'l7 route (TLS of the proxy)', port, tls: true, hostname: HOST, ca: rig.ca.cert },
  ];
  const rows: Row[] = [];
  for (const keepAlive of [true, false]) {
    for (const { what, ...way } of ways) {
      const input: Load = { ...way, keepAlive };
      const load = await askChild<Loaded>(bench, 'load', input, 30_000);
      if (load.failed > 0) throw new Error(`${what}: ${load.failed} requests failed`);
      const mode = keepAlive ? 'kept connections' : 'a connection each';
      rows.push(
        {
          bench: 'proxy',
          what: `${what}, ${mode}`,
          unit: 'req/s',
          values: [load.perSecond],
          note: `${CLIENTS} at a time, 1 KiB, ${SECONDS} s; proxy, client and service are three processes`,
        },
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
