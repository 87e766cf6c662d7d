import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import type { Fired } from './faults.ts';
import { simulate, type Report } from './run.ts';

/** A report as it goes from one thread to another. */
export type Told = Omit<Report, 'fired'> & { readonly counts: Fired['counts'] };

/** Whoever waits for an engine beside these lives has a deadline, and they have none. Of this thread alone. */
setPriority(0, 5);

parentPort?.on('message', (seed: number) => {
  void simulate(seed).then(
    ({ fired, ...rest }) => parentPort?.postMessage({ ...rest, counts: fired.counts } satisfies Told),
    // Out of here it is an error of the thread, and of the test.
    (error: unknown) =>
      setImmediate(() => {
        throw error instanceof Error ? error : new Error(String(error));
      }),
  );
});
