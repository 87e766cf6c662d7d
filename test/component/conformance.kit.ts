import { ServerCredentials } from '@grpc/grpc-js';
import { X509Certificate } from 'node:crypto';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createTcp, type Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { WebSocketServer } from 'ws';
import { grpcService } from '../support/grpcservice.ts';
import { endWithConnections, listen } from '../support/mcproxy.ts';
import { DRIVERS, type Driver, type DriverRig } from '../support/proxyrig.ts';
import { connectTo } from '../support/tlsclient.ts';
import { serviceOf } from '../support/webservice.ts';

export const WEB = 'hello.svc.test';
export const TLS_WEB = 'tls.svc.test';
export const API = 'api.svc.test';

/** What every driver is held to, with real traffic: driver × expectation, printed at the end. */
const kept = new Map<string, Map<Driver, boolean>>();

/** The same expectations for every driver. */
export function heldTo(what: string, expectations: (kind: Driver) => void): void {
  for (const kind of DRIVERS) {
    describe(`proxy driver "${kind}", what every driver is held to: ${what}`, () => {
      afterEach(function () {
        const test = this.currentTest;
        if (test === undefined) return;
        const row = kept.get(test.title) ?? new Map<Driver, boolean>();
        kept.set(test.title, row.set(kind, test.state === 'passed'));
      });
      expectations(kind);
    });
  }
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

export const claims = (authority: string): Record<string, string> => ({
  'x-forwarded-for': '127.0.0.1',
  'x-forwarded-proto': 'https',
  'x-forwarded-host': authority,
  'x-real-ip': '127.0.0.1',
});

export async function webServices(rig: DriverRig): Promise<{ clear: string; tls: string }> {
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

export async function namedService(rig: DriverRig, name: string, delayMs = 0): Promise<string> {
  const server: Server = createHttp((_req, res) => void setTimeout(() => res.end(name), delayMs));
  const backend = `127.0.0.1:${await listen(server)}`;
  rig.onStop(endWithConnections(server));
  return backend;
}

export async function echoService(rig: DriverRig): Promise<{ backend: string; fingerprint: string }> {
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

export async function grpcBackend(rig: DriverRig, tls: boolean): Promise<string> {
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
export async function clientHello(servername: string): Promise<Buffer> {
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
export function everythingFrom(socket: Socket): Promise<Buffer> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(Buffer.concat(parts)));
  });
}
