import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { StepKind } from '../../../src/plan/types.ts';
import { STEP_KINDS } from '../stepkinds.ts';
import { tally } from '../tally.ts';
import {
  CALL_FAULTS,
  CRASHES,
  Fired,
  impossible,
  possibleCells,
  WEATHERS,
  WRITE_FAULTS,
  type StepFault,
  type Weather,
} from './faults.ts';
import { HUNTING } from './life.ts';
import type { Told } from './livesworker.ts';
import type { Report } from './run.ts';

/** More seeds for a meeting of fault and step that did not come about. */
const HUNT = 12;

/** Seeds that failed once, each with what they found: replayed in every run. */
export function keptSeeds(): readonly { readonly seed: number; readonly found: string }[] {
  const text = readFileSync(new URL('../../fixtures/simulation/seeds.json', import.meta.url), 'utf8');
  return JSON.parse(text) as { seed: number; found: string }[];
}

/** Two, as the machines of CI have processors; fewer where there are fewer. */
const THREADS = 2;

interface Thread {
  live(seed: number): Promise<Report>;
  end(): Promise<unknown>;
}

function startThread(): Thread {
  const entry = new URL('./livesworker.ts', import.meta.url).href;
  const loader = pathToFileURL(
    createRequire(import.meta.url)
      .resolve('tsx/esm/api')
      .replace(/cjs$/, 'mjs'),
  ).href;
  const code = `import { register } from ${JSON.stringify(loader)}; register(); await import(${JSON.stringify(entry)});`;
  // Most of what a life makes is gone at its end: in a larger nursery it is not moved about until then.
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
    resourceLimits: { maxYoungGenerationSizeMb: 64 },
  });
  return {
    live: (seed) =>
      new Promise((resolve, reject) => {
        const settle = (then: () => void): void => {
          worker.removeAllListeners('message').removeAllListeners('error').removeAllListeners('exit');
          then();
        };
        worker.on('message', ({ counts, ...rest }: Told) =>
          settle(() => resolve({ ...rest, fired: new Fired(counts) })),
        );
        worker.on('error', (error) => settle(() => reject(error)));
        worker.on('exit', (code) =>
          settle(() => reject(new Error(`seed ${seed}: its thread ended with ${code}`))),
        );
        worker.postMessage(seed);
      }),
    end: () => worker.terminate(),
  };
}

export interface Lives {
  readonly fired: Fired;
  readonly findings: readonly string[];
  readonly reports: readonly Report[];
  /** Possible meetings that did not come about. */
  readonly empty: readonly string[];
  readonly ms: number;
}

/** The seeds, and then, where it is wished, as many more as it takes to bring about what did not happen yet. */
export async function live(seeds: readonly number[], { hunt }: { readonly hunt: boolean }): Promise<Lives> {
  const begun = performance.now();
  const fired = new Fired();
  const reports: Report[] = [];
  const cells = possibleCells();
  const isEmpty = ({ fault, kind }: (typeof cells)[number]): boolean => fired.count(fault, kind) === 0;
  const threads = Array.from({ length: Math.min(THREADS, availableParallelism()) }, startThread);
  const all = async (some: readonly number[]): Promise<void> => {
    const left = [...some];
    const told = new Map<number, Report>();
    const work = async (thread: Thread): Promise<void> => {
      for (let seed = left.shift(); seed !== undefined; seed = left.shift())
        told.set(seed, await thread.live(seed));
    };
    await Promise.all(threads.map(work));
    // In the order of their seeds, whichever thread was quicker.
    for (const seed of some) {
      const report = told.get(seed);
      if (report === undefined) continue;
      fired.merge(report.fired);
      reports.push(report);
    }
  };
  try {
    await all(seeds);
    for (let more = 0; hunt && more < HUNT && cells.some(isEmpty); more += 1)
      await all(
        cells.flatMap((cell, index) => (isEmpty(cell) ? [(HUNTING + more) * cells.length + index] : [])),
      );
  } finally {
    await Promise.all(threads.map((thread) => thread.end()));
  }
  const ms = performance.now() - begun;
  const crashes = CRASHES.reduce((sum, crash) => sum + fired.row(crash), 0);
  tally({ kind: 'simulation: lives of a node', fired: reports.length, unit: 'cases', ms });
  tally({ kind: 'simulation: faults', fired: fired.total() - crashes, unit: 'faults', ms: 0 });
  tally({ kind: 'simulation: deaths of the agent', fired: crashes, unit: 'crashes', ms: 0 });
  return {
    fired,
    reports,
    findings: reports.flatMap(({ seed, findings }) => findings.map((finding) => `seed ${seed}, ${finding}`)),
    empty: cells.filter(isEmpty).map(({ fault, kind }) => `${fault} × ${kind}`),
    ms,
  };
}

/** The table of faults that fired, by the kind of step that they met; `-` where they cannot meet. */
export function matrix(fired: Fired): string {
  const kinds = Object.keys(STEP_KINDS) as StepKind[];
  const rows: readonly (StepFault | Weather)[] = [...CALL_FAULTS, ...CRASHES, ...WRITE_FAULTS, ...WEATHERS];
  const wide = Math.max(...rows.map((row) => row.length));
  const cell = (row: StepFault | Weather, kind: StepKind): string =>
    impossible(row, kind) === undefined ? String(fired.count(row, kind)) : '-';
  const heads = kinds.map((kind, index) => `${String(index + 1).padStart(2)} = ${kind}`);
  return [
    ...heads,
    `${' '.repeat(wide)} ${kinds.map((_, index) => String(index + 1).padStart(5)).join('')}`,
    ...rows.map((row) => `${row.padEnd(wide)} ${kinds.map((kind) => cell(row, kind).padStart(5)).join('')}`),
    ...reasons(kinds, rows).map((reason) => `- ${reason}`),
  ].join('\n');
}

function reasons(kinds: readonly StepKind[], rows: readonly (StepFault | Weather)[]): string[] {
  return [...new Set(rows.flatMap((row) => kinds.flatMap((kind) => impossible(row, kind) ?? [])))];
}
