import { connect, type TLSSocket } from 'node:tls';
import { messageOf } from '../base/outcome.ts';

export interface Target {
  readonly name: string;
  readonly hostname: string;
  readonly port: number;
}

export interface Tally {
  readonly asked: number;
  readonly lost: number;
  /** Why the last one was lost; absent while none was. */
  readonly why?: string;
}

/** What one target answered last, for the story: the first line of the body. */
export interface Traffic {
  /** Requests and losses since the last call, by target. */
  take(): ReadonlyMap<string, Tally>;
  total(): ReadonlyMap<string, Tally>;
  answer(name: string): string | undefined;
  stop(): Promise<void>;
}

const EVERY_MS = 20;
const TIMEOUT_MS = 2_000;

/**
 * Asks once every 20 ms, each target in turn, every time by a new connection through the proxy with the target's
 * host name as SNI. Counting a target begins with its first answer: before that it was not there to be lost.
 * A request without an answer after `timeoutMs` is lost.
 */
export function startTraffic(targets: readonly Target[], timeoutMs = TIMEOUT_MS): Traffic {
  const since = new Map<string, Tally>();
  const all = new Map<string, Tally>();
  const answers = new Map<string, string>();
  const open = new Set<Promise<void>>();
  let turn = 0;
  const count = (name: string, lost?: unknown): void => {
    if (!answers.has(name)) return;
    for (const tallies of [since, all]) {
      const tally = tallies.get(name) ?? { asked: 0, lost: 0 };
      const failed = lost === undefined ? {} : { lost: tally.lost + 1, why: messageOf(lost) };
      tallies.set(name, { ...tally, asked: tally.asked + 1, ...failed });
    }
  };
  const timer = setInterval(() => {
    const target = targets[turn % targets.length];
    turn += 1;
    if (target === undefined) return;
    const request = ask(target, timeoutMs).then(
      (answer) => {
        answers.set(target.name, answer);
        count(target.name);
      },
      (error: unknown) => count(target.name, error),
    );
    open.add(request);
    void request.finally(() => open.delete(request));
  }, EVERY_MS);
  return {
    take: () => {
      const taken = new Map(since);
      since.clear();
      return taken;
    },
    total: () => new Map(all),
    answer: (name) => answers.get(name),
    stop: async () => {
      clearInterval(timer);
      await Promise.all(open);
    },
  };
}

/** One HTTPS request over a connection of its own; resolves with the first line of the body of a 200. */
function ask(target: Target, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: target.port,
      servername: target.hostname,
      // The demo's own CA signed it; what is told is whether the service answers, not who vouches for it.
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    });
    let received = '';
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    socket.once('secureConnect', () => {
      socket.write(`GET / HTTP/1.1\r\nHost: ${target.hostname}\r\nConnection: close\r\n\r\n`);
    });
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    socket.once('error', reject);
    socket.once('close', () => {
      const [head = '', body = ''] = received.split('\r\n\r\n');
      if (!head.startsWith('HTTP/1.1 200')) reject(new Error(head.split('\r\n')[0] ?? 'no answer'));
      else
        resolve(
          body
            .split('\n')
            .find((line) => /[a-z] v/.test(line))
            ?.trim() ?? body.trim(),
        );
    });
  });
}
