import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { tellGithub, tellJson, tellText } from '../../../src/definitions/tell.ts';
import { isInside } from '../../../src/definitions/fields.ts';
import { isWithin } from '../../../src/definitions/mounts.ts';
import type { Resolution } from '../../../src/definitions/resolve.ts';
import type { Desired } from '../../../src/definitions/types.ts';
import { CORPUS } from './corpus.ts';
import { POLICY, fileOf, resolved, rulesOf, serviceText } from './support.ts';

const MAX_MS = 1_000;
const MAX_GROWTH_BYTES = 64 * 1024 * 1024;
const FUZZ_CASES = Number(process.env.FUZZ_CASES ?? 20_000);
const OURS = { ...POLICY, imageHosts: ['registry.example.net'] };

/** Time that this process worked: the clock on the wall also counts the neighbours. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Nothing that is in force may do what the policy does not allow, whatever the files say. */
function expectHarmless(desired: Desired): void {
  for (const { service } of desired.services) {
    expect(service.node).to.equal('rift');
    expect(service.name).to.match(/^[a-z0-9-]{1,63}$/);
    expect(service.path).to.not.match(/^\/|(^|\/)\.\.(\/|$)|[^\x20-\x7e]/);
    for (const component of service.components) {
      expect(component.container).to.match(/^[a-z0-9-]{1,63}$/);
      expect(component.network).to.be.oneOf(POLICY.networks);
      expect(component.image.tag).to.match(/^v?\d+\.\d+\.\d+/);
      expect(component.image.host).to.be.oneOf([undefined, 'registry.example.net']);
      for (const mount of component.mounts) {
        expect(mount.target)
          .to.match(/^\/./)
          .and.not.match(/\/\.\.?(\/|$)|\/\/|^\/(proc|sys|dev)(\/|$)/);
        if (mount.kind === 'bind') expect(isWithin(mount.source, `/srv/${service.name}`)).to.equal(true);
      }
      for (const { name } of component.env) expect(name).to.match(/^(?!PORT$|PORT_|PEER_)[A-Za-z_]\w*$/);
      for (const { hostname, port } of component.routes) {
        expect(isInside(hostname, 'metacircular.net')).to.equal(true);
        expect(hostname).to.match(/^[a-z0-9.-]+$/);
        expect(port).to.be.within(1, 65_535);
      }
      for (const { host } of component.ports) expect(host === 53 || host >= 1024).to.equal(true);
    }
  }
}

/** All that is printed is one line an item, without characters that move the cursor. */
function expectPrintable(
  { desired }: Resolution,
  files: Readonly<Record<string, string | Uint8Array>>,
): void {
  const bytesOf = new Map(
    Object.entries(files).map(([path, content]) => [path, fileOf(path, content).bytes]),
  );
  const controls = /[^\P{C}\n\t]|[\u2028\u2029]/u;
  const text = tellText(desired.issues, bytesOf, { color: false, prefix: '' });
  expect(controls.exec(text)?.[0]).to.equal(undefined);
  for (const { message, path, hint } of desired.issues) {
    expect(/[^\P{C}]|[\u2028\u2029]/u.exec(message + path + hint)?.[0], message).to.equal(undefined);
    expect(message.length + path.length).to.be.below(2_000);
  }
  expect(tellGithub(desired.issues, '').split('\n')).to.have.length(desired.issues.length + 1);
  expect(JSON.parse(tellJson(desired.issues))).to.have.length(desired.issues.length);
}

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
const mutated = fc
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

/**
 * Bytes that are held after a collection, on the heap and outside it. What the process keeps resident is no measure here: the
 * engine gives back the room that all the tests before have needed when it likes.
 */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

describe('fuzzed definitions (G45)', () => {
  it(`${FUZZ_CASES} mutated files: no exception, none over 1 s, nothing harmful in force, less than 64 MB more memory`, function () {
    const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
    console.log(`      seed ${seed} (FUZZ_SEED=${seed} repeats it)`);
    this.timeout(4 * 3_600_000);
    let slowest = 0;
    let inForce = 0;
    let cases = 0;
    const base = serviceText('b');
    let before = heldBytes();
    fc.assert(
      fc.property(
        mutated,
        fc.constantFrom('services/a.toml', 'nodes/rift.toml', 'removals.toml'),
        (bytes, path) => {
          const begun = cpuMs();
          const files = { 'services/b.toml': base, [path]: bytes };
          const resolution = resolved(files, { policy: OURS });
          slowest = Math.max(slowest, cpuMs() - begun);
          inForce += resolution.desired.services.some(({ service }) => service.name === 'a') ? 1 : 0;
          expectHarmless(resolution.desired);
          cases += 1;
          // Until here the engine has compiled what it runs: that is no growth.
          if (cases === 1_000) before = heldBytes();
          if (cases % 4 === 0) expectPrintable(resolution, files);
          if (path === 'services/a.toml') {
            // Whatever stands in one file, its neighbour is not held back, unless they claim the same.
            const isHeld = !resolution.desired.services.some(({ service }) => service.name === 'b');
            const rules = rulesOf(resolution.desired.issues);
            if (isHeld) expect(rules.some((rule) => rule.endsWith('duplicate'))).to.equal(true);
          }
        },
      ),
      { numRuns: FUZZ_CASES, seed },
    );
    const growth = heldBytes() - before;
    console.log(
      `      slowest ${slowest.toFixed(1)} ms, ${inForce} accepted, memory +${(growth / 2 ** 20).toFixed(1)} MiB`,
    );
    expect(slowest).to.be.below(MAX_MS);
    expect(growth).to.be.below(MAX_GROWTH_BYTES);
    expect(inForce).to.be.above(0);
  });
});
