import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below the kernel's own range, from which connections and servers on port 0 are given theirs: nobody takes a port of these
 * between the answer and its use, and one that nothing listens on stays so. Above the ports that agents lease.
 */
const [FIRST, LAST] = [20_001, 32_000];
const TRIES = 200;
const given = new Set<number>();

/** A TCP port that nothing listens on at `host`; no other call in this process is given the same. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let index = 0; index < TRIES; index += 1) {
    const port = randomInt(FIRST, LAST + 1);
    if (given.has(port) || !(await isFree(port, host))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port between ${FIRST} and ${LAST} in ${TRIES} tries`);
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}
