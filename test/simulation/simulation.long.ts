import { expect } from 'chai';
import { live, matrix } from '../support/simulation/lives.ts';

const SEEDS = 20_000;

describe('G60 a node through many lives of faults', () => {
  it(`keeps G1 to G12 in ${SEEDS} lives`, async function () {
    this.timeout(0);
    const lives = await live(
      Array.from({ length: SEEDS }, (_, index) => 10_000 + index),
      { hunt: true },
    );
    console.log(matrix(lives.fired));
    console.log(
      `${lives.reports.length} lives, ${lives.fired.total()} faults, ${Math.round(lives.ms / 1000)} s`,
    );
    expect(lives.findings).to.deep.equal([]);
    expect(lives.empty).to.deep.equal([]);
  });
});
