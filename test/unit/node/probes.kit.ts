import { expect } from 'chai';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { openCertificates } from '../../../src/node/certs/certificates.ts';
import { openProbes, type ProbeOptions, type Probes } from '../../../src/node/probes/probes.ts';
import type { ProbeCheck, ProbeState, ProbeTarget } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';

export const HOST = 'hello.example.net';
export const ID = 'c1';

/** Probes, servers for them to ask, and the certificate of those; all of it is closed after each test. */
export function useProbes() {
  const at = { root: '', pem: { cert: '', key: '' }, signals: 0 };
  const opened: Probes[] = [];
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  before(async () => {
    at.root = await mkdtemp(join(tmpdir(), 'probes-'));
    const certificates = openCertificates({
      driver: 'local',
      certDir: join(at.root, 'certs'),
      caDir: join(at.root, 'ca'),
      hostnameSuffix: 'example.net',
      clock: systemClock,
      log: makeLog('silent'),
    });
    await certificates.issue(HOST, 'hello', true);
    at.pem = {
      cert: await readFile(join(at.root, 'certs/hello.pem'), 'utf8'),
      key: await readFile(join(at.root, 'certs/hello.key'), 'utf8'),
    };
  });
  after(() => rm(at.root, { recursive: true }));
  beforeEach(() => {
    at.signals = 0;
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((probes) => probes.stop()));
    for (const socket of sockets) socket.destroy();
    for (const server of servers.splice(0)) server.close();
  });

  const open = (more: Partial<ProbeOptions> = {}): Probes => {
    const probes = openProbes({
      clock: systemClock,
      log: makeLog('silent'),
      onSignal: () => (at.signals += 1),
      intervalMs: 10,
      attemptTimeoutMs: 300,
      ...more,
    });
    opened.push(probes);
    return probes;
  };
  const listen = async (server: Server): Promise<number> => {
    servers.push(server);
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.resume();
      socket.once('close', () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const closedPort = async (): Promise<number> => {
    const server = createServer();
    const port = await listen(server);
    server.close();
    await once(server, 'close');
    return port;
  };
  const tls = (port: number): ProbeCheck => ({
    kind: 'tls',
    ip: '127.0.0.1',
    port,
    hostname: HOST,
    route: '',
  });
  const http = (port: number, overTls = false): ProbeCheck => ({
    kind: 'http',
    ip: '127.0.0.1',
    port,
    hostname: HOST,
    tls: overTls,
    route: '',
  });
  const target = (checks: readonly ProbeCheck[], startedAt = 1_000, pid?: number): ProbeTarget => ({
    containerId: ID,
    startedAt,
    checks,
    ...(pid === undefined ? {} : { pid }),
  });
  const ready = (wanted: ProbeTarget, on = open()): Promise<ProbeState> =>
    until('ready', () => {
      const state = on.observe([wanted])[ID]!;
      return state.kind === 'ready' ? state : undefined;
    });
  const reason = (wanted: ProbeTarget, on = open()): Promise<string> =>
    until('a reason', () => {
      const state = on.observe([wanted])[ID]!;
      expect(state.kind).to.equal('starting');
      return state.kind === 'starting' ? state.last : undefined;
    });
  return { at, open, listen, closedPort, tls, http, target, ready, reason, servers, sockets };
}
