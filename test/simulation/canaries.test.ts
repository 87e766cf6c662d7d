import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { CANARIES, planted } from '../support/simulation/canaries.ts';
import { simulate } from '../support/simulation/run.ts';
import { tally } from '../support/tally.ts';

/** Every bug is found in one of these lives, or the simulation is too weak. */
const SEEDS = 80;
/** Where each was found when it was planted: tried first. */
const RECORDED = JSON.parse(
  readFileSync(new URL('../fixtures/simulation/canaries.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, number>>;

describe('G60 a bug that is planted in the program is found', () => {
  it('there are at least twenty of them', () => {
    expect(CANARIES.length).to.be.at.least(20);
    expect(new Set(CANARIES.map(({ bug }) => bug)).size).to.equal(CANARIES.length);
  });

  for (const canary of CANARIES) {
    it(canary.bug, async function () {
      this.timeout(300_000);
      const begun = performance.now();
      const program = await planted(canary);
      try {
        const recorded = RECORDED[canary.bug];
        const seeds = [
          ...(recorded === undefined ? [] : [recorded]),
          ...Array.from({ length: SEEDS }, (_, at) => at + 1),
        ];
        for (const seed of seeds) {
          const finding = await findingOf(seed, program);
          if (finding === undefined) continue;
          console.log(`      found by seed ${seed}: ${finding.slice(0, 160)}`);
          tally({
            kind: 'simulation: planted bugs found',
            fired: 1,
            unit: 'bugs',
            ms: performance.now() - begun,
          });
          return;
        }
        expect.fail(`not found in ${SEEDS} lives`);
      } finally {
        program.remove();
      }
    });
  }
});

/** A life that does not come to its end is a finding too. */
async function findingOf(
  seed: number,
  program: Awaited<ReturnType<typeof planted>>,
): Promise<string | undefined> {
  try {
    return (await simulate(seed, program)).findings[0];
  } catch (error) {
    return String(error);
  }
}
