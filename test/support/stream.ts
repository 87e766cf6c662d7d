import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../src/base/outcome.ts';
import { ask, connectTo, type Target } from './tlsclient.ts';

const WAYS = 4;
const PAUSE_MS = 50;
const PATIENCE_MS = 15_000;

/** What became of the requests of one part of a stream. */
export interface Part {
  /** How often each answer came. */
  readonly answers: Readonly<Record<string, number>>;
  /** Connections that nobody took; the request was sent on a later one. */
  readonly refused: number;
  /** Requests that were sent, or could not be sent in 15 s, and have no answer: in words. */
  readonly lost: readonly string[];
}

/** A steady stream of requests, each with a look-up, a connection and a handshake of its own. */
export interface Stream {
  /** What there was since it began, or since the part before. */
  part(): Part;
  /** How many answers this part has. */
  answered(): number;
  /** Ends it; the last part. */
  end(): Promise<Part>;
}

/**
 * About 70 requests a second where the machine carries them. `addressOf` looks the name up. A client tries again where nothing was sent yet, as
 * browsers do; a request that was sent is never sent twice: without an answer it is lost.
 */
export function startStream(target: Target, addressOf: () => Promise<string>): Stream {
  let [answers, refused, lost] = [{} as Record<string, number>, 0, [] as string[]];
  let over = false;
  const part = (): Part => {
    const told = { answers, refused, lost };
    [answers, refused, lost] = [{}, 0, []];
    return told;
  };
  const connected = async (): Promise<Awaited<ReturnType<typeof connectTo>>> => {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await connectTo(target, { host: await addressOf() });
      } catch (error) {
        refused += 1;
        if (performance.now() > deadline) throw error;
        await delay(PAUSE_MS);
      }
    }
  };
  const one = async (): Promise<void> => {
    try {
      const socket = await connected();
      const { status, body } = await ask(target, { agent: undefined, createConnection: () => socket });
      const answer = `${status} ${body.trim()}`;
      answers[answer] = (answers[answer] ?? 0) + 1;
    } catch (error) {
      lost.push(messageOf(error));
    }
  };
  const way = async (): Promise<void> => {
    while (!over) {
      await one();
      await delay(PAUSE_MS);
    }
  };
  const ways = Array.from({ length: WAYS }, way);
  return {
    part,
    answered: () => Object.values(answers).reduce((sum, count) => sum + count, 0),
    end: async () => {
      over = true;
      await Promise.all(ways);
      return part();
    },
  };
}
