import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Fuzzed } from './fuzzer.ts';
import { MAX_MS } from './harmless.ts';

const MAX_GROWTH_BYTES = 64 * 1024 * 1024;
const FUZZ_CASES = Number(process.env.FUZZ_CASES ?? 20_000);

/** The result, or what it said before it ended. */
async function fuzzed(seed: number): Promise<Fuzzed> {
  const child = fork(join(import.meta.dirname, 'fuzzer.ts'), [String(FUZZ_CASES), String(seed)], {
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  let result: Fuzzed | undefined;
  child.stderr?.on('data', (text) => (said += String(text)));
  child.on('message', (message) => (result = message as Fuzzed));
  await once(child, 'close');
  if (result === undefined) throw new Error(said);
  return result;
}

describe('fuzzed definitions (G45)', () => {
  it(`${FUZZ_CASES} mutated files: no exception, none over 1 s, nothing harmful in force, less than 64 MB more memory, resident and held`, async function () {
    const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
    console.log(`      seed ${seed} (FUZZ_SEED=${seed} repeats it)`);
    this.timeout(4 * 3_600_000);
    const { slowestMs, inForce, residentBytes, heldBytes } = await fuzzed(seed);
    const [resident, held] = [residentBytes, heldBytes].map((bytes) => (bytes / 2 ** 20).toFixed(1));
    console.log(
      `      slowest ${slowestMs.toFixed(1)} ms, ${inForce} accepted, memory +${resident} MiB resident, +${held} MiB held`,
    );
    expect(slowestMs).to.be.below(MAX_MS);
    expect(residentBytes).to.be.below(MAX_GROWTH_BYTES);
    expect(heldBytes).to.be.below(MAX_GROWTH_BYTES);
    expect(inForce).to.be.above(0);
  });
});
