import { randomUUID } from 'node:crypto';
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import protobuf from 'protobufjs/minimal.js';
import { retry } from '../../base/outcome.ts';
import type { Api } from './api.ts';
import { Refusal } from './failure.ts';
import type { RegistryAuth } from './images.ts';

/** What BuildKit asks for accounts of registries; open for one build. */
export interface Session {
  readonly id: string;
  close(): void;
}

/**
 * A session of BuildKit: the engine calls back over the connection and asks for the account of the registry that it
 * pulls a base image from (moby/buildkit, session/auth/auth.proto). Each account is told for its own host only.
 */
export async function openSession(
  api: Api,
  accounts: readonly RegistryAuth[],
  signal: AbortSignal,
): Promise<Session> {
  const id = randomUUID();
  const headers = {
    Upgrade: 'h2c',
    'X-Docker-Expose-Session-Uuid': id,
    'X-Docker-Expose-Session-Name': 'mc-gitops',
    'X-Docker-Expose-Session-Grpc-Method': CREDENTIALS,
  };
  const socket = await api.upgrade('/session', headers, signal);
  socket.on('error', () => undefined);
  // An answer that agrees to nothing comes as what it is, to be read only: gRPC would end the agent over it.
  if (!socket.writable) {
    socket.destroy();
    throw new Refusal({ ...retry('the engine opens no session for the builder'), cause: 'outside' });
  }
  const server = new Server();
  server.addService(
    { credentials: unary(CREDENTIALS), check: unary(HEALTH) },
    {
      credentials: ({ request }: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        const host = hostIn(request);
        const account = accounts.find(({ serveraddress }) => serveraddress === host);
        answer(null, account === undefined ? NOTHING : accountOf(account));
      },
      // Asked every half second: without an answer the engine takes the session for lost.
      check: (_call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => answer(null, SERVING),
    },
  );
  server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
  return {
    id,
    close: () => {
      server.forceShutdown();
      socket.destroy();
    },
  };
}

const CREDENTIALS = '/moby.filesync.v1.Auth/Credentials';
const HEALTH = '/grpc.health.v1.Health/Check';
const NOTHING = Buffer.alloc(0);
/** `HealthCheckResponse { status: SERVING }` */
const SERVING = Buffer.from([0x08, 0x01]);
/** What BuildKit calls Docker Hub when it asks. */
const HUB = 'registry-1.docker.io';

function unary(path: string): {
  path: string;
  requestStream: false;
  responseStream: false;
  requestSerialize: (value: Buffer) => Buffer;
  requestDeserialize: (bytes: Buffer) => Buffer;
  responseSerialize: (value: Buffer) => Buffer;
  responseDeserialize: (bytes: Buffer) => Buffer;
} {
  const asItIs = (bytes: Buffer): Buffer => bytes;
  return {
    ...{ path, requestStream: false, responseStream: false },
    ...{ requestSerialize: asItIs, requestDeserialize: asItIs },
    ...{ responseSerialize: asItIs, responseDeserialize: asItIs },
  };
}

/** `CredentialsRequest { string Host = 1 }` */
function hostIn(bytes: Buffer): string {
  const reader = protobuf.Reader.create(bytes);
  let host = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) host = reader.string();
    else reader.skipType(tag & 7);
  }
  return host === HUB ? 'docker.io' : host;
}

/** `CredentialsResponse { string Username = 1; string Secret = 2 }` */
function accountOf({ username, password }: RegistryAuth): Buffer {
  const writer = protobuf.Writer.create();
  writer.uint32(10).string(username).uint32(18).string(password.reveal());
  return Buffer.from(writer.finish());
}
