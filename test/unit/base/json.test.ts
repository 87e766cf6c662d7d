import { expect } from 'chai';
import fc from 'fast-check';
import { canonicalJson } from '../../../src/base/json.ts';

/** As digests of the first versions were made. Labels and records keep them: no byte may change. */
function asBefore(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : part,
  );
}

describe('canonical JSON', () => {
  it('is to the byte what digests have always been made of', () => {
    const key = fc.oneof(fc.string(), fc.constantFrom('10', '9', '01', '4294967295', '-1', '1e3', 'a', 'B'));
    const values = fc.anything({ key, withDate: true, withNullPrototype: false, maxDepth: 4 });
    fc.assert(
      fc.property(values, (value) => {
        if (asBefore(value) === undefined) return;
        expect(canonicalJson(value)).to.equal(asBefore(value));
      }),
      { numRuns: 2_000 },
    );
  });

  it('leaves `undefined` out, and does not know the order in which keys were set', () => {
    expect(canonicalJson({ b: 1, a: [undefined, { d: undefined, c: 2 }] })).to.equal(
      '{"a":[null,{"c":2}],"b":1}',
    );
  });
});
