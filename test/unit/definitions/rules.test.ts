import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { RULES, type RuleId } from '../../../src/definitions/rules.ts';
import { POLICY, good, readTree, resolved, rulesOf, serviceText } from './support.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/definitions/rules');

interface Expect {
  readonly issues: readonly { readonly file: string; readonly line: number; readonly column: number }[];
  /** The node's policy is known. */
  readonly policy?: boolean;
  /** Rules that the same mistake breaks as well. */
  readonly also?: readonly string[];
}

/** Rules that no tree of files can break by itself, and what breaks them. */
const IN_CODE: Readonly<Partial<Record<RuleId, () => readonly { readonly rule: string }[]>>> = {
  'file/refused': () =>
    resolved({}, { refusedFiles: [{ path: 'services/a.toml', why: 'it is a symbolic link' }] }).desired
      .issues,
  'file/size': () => resolved({ 'services/a.toml': ' '.repeat(256 * 1024 + 1) }).desired.issues,
  'file/deadline': () =>
    resolved({}, { refusedFiles: [{ path: 'services/a.toml', why: 'late', rule: 'file/deadline' }] }).desired
      .issues,
  'file/findings': () =>
    resolved({ 'services/a.toml': Array.from({ length: 51 }, (_, at) => `k${at} = 1\n`).join('') }).desired
      .issues,
  'file/count': () =>
    resolved(Object.fromEntries(Array.from({ length: 20_001 }, (_, at) => [`services/s${at}.toml`, ''])))
      .desired.issues,
  'service/limit': () =>
    resolved(
      Object.fromEntries(
        Array.from({ length: 1_001 }, (_, at) => [`services/s${at}.toml`, serviceText(`s${at}`)]),
      ),
    ).desired.issues,
  'service/node-move': () => {
    const before = serviceText('a', 'volumes = ["/srv/a:/srv/a"]');
    return resolved(
      { 'services/a.toml': before.replace('"rift"', '"orion"') },
      { lastGood: good({ 'services/a.toml': before }) },
    ).desired.issues;
  },
};

describe('every rule', () => {
  for (const rule of Object.keys(RULES) as RuleId[]) {
    const dir = join(FIXTURES, rule);
    const inCode = IN_CODE[rule];
    if (inCode !== undefined) {
      it(`${rule} is broken by what it forbids`, () => {
        expect(rulesOf(inCode() as never)).to.include(rule);
      });
      continue;
    }
    it(`${rule} is told exactly where it is broken, and nothing else is`, () => {
      expect(existsSync(dir), `${dir} is missing: each rule has a fixture that breaks it`).to.equal(true);
      const expected = JSON.parse(readFileSync(join(dir, 'expect.json'), 'utf8')) as Expect;
      const files = readTree(dir);
      const more = expected.policy === true ? { policy: POLICY } : { everywhere: true };
      const { issues } = resolved(files, more).desired;
      const own = issues.filter((issue) => issue.rule === rule);
      const places = own.map(({ file, line, column }) => ({ file, line, column }));
      const byFile = (a: { file: string }, b: { file: string }): number => (a.file < b.file ? -1 : 1);
      if (expected.also?.includes('value/type') !== true) {
        expect(places, JSON.stringify(issues, null, 1)).to.deep.equal([...expected.issues].sort(byFile));
      } else {
        const all = issues.map(({ file, line, column }) => ({ file, line, column }));
        expect(all).to.deep.equal([...expected.issues].sort(byFile));
      }
      const others = issues.filter(
        (issue) => issue.rule !== rule && expected.also?.includes(issue.rule) !== true,
      );
      expect(others, 'other findings').to.deep.equal([]);
      for (const issue of own) {
        expect(issue.severity).to.equal(RULES[rule].severity);
        expect(issue.message).to.match(/\S/);
        expect(issue.hint).to.match(/\.$|\?$|"$/);
      }
    });
  }

  it('has one fixture or one test in code, and no fixture is left over', () => {
    const there = readdirSync(FIXTURES).flatMap((group) =>
      readdirSync(join(FIXTURES, group)).map((name) => `${group}/${name}`),
    );
    expect(there.filter((name) => !Object.hasOwn(RULES, name))).to.deep.equal([]);
  });
});
