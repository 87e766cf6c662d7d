import { expect } from 'chai';
import type { StepKind } from '../../src/plan/types.ts';
import { STEP_KINDS } from '../support/stepkinds.ts';
import { impossible, WEATHERS } from '../support/simulation/faults.ts';
import { keptSeeds, live, matrix } from '../support/simulation/lives.ts';
import { simulate } from '../support/simulation/run.ts';

/**
 * So many, and then as many more as it takes for each possible meeting of a fault and a step: one that never came about
 * fails the run. `npm run test:long` lives 20,000.
 */
const SEEDS = 2_000;

describe('G60 a node through lives of faults, on a clock that jumps', () => {
  it(`keeps G1 to G12 in ${SEEDS} lives: two commits and more, five services and more, each kind of fault`, async function () {
    this.timeout(1_200_000);
    const lives = await live(
      Array.from({ length: SEEDS }, (_, index) => index + 1),
      { hunt: true },
    );
    console.log(matrix(lives.fired));
    const passes = lives.reports.map((report) => report.passes);
    console.log(
      `${lives.reports.length} lives, ${passes.reduce((a, b) => a + b, 0)} passes, ${lives.fired.total()} faults, ${Math.round(lives.ms)} ms; ` +
        `at most ${Math.max(...lives.reports.map((report) => report.settling))} passes with steps after the last fault`,
    );
    expect(lives.findings).to.deep.equal([]);
    expect(lives.empty, 'meetings of a fault and a step that never came about').to.deep.equal([]);
    for (const { seed, passes: lived, commits, services, fired } of lives.reports) {
      expect([lived >= 50, commits >= 2, services >= 5, fired.total() >= 3], `seed ${seed}`).to.deep.equal([
        true,
        true,
        true,
        true,
      ]);
    }
    // While the engine is not seen no step is taken, so that this weather meets none.
    const meeting = WEATHERS.filter((weather) =>
      (Object.keys(STEP_KINDS) as StepKind[]).some((kind) => impossible(weather, kind) === undefined),
    );
    expect(meeting.filter((weather) => lives.fired.row(weather) < 5)).to.deep.equal([]);
  });

  it('lives the same life again from the same seed, to the byte of its journal', async function () {
    this.timeout(300_000);
    for (const seed of [7, 77]) {
      const [first, second] = [await simulate(seed), await simulate(seed)];
      console.log(`seed ${seed}: ${first.passes} passes, journal ${first.hash}, again ${second.hash}`);
      expect(second.hash).to.equal(first.hash);
      expect([second.passes, second.fired.total()]).to.deep.equal([first.passes, first.fired.total()]);
    }
    expect((await simulate(7)).hash).to.not.equal((await simulate(8)).hash);
  });

  it('lives through what once was too much for it', async function () {
    this.timeout(300_000);
    for (const { seed, found } of keptSeeds())
      expect((await simulate(seed)).findings, `${seed}: ${found}`).to.deep.equal([]);
  });
});
