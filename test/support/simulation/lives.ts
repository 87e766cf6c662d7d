import { readFileSync } from 'node:fs';
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
import { simulate, type Report } from './run.ts';

/** More seeds for a meeting of fault and step that did not come about. */
const HUNT = 12;

/** Seeds that failed once, each with what they found: replayed in every run. */
export function keptSeeds(): readonly { readonly seed: number; readonly found: string }[] {
  const text = readFileSync(new URL('../../fixtures/simulation/seeds.json', import.meta.url), 'utf8');
  return JSON.parse(text) as { seed: number; found: string }[];
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
  const one = async (seed: number): Promise<void> => {
    const report = await simulate(seed);
    fired.merge(report.fired);
    reports.push(report);
  };
  for (const seed of seeds) await one(seed);
  const cells = possibleCells();
  const isEmpty = ({ fault, kind }: (typeof cells)[number]): boolean => fired.count(fault, kind) === 0;
  for (const [index, cell] of cells.entries())
    for (let more = 0; hunt && more < HUNT && isEmpty(cell); more += 1)
      await one(1_000_000 * cells.length + more * cells.length + index);
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
