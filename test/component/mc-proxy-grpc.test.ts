import { Metadata, ServerCredentials, status, type Client } from '@grpc/grpc-js';
import { expect } from 'chai';
import { createServer } from 'node:net';
import { BYTES, failureOf, grpcClient, grpcService, unary } from '../support/grpcservice.ts';
import { endWithConnections, listen, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { freePort } from '../support/ports.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const NAME = 'grpc.svc.test';

for (const backendTls of [false, true]) {
  describe(`mc-proxy, l7, gRPC, the service speaks ${backendTls ? 'TLS' : 'clear'} HTTP/2`, () => {
    let rig: ProxyRig;
    let client: Client;
    let down: Client;
    let backend: string;
    let front: number;

    before(async () => {
      rig = await startRig({ connectTimeoutMs: 500, responseTimeoutMs: 300 });
      const server = grpcService();
      const issued = await rig.ca.issue([NAME]);
      const secure = ServerCredentials.createSsl(null, [
        { cert_chain: Buffer.from(issued.cert), private_key: Buffer.from(issued.key) },
      ]);
      const port = await new Promise<number>((resolve, reject) =>
        server.bindAsync(
          '127.0.0.1:0',
          backendTls ? secure : ServerCredentials.createInsecure(),
          (error, bound) => (error === null ? resolve(bound) : reject(error)),
        ),
      );
      rig.onStop(() => server.forceShutdown());
      backend = `127.0.0.1:${port}`;
      front = await freePort();
      const silent = createServer();
      const silentPort = await listen(silent);
      rig.onStop(endWithConnections(silent));
      await rig.serve({
        addr: `127.0.0.1:${front}`,
        routes: [
          await rig.l7(NAME, backend, backendTls),
          await rig.l7('silent.svc.test', `127.0.0.1:${silentPort}`),
          await rig.l7('down.svc.test', `127.0.0.1:${await freePort()}`, backendTls),
        ],
      });
      client = grpcClient(front, NAME, rig.ca.cert);
      down = grpcClient(front, 'down.svc.test', rig.ca.cert);
      rig.onStop(() => {
        client.close();
        down.close();
      });
    });
    after(() => rig.stop());

    it('answers unary calls, with trailers and our own forwarded headers', async () => {
      const metadata = new Metadata();
      metadata.set('x-forwarded-for', '6.6.6.6');
      const { value, trailer } = await unary(client, 'Unary', 'who', metadata);
      expect(String(value)).to.equal('127.0.0.1 127.0.0.1');
      expect(trailer.get('x-trailer')).to.deep.equal(['end']);
    });

    it('gives back errors whole: code, details, metadata; also those that are trailers only', async () => {
      const error = await failureOf(unary(client, 'Unary', 'fail'));
      expect(error).to.include({ code: status.FAILED_PRECONDITION, details: 'not today: äöü' });
      expect(error.metadata.get('x-trailer')).to.deep.equal(['end']);
      expect((await failureOf(unary(client, 'Missing', ''))).code).to.equal(status.UNIMPLEMENTED);
    });

    it('keeps a conversation both ways: 500 messages, each answered before the next, then silence, then more', async () => {
      const chat = client.makeBidiStreamRequest(
        '/test.Echo/Chat',
        BYTES.requestSerialize,
        BYTES.responseDeserialize,
      );
      let answers = 0;
      chat.on('data', (data: Buffer) => {
        answers += 1;
        expect(String(data)).to.equal(String(answers));
        if (answers < 500) chat.write(Buffer.from(String(answers + 1)));
      });
      const ended = new Promise<number>((done) => chat.once('status', ({ code }) => done(code)));
      chat.write(Buffer.from('1'));
      await until('500 answers', () => answers === 500);
      // Longer than an ordinary answer may take: one that never comes is given up meanwhile.
      expect((await ask({ port: front, hostname: 'silent.svc.test', ca: rig.ca.cert })).status).to.equal(504);
      chat.write(Buffer.from('501'));
      await until('the answer after the silence', () => answers === 501);
      chat.end();
      expect(await ended).to.equal(status.OK);
    });

    it('carries a message of 3 MB', async () => {
      const big = Buffer.alloc(3_000_000, 3);
      expect((await unary(client, 'Unary', big)).value.equals(big)).to.equal(true);
    });

    it('tells the service when the client cancels', async () => {
      const chat = client.makeBidiStreamRequest(
        '/test.Echo/Chat',
        BYTES.requestSerialize,
        BYTES.responseDeserialize,
      );
      chat.on('error', () => undefined);
      chat.write(Buffer.from('1'));
      await new Promise((done) => chat.once('data', done));
      expect((await rig.status()).backends[backend]).to.equal(1);
      chat.cancel();
      await until('the call to be over', async () => (await rig.status()).backends[backend] === undefined);
    });

    it('answers 1,000 calls at once', async () => {
      const replies = await Promise.all(
        Array.from({ length: 1_000 }, (_, index) => unary(client, 'Unary', String(index))),
      );
      expect(replies.every(({ value }, index) => String(value) === String(index))).to.equal(true);
    });

    it('says UNAVAILABLE when the service is down', async () => {
      expect((await failureOf(unary(down, 'Unary', 'x'))).code).to.equal(status.UNAVAILABLE);
    });
  });
}
