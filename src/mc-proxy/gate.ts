import { createServer, type Server, type Socket } from 'node:net';
import { messageOf, type Outcome, blocked, ok } from '../base/outcome.ts';
import { parseAddress, type Route } from '../base/routetable.ts';
import { readHello } from './hello.ts';
import { relay } from './l4.ts';
import { makeTerminator, type Lookup, type Terminator } from './l7.ts';
import type { Forwarding } from './forward1.ts';

/** One listening address, and what becomes of the connections that came in by it. */
export interface Gate {
  /** Of its kind and address: gates with one key are interchangeable. */
  readonly key: string;
  readonly addr: string;
  readonly listening: () => boolean;
  listen(): Promise<Outcome<undefined>>;
  /** Takes no more connections; those that are there go on. */
  stop(): void;
  /** Ends connections as soon as nothing is under way on them. */
  drain(): void;
  /** Connections whose first request has not come. */
  waiting(): number;
  close(): void;
}

// RFC 8446, section 6: fatal alert unrecognized_name. It says why in the client and shows no certificate.
const UNRECOGNIZED_NAME = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]);

/** `admit` counts the connections of all gates and says whether one more may come in. */
export function makeGate(
  addr: string,
  lookup: Lookup,
  forwarding: Forwarding,
  admit: (socket: Socket) => boolean,
): Gate {
  const terminator = makeTerminator(lookup, forwarding);
  const { log } = forwarding;
  const server: Server = createServer(
    { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
    (socket) => {
      // A client that resets is none of our business, but without a listener it would end the process.
      socket.on('error', () => undefined);
      if (!admit(socket)) {
        socket.destroy();
        return;
      }
      receive(socket, lookup, terminator, forwarding).catch((error: unknown) => {
        log.error({ addr, why: messageOf(error) }, 'a connection ended in a defect of the router');
        socket.destroy();
      });
    },
  );
  server.on('error', (error) => log.warn({ addr, why: error.message }, 'listener'));
  return {
    key: addr,
    addr,
    listening: () => server.listening,
    listen: () => listen(server, addr),
    stop: () => server.close(),
    drain: () => terminator.drain(),
    waiting: () => terminator.waiting(),
    close: () => {
      if (server.listening) server.close();
      terminator.close();
    },
  };
}

async function receive(
  socket: Socket,
  lookup: Lookup,
  terminator: Terminator,
  forwarding: Forwarding,
): Promise<void> {
  const { limits, log } = forwarding;
  const hello = await readHello(socket, limits);
  if (hello === undefined || socket.destroyed) {
    socket.destroy();
    return;
  }
  const route: Route | undefined = hello.serverName === undefined ? undefined : lookup.find(hello.serverName);
  if (route === undefined) {
    socket.end(UNRECOGNIZED_NAME, () => socket.destroy());
    return;
  }
  if (route.mode === 'l7') {
    socket.unshift(hello.bytes);
    terminator.accept(socket);
    return;
  }
  const over = lookup.begin(route.backend);
  relay(socket, hello.bytes, route, limits, (why) => {
    over();
    if (why !== undefined)
      log.debug({ hostname: route.hostname, backend: route.backend, why }, 'connection ended');
  });
}

export function listen(server: Server, addr: string): Promise<Outcome<undefined>> {
  const { host, port } = parseAddress(addr) ?? { host: undefined, port: 0 };
  return new Promise((resolve) => {
    const failed = (error: Error): void => {
      resolve(
        blocked(
          `listener ${addr}: ${error.message}`,
          'Free the address or name another one; the last good table stays in force.',
        ),
      );
    };
    server.once('error', failed);
    server.listen({ ...(host === undefined ? {} : { host }), port, backlog: 1_024 }, () => {
      server.off('error', failed);
      resolve(ok());
    });
  });
}
