import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeLog } from '../../../src/base/log.ts';
import { openEngine, type Engine } from '../../../src/node/engine/engine.ts';

/** What `GET /version` and `GET /info` say, in one object. */
export const ABOUT = { Version: '20.10.24', ID: 'e', DockerRootDir: '/x' };

/** An engine that answers as it is told, and the adapter before it; anew for each test. */
export function useStubEngine(
  owner: string,
  answer: RequestListener,
  hash?: (value: string) => string,
): () => Engine {
  let dir: string;
  let server: Server;
  let engine: Engine;
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'mcg-engine-'));
    server = createServer(answer);
    const socket = join(dir, 'engine.sock');
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const opened = await openEngine({
      ...{ socket, owner, callDeadlineMs: 5_000, log: makeLog('silent') },
      ...(hash === undefined ? {} : { hash }),
    });
    if (opened.kind !== 'ok') throw new Error(opened.why);
    engine = opened.value;
  });
  afterEach(async () => {
    engine.close();
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true });
  });
  return () => engine;
}
