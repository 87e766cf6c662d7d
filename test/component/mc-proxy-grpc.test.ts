import {
  credentials,
  loadPackageDefinition,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type Client,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';
import { expect } from 'chai';
import { freePort, startRig, type ProxyRig } from '../support/mcproxy.ts';
import { until } from '../support/until.ts';

const NAME = 'grpc.svc.test';
const bytes = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
};
const ECHO: ServiceDefinition = {
  unary: { path: '/test.Echo/Unary', requestStream: false, responseStream: false, ...bytes },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...bytes },
  missing: { path: '/test.Echo/Missing', requestStream: false, responseStream: false, ...bytes },
};

function service(): Server {
  const server = new Server();
  const implemented = { ...ECHO };
  delete implemented['missing'];
  server.addService(implemented, {
    unary: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
      const trailer = new Metadata();
      trailer.set('x-trailer', 'end');
      if (String(call.request) === 'fail') {
        answer({ code: status.FAILED_PRECONDITION, details: 'not today: äöü', metadata: trailer });
        return;
      }
      const seen = call.metadata.get('x-forwarded-for').concat(call.metadata.get('x-real-ip'));
      answer(null, String(call.request) === 'who' ? Buffer.from(seen.join(' ')) : call.request, trailer);
    },
    chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (data: Buffer) => call.write(data));
      call.on('end', () => call.end());
    },
  });
  return server;
}

interface Reply {
  readonly value: Buffer;
  readonly trailer: Metadata;
}

for (const backendTls of [false, true]) {
  describe(`mc-proxy, l7, gRPC, the service speaks ${backendTls ? 'TLS' : 'clear'} HTTP/2`, () => {
    let rig: ProxyRig;
    let client: Client;
    let down: Client;
    let backend: string;

    const call = (
      name: string,
      text: string | Buffer,
      metadata = new Metadata(),
      on = client,
    ): Promise<Reply> =>
      new Promise((resolve, reject) => {
        let value: Buffer | undefined;
        let failed: Error | null = null;
        const { serialize, deserialize } = {
          serialize: bytes.requestSerialize,
          deserialize: bytes.responseDeserialize,
        };
        const done = (error: ServiceError | null, received?: Buffer): void => {
          failed = error;
          value = received;
        };
        on.makeUnaryRequest(
          `/test.Echo/${name}`,
          serialize,
          deserialize,
          Buffer.from(text),
          metadata,
          done,
        ).on('status', ({ metadata: trailer }) =>
          setImmediate(() =>
            failed === null ? resolve({ value: value ?? Buffer.alloc(0), trailer }) : reject(failed),
          ),
        );
      });
    const failure = (work: Promise<unknown>): Promise<ServiceError> =>
      work.then(
        () => Promise.reject(new Error('the call did not fail')),
        (error: unknown) => error as ServiceError,
      );

    before(async () => {
      rig = await startRig({ connectTimeoutMs: 500, responseTimeoutMs: 300 });
      const server = service();
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
      const front = await freePort();
      await rig.serve({
        addr: `127.0.0.1:${front}`,
        routes: [
          await rig.l7(NAME, backend, backendTls),
          await rig.l7('down.svc.test', `127.0.0.1:${await freePort()}`, backendTls),
        ],
      });
      const open = (hostname: string): Client => {
        const Echo = loadPackageDefinition({ Echo: ECHO })['Echo'] as new (...args: unknown[]) => Client;
        return new Echo(`127.0.0.1:${front}`, credentials.createSsl(Buffer.from(rig.ca.cert)), {
          'grpc.ssl_target_name_override': hostname,
          'grpc.default_authority': hostname,
        });
      };
      client = open(NAME);
      down = open('down.svc.test');
      rig.onStop(() => {
        client.close();
        down.close();
      });
    });
    after(() => rig.stop());

    it('answers unary calls, with trailers and our own forwarded headers', async () => {
      const metadata = new Metadata();
      metadata.set('x-forwarded-for', '6.6.6.6');
      const { value, trailer } = await call('Unary', 'who', metadata);
      expect(String(value)).to.equal('127.0.0.1 127.0.0.1');
      expect(trailer.get('x-trailer')).to.deep.equal(['end']);
    });

    it('gives back errors whole: code, details, metadata; also those that are trailers only', async () => {
      const error = await failure(call('Unary', 'fail'));
      expect(error).to.include({ code: status.FAILED_PRECONDITION, details: 'not today: äöü' });
      expect(error.metadata.get('x-trailer')).to.deep.equal(['end']);
      expect((await failure(call('Missing', ''))).code).to.equal(status.UNIMPLEMENTED);
    });

    it('keeps a conversation both ways: 500 messages, each answered before the next, then silence, then more', async () => {
      const chat = client.makeBidiStreamRequest(
        '/test.Echo/Chat',
        bytes.requestSerialize,
        bytes.responseDeserialize,
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
      // Longer than an ordinary answer may take.
      await new Promise((done) => setTimeout(done, 500));
      chat.write(Buffer.from('501'));
      await until('the answer after the silence', () => answers === 501);
      chat.end();
      expect(await ended).to.equal(status.OK);
    });

    it('carries a message of 3 MB', async () => {
      const big = Buffer.alloc(3_000_000, 3);
      expect((await call('Unary', big)).value.equals(big)).to.equal(true);
    });

    it('tells the service when the client cancels', async () => {
      const chat = client.makeBidiStreamRequest(
        '/test.Echo/Chat',
        bytes.requestSerialize,
        bytes.responseDeserialize,
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
        Array.from({ length: 1_000 }, (_, index) => call('Unary', String(index))),
      );
      expect(replies.every(({ value }, index) => String(value) === String(index))).to.equal(true);
    });

    it('says UNAVAILABLE when the service is down', async () => {
      expect((await failure(call('Unary', 'x', new Metadata(), down))).code).to.equal(status.UNAVAILABLE);
    });
  });
}
