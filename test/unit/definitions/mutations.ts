import fc from 'fast-check';
import { CORPUS } from './corpus.ts';

const SEEDS = CORPUS.flatMap(({ files }) => Object.values(files)).filter((content) => content.length < 2_000);
const GOOD = CORPUS.filter((one) => one.expect === 'accepted').flatMap(({ files }) => Object.values(files));
const SNIPPETS = [
  '[[components]]\n',
  '[[components.routes]]\n',
  '[build.images]\n',
  '= ',
  '"',
  "'",
  '"""',
  '[',
  ']',
  '{',
  '}',
  ',',
  '#',
  '\n',
  '\r\n',
  '.',
  '\\u0000',
  '__proto__',
  'env = ["A=x"]\n',
  'port = 1\n',
  'name = "a"\n',
  'volumes = ["/srv/a:/a"]\n',
  '..',
  '/',
  ':',
  '@',
  '\u202e',
  '\0',
  'true',
  '1e999',
  '-0',
];

/** A file of the corpus with parts cut out, doubled, replaced or taken from another. */
export const mutated = fc
  .record({
    seed: fc.oneof(fc.constantFrom(...SEEDS), fc.constantFrom(...GOOD)),
    other: fc.constantFrom(...SEEDS),
    edits: fc.array(
      fc.record({
        kind: fc.constantFrom('cut', 'put', 'bytes', 'double', 'splice'),
        at: fc.double({ min: 0, max: 1, noNaN: true }),
        length: fc.nat(40),
        text: fc.constantFrom(...SNIPPETS),
        raw: fc.uint8Array({ maxLength: 4 }),
      }),
      { maxLength: 4 },
    ),
  })
  .map(({ seed, other, edits }) => {
    let bytes = Buffer.from(seed);
    const from = Buffer.from(other);
    for (const { kind, at, length, text, raw } of edits) {
      const place = Math.floor(at * bytes.length);
      const before = bytes.subarray(0, place);
      const after = bytes.subarray(place);
      if (kind === 'cut') bytes = Buffer.concat([before, after.subarray(length)]);
      else if (kind === 'put') bytes = Buffer.concat([before, Buffer.from(text), after]);
      else if (kind === 'bytes') bytes = Buffer.concat([before, raw, after.subarray(raw.length)]);
      else if (kind === 'double') bytes = Buffer.concat([before, after.subarray(0, length), after]);
      else bytes = Buffer.concat([before, from.subarray(Math.floor(at * from.length))]);
    }
    return new Uint8Array(bytes);
  });
