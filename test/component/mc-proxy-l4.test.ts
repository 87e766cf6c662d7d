import { expect } from 'chai';
import { connect as connectTcp, createServer as createTcp, type Socket } from 'node:net';
import { createServer as createTls, type Server as TlsServer } from 'node:tls';
import { endWithConnections, listen, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const NAME = 'api.svc.test';

/** A TLS service that ends TLS itself and echoes. */
async function echoService(rig: ProxyRig, hostname: string): Promise<{ backend: string; server: TlsServer }> {
  const issued = await rig.ca.issue([hostname]);
  const server = createTls({ ...issued, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  server.on('tlsClientError', () => undefined);
  const port = await listen(server);
  rig.onStop(endWithConnections(server));
  return { backend: `127.0.0.1:${port}`, server };
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

/** The first packet of a real TLS client. */
async function clientHello(servername: string): Promise<Buffer> {
  const server = createTcp();
  const end = endWithConnections(server);
  const port = await listen(server);
  const first = new Promise<Buffer>((resolve) =>
    server.once('connection', (socket) => socket.once('data', resolve)),
  );
  const client = connectTo({ port, hostname: servername, ca: '' });
  const hello = await first;
  end();
  // Nobody answers it: that it fails is what ends it.
  await client.catch(() => undefined);
  return hello;
}

describe('mc-proxy, l4', () => {
  let rig: ProxyRig;
  let target: Target;
  let backend: string;

  before(async () => {
    rig = await startRig({
      helloTimeoutMs: 400,
      halfClosedIdleTimeoutMs: 300,
      connectTimeoutMs: 500,
      maxConnections: 600,
    });
    const service = await echoService(rig, NAME);
    ({ backend } = service);
    const port = await freePort();
    target = { port, hostname: NAME, ca: rig.ca.cert };
    const gone = await freePort();
    await rig.serve({
      addr: `127.0.0.1:${port}`,
      routes: [
        { hostname: NAME, backend, mode: 'l4' },
        { hostname: 'gone.svc.test', backend: `127.0.0.1:${gone}`, mode: 'l4' },
        await rig.l7('web.svc.test', backend, true),
      ],
    });
  });
  after(() => rig.stop());

  it('relays TLS 1.2 as well: the version is between client and service', async () => {
    const socket = await connectTo(target, { maxVersion: 'TLSv1.2' });
    expect(socket.getProtocol()).to.equal('TLSv1.2');
    socket.destroy();
  });

  it('closes unknown names, parts of names, deeper names and no name without showing any certificate', async () => {
    for (const servername of ['unknown.test', 'svc.test', `x.${NAME}`, '']) {
      const socket = connectTcp(target.port, '127.0.0.1');
      socket.write(await clientHello(servername));
      const answer = await everythingFrom(socket);
      expect(answer.toString('hex'), servername).to.be.oneOf(['', '15030300020270']);
    }
  });

  it('closes what is no TLS, and what sends nothing', async () => {
    for (const garbage of [
      'GET / HTTP/1.1\r\n\r\n',
      '\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00',
      '\x80\x2e\x01',
      '',
    ]) {
      const socket = connectTcp(target.port, '127.0.0.1');
      if (garbage !== '') socket.write(Buffer.from(garbage, 'latin1'));
      expect((await everythingFrom(socket)).length).to.equal(0);
    }
  });

  it('takes a ClientHello byte by byte, and split over TLS records', async () => {
    const hello = await clientHello(NAME);
    const slow = connectTcp({ port: target.port, host: '127.0.0.1', noDelay: true });
    for (const byte of hello) await new Promise((done) => slow.write(Buffer.from([byte]), done));
    // The answer is the service's ServerHello: a handshake record.
    expect((await new Promise<Buffer>((done) => slow.once('data', done)))[0]).to.equal(22);
    slow.destroy();

    const message = hello.subarray(5);
    const split = [message.subarray(0, 50), message.subarray(50)].flatMap((part) => [
      Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]),
      part,
    ]);
    const cut = connectTcp(target.port, '127.0.0.1');
    cut.write(Buffer.concat(split));
    expect((await new Promise<Buffer>((done) => cut.once('data', done)))[0]).to.equal(22);
    cut.destroy();
  });

  it('closes the connection when the service is down', async () => {
    const socket = connectTcp(target.port, '127.0.0.1');
    socket.write(await clientHello('gone.svc.test'));
    expect((await everythingFrom(socket)).length).to.equal(0);
  });

  it('ends both sides when one breaks', async () => {
    await until(
      'relays of clients that are gone to be over',
      async () => (await rig.status()).connections === 0,
    );
    const socket = await connectTo(target);
    socket.write('x');
    await new Promise((done) => socket.once('data', done));
    expect((await rig.status()).backends[backend]).to.equal(1);
    socket.destroy();
    await until('the relay to be over', async () => (await rig.status()).backends[backend] === undefined);
  });

  it('answers others while 500 idle connections and as many garbage ones are there; one too many is closed at once', async () => {
    const idle = Array.from({ length: 500 }, () =>
      connectTcp(target.port, '127.0.0.1').on('error', () => undefined),
    );
    await until('the idle connections', async () => (await rig.status()).connections >= 500);
    const socket = await connectTo(target);
    socket.write('still there?');
    expect(String(await new Promise((done) => socket.once('data', done)))).to.equal('still there?');
    socket.destroy();
    const more = Array.from({ length: 150 }, () =>
      connectTcp(target.port, '127.0.0.1').on('error', () => undefined),
    );
    await until('the limit to hold', () => more.some((one) => one.destroyed), 5_000, 2);
    expect((await rig.status()).connections).to.be.at.most(600);
    await until('idle connections to be cut off', async () => (await rig.status()).connections === 0);
    for (const one of [...idle, ...more]) one.destroy();
  });
});
