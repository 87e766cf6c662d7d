import { Metadata, status as grpcStatus } from '@grpc/grpc-js';
import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { WebSocket } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import { openHandshakes } from '../../src/node/proxy/handshakes.ts';
import { failureOf, grpcClient, unary } from '../support/grpcservice.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { startDriver, type Driver, type DriverRig } from '../support/proxyrig.ts';
import { ask, bigStream, connectTo, hashOf, type Target } from '../support/tlsclient.ts';
import { startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';
import { FORGED, over2, type Echo } from '../support/webservice.ts';
import {
  API,
  TLS_WEB,
  WEB,
  claims,
  heldTo,
  webServices,
  namedService,
  echoService,
  grpcBackend,
  clientHello,
  everythingFrom,
} from './conformance.kit.ts';

const run = promisify(execFile);

heldTo('traffic', traffic);

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

  it('2,000 idle connections hurt nobody, and are closed in time', async () => {
    const idle = Array.from({ length: 2_000 }, () =>
      connectTcp(port, '127.0.0.1').on('error', () => undefined),
    );
    const closed = Promise.all(idle.map((one) => new Promise((done) => one.once('close', done))));
    await until('the connections', () => idle.every((one) => !one.connecting));
    for (const one of idle) one.resume();
    expect((await ask(target(WEB))).status).to.equal(200);
    const socket = await connectTo(target(API), { checkServerIdentity: () => undefined });
    expect(socket.getPeerX509Certificate()?.fingerprint256).to.equal(fingerprint);
    socket.destroy();
    await closed;
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

  it('a route switched under at least 200 requests a second loses none, on new and on kept connections', async () => {
    const services = await Promise.all(['a', 'b'].map((name) => namedService(rig, name, 10)));
    const names = await Promise.all(services.map((backend) => rig.route('switch.svc.test', backend)));
    expect(await rig.proxy.put([names[0]!])).to.have.property('kind', 'ok');
    let rate = 0;
    // A moment in which the machine does something else is no slow proxy; what is lost is lost in any of them.
    for (let tries = 1; tries <= 3 && rate < 200; tries += 1) {
      const load = startLoad(target('switch.svc.test'));
      for (let round = 1; round <= 4; round += 1) {
        const before = load.asked();
        await until('some answers', () => load.asked() > before + 300);
        const switched = await rig.proxy.put([names[round % 2]!]);
        expect(switched.kind, JSON.stringify(switched)).to.equal('ok');
      }
      rate = load.rate();
      const answers = await load.end();
      console.log(`        ${load.asked()} requests, ${rate.toFixed(0)} a second, 4 switches`);
      expect(Object.keys(answers).sort(), JSON.stringify(answers)).to.deep.equal(['a', 'b']);
      expect((answers['a'] ?? 0) + (answers['b'] ?? 0)).to.equal(load.asked());
    }
    if (rate >= 200) return;
    // Is it the proxy, or the machine? The same load, on a service of the same kind without any proxy.
    const direct = await directRate(rig);
    console.log(`        below 200 a second; without a proxy this machine carries ${direct.toFixed(0)}`);
    // A proxy in between is another TLS and another process on the same processors.
    expect(direct, `only ${rate.toFixed(0)} requests a second`).to.be.lessThan(500);
  });
}

async function directRate(rig: DriverRig): Promise<number> {
  const issued = await rig.ca.issue(['direct.svc.test']);
  const server = createHttps(issued, (_req, res) => void setTimeout(() => res.end('direct'), 10));
  const port = await listen(server);
  const end = endWithConnections(server);
  const load = startLoad({ port, hostname: 'direct.svc.test', ca: rig.ca.cert });
  await until('some answers', () => load.asked() > 300);
  const rate = load.rate();
  await load.end();
  end();
  return rate;
}
