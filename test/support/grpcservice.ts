import {
  credentials,
  loadPackageDefinition,
  Metadata,
  Server,
  status,
  type Client,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  type ServiceDefinition,
  type ServiceError,
} from '@grpc/grpc-js';

export const BYTES = {
  requestSerialize: (value: Buffer) => value,
  requestDeserialize: (value: Buffer) => value,
  responseSerialize: (value: Buffer) => value,
  responseDeserialize: (value: Buffer) => value,
};
const ECHO: ServiceDefinition = {
  unary: { path: '/test.Echo/Unary', requestStream: false, responseStream: false, ...BYTES },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...BYTES },
  missing: { path: '/test.Echo/Missing', requestStream: false, responseStream: false, ...BYTES },
};

/** Echoes, says whom it was told of, fails on request. */
export function grpcService(): Server {
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

export interface Reply {
  readonly value: Buffer;
  readonly trailer: Metadata;
}

/** A client of a host name behind a port of this machine. */
export function grpcClient(port: number, hostname: string, ca: string): Client {
  const Echo = loadPackageDefinition({ Echo: ECHO })['Echo'] as new (...args: unknown[]) => Client;
  return new Echo(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(ca)), {
    'grpc.ssl_target_name_override': hostname,
    'grpc.default_authority': hostname,
  });
}

/** One call, with the trailers that ended it. */
export function unary(
  client: Client,
  name: string,
  text: string | Buffer,
  metadata = new Metadata(),
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    let value: Buffer | undefined;
    let failed: Error | null = null;
    const done = (error: ServiceError | null, received?: Buffer): void => {
      failed = error;
      value = received;
    };
    client
      .makeUnaryRequest(
        `/test.Echo/${name}`,
        BYTES.requestSerialize,
        BYTES.responseDeserialize,
        Buffer.from(text),
        metadata,
        done,
      )
      .on('status', ({ metadata: trailer }) =>
        setImmediate(() =>
          failed === null ? resolve({ value: value ?? Buffer.alloc(0), trailer }) : reject(failed),
        ),
      );
  });
}

export function failureOf(work: Promise<unknown>): Promise<ServiceError> {
  return work.then(
    () => Promise.reject(new Error('the call did not fail')),
    (error: unknown) => error as ServiceError,
  );
}
