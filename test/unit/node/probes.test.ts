import { expect } from 'chai';
import { createServer as createHttpServer } from 'node:http';
import { createSecureServer, createServer as createH2Server } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { systemClock } from '../../../src/base/clock.ts';
import { until } from '../../support/until.ts';
import { HOST, ID, useProbes } from './probes.kit.ts';

describe('node/probes', () => {
  const { at, open, listen, closedPort, tls, http, target, ready, reason, servers, sockets } = useProbes();

  it('without a check a running container is ready at once', () => {
    expect(open().observe([target([])])[ID]).to.have.property('kind', 'ready');
  });

  it('tls: a handshake with SNI is an answer, the certificate may be of any CA', async () => {
    const names: string[] = [];
    const server = createTlsServer(at.pem);
    server.on('secureConnection', (socket) => names.push(socket.servername as unknown as string));
    const port = await listen(server);
    const before = Date.now();
    const state = await ready(target([tls(port)]));
    expect(state.since).to.be.within(before, Date.now());
    expect(at.signals).to.equal(1);
    await until('the server has seen it', () => names.length > 0);
    expect(names).to.deep.equal([HOST]);
  });

  it('tls: TLS 1.2 is not enough, and the reason says so', async () => {
    const port = await listen(createTlsServer({ ...at.pem, maxVersion: 'TLSv1.2' }));
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
      createTlsServer(at.pem, (socket) => {
        socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'));
        socket.on('error', () => undefined);
      }),
    );
    await ready(target([http(port, true)]));
  });

  it('http: a server for HTTP/2 alone is an answer too, plain and over TLS (gRPC)', async () => {
    const preface = Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]);
    await ready(target([http(await listen(createServer((socket) => socket.end(preface))))]));
    await ready(target([http(await listen(createSecureServer(at.pem)), true)]));
    await ready(target([http(await listen(createH2Server()))]));
  });

  it('http: another protocol is not ready', async () => {
    const port = await listen(createServer((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
    expect(await reason(target([http(port)]))).to.include('answers, but not with HTTP');
  });

  it('http: a server for TLS is not ready, also one that answers a polite 400; the field is named', async () => {
    const strict = await listen(createTlsServer(at.pem));
    expect(await reason(target([http(strict)]))).to.include('backend_tls = true');
    const inner = await listen(createTlsServer(at.pem));
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
    const good = await listen(createTlsServer(at.pem));
    const bad = await closedPort();
    expect(await reason(target([tls(good), http(bad)])))
      .to.include(String(bad))
      .and.not.include(`127.0.0.1:${good} `);
  });

  it('a service that comes late becomes ready; one signal for a reason, one for ready', async () => {
    const port = await closedPort();
    const on = open();
    await reason(target([tls(port)]), on);
    expect(at.signals).to.equal(1);
    const server = createTlsServer(at.pem);
    servers.push(server);
    server.listen(port, '127.0.0.1');
    await ready(target([tls(port)]), on);
    expect(at.signals).to.equal(2);
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
    const port = await listen(createTlsServer(at.pem));
    const on = open();
    expect(on.observe([target([tls(port)], 5)])[ID]).to.deep.equal({ kind: 'starting', since: 5 });
    await ready(target([tls(port)], 5), on);
    expect(on.observe([target([tls(port)], 6)])[ID]).to.deep.equal({ kind: 'starting', since: 6 });
    await ready(target([tls(port)], 6), on);
    expect(on.observe([target([tls(port), tls(port)], 6)])[ID]).to.have.property('kind', 'starting');
  });

  it('a container that is started again and again keeps its reason, and at.signals it once', async () => {
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
    expect(at.signals).to.equal(1);
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
    expect(at.signals).to.equal(0);
  });
});
