import { createHash } from 'node:crypto';
import { createConnection, createServer, type Socket } from 'node:net';
import { blocked, messageOf, ok, retry, type Outcome } from '../base/outcome.ts';

/** The whole of an abstract address behind its leading zero byte: filled up, so that no version of Node pads it differently. */
const ADDRESS_BYTES = 107;
const ASK_MS = 1_000;
const MAX_ANSWER = 200;

/** Says that this process alone works for one owner in one engine, whichever registry each has (G34). */
export interface Sole {
  /** Ok while this process is the only one; `blocked` with who the other one is. May be called at every look. */
  hold(engineId: string): Promise<Outcome<undefined>>;
  close(): Promise<void>;
}

export interface SoleOptions {
  readonly owner: string;
  /** What another agent may say of this one, for example where its registry is. */
  readonly about: string;
  /** The other one is gone: try again. */
  readonly onFree: () => void;
}

/**
 * The lock is an abstract Unix socket named by engine and owner: the kernel gives it to one process and takes it back when
 * that one ends, however it ends. It reaches as far as the network namespace, and asks for no directory that all may write.
 */
export function openSole({ owner, about, onFree }: SoleOptions): Sole {
  let held: { readonly engineId: string; readonly lock: Lock } | undefined;
  let watched: Socket | undefined;
  let busy: Promise<unknown> = Promise.resolve();

  const take = async (engineId: string): Promise<Outcome<undefined>> => {
    if (held?.engineId === engineId) return ok();
    await held?.lock.release();
    held = undefined;
    const address = addressOf(engineId, owner);
    try {
      held = { engineId, lock: await listen(address, `${process.pid} ${about}`) };
      return ok();
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE')
        return retry(`the lock of ${owner} in this engine cannot be taken: ${messageOf(error)}`);
    }
    const other = await ask(address);
    if (other === undefined) return retry(`another agent that worked for ${owner} is just ending`);
    if (watched === undefined) {
      watched = other.socket;
      other.socket.once('close', () => {
        watched = undefined;
        onFree();
      });
    } else other.socket.destroy();
    return blocked(
      `another agent works for ${owner} in this engine: ${other.who}. This one does nothing`,
      'One agent an engine and owner: stop one of the two, or give one its own `instance`. It takes over when the other one ends.',
    );
  };
  return {
    hold: (engineId) => {
      const turn = busy.then(() => take(engineId));
      busy = turn;
      return turn;
    },
    async close() {
      await busy;
      watched?.removeAllListeners('close').destroy();
      await held?.lock.release();
      held = undefined;
    },
  };
}

function addressOf(engineId: string, owner: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([engineId, owner]))
    .digest('hex');
  return `\0${`mc-gitops/${hash}/`.padEnd(ADDRESS_BYTES, '-')}`;
}

interface Lock {
  release(): Promise<void>;
}

function listen(path: string, who: string): Promise<Lock> {
  return new Promise((resolve, reject) => {
    const waiting = new Set<Socket>();
    // Whoever asks is told who holds it, and stays connected to see it end.
    const server = createServer((socket) => {
      waiting.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => waiting.delete(socket));
      socket.unref();
      socket.write(`${who}\n`);
    });
    const release = (): Promise<void> =>
      new Promise((released) => {
        server.close(() => released());
        for (const socket of waiting) socket.destroy();
      });
    server.once('error', reject);
    server.listen({ path }, () => {
      server.unref();
      resolve({ release });
    });
  });
}

/** Who holds the lock, with the connection that ends with it; undefined when nobody does any more. */
function ask(path: string): Promise<{ readonly who: string; readonly socket: Socket } | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    let answer = '';
    const told = (): void => {
      clearTimeout(late);
      socket.removeAllListeners('data').resume();
      socket.unref();
      const [pid = '', ...about] = answer.split('\n')[0]?.split(' ') ?? [];
      const who = /^\d+$/.test(pid)
        ? `process ${pid}, ${about.join(' ')}`
        : 'a process that does not say who it is';
      resolve({ who: who.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_ANSWER), socket });
    };
    const late = setTimeout(told, ASK_MS);
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('utf8');
      if (answer.includes('\n') || answer.length > MAX_ANSWER) told();
    });
    socket.once('error', () => {
      clearTimeout(late);
      resolve(undefined);
    });
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
