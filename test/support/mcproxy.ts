import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeFileAtomic } from '../../src/base/files.ts';
import { makeLog } from '../../src/base/log.ts';
import { formatRouteTable, type Listener, type Route } from '../../src/base/routetable.ts';
import type { Limits } from '../../src/mc-proxy/limits.ts';
import { startProxy, type RunningProxy } from '../../src/mc-proxy/server.ts';
import type { ProxyStatus } from '../../src/mc-proxy/status.ts';
import { makeCa, type TestCa } from './certs.ts';
import { until } from './until.ts';

/** A router of one test: own directory, own CA, own ports; `stop` takes all of it away, and what `onStop` was given. */
export interface ProxyRig {
  readonly directory: string;
  readonly tablePath: string;
  readonly socketPath: string;
  readonly ca: TestCa;
  readonly log: readonly string[];
  proxy: RunningProxy;
  onStop(end: () => unknown): void;
  /** An l7 route with a certificate of its own. */
  l7(hostname: string, backend: string, backendTls?: boolean): Promise<Route>;
  /** Writes the table and waits until it is in force. */
  serve(...listeners: Listener[]): Promise<void>;
  /** Writes whatever is given, and waits until it is refused for this reason. */
  refuse(text: string, why: RegExp): Promise<void>;
  status(): Promise<ProxyStatus>;
  stop(): Promise<void>;
}

export async function startRig(limits: Partial<Limits> = {}): Promise<ProxyRig> {
  const directory = await mkdtemp(join(tmpdir(), 'mc-proxy-'));
  const tablePath = join(directory, 'routes.toml');
  const socketPath = join(directory, 'status.sock');
  const ca = await makeCa();
  const log: string[] = [];
  const ends: (() => unknown)[] = [];
  let generation = 0;
  const started = await startProxy({
    tablePath,
    statusSocketPath: socketPath,
    log: makeLog('debug', { write: (line) => log.push(line) }),
    limits: { drainTimeoutMs: 500, ...limits },
  });
  if (started.kind !== 'ok') throw new Error(started.why);
  const rig: ProxyRig = {
    directory,
    tablePath,
    socketPath,
    ca,
    log,
    proxy: started.value,
    onStop: (end) => void ends.push(end),
    l7: async (hostname, backend, backendTls = false) => {
      const { cert, key } = await ca.issue([hostname]);
      const [tlsCert, tlsKey] = [join(directory, `${hostname}.pem`), join(directory, `${hostname}.key`)];
      await writeFile(tlsCert, cert);
      await writeFile(tlsKey, key, { mode: 0o600 });
      return { hostname, backend, mode: 'l7', tlsCert, tlsKey, backendTls };
    },
    serve: async (...listeners) => {
      generation += 1;
      const mark = String(generation);
      await writeFileAtomic(tablePath, formatRouteTable({ generation: mark, listeners }));
      await until('the table to be in force', async () => {
        const status = await rig.status();
        if (status.refused !== undefined) throw new Error(status.refused.why);
        return status.generation === mark;
      });
    },
    refuse: async (text, why) => {
      await writeFileAtomic(tablePath, text);
      await until(`refusal: ${why.source}`, async () => why.test((await rig.status()).refused?.why ?? ''));
    },
    status: () => readStatus(socketPath),
    stop: async () => {
      await rig.proxy.close();
      for (const end of ends) await end();
      await rm(directory, { recursive: true });
    },
  };
  return rig;
}

function readStatus(socketPath: string): Promise<ProxyStatus> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, path: '/status', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part));
      response.on('end', () => resolve(JSON.parse(text) as ProxyStatus));
    });
    request.on('error', reject).end();
  });
}

/** Listens on a port that the kernel chooses. */
export function listen(server: Server, host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => resolve((server.address() as AddressInfo).port));
  });
}

/** Ends a server together with its connections: half of a handshake, or a half-closed one, would outlive the test. */
export function endWithConnections(server: Server): () => void {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
}
