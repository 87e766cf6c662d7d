import { expect } from 'chai';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { createSecureServer, createServer as createH2Server } from 'node:http2';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { openCertificates } from '../../../src/node/certs/certificates.ts';
import { tryListen } from '../../../src/node/probes/listen.ts';
import { openProbes, type ProbeOptions, type Probes } from '../../../src/node/probes/probes.ts';
import type { ProbeCheck, ProbeState, ProbeTarget } from '../../../src/node/types.ts';
import { until } from '../../support/until.ts';

const HOST = 'hello.example.net';
const ID = 'c1';

describe('node/probes', () => {
  let root: string;
  let pem: { cert: string; key: string };
  let signals: number;
  const opened: Probes[] = [];
  const servers: Server[] = [];
  const sockets = new Set<Socket>();

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'probes-'));
    const certificates = openCertificates({
      driver: 'local',
      certDir: join(root, 'certs'),
      caDir: join(root, 'ca'),
      hostnameSuffix: 'example.net',
      clock: systemClock,
      log: makeLog('silent'),
    });
    await certificates.issue(HOST, 'hello', true);
    pem = {
      cert: await readFile(join(root, 'certs/hello.pem'), 'utf8'),
      key: await readFile(join(root, 'certs/hello.key'), 'utf8'),
    };
  });
  after(() => rm(root, { recursive: true }));
  beforeEach(() => {
    signals = 0;
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
      onSignal: () => (signals += 1),
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

  it('without a check a running container is ready at once', () => {
    expect(open().observe([target([])])[ID]).to.have.property('kind', 'ready');
  });

  it('tls: a handshake with SNI is an answer, the certificate may be of any CA', async () => {
    const names: string[] = [];
    const server = createTlsServer(pem);
    server.on('secureConnection', (socket) => names.push(socket.servername as unknown as string));
    const port = await listen(server);
    const before = Date.now();
    const state = await ready(target([tls(port)]));
    expect(state.since).to.be.within(before, Date.now());
    expect(signals).to.equal(1);
    await until('the server has seen it', () => names.length > 0);
    expect(names).to.deep.equal([HOST]);
  });

  it('tls: TLS 1.2 is not enough, and the reason says so', async () => {
    const port = await listen(createTlsServer({ ...pem, maxVersion: 'TLSv1.2' }));
    expect(await reason(target([tls(port)]))).to.include('TLS older than 1.3');
  });

  it('tls: a service that speaks plain HTTP is not ready', async () => {
    const port = await listen(createHttpServer((_, response) => response.end()));
    expect(await reason(target([tls(port)])))
      .to.include('not with TLS')
      .and.include('the service must speak it itself');
  });

  it('nothing listens: refused', async () => {
    const port = await closedPort();
    for (const check of [tls(port), http(port), http(port, true)]) {
      expect(await reason(target([check]))).to.include(`nothing answers on 127.0.0.1:${port}`);
    }
  });

  it("a forwarder that accepts and closes, as an engine's does for nobody, is no answer (L17)", async () => {
    const port = await listen(createServer((socket) => socket.destroy()));
    for (const check of [tls(port), http(port), http(port, true)]) {
      expect(await reason(target([check]))).to.include('closed without an answer');
    }
  });

  it('a port that accepts and stays silent is no answer: the try ends at its deadline', async () => {
    const port = await listen(createServer(() => undefined));
    for (const check of [tls(port), http(port)]) {
      expect(await reason(target([check]))).to.include('did not answer within 300 ms');
    }
  });

  it('http: any status line will do, also 404 and 503, and the host is named', async () => {
    for (const status of [200, 301, 400, 404, 503]) {
      const hosts: (string | undefined)[] = [];
      const server = createHttpServer((request, response) => {
        hosts.push(request.headers.host);
        response.writeHead(status).end();
      });
      await ready(target([http(await listen(server))]));
      expect(hosts).to.include(HOST);
    }
  });

  it('http: over TLS with backend_tls', async () => {
    const port = await listen(
      createTlsServer(pem, (socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
        socket.on('error', () => undefined);
      }),
    );
    await ready(target([http(port, true)]));
  });

  it('http: a server for HTTP/2 alone is an answer too, plain and over TLS (gRPC)', async () => {
    const preface = Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
    await ready(target([http(await listen(createServer((socket) => socket.end(preface))))]));
    await ready(target([http(await listen(createSecureServer(pem)), true)]));
    await ready(target([http(await listen(createH2Server()))]));
  });

  it('http: another protocol is not ready', async () => {
    const port = await listen(createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
    expect(await reason(target([http(port)]))).to.include('answers, but not with HTTP');
  });

  it('http: a server for TLS is not ready, also one that answers a polite 400; the field is named', async () => {
    const strict = await listen(createTlsServer(pem));
    expect(await reason(target([http(strict)]))).to.include('backend_tls = true');
    const inner = await listen(createTlsServer(pem));
    // As Go's server does: it looks at the first byte.
    const polite = createServer((socket) => {
      socket.once('data', (first: Buffer) => {
        if (first[0] !== 0x16)
          return socket.end('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request');
        const next = new (socket.constructor as typeof Socket)();
        sockets.add(next);
        next.once('close', () => sockets.delete(next));
        next.connect(inner, '127.0.0.1');
        next.write(first);
        socket.pipe(next).pipe(socket);
        next.on('error', () => undefined);
        return undefined;
      });
      socket.on('error', () => undefined);
    });
    expect(await reason(target([http(await listen(polite))]))).to.include('backend_tls = true');
  });

  it('all checks must pass in one try', async () => {
    const good = await listen(createTlsServer(pem));
    const bad = await closedPort();
    expect(await reason(target([tls(good), http(bad)])))
      .to.include(String(bad))
      .and.not.include(`127.0.0.1:${good} `);
  });

  it('a service that comes late becomes ready; one signal for a reason, one for ready', async () => {
    const port = await closedPort();
    const on = open();
    await reason(target([tls(port)]), on);
    expect(signals).to.equal(1);
    const server = createTlsServer(pem);
    servers.push(server);
    server.listen(port, '127.0.0.1');
    await ready(target([tls(port)]), on);
    expect(signals).to.equal(2);
  });

  it('G42 since when it is ready follows a clock that is set: nothing counts as watched for the time that nobody waited', () => {
    let wall = 1_000_000_000_000;
    let monotonic = 7.25;
    const clock = { ...systemClock, now: () => wall, monotonic: () => monotonic };
    const probes = open({ clock });
    const readyMs = (): number => {
      const state = probes.observe([target([])])[ID];
      return state?.kind === 'ready' ? wall - state.since : NaN;
    };
    expect(readyMs()).to.equal(0);
    for (const byMs of [0, 86_400_000, -172_800_000, 315_360_000_000]) {
      const before = readyMs();
      wall += 2_000 + byMs;
      monotonic += 2_000;
      expect(readyMs(), String(byMs)).to.equal(before + 2_000);
    }
  });

  it('the waits between tries grow from 250 ms to 2 s', async () => {
    const waits: number[] = [];
    let release = (): void => undefined;
    const done = new Promise<void>((resolve) => (release = resolve));
    const clock = {
      ...systemClock,
      sleep: async (ms: number, signal?: AbortSignal) => {
        waits.push(ms);
        if (waits.length < 6) return;
        release();
        await systemClock.sleep(60_000, signal);
      },
    };
    const port = await closedPort();
    const on = open({ clock, intervalMs: 250 });
    on.observe([target([tls(port)])]);
    await done;
    expect(waits).to.deep.equal([250, 500, 1_000, 2_000, 2_000, 2_000]);
  });

  it('starting counts from the start of the container; another start or other checks begin anew', async () => {
    const port = await listen(createTlsServer(pem));
    const on = open();
    expect(on.observe([target([tls(port)], 5)])[ID]).to.deep.equal({ kind: 'starting', since: 5 });
    await ready(target([tls(port)], 5), on);
    expect(on.observe([target([tls(port)], 6)])[ID]).to.deep.equal({ kind: 'starting', since: 6 });
    await ready(target([tls(port)], 6), on);
    expect(on.observe([target([tls(port), tls(port)], 6)])[ID]).to.have.property('kind', 'starting');
  });

  it('a container that is started again and again keeps its reason, and signals it once', async () => {
    const checks = [tls(await closedPort())];
    const on = open();
    const why = await reason(target(checks, 1), on);
    for (let start = 2; start < 10; start += 1) {
      expect(on.observe([target(checks, start)])[ID]).to.deep.equal({
        kind: 'starting',
        since: start,
        last: why,
      });
    }
    await reason(target(checks, 10), on);
    expect(signals).to.equal(1);
  });

  it('a target that is no longer named, and stop, end the job at once, also in the middle of a try', async () => {
    let tries = 0;
    const port = await listen(createServer(() => (tries += 1)));
    const on = open({ attemptTimeoutMs: 60_000 });
    on.observe([target([tls(port)])]);
    await until('a try', () => tries > 0);
    expect(on.observe([])).to.deep.equal({});
    await until('the connection is closed', () => sockets.size === 0);
    on.observe([target([tls(port)])]);
    await until('another try', () => tries > 1);
    const begun = performance.now();
    await on.stop();
    expect(performance.now() - begun).to.be.lessThan(1_000);
    await until('the connection is closed', () => sockets.size === 0);
    expect(signals).to.equal(0);
  });

  describe('listen, and what is listening where (L17)', () => {
    const line = (local: string, state: string): string => `  0: ${local} 00000000:0000 ${state} 0:0`;
    let proc: string;
    beforeEach(async () => {
      proc = await mkdtemp(join(root, 'proc-'));
    });
    const process = async (pid: number, tcp: string[], udp: string[] = [], ticks = 77): Promise<void> => {
      await mkdir(join(proc, `${pid}/net`), { recursive: true });
      const fields = Array.from({ length: 30 }, (_, index) => (index === 19 ? ticks : 0));
      await writeFile(join(proc, `${pid}/stat`), `${pid} (a) b) S ${fields.slice(1).join(' ')}`);
      await writeFile(join(proc, `${pid}/net/tcp`), tcp.map((local) => line(local, '0A')).join('\n'));
      await writeFile(join(proc, `${pid}/net/udp`), udp.map((local) => line(local, '07')).join('\n'));
    };
    const check = (protocol: 'tcp' | 'udp' = 'tcp'): ProbeCheck => ({
      kind: 'listen',
      ip: '127.0.0.1',
      port: 5353,
      containerPort: 53,
      protocol,
    });

    it('a socket on the port, not only on loopback, is ready: TCP and UDP apart', async () => {
      await process(7, ['00000000:0035'], ['00000000:0035']);
      await ready(target([check(), check('udp')], 1, 7), open({ procRoot: proc }));
      await process(8, ['00000000:0035']);
      expect(await reason(target([check('udp')], 1, 8), open({ procRoot: proc }))).to.include(
        'nothing listens on 53/udp',
      );
    });

    it("only on loopback is not; the message says how to mend it, and the engine's resolver is not shown", async () => {
      await process(7, ['0100007F:0035', '0B00007F:9999']);
      expect(await reason(target([check()], 1, 7), open({ procRoot: proc }))).to.equal(
        'nothing listens on 53/tcp (published on 127.0.0.1:5353); inside the container: 127.0.0.1:53/tcp (loopback only) ' +
          'LISTEN — only on loopback, which nobody outside can reach: bind to 0.0.0.0:$PORT',
      );
    });

    it('on another port, or nowhere: the message says so', async () => {
      await process(7, ['00000000:1F90']);
      expect(await reason(target([check()], 1, 7), open({ procRoot: proc })))
        .to.include('0.0.0.0:8080/tcp LISTEN')
        .and.include('container_port');
      await process(8, []);
      expect(await reason(target([check()], 1, 8), open({ procRoot: proc }))).to.include(
        'inside the container: nothing listens',
      );
    });

    it('a process that has ended, or whose number went to another one, does not speak for the container', async () => {
      const on = open({ procRoot: proc });
      expect(await reason(target([check()], 1, 7), on)).to.include('its process has ended');
      await process(9, []);
      await reason(target([check()], 2, 9), on);
      await process(9, ['00000000:0035'], [], 99);
      await until('the message changes', () => {
        const state = on.observe([target([check()], 2, 9)])[ID]!;
        return state.kind === 'starting' && state.last?.includes('its process has ended');
      });
    });

    it('where /proc is closed: a connection that is still open after a second', async () => {
      const closed = { kind: 'closed', why: 'EACCES' } as const;
      const { signal } = new AbortController();
      const at = (port: number) => ({ ...(check() as Extract<ProbeCheck, { kind: 'listen' }>), port });
      expect(await tryListen(at(await listen(createServer(() => undefined))), closed, signal)).to.equal(
        undefined,
      );
      const forwarder = createServer((socket) => void setTimeout(() => socket.destroy(), 190));
      expect(await tryListen(at(await listen(forwarder)), closed, signal)).to.include(
        'closed without an answer',
      );
      expect(await tryListen(at(await closedPort()), closed, signal)).to.include('connection refused');
      expect(await tryListen({ ...at(1), protocol: 'udp' }, closed, signal)).to.include('hidepid');
    });
  });
});
