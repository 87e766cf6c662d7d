import { randomBytes } from 'node:crypto';
import Dockerode from 'dockerode';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage } from '../support/images.ts';
import type { Row } from './table.ts';

/** What all benches share. Everything made is told to `onEnd` at once, and taken away in the reverse order. */
export interface Bench {
  /** Part of the name of everything that is made. */
  readonly unique: string;
  docker(): Promise<{ readonly engine: TestEngine; readonly api: Dockerode }>;
  /** A small web server: answers 200 on `$PORT` as soon as it is started. Nothing of its time is the service's own. */
  image(): Promise<string>;
  onEnd(end: () => unknown): void;
  /** For people who wait: on standard error. */
  say(text: string): void;
}

export type Measure = (bench: Bench) => Promise<Row[]>;

/** `exec`, so that the server is process 1 and a signal ends it. */
export const SERVE = ['sh', '-c', 'exec httpd -f -h /www -p $PORT'];

export function openBench(): { bench: Bench; end: () => Promise<void> } {
  const ends: (() => unknown)[] = [];
  const unique = `mcg-bench-${randomBytes(3).toString('hex')}`;
  let docker: Promise<{ engine: TestEngine; api: Dockerode }> | undefined;
  let image: Promise<string> | undefined;
  let ending: Promise<void> | undefined;

  const startEngine = async (): Promise<{ engine: TestEngine; api: Dockerode }> => {
    const engine = await startDocker();
    ends.unshift(() => engine.stop());
    return { engine, api: new Dockerode({ socketPath: engine.socketPath }) };
  };
  const bench: Bench = {
    unique,
    docker: () => (docker ??= startEngine()),
    image: () =>
      (image ??= (async () => {
        const { engine, api } = await bench.docker();
        const tag = `localhost/${unique}/web:v1.0.0`;
        bench.onEnd(() => api.getImage(tag).remove({ force: true }));
        await buildBusyboxImage(engine, tag, { files: { '/www/index.html': 'here\n' }, cmd: SERVE });
        return tag;
      })()),
    onEnd: (end) => void ends.push(end),
    say: (text) => void process.stderr.write(`bench: ${text}\n`),
  };
  const end = async (): Promise<void> => {
    for (const undo of ends.reverse()) {
      try {
        await undo();
      } catch (error) {
        process.exitCode = 1;
        bench.say(`not tidied up: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  return { bench, end: () => (ending ??= end()) };
}

/** Wall clock in milliseconds with fractions: comparable with the times of files and of other processes. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

export async function timed<T>(work: () => Promise<T> | T): Promise<{ ms: number; value: T }> {
  const begun = performance.now();
  const value = await work();
  return { ms: performance.now() - begun, value };
}

/** Works on `items`, at most `parallel` at the same time. */
export async function inParallel<T, R>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const at = next++;
      results[at] = await work(items[at] as T);
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  return results;
}
