import { runInNewContext } from 'node:vm';
import { setFlagsFromString } from 'node:v8';
import { expect } from 'chai';
import fc from 'fast-check';
import { cpuMs, expectHarmless, expectPrintable, OURS } from './harmless.ts';
import { mutated } from './mutations.ts';
import { resolved, rulesOf, serviceText } from './support.ts';

/** What the fuzzer tells whoever started it. */
export interface Fuzzed {
  readonly slowestMs: number;
  /** So many of the mutated files were accepted. */
  readonly inForce: number;
  /** Since the program has compiled what it runs. */
  readonly residentBytes: number;
  readonly heldBytes: number;
}

/** Until here the engine has compiled what it runs: that is no growth. */
const WARM_CASES = 1_000;

interface Memory {
  readonly resident: number;
  readonly held: number;
}

/** After a collection. */
function memory(): Memory {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { resident: rss, held: heapUsed + external };
}

function fuzz(numRuns: number, seed: number): Fuzzed {
  let [slowestMs, inForce, cases] = [0, 0, 0];
  const base = serviceText('b');
  let before = memory();
  fc.assert(
    fc.property(
      mutated,
      fc.constantFrom('services/a.toml', 'nodes/rift.toml', 'removals.toml'),
      (bytes, path) => {
        const begun = cpuMs();
        const files = { 'services/b.toml': base, [path]: bytes };
        const resolution = resolved(files, { policy: OURS });
        slowestMs = Math.max(slowestMs, cpuMs() - begun);
        inForce += resolution.desired.services.some(({ service }) => service.name === 'a') ? 1 : 0;
        expectHarmless(resolution.desired);
        cases += 1;
        if (cases === WARM_CASES) before = memory();
        if (cases % 4 === 0) expectPrintable(resolution, files);
        if (path === 'services/a.toml') {
          // Whatever stands in one file, its neighbour is not held back, unless they claim the same.
          const isHeld = !resolution.desired.services.some(({ service }) => service.name === 'b');
          const rules = rulesOf(resolution.desired.issues);
          if (isHeld) expect(rules.some((rule) => rule.endsWith('duplicate'))).to.equal(true);
        }
      },
    ),
    { numRuns, seed },
  );
  const after = memory();
  return {
    slowestMs,
    inForce,
    residentBytes: after.resident - before.resident,
    heldBytes: after.held - before.held,
  };
}

// A process of its own, which no other test has filled: what it keeps resident is its own then.
const [cases, seed] = process.argv.slice(2).map(Number);
process.send?.(fuzz(cases ?? 0, seed ?? 0));
