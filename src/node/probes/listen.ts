import { connect } from 'node:net';
import { isLoopback } from '../ports.ts';
import type { ProbeCheck } from '../types.ts';
import type { InsideView } from './inside.ts';
import { describe } from './tls.ts';

type ListenCheck = Extract<ProbeCheck, { kind: 'listen' }>;

const HOLD_MS = 1_000;

/**
 * A LISTEN (or bound UDP) socket on the container's port, reachable from outside its loopback. Where the container's
 * /proc is closed to the agent: a TCP connection that is still open after a second, because a forwarder that finds nobody
 * inside closes it before (rootless Podman after about 190 ms). Resolves with the reason of a failure.
 */
export async function tryListen(
  check: ListenCheck,
  inside: InsideView,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { ip, port, containerPort, protocol } = check;
  if (inside.kind === 'closed') {
    if (protocol === 'tcp' && port !== 0) return holdConnection(check, signal);
    return `nobody can be seen on ${containerPort}/${protocol}: let the agent read /proc of the engine's user (no hidepid)`;
  }
  const found = inside.kind === 'seen' ? inside.sockets : [];
  const isThere = found.some(
    (socket) => socket.port === containerPort && socket.protocol === protocol && !isLoopback(socket.ip),
  );
  const published = port === 0 ? '' : ` (published on ${ip}:${port})`;
  return isThere ? undefined : `nothing listens on ${containerPort}/${protocol}${published}`;
}

function holdConnection(check: ListenCheck, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: check.ip, port: check.port });
    const end = (why?: string): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      socket.destroy();
      resolve(why);
    };
    const abort = (): void => end('ended');
    const closed = Object.assign(new Error('closed'), { code: 'ERR_CLOSED' });
    const where = { ip: check.ip, port: check.port, hostname: '' };
    let timer: NodeJS.Timeout | undefined;
    signal.addEventListener('abort', abort, { once: true });
    socket.once('connect', () => {
      timer = setTimeout(() => end(), HOLD_MS);
    });
    // Without a reader the end of the connection would not be noticed.
    socket.resume();
    socket.on('error', (error) => end(describe(error, where, 'tcp')));
    socket.once('end', () => end(describe(closed, where, 'tcp')));
    socket.once('close', () => end(describe(closed, where, 'tcp')));
    if (signal.aborted) abort();
  });
}
