import { Metadata, ServerCredentials, status as grpcStatus } from '@grpc/grpc-js';
import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttp, type Server } from 'node:http';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { Agent } from 'node:https';
import { connect as connectTcp, createServer as createTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createServer as createTls } from 'node:tls';
import { promisify } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { openHandshakes } from '../../src/node/proxy/handshakes.ts';
import type { ObservedRoute } from '../../src/node/types.ts';
import { failureOf, grpcClient, grpcService, unary } from '../support/grpcservice.ts';
import { endWithConnections, freePort, listen } from '../support/mcproxy.ts';
import { DRIVERS, startDriver, type Driver, type DriverRig } from '../support/proxyrig.ts';
import { ask, bigStream, connectTo, hashOf, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { FORGED, over2, serviceOf, type Echo } from '../support/webservice.ts';

const run = promisify(execFile);
const WEB = 'hello.svc.test';
const TLS_WEB = 'tls.svc.test';
const API = 'api.svc.test';

/** What every driver is held to, with real traffic: driver × expectation, printed at the end. */
const kept = new Map<string, Map<Driver, boolean>>();

for (const kind of DRIVERS) {
  describe(`proxy driver "${kind}", what every driver is held to`, () => {
    afterEach(function () {
      const test = this.currentTest;
      if (test === undefined) return;
      const row = kept.get(test.title) ?? new Map<Driver, boolean>();
      kept.set(test.title, row.set(kind, test.state === 'passed'));
    });
    describe('traffic', () => traffic(kind));
    describe('table', () => tables(kind));
  });
}

after(() => {
  const width = Math.max(...[...kept.keys()].map((title) => title.length));
  console.log(`\n    ${'expectation'.padEnd(width)}  ${DRIVERS.join('  ')}`);
  for (const [title, row] of kept) {
    const word = (is?: boolean): string => (is === undefined ? '-' : is ? 'kept' : 'NOT KEPT');
    const cells = DRIVERS.map((kind) => word(row.get(kind)).padEnd(kind.length));
    console.log(`    ${title.padEnd(width)}  ${cells.join('  ')}`);
  }
});

function traffic(kind: Driver): void {
  let rig: DriverRig;
  let port: number;
  let fingerprint: string;
  const sessions: ClientHttp2Session[] = [];
  const target = (hostname: string): Target => ({ port, hostname, ca: rig.ca.cert });
  const http2 = (hostname = WEB): ClientHttp2Session => {
    const session = connectHttp2(`https://${hostname}:${port}`, {
      ca: rig.ca.cert,
      servername: hostname,
      host: '127.0.0.1',
      settings: { initialWindowSize: 1_048_576 },
    });
    session.on('error', () => undefined);
    sessions.push(session);
    return session;
  };

  before(async () => {
    port = await freePort();
    rig = await startDriver(kind, port);
    const web = await webServices(rig);
    const api = await echoService(rig);
    ({ fingerprint } = api);
    const put = await rig.proxy.put([
      await rig.route(WEB, web.clear),
      await rig.route(TLS_WEB, web.tls, { backendTls: true }),
      await rig.route(API, api.backend, { mode: 'l4' }),
      await rig.route('grpc.svc.test', await grpcBackend(rig, false)),
      await rig.route('grpctls.svc.test', await grpcBackend(rig, true), { backendTls: true }),
      await rig.route('down.svc.test', `127.0.0.1:${await freePort()}`),
    ]);
    if (put.kind !== 'ok') throw new Error(put.why);
  });
  after(async () => {
    for (const session of sessions) session.destroy();
    await rig.stop();
  });

  it("l4: the service's own certificate, for the exact SNI in any case", async () => {
    for (const servername of [API, API.toUpperCase(), 'Api.Svc.Test']) {
      const socket = await connectTo(target(API), { servername, checkServerIdentity: () => undefined });
      expect(socket.getPeerX509Certificate()?.fingerprint256).to.equal(fingerprint);
      socket.destroy();
    }
  });

  it('unknown, longer, shorter and missing names: closed, no certificate leaks', async () => {
    for (const servername of ['unknown.test', 'svc.test', `x.${API}`, `x.${WEB}`, '']) {
      const hello = await clientHello(servername);
      const socket = connectTcp(port, '127.0.0.1');
      socket.write(hello);
      // Nothing at all, or the alert unrecognized_name (RFC 8446, section 6).
      expect((await everythingFrom(socket)).toString('hex'), servername).to.be.oneOf(['', '15030300020270']);
    }
  });

  it('garbage, half a ClientHello and silence are closed and hurt nobody', async () => {
    const half = (await clientHello(WEB)).subarray(0, 40);
    const bad = [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from([0x80, 0x2e, 1]), half, Buffer.alloc(0)];
    const sockets = Array.from({ length: 300 }, (_, index) => {
      const socket = connectTcp(port, '127.0.0.1');
      socket.on('error', () => undefined).write(bad[index % bad.length]!);
      return socket;
    });
    const closed = Promise.all(sockets.map(everythingFrom));
    expect((await ask(target(WEB))).status).to.equal(200);
    expect((await closed).map((bytes) => bytes.length)).to.satisfy((all: number[]) =>
      all.every((length) => length <= 7),
    );
  });

  it('l4: 100 MB there and back, byte for byte, after the client has finished sending', async () => {
    const socket = await connectTo(target(API), { allowHalfOpen: true } as object);
    const sent = bigStream(100);
    sent.stream.pipe(socket);
    const got = await hashOf(socket as AsyncIterable<Buffer>);
    expect(got).to.deep.equal({ sha256: sent.sha256(), bytes: sent.bytes });
  });

  it('l7: TLS 1.3 and nothing older', async () => {
    const socket = await connectTo(target(WEB));
    expect(socket.getProtocol()).to.equal('TLSv1.3');
    socket.destroy();
    const old = await connectTo(target(WEB), { maxVersion: 'TLSv1.2' }).catch((error: unknown) => error);
    expect(old).to.be.instanceOf(Error);
  });

  it('l7: HTTP/1.1, our forwarded headers in place of forged ones, the host kept', async () => {
    const forged = { ...FORGED, X_Forwarded_For: '6.6.6.6', X_Real_IP: '6.6.6.6' };
    const answer = await ask(target(WEB), {
      path: '/a?b=%20',
      headers: { ...forged, 'X-Other': '1', TE: 'gzip' },
    });
    const { url, headers } = JSON.parse(answer.body) as Echo;
    expect([answer.status, url]).to.deep.equal([200, '/a?b=%20']);
    expect(headers).to.deep.include({ host: WEB, 'x-other': '1', ...claims(WEB) });
    expect(JSON.stringify(headers)).not.to.contain('6.6.6.6');
    expect(headers).not.to.have.any.keys('forwarded', 'x-forwarded-port', 'te');
  });

  it('l7: HTTP/2, likewise', async () => {
    const headers = { ':path': '/two', 'x-forwarded-for': '6.6.6.6', forwarded: 'for=x', cookie: 'a=1; b=2' };
    const answer = await over2(http2(), headers);
    const echo = JSON.parse(answer.body.toString()) as Echo;
    expect(answer.headers[':status']).to.equal(200);
    expect(echo.headers).to.deep.include({ cookie: 'a=1; b=2', ...claims(`${WEB}:${port}`) });
    expect(echo.headers).not.to.have.any.keys('forwarded');
  });

  it('l7: curl by HTTP/2 and by HTTP/1.1', async () => {
    const ca = join(rig.directory, 'ca.pem');
    await writeFile(ca, rig.ca.cert);
    for (const [flag, version] of [
      ['--http2', '2'],
      ['--http1.1', '1.1'],
    ] as const) {
      const { stdout } = await run('curl', [
        ...['-sS', flag, '--cacert', ca, '--resolve', `${WEB}:${port}:127.0.0.1`, '-d', 'body'],
        ...['-w', '\n%{http_version} %{http_code}', `https://${WEB}:${port}/curl`],
      ]);
      expect(stdout).to.match(new RegExp(`"url":"/curl"[^]*\n${version} 200$`));
    }
  });

  it('l7: 100 MB up and down by HTTP/1.1, byte for byte', async () => {
    const up = bigStream(100);
    const answer = await ask(target(WEB), { method: 'PUT', path: '/hash' }, up.stream);
    const whole = { sha256: up.sha256(), bytes: up.bytes };
    expect(JSON.parse(answer.body)).to.deep.equal(whole);
    const down = await ask(target(WEB), { path: '/big?mb=100' });
    expect(await hashOf(Readable.from([down.bytes]))).to.deep.equal(whole);
  });

  it('l7: 100 MB up and down by HTTP/2, the service behind TLS, byte for byte', async () => {
    const up = bigStream(100);
    const answer = await over2(http2(TLS_WEB), { ':method': 'PUT', ':path': '/hash' }, up.stream);
    const whole = { sha256: up.sha256(), bytes: up.bytes };
    expect(JSON.parse(answer.body.toString())).to.deep.equal(whole);
    const down = await over2(http2(TLS_WEB), { ':path': '/big?mb=100' });
    expect(await hashOf(Readable.from([down.body]))).to.deep.equal(whole);
  });

  it('a handshake through the proxy shows the certificate and its end, of l7 and of l4; a dead service is told (L10)', async () => {
    const handshakes = openHandshakes({
      listeners: [`127.0.0.1:${port}`],
      clock: systemClock,
      onSignal: () => undefined,
    });
    const routes = await rig.live();
    const seen = await until('every handshake', () => {
      const found = handshakes.observe(routes, {});
      return Object.keys(found).length === routes.length ? found : undefined;
    });
    const file = new X509Certificate(await readFile(join(rig.directory, `${WEB}.pem`)));
    expect(seen[`${WEB}:${port}`]).to.deep.equal({
      kind: 'ok',
      fingerprint256: file.fingerprint256,
      notAfter: Date.parse(file.validTo),
    });
    expect(seen[`${API}:${port}`]).to.include({ kind: 'ok', fingerprint256: fingerprint });
    const gone = { ...routes[0]!, hostname: 'gone.svc.test' };
    const failed = await until('the failure', () => handshakes.observe([gone], {})[`gone.svc.test:${port}`]);
    expect(failed.kind).to.equal('failed');
  });

  it('l7: trailers, by HTTP/1.1 and HTTP/2', async () => {
    const answer = await ask(target(WEB), { path: '/trailers', headers: { TE: 'trailers' } });
    expect([answer.body, answer.trailers['x-sum']]).to.deep.equal(['body', '42']);
    const two = await over2(http2(), { ':path': '/trailers', te: 'trailers' });
    expect([String(two.body), two.trailers['x-sum']]).to.deep.equal(['body', '42']);
  });

  it('l7: WebSocket, text and binary, also to a service behind TLS', async () => {
    for (const hostname of [WEB, TLS_WEB]) {
      const options = { ca: rig.ca.cert, servername: hostname, headers: { Host: hostname, ...FORGED } };
      const socket = new WebSocket(`wss://127.0.0.1:${port}/ws`, options);
      const messages: string[] = [];
      socket.on('message', (data: Buffer) => messages.push(String(data)));
      await new Promise((done, failed) => socket.once('open', done).once('error', failed));
      socket.send('text');
      socket.send(Buffer.from('binary'));
      await until('three messages', () => messages.length === 3);
      expect(JSON.parse(messages[0]!)).to.deep.include(claims(hostname));
      expect(messages.slice(1)).to.deep.equal(['text', 'binary']);
      socket.close();
      await new Promise((done) => socket.once('close', done));
    }
  });

  it('l7: gRPC with trailers and errors whole, the service in the clear and behind TLS', async () => {
    for (const hostname of ['grpc.svc.test', 'grpctls.svc.test']) {
      const client = grpcClient(port, hostname, rig.ca.cert);
      const forged = new Metadata();
      forged.set('x-forwarded-for', '6.6.6.6');
      const { value, trailer } = await unary(client, 'Unary', 'who', forged);
      expect(String(value)).to.equal('127.0.0.1 127.0.0.1');
      expect(trailer.get('x-trailer')).to.deep.equal(['end']);
      const error = await failureOf(unary(client, 'Unary', 'fail'));
      expect(error).to.include({ code: grpcStatus.FAILED_PRECONDITION, details: 'not today: äöü' });
      expect((await failureOf(unary(client, 'Missing', ''))).code).to.equal(grpcStatus.UNIMPLEMENTED);
      const big = Buffer.alloc(3_000_000, 3);
      expect((await unary(client, 'Unary', big)).value.equals(big)).to.equal(true);
      client.close();
    }
    const down = grpcClient(port, 'down.svc.test', rig.ca.cert);
    expect((await failureOf(unary(down, 'Unary', 'x'))).code).to.equal(grpcStatus.UNAVAILABLE);
    down.close();
  });

  it('l7: 502 when the service is down, 504 when it does not answer', async () => {
    expect((await ask(target('down.svc.test'))).status).to.equal(502);
    expect(Number((await over2(http2('down.svc.test'), {})).headers[':status'])).to.equal(502);
    expect((await ask(target(WEB), { path: '/never' })).status).to.equal(504);
    expect((await ask(target(WEB))).status).to.equal(200);
  });

  it('l7: 421 for another host than TLS was asked for', async () => {
    for (const host of ['down.svc.test', API, 'unknown.test']) {
      expect((await ask(target(WEB), { headers: { Host: host } })).status, host).to.equal(421);
      expect(Number((await over2(http2(), { ':authority': host })).headers[':status']), host).to.equal(421);
    }
  });

  it('l7: 1 MB of headers is refused and hurts nobody; a client that drips them is cut off', async () => {
    const huge = await ask(target(WEB), { headers: { 'X-Huge': 'x'.repeat(1_000_000) } }).catch(
      (error: unknown) => error as Error,
    );
    if (!(huge instanceof Error)) expect(huge.status).to.be.oneOf([400, 431]);
    const socket = await connectTo(target(WEB));
    socket.on('error', () => undefined).resume();
    socket.write(`GET / HTTP/1.1\r\nHost: ${WEB}\r\n`);
    const drip = setInterval(() => socket.write('X-A: 1\r\n'), 50);
    await new Promise((done) => socket.once('close', done));
    clearInterval(drip);
    expect((await ask(target(WEB))).status).to.equal(200);
  });

  it('a route switched under full load loses no request, on new and on kept connections', async () => {
    const services = await Promise.all(['a', 'b'].map((name) => namedService(rig, name, 10)));
    const names = await Promise.all(services.map((backend) => rig.route('switch.svc.test', backend)));
    expect(await rig.proxy.put([names[0]!])).to.have.property('kind', 'ok');
    const agent = new Agent({ keepAlive: true });
    const answers: Record<string, number> = {};
    let asked = 0;
    let ended = false;
    // As many as this machine carries, one after the other on 16 ways, half of them on connections of their own.
    const worker = async (index: number): Promise<void> => {
      while (!ended) {
        asked += 1;
        const call = ask(target('switch.svc.test'), index % 2 === 0 ? {} : { agent });
        const what = await call.then(({ status, body }) => (status === 200 ? body : String(status)), String);
        answers[what] = (answers[what] ?? 0) + 1;
      }
    };
    const begun = performance.now();
    const workers = Array.from({ length: 16 }, (_, index) => worker(index));
    for (let round = 1; round <= 4; round += 1) {
      const before = asked;
      await until('some answers', () => asked > before + 200);
      const switched = await rig.proxy.put([names[round % 2]!]);
      expect(switched.kind, JSON.stringify(switched)).to.equal('ok');
    }
    ended = true;
    await Promise.all(workers);
    const rate = asked / ((performance.now() - begun) / 1_000);
    console.log(`        ${asked} requests, ${rate.toFixed(0)} a second, 4 switches`);
    agent.destroy();
    expect(Object.keys(answers).sort(), JSON.stringify(answers)).to.deep.equal(['a', 'b']);
    expect((answers['a'] ?? 0) + (answers['b'] ?? 0)).to.equal(asked);
  }).timeout(60_000);
}

function tables(kind: Driver): void {
  let rig: DriverRig;
  let port: number;
  let backend: string;
  const say = async (hostname: string, at = port): Promise<string> =>
    (await ask({ port: at, hostname, ca: rig.ca.cert })).body;
  const kinds = (outcomes: readonly { kind: string }[]): string[] => outcomes.map(({ kind: what }) => what);

  beforeEach(async () => {
    port = await freePort();
    rig = await startDriver(kind, port, false);
    backend = await namedService(rig, 'a');
  });
  afterEach(() => rig.stop());

  it('ok means served: the next request gets an answer, and it is read back (L09); gone means gone', async () => {
    await rig.start();
    const routes = [
      await rig.route('a.svc.test', backend),
      await rig.route('p.svc.test', backend, { mode: 'l4' }),
    ];
    const begun = performance.now();
    expect(await rig.proxy.put(routes)).to.have.property('kind', 'ok');
    console.log(`        table write to served: ${(performance.now() - begun).toFixed(0)} ms`);
    expect(await say('a.svc.test')).to.equal('a');
    expect(await rig.live()).to.deep.equal(routes);
    expect((await rig.facts()).stale ?? []).to.deep.equal([]);
    expect(await rig.proxy.remove(routes)).to.have.property('kind', 'ok');
    expect(await rig.live()).to.deep.equal([]);
    expect(await say('a.svc.test').catch(() => 'closed')).to.equal('closed');
  });

  it('routes that were written while the proxy was down are served when it comes (L02), and again after a restart', async () => {
    const route = await rig.route('a.svc.test', backend);
    expect(await rig.proxy.put([route])).to.have.property('kind', 'wait');
    expect((await rig.facts()).live.known).to.equal(false);
    await rig.start();
    expect(await rig.proxy.put([route])).to.have.property('kind', 'ok');
    expect(await say('a.svc.test')).to.equal('a');
    await rig.halt();
    expect((await rig.facts()).live.known).to.equal(false);
    await rig.start();
    await until('the route to be served again', async () => (await rig.live()).length === 1);
    expect(await say('a.svc.test')).to.equal('a');
  });

  it('a table that the proxy refuses leaves the old one serving, with the reason; the next change is taken (G38)', async () => {
    await rig.start();
    await rig.proxy.put([await rig.route('a.svc.test', backend)]);
    const squatter = createTcp().listen(0, '127.0.0.1');
    await new Promise((done) => squatter.once('listening', done));
    const taken = (squatter.address() as { port: number }).port;
    rig.onStop(() => squatter.close());
    const wider = rig.driver(`127.0.0.1:${port}`, `127.0.0.1:${taken}`);
    const refused = await wider.put([await rig.route('b.svc.test', backend)]);
    expect(refused.kind).to.equal('blocked');
    expect(refused).to.have.property('why').that.includes(String(taken)).and.includes('EADDRINUSE');
    expect(await say('a.svc.test')).to.equal('a');
    expect((await rig.facts()).table).to.have.lengthOf(1);
    expect(await rig.proxy.put([await rig.route('b.svc.test', backend)])).to.have.property('kind', 'ok');
    expect(await say('b.svc.test')).to.equal('a');
  });

  it('a route at fault is blocked with its own reason and holds up no other (L33); it is served once its files are good', async () => {
    await rig.start();
    const [a, b] = [await rig.route('a.svc.test', backend), await rig.route('b.svc.test', backend)];
    const outcomes = await Promise.all([
      rig.proxy.put([a]),
      rig.proxy.put([{ ...b, tlsKey: '/nowhere' }]),
      rig.proxy.put([{ ...b, hostname: 'no host name' }]),
      rig.proxy.put([await rig.route('c.svc.test', backend)]),
    ]);
    expect(kinds(outcomes)).to.deep.equal(['ok', 'blocked', 'blocked', 'ok']);
    expect(outcomes[1]).to.have.property('why').that.includes('b.svc.test').and.includes('nowhere');
    expect((await rig.live()).map(({ hostname }) => hostname)).to.deep.equal(['a.svc.test', 'c.svc.test']);
    expect((await rig.facts()).faults?.map(({ hostname }) => hostname)).to.deep.equal(['b.svc.test']);
    expect(await rig.proxy.put([b])).to.have.property('kind', 'ok');
    expect(await say('b.svc.test')).to.equal('a');
    expect((await rig.facts()).faults).to.deep.equal([]);
  });

  it('a certificate that was replaced is taken up without a dropped connection; a bad one never is (L10, L15)', async () => {
    await rig.start();
    const route = await rig.route('a.svc.test', backend);
    await rig.proxy.put([route]);
    const shown = async (): Promise<string | undefined> => {
      const socket = await connectTo({ port, hostname: 'a.svc.test', ca: rig.ca.cert });
      const found = socket.getPeerX509Certificate()?.fingerprint256;
      socket.destroy();
      return found;
    };
    const before = await shown();
    const keptOpen = await connectTo({ port, hostname: 'a.svc.test', ca: rig.ca.cert });
    keptOpen.write('GET / HTTP/1.1\r\nHost: a.svc.test\r\n\r\n');
    await new Promise((done) => keptOpen.once('data', done));
    await writeFile(route.tlsCert!, 'rubbish');
    await until('the fault', async () => ((await rig.facts()).faults ?? []).length === 1);
    expect((await rig.facts()).faults?.[0]?.why).to.match(/goes on with the certificate of before/);
    expect(await shown()).to.equal(before);
    await rig.certify('a.svc.test');
    // As the planner does: a proxy that does not take it up by itself says that it is to be put again.
    await until('the new certificate', async () => {
      const { stale } = await rig.facts();
      if (stale !== undefined) expect(await rig.proxy.put([route])).to.have.property('kind', 'ok');
      return (await shown()) !== before;
    });
    expect((await rig.facts()).stale ?? []).to.deep.equal([]);
    keptOpen.write('GET / HTTP/1.1\r\nHost: a.svc.test\r\nConnection: close\r\n\r\n');
    expect(String(await new Promise((done) => keptOpen.once('data', done)))).to.match(/^HTTP\/1\.1 200/);
    keptOpen.destroy();
  });

  it('listeners follow the settings, and the same name on two of them is routed separately', async () => {
    await rig.start();
    const second = await freePort();
    const both = rig.driver(`127.0.0.1:${port}`, `127.0.0.1:${second}`);
    await rig.proxy.put([]);
    expect(await rig.facts(both)).to.have.deep.nested.property('listeners.missing', [`127.0.0.1:${second}`]);
    const outcome = await both.put([
      await rig.route('a.svc.test', backend),
      await rig.route('a.svc.test', await namedService(rig, 'b'), { listenerPort: second }),
    ]);
    expect(outcome).to.have.property('kind', 'ok');
    expect([await say('a.svc.test'), await say('a.svc.test', second)]).to.deep.equal(['a', 'b']);
    expect(await rig.facts(both)).not.to.have.property('listeners');
    expect(await rig.proxy.remove([{ listenerPort: second, hostname: 'a.svc.test' }])).to.have.property(
      'kind',
      'ok',
    );
    await until('the listener to be let go', async () =>
      say('a.svc.test', second).then(
        () => false,
        () => true,
      ),
    );
    expect(await say('a.svc.test')).to.equal('a');
  });

  it('500 routes of 500 certificates, written by 500 changes at once, are served', async () => {
    await rig.start();
    const names = Array.from({ length: 500 }, (_, index) => `s${index}.svc.test`);
    const { cert, key } = await rig.ca.issue(names);
    const routes = await Promise.all(
      names.map(async (hostname): Promise<ObservedRoute> => {
        const [tlsCert, tlsKey] = ['pem', 'key'].map((end) => join(rig.directory, `${hostname}.${end}`));
        await writeFile(tlsCert!, `${cert}\n${rig.ca.cert}\n`);
        await writeFile(tlsKey!, key, { mode: 0o600 });
        const mark = `rift/main/${hostname.split('.')[0] ?? ''}/web/`;
        return {
          listenerPort: port,
          hostname,
          backend,
          mode: 'l7',
          tlsCert: tlsCert!,
          tlsKey: tlsKey!,
          backendTls: false,
          mark,
        };
      }),
    );
    const begun = performance.now();
    const outcomes = await Promise.all(routes.map((route) => rig.proxy.put([route])));
    expect(outcomes.filter((outcome) => outcome.kind !== 'ok')).to.deep.equal([]);
    console.log(`        500 routes: ${(performance.now() - begun).toFixed(0)} ms`);
    expect(await rig.live()).to.have.lengthOf(500);
    for (const hostname of [names[0]!, names[250]!, names[499]!]) expect(await say(hostname)).to.equal('a');
    expect(await rig.proxy.remove([{ listenerPort: port, hostname: names[0]! }])).to.have.property(
      'kind',
      'ok',
    );
    expect(await say(names[499]!)).to.equal('a');
  }).timeout(60_000);
}

const claims = (authority: string): Record<string, string> => ({
  'x-forwarded-for': '127.0.0.1',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': authority,
  'x-real-ip': '127.0.0.1',
});

async function webServices(rig: DriverRig): Promise<{ clear: string; tls: string }> {
  const found: string[] = [];
  for (const speaks of ['HTTP/1.1', 'HTTP/2 over TLS']) {
    const service = serviceOf(speaks, await rig.ca.issue([TLS_WEB]));
    const sockets = new WebSocketServer({ server: service, path: '/ws' });
    sockets.on('connection', (socket, req) => {
      socket.send(JSON.stringify(req.headers));
      socket.on('message', (data, binary) => socket.send(data, { binary }));
    });
    found.push(`127.0.0.1:${await listen(service)}`);
    const end = endWithConnections(service);
    rig.onStop(() => {
      sockets.close();
      end();
    });
  }
  return { clear: found[0]!, tls: found[1]! };
}

async function namedService(rig: DriverRig, name: string, delayMs = 0): Promise<string> {
  const server: Server = createHttp((_req, res) => void setTimeout(() => res.end(name), delayMs));
  const backend = `127.0.0.1:${await listen(server)}`;
  rig.onStop(endWithConnections(server));
  return backend;
}

async function echoService(rig: DriverRig): Promise<{ backend: string; fingerprint: string }> {
  const issued = await rig.ca.issue([API]);
  const server = createTls({ ...issued, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.on('tlsClientError', () => undefined);
  const backend = `127.0.0.1:${await listen(server)}`;
  rig.onStop(endWithConnections(server));
  return { backend, fingerprint: new X509Certificate(issued.cert).fingerprint256 };
}

async function grpcBackend(rig: DriverRig, tls: boolean): Promise<string> {
  const server = grpcService();
  const { cert, key } = await rig.ca.issue(['grpctls.svc.test']);
  const secure = ServerCredentials.createSsl(null, [
    { cert_chain: Buffer.from(cert), private_key: Buffer.from(key) },
  ]);
  const bound = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', tls ? secure : ServerCredentials.createInsecure(), (error, at) =>
      error === null ? resolve(at) : reject(error),
    ),
  );
  rig.onStop(() => server.forceShutdown());
  return `127.0.0.1:${bound}`;
}

/** The first packet of a real TLS client. */
async function clientHello(servername: string): Promise<Buffer> {
  const server = createTcp();
  const end = endWithConnections(server);
  const at = await listen(server);
  const first = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) => socket.once('data', resolve)),
  );
  const client = connectTo({ port: at, hostname: servername, ca: '' });
  const hello = await first;
  end();
  // Nobody answers it: that it fails is what ends it.
  await client.catch(() => undefined);
  return hello;
}

/** What comes back on a raw connection until it is closed. */
function everythingFrom(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(Buffer.concat(parts)));
  });
}
