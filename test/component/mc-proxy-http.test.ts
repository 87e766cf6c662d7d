import { expect } from 'chai';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { Agent } from 'node:https';
import { createServer as createTcp, type Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { listen, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { ask, bigStream, connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { FORGED, over2, serviceOf, type Echo, type Http2Answer } from '../support/webservice.ts';

const NAME = 'hello.svc.test';

for (const speaks of ['HTTP/1.1', 'HTTP/1.1 over TLS', 'HTTP/2 over TLS'] as const) {
  describe(`mc-proxy, l7, the service speaks ${speaks}`, () => {
    const backendTls = speaks !== 'HTTP/1.1';
    let rig: ProxyRig;
    let target: Target;
    let backend: string;
    const sessions: ClientHttp2Session[] = [];

    const http2 = (): ClientHttp2Session => {
      const session = connectHttp2(`https://${NAME}:${target.port}`, {
        ca: target.ca,
        servername: NAME,
        host: '127.0.0.1',
        settings: { initialWindowSize: 1_048_576 },
      });
      session.on('error', () => undefined);
      sessions.push(session);
      return session;
    };

    before(async () => {
      rig = await startRig({
        responseTimeoutMs: 2_000,
        headersTimeoutMs: 400,
        idleTimeoutMs: 5_000,
        connectTimeoutMs: 1_000,
      });
      const service = serviceOf(speaks, await rig.ca.issue([NAME]));
      const sockets = new WebSocketServer({ server: service, path: '/ws' });
      sockets.on('connection', (socket, req) => {
        if (req.headers['x-say'] !== undefined) socket.send(JSON.stringify(req.headers));
        socket.on('message', (data, binary) => socket.send(data, { binary }));
      });
      const open = new Set<Socket>();
      service.on('connection', (socket: Socket) => open.add(socket));
      backend = `127.0.0.1:${await listen(service)}`;
      rig.onStop(() => {
        sockets.close();
        service.close();
        for (const socket of open) socket.destroy();
      });
      const port = await freePort();
      target = { port, hostname: NAME, ca: rig.ca.cert };
      await rig.serve({
        addr: `127.0.0.1:${port}`,
        routes: [
          await rig.l7(NAME, backend, backendTls),
          await rig.l7('down.svc.test', `127.0.0.1:${await freePort()}`, backendTls),
          { hostname: 'pass.svc.test', backend, mode: 'l4' },
        ],
      });
    });
    after(async () => {
      for (const session of sessions) session.destroy();
      await rig.stop();
    });

    it('serves HTTP/1.1 with our forwarded headers in place of forged ones, the host kept', async () => {
      const answer = await ask(target, {
        path: '/a?b=%20',
        headers: { ...FORGED, 'X-Other': '1', TE: 'gzip' },
      });
      const echo = JSON.parse(answer.body) as Echo;
      expect(answer.status).to.equal(200);
      expect(answer.headers['x-service']).to.equal('yes');
      expect(echo.url).to.equal('/a?b=%20');
      expect(echo.headers).to.deep.include({
        host: NAME,
        'x-other': '1',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': NAME,
        'x-real-ip': '127.0.0.1',
      });
      expect(echo.headers).not.to.have.any.keys('forwarded', 'x-forwarded-port', 'te');
    });

    it('serves HTTP/2 likewise', async () => {
      const answer = await over2(http2(), {
        ':path': '/two',
        'x-forwarded-for': '6.6.6.6',
        forwarded: 'for=x',
        cookie: 'a=1; b=2',
      });
      const echo = JSON.parse(answer.body.toString()) as Echo;
      expect(answer.headers[':status']).to.equal(200);
      expect(echo.headers).to.deep.include({
        host: `${NAME}:${target.port}`,
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-host': `${NAME}:${target.port}`,
        cookie: 'a=1; b=2',
      });
      expect(echo.headers).not.to.have.any.keys('forwarded');
    });

    it('relays WebSockets, text and binary, with the forwarded headers', async () => {
      const options = { ca: target.ca, servername: NAME, headers: { Host: NAME, ...FORGED, 'X-Say': '1' } };
      const socket = new WebSocket(`wss://127.0.0.1:${target.port}/ws`, options);
      const messages: Buffer[] = [];
      socket.on('message', (data: Buffer) => messages.push(data));
      await new Promise((done, failed) => socket.once('open', done).once('error', failed));
      const big = Buffer.alloc(1_000_000, 7);
      socket.send('text');
      socket.send(big);
      await until('the echoes', () => messages.length === 3);
      expect(JSON.parse(String(messages[0]))).to.deep.include({
        'x-forwarded-for': '127.0.0.1',
        'x-real-ip': '127.0.0.1',
        host: NAME,
      });
      expect(String(messages[1])).to.equal('text');
      expect(messages[2]?.equals(big)).to.equal(true);
      expect((await rig.status()).backends[backend]).to.equal(1);
      socket.close();
      await until(
        'the WebSocket to be over',
        async () => (await rig.status()).backends[backend] === undefined,
      );
    });

    it('gives back what a service answers that does not want the WebSocket, and opens no other protocol', async () => {
      const refused = await ask(target, {
        path: '/nows',
        headers: { Connection: 'Upgrade', Upgrade: 'websocket' },
      });
      expect(refused.status).to.equal(400);
      const other = await ask(target, { path: '/', headers: { Connection: 'Upgrade', Upgrade: 'h2c' } });
      expect(other.status).to.equal(400);
    });

    it('keeps trailers, and repeated headers apart, and drops those of the connection', async () => {
      expect((await ask(target, { path: '/trailers' })).trailers).to.deep.equal({ 'x-sum': '42' });
      expect((await over2(http2(), { ':path': '/trailers' })).trailers).to.deep.include({ 'x-sum': '42' });
      const answers = [
        await ask(target, { path: '/cookies' }),
        await over2(http2(), { ':path': '/cookies' }),
      ];
      for (const { headers } of answers) {
        expect(headers['set-cookie']).to.deep.equal(['a=1', 'b=2']);
        expect(headers).not.to.have.property('x-hop');
      }
    });

    it('answers 502 when the service is down and 504 when it is slow, in plain text that tells nothing', async () => {
      const down = await ask({ ...target, hostname: 'down.svc.test' });
      expect([down.status, down.body]).to.deep.equal([502, '502 Bad Gateway\n']);
      const slow = await ask(target, { path: '/never' });
      expect([slow.status, slow.body]).to.deep.equal([504, '504 Gateway Timeout\n']);
      expect(JSON.stringify([down, slow])).not.to.contain(backend.slice(-5));
      const slow2 = await over2(http2(), { ':path': '/never' });
      expect(slow2.headers[':status']).to.equal(504);
      await until(
        'nothing to be under way',
        async () => Object.keys((await rig.status()).backends).length === 0,
      );
    });

    it('answers without a body where there is none: HEAD, 204', async () => {
      for (const [method, path, status] of [
        ['HEAD', '/', 200],
        ['GET', '/none', 204],
      ] as const) {
        const answer = await ask(target, { method, path });
        expect([answer.status, answer.body]).to.deep.equal([status, '']);
        const answer2 = await over2(http2(), { ':method': method, ':path': path });
        expect([Number(answer2.headers[':status']), answer2.body.length]).to.deep.equal([status, 0]);
      }
    });

    it('serves a resumed TLS session like a new one', async () => {
      const first = await connectTo(target);
      const ticket = new Promise<Buffer>((done) => first.once('session', done));
      first.write(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
      first.resume();
      const session = await ticket;
      first.destroy();
      const second = await connectTo(target, { session });
      expect(second.isSessionReused()).to.equal(true);
      second.write(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
      expect(String(await new Promise((done) => second.once('data', done)))).to.match(/^HTTP\/1\.1 200/);
      second.destroy();
      // A ticket of another name changes nothing: what counts is the name that this connection asks for.
      for (const [host, status] of [
        [NAME, 421],
        ['down.svc.test', 502],
      ] as const) {
        const other = await connectTo(target, { session, servername: 'down.svc.test' });
        other.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
        expect(String(await new Promise((done) => other.once('data', done)))).to.contain(
          `HTTP/1.1 ${status} `,
        );
        other.destroy();
      }
    });

    it('breaks an answer that the service breaks off: no part is taken for the whole', async () => {
      const failed = async (work: Promise<unknown>): Promise<boolean> =>
        work.then(
          () => false,
          () => true,
        );
      expect(await failed(ask(target, { path: '/half' }))).to.equal(true);
      expect(await failed(over2(http2(), { ':path': '/half' }))).to.equal(true);
    });

    it('gives back an answer that comes before the request is through', async () => {
      const body = bigStream(20);
      const answer = await ask(target, { method: 'POST', path: '/early' }, body.stream).catch(
        (error: unknown) => error,
      );
      // A client that goes on writing may see the connection close first: that is HTTP/1.1.
      if (!(answer instanceof Error)) expect(answer).to.deep.include({ status: 413, body: 'too much' });
      const answer2 = await over2(http2(), { ':method': 'POST', ':path': '/early' }, bigStream(20).stream);
      expect([Number(answer2.headers[':status']), answer2.body.toString()]).to.deep.equal([413, 'too much']);
    });

    it('passes events on as they come, and ends the service when the client goes', async () => {
      const socket = await connectTo(target);
      socket.write(`GET /events HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
      let text = '';
      socket.on('data', (part) => (text += String(part)));
      await until('the first event', () => text.includes('data: 1'));
      socket.destroy();
      await until('the request to be over', async () => (await rig.status()).backends[backend] === undefined);
    });

    it('answers 421 to a request for another name than TLS was asked for, also one that it serves', async () => {
      for (const host of ['down.svc.test', 'pass.svc.test', 'unknown.test', '127.0.0.1']) {
        expect((await ask(target, { headers: { Host: host } })).status, host).to.equal(421);
        const answer = await over2(http2(), { ':authority': host });
        expect(answer.headers[':status'], host).to.equal(421);
      }
      const absolute = await ask(target, { path: 'http://down.svc.test/x', headers: { Host: NAME } });
      expect(absolute.status).to.equal(421);
    });

    it('takes the absolute form of a request target, and the host in any case', async () => {
      const answer = await ask(target, {
        path: `https://${NAME.toUpperCase()}:1/x?y`,
        headers: { Host: 'ignored.test' },
      });
      expect((JSON.parse(answer.body) as Echo).url).to.equal('/x?y');
    });

    it('cannot be made to read a request that the service reads otherwise (smuggling)', async () => {
      const attempts = [
        'POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        'POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde',
        'POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: H\r\nHost: H\r\n\r\n',
        'GET / HTTP/1.1\r\n\r\n',
        'GET / HTTP/1.1\r\nHost: H\r\nX : 1\r\n\r\n',
        'GET example HTTP/1.1\r\nHost: H\r\n\r\n',
      ];
      for (const attempt of attempts) {
        const socket = await connectTo(target);
        let text = '';
        socket.on('data', (part) => (text += String(part))).on('error', () => undefined);
        socket.write(attempt.replaceAll('Host: H', `Host: ${NAME}`));
        await new Promise((done) => socket.once('close', done));
        expect(text, attempt).to.match(/^HTTP\/1\.1 400 /);
      }
      const body = await ask(
        target,
        { method: 'GET', path: '/hash', headers: { 'Transfer-Encoding': 'chunked' } },
        'GET /x HTTP/1.1\r\n\r\n',
      );
      expect(JSON.parse(body.body)).to.deep.include({ bytes: 19 });
    });

    it('refuses 1 MB of headers, on both protocols, and serves on', async () => {
      const huge = 'x'.repeat(1_000_000);
      const answer = await ask(target, { headers: { 'X-Huge': huge } }).catch((error: unknown) => error);
      if (!(answer instanceof Error)) expect((answer as { status: number }).status).to.equal(431);
      const broken = await over2(http2(), { 'x-huge': huge }).catch((error: unknown) => error);
      if (!(broken instanceof Error)) expect((broken as Http2Answer).headers[':status']).to.equal(431);
      const many = Object.fromEntries(Array.from({ length: 4_000 }, (_, index) => [`x-${index}`, 'y']));
      const drowned = await over2(http2(), many).catch((error: unknown) => error);
      if (!(drowned instanceof Error)) expect((drowned as Http2Answer).headers[':status']).to.equal(431);
      expect((await ask(target)).status).to.equal(200);
    });

    it('cuts off a client that drips its headers', async () => {
      const started = performance.now();
      const socket = await connectTo(target);
      socket.on('error', () => undefined).resume();
      socket.write(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n`);
      const drip = setInterval(() => socket.write('X-A: 1\r\n'), 50);
      await new Promise((done) => socket.once('close', done));
      clearInterval(drip);
      expect(performance.now() - started).to.be.greaterThan(300);
    });

    it('reuses connections: 200 requests on one of the client, of both protocols', async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      for (let index = 0; index < 200; index += 1)
        expect((await ask(target, { agent })).status).to.equal(200);
      agent.destroy();
      const session = http2();
      // Twenty at once: more would only measure how many handshakes with the service this machine does in a second.
      for (let wave = 0; wave < 10; wave += 1) {
        const answers = await Promise.all(Array.from({ length: 20 }, () => over2(session, {})));
        const states = answers.map(({ headers }) => Number(headers[':status']));
        expect(states).to.deep.equal(states.map(() => 200));
      }
    });
  });
}

describe('mc-proxy, l7, a service that misbehaves', () => {
  it('retries a harmless request when the kept connection is closed under it, and answers 502 to rubbish', async () => {
    const rig = await startRig();
    let requests = 0;
    // Answers once per connection, and closes it when the next request comes: what a server does at its own timeout.
    const server = createTcp((socket) => {
      let answered = false;
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        requests += 1;
        if (String(data).startsWith('GET /rubbish')) socket.end('rubbish\r\n\r\n');
        else if (answered) socket.resetAndDestroy();
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        answered = true;
      });
    });
    const backend = `127.0.0.1:${await listen(server)}`;
    rig.onStop(() => server.close());
    const target = { port: await freePort(), hostname: NAME, ca: rig.ca.cert };
    await rig.serve({ addr: `127.0.0.1:${target.port}`, routes: [await rig.l7(NAME, backend)] });
    for (let index = 0; index < 10; index += 1) expect((await ask(target)).body).to.equal('ok');
    expect(requests).to.be.greaterThan(10);
    expect((await ask(target, { path: '/rubbish' })).status).to.equal(502);
    await rig.stop();
  });
});
