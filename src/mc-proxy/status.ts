import { rm, lstat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import type { RouteTable } from '../base/routetable.ts';
import type { RouteFault } from './certificates.ts';

/** What `GET /status` on the status socket answers, as JSON. Paths of keys, never keys. */
export interface ProxyStatus {
  readonly pid: number;
  /** ISO 8601. */
  readonly startedAt: string;
  /** The writer's own mark of the table in force. */
  readonly generation: string | null;
  /** `routeTableDigest` of the table in force, as it was written; null before the first good one. */
  readonly tableDigest: string | null;
  /** The routes of it that are really served, with the certificate files that they are served from. */
  readonly live: RouteTable;
  /** Routes of it that have no good certificate in their files; one that is not in `live` is not served. */
  readonly faults: readonly RouteFault[];
  /** There is when the table in the file is not the one in force. */
  readonly refused?: Refusal;
  /** Client connections that are open now. */
  readonly connections: number;
  /** Relayed connections and requests under way, by service: one that is not here has been drained. */
  readonly backends: Readonly<Record<string, number>>;
  readonly listeners: readonly { readonly addr: string; readonly bound: boolean }[];
  readonly certificates: readonly CertificateStatus[];
}

export interface Refusal {
  /** ISO 8601. */
  readonly at: string;
  readonly why: string;
  /** `routeTableDigest` of the refused table; null when it could not be read as one. */
  readonly tableDigest: string | null;
}

export interface CertificateStatus {
  readonly hostname: string;
  readonly fingerprint256: string;
  /** ISO 8601. */
  readonly notAfter: string;
}

export interface StatusServer {
  close(): Promise<void>;
}

const PROBE_TIMEOUT_MS = 2_000;

/**
 * Serves the status on a Unix socket that only its owner may use (0600). The socket of a router that has died is
 * replaced; one that answers means that a router is running already, and is an error, as is any other file there.
 */
export async function serveStatus(path: string, status: () => ProxyStatus): Promise<Outcome<StatusServer>> {
  const free = await freePath(path);
  if (free.kind !== 'ok') return free;
  const server = createServer((req, res) => {
    const found = req.url === '/status' && (req.method === 'GET' || req.method === 'HEAD');
    const body = found ? JSON.stringify(status()) : '404 Not Found\n';
    res.writeHead(found ? 200 : 404, {
      'Content-Type': found ? 'application/json' : 'text/plain; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      'Cache-Control': 'no-store',
    });
    res.end(body);
  });
  try {
    await listenPrivately(server, path);
  } catch (error) {
    return blocked(
      `status socket ${path}: ${messageOf(error)}`,
      'Name a path in a directory that the router may write.',
    );
  }
  server.on('error', () => undefined);
  return ok({
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  });
}

/** The mode is right from the first moment: a chmod afterwards would leave a gap. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const before = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(before);
    }
  });
}

async function freePath(path: string): Promise<Outcome<undefined>> {
  try {
    const there = await lstat(path);
    if (!there.isSocket()) {
      return blocked(
        `status socket ${path}: there is a file of another kind`,
        'Name another path, or remove the file.',
      );
    }
  } catch {
    return ok();
  }
  if (await answers(path)) {
    return blocked(
      `status socket ${path}: a router is running there already`,
      'Stop it first, or name another path.',
    );
  }
  await rm(path, { force: true });
  return ok();
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    // One that takes the connection slowly is alive as well.
    socket.setTimeout(PROBE_TIMEOUT_MS, () => finish(true));
    const finish = (alive: boolean): void => {
      socket.destroy();
      resolve(alive);
    };
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
}
