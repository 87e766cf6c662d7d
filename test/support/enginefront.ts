import { createServer, request as ask, type Server } from 'node:http';

/** A socket before the one of a real engine, for what engines do only on bad days: be away, or have no room for what they are asked. */
export interface EngineFront {
  readonly socketPath: string;
  /** What fits `METHOD /path` is answered with 500 and these words, and not passed on; undefined: all is passed on. */
  refuse(what: RegExp | undefined, message?: string): void;
  /** Nobody answers, and what was under way is cut off. */
  cut(): Promise<void>;
  mend(): Promise<void>;
}

export async function openEngineFront(socketPath: string, target: string): Promise<EngineFront> {
  let refused: RegExp | undefined;
  let words = '';
  let server: Server | undefined;
  const open = (): Server =>
    createServer((request, response) => {
      const { method, url: path, headers } = request;
      if (refused?.test(`${method} ${path}`) === true) {
        response.writeHead(500, { 'Content-Type': 'application/json' });
        response.end(JSON.stringify({ message: words }));
        return;
      }
      const behind = ask({ socketPath: target, method, path, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        // Events have a header long before the first of them.
        response.flushHeaders();
        answer.pipe(response);
      });
      behind.on('error', () => response.destroy());
      response.on('close', () => behind.destroy());
      request.pipe(behind);
    });
  const mend = async (): Promise<void> => {
    const fresh = open();
    server = fresh;
    await new Promise<void>((resolve) => fresh.listen(socketPath, resolve));
  };
  await mend();
  return {
    socketPath,
    refuse: (what, message = '') => {
      refused = what;
      words = message;
    },
    cut: async () => {
      const old = server;
      server = undefined;
      await new Promise<void>((resolve) => {
        if (old === undefined) {
          resolve();
          return;
        }
        old.close(() => resolve());
        old.closeAllConnections();
      });
    },
    mend,
  };
}
