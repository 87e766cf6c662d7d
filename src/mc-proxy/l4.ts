import { connect, type Socket } from 'node:net';
import { parseAddress, type Route } from '../base/routetable.ts';
import type { Limits } from './limits.ts';

/**
 * Relays a connection to the service, `first` (what was already read) before everything else. Bytes are not looked at;
 * a side that has finished sending may go on receiving. `done` is called once, when both sides are closed.
 */
export function relay(
  client: Socket,
  first: Buffer,
  route: Route,
  limits: Limits,
  done: (why?: string) => void,
): void {
  const { host, port } = parseAddress(route.backend) ?? { host: undefined, port: 0 };
  const backend = connect({
    host: host ?? '127.0.0.1',
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
  });
  const connectTimer = setTimeout(() => {
    backend.destroy(new Error(`no connection within ${limits.connectTimeoutMs} ms`));
  }, limits.connectTimeoutMs);
  backend.once('connect', () => {
    clearTimeout(connectTimer);
    backend.write(first);
    client.pipe(backend);
    backend.pipe(client);
  });
  tie(client, backend, limits, (why) => {
    clearTimeout(connectTimer);
    done(why);
  });
}

/** Ends two sockets together: an error, a close or idleness of one is that of both. `done` is called once. */
export function tie(a: Socket, b: Socket, limits: Limits, done: (why?: string) => void): void {
  let why: string | undefined;
  let open = 2;
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    one.setTimeout(limits.tunnelIdleTimeoutMs, () => {
      why ??= 'idle';
      one.destroy();
    });
    one.once('end', () => {
      one.setTimeout(limits.halfClosedIdleTimeoutMs);
      other.setTimeout(limits.halfClosedIdleTimeoutMs);
    });
    one.on('error', (error) => {
      why ??= error.message;
    });
    one.once('close', () => {
      // What the other side still has to send is lost only if this one broke; after a clean end it is written out.
      if (one.errored !== null || !one.readableEnded || other.connecting) other.destroy();
      else other.end();
      open -= 1;
      if (open === 0) done(why);
    });
  }
}
