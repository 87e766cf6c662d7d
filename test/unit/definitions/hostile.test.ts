import { expect } from 'chai';
import { CORPUS } from './corpus.ts';
import { cpuMs, expectHarmless, expectPrintable, MAX_MS, OURS } from './harmless.ts';
import { resolved, rulesOf, serviceText } from './support.ts';

describe('hostile definitions (G44)', () => {
  it('the corpus has at least 150 cases, all different', () => {
    expect(CORPUS.length).to.be.at.least(150);
    expect(new Set(CORPUS.map(({ title }) => title)).size).to.equal(CORPUS.length);
  });

  for (const { title, files, refused, expect: expected } of CORPUS) {
    it(`${JSON.stringify(title).slice(1, -1)}: ${expected}`, () => {
      const begun = cpuMs();
      const resolution = resolved(files, { policy: OURS, refusedFiles: refused ?? [] });
      const { desired } = resolution;
      expect(cpuMs() - begun, 'ms').to.be.below(MAX_MS);
      if (expected === 'accepted') {
        expect(desired.issues).to.deep.equal([]);
        expect(desired.services).to.have.length(1);
      } else {
        expect(rulesOf(desired.issues), JSON.stringify(desired.issues.slice(0, 3))).to.include(expected);
        const told = desired.issues.find(({ rule }) => rule === expected);
        expect(told?.file).to.not.equal('');
        expect(told?.line).to.be.at.least(1);
        expect(told?.column).to.be.at.least(1);
      }
      expectHarmless(desired);
      expectPrintable(resolution, files);
    });
  }

  it('does not touch the prototype of anything', () => {
    resolved({
      'services/a.toml': `__proto__.polluted = 1\nconstructor.prototype.polluted = 1\n${serviceText('a')}`,
    });
    expect(({} as Record<string, unknown>).polluted).to.equal(undefined);
  });
});
