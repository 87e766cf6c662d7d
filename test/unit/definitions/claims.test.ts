import { expect } from 'chai';
import fc from 'fast-check';
import { judgeClaims, type Claim, type Contender } from '../../../src/definitions/claims.ts';

function claimOf(file: string, slot: string, at: number, ip: string | undefined): Claim {
  const more = ip === undefined ? {} : { ip };
  return { file, service: file, kind: 'port', key: slot, slot: `port ${slot}`, path: ['ports', at], ...more };
}

/** Every claim beside every other one. */
function pairs(contenders: readonly Contender[]): string[] {
  const all = contenders.flatMap(({ claims }) => claims);
  const excludes = (a: Claim, b: Claim): boolean =>
    a !== b && a.slot === b.slot && (a.ip === b.ip || a.ip === undefined || b.ip === undefined);
  return all
    .filter((claim) => all.some((other) => excludes(claim, other) && other.file !== claim.file))
    .map(({ file, path }) => `${file} ${path.join('.')}`)
    .sort();
}

describe('claims of many files', () => {
  it('whatever was judged before, the verdict is that of the files as they are now (L16)', () => {
    const claims = fc.uniqueArray(
      fc.record({ slot: fc.constantFrom('a', 'b', 'c', 'd'), ip: fc.constantFrom(undefined, '1', '2') }),
      { maxLength: 3, selector: ({ slot }) => slot },
    );
    const file = fc.constantFrom('f', 'g', 'h', 'i', 'j', 'k', 'l', 'm');
    // Sets that follow each other share most of their files, as commits do.
    const change = fc.record({ file, claims: fc.option(claims) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), (changes) => {
        const now = new Map<string, Contender>();
        for (const one of changes) {
          if (one.claims === null) now.delete(one.file);
          else {
            const made = one.claims.map(({ slot, ip }, at) => claimOf(one.file, slot, at, ip));
            now.set(one.file, { file: one.file, claims: made });
          }
          const contenders = [...now.values()];
          const told = judgeClaims(contenders, () => []).map(
            ({ file: path, finding }) => `${path} ${finding.path.join('.')}`,
          );
          expect(told.sort()).to.deep.equal(pairs(contenders));
        }
      }),
      { numRuns: 300 },
    );
  });
});
