import { expect } from 'chai';
import {
  LIBRARIES,
  dangers,
  impurities,
  leftOut,
  machineTraces,
  strayLibraries,
  tooLong,
  unknownRooms,
  wrongDirections,
  type Findings,
} from './rules.ts';
import { isCode, packageOf, repositoryFiles, importsOf, type SourceFile } from './sources.ts';

const files = repositoryFiles();
const code = files.filter(isCode);

interface Rule {
  readonly title: string;
  readonly check: (files: readonly SourceFile[]) => Findings;
  readonly on: readonly SourceFile[];
  /** Each is a file that this rule must find. */
  readonly bad: Readonly<Record<string, string>>[];
  /** Each is a file that this rule must let through. */
  readonly good?: Readonly<Record<string, string>>[];
}

const rules: readonly Rule[] = [
  {
    title: 'every folder and file directly in src is a room of the house',
    check: unknownRooms,
    on: code,
    bad: [{ 'src/utils/a.ts': '' }, { 'src/helper.ts': '' }],
  },
  {
    title: 'a room imports code from base and itself, and types from rooms before it',
    check: wrongDirections,
    on: code,
    bad: [
      { 'src/plan/a.ts': `import { read } from '../node/node.ts';` },
      { 'src/source/a.ts': `import type { Plan } from '../plan/types.ts';` },
      { 'src/base/a.ts': `import type { Plan } from '../plan/types.ts';` },
      { 'src/execute/a.ts': `import { open } from '../registry/open.ts';` },
      { 'src/dashboard/a.tsx': `import type { Promised } from '../registry/types.ts';` },
      { 'src/mc-proxy/a.ts': `import type { Route } from '../plan/types.ts';` },
      { 'src/node/a.ts': `export { route } from '../mc-proxy/table.ts';` },
      { 'src/node/a.ts': `const plan = await import('../plan/plan.ts');` },
      { 'src/report/a.ts': `import { type A, b } from '../plan/types.ts';` },
    ],
    good: [
      {
        'src/plan/a.ts': `import type { Desired } from '../definitions/types.ts'; import { ok } from '../base/outcome.ts';`,
      },
      { 'src/report/a.ts': `import { type Plan } from '../plan/types.ts';` },
      { 'src/execute/a.ts': `import { create } from '../node/engine/create.ts';` },
      { 'src/dashboard/a.tsx': `import type { View } from '../report/types.ts';` },
      { 'src/pass.ts': `import { plan } from './plan/plan.ts';` },
    ],
  },
  {
    title: 'plan and definitions are pure: no I/O, no clock, no dice, no environment',
    check: impurities,
    on: code,
    bad: [
      { 'src/plan/a.ts': `import { readFile } from 'node:fs/promises';` },
      { 'src/plan/a.ts': `import { connect, isIP } from 'node:net';` },
      { 'src/definitions/a.ts': `import { request } from 'node:https';` },
      { 'src/plan/a.ts': `const now = Date.now();` },
      { 'src/plan/a.ts': `const now = new Date();` },
      { 'src/plan/a.ts': `setTimeout(look, 5);` },
      { 'src/definitions/a.ts': `const home = process.env['HOME'];` },
    ],
    good: [
      { 'src/plan/a.ts': `import { createHash } from 'node:crypto'; const then = new Date(now);` },
      { 'src/plan/a.ts': `import { isIP } from 'node:net';` },
    ],
  },
  {
    title: 'each library of others is imported in its one place only',
    check: strayLibraries,
    on: code,
    bad: [
      { 'src/plan/a.ts': `import * as v from 'valibot';` },
      { 'src/source/a.ts': `import left from 'left-pad';` },
      { 'src/report/a.ts': `import git from 'isomorphic-git/http/node';` },
    ],
    good: [{ 'src/base/shape.ts': `export * as v from 'valibot';` }],
  },
  {
    title: 'nothing runs a shell, makes code from text, or uses the global fetch',
    check: dangers,
    on: code,
    bad: [
      { 'src/node/a.ts': `import { exec } from 'node:child_process';` },
      { 'test/support/a.ts': `import { spawn, execSync } from 'node:child_process';` },
      { 'src/node/a.ts': `spawn('ls', [], { shell: true });` },
      { 'src/node/a.ts': `spawn('ls', [], { shell: '/bin/sh' });` },
      { 'src/node/a.ts': `eval('1');` },
      { 'src/node/a.ts': `new Function('return 1');` },
      { 'src/node/a.ts': `await fetch('http://127.0.0.1/');` },
    ],
    good: [{ 'src/node/a.ts': `import { execFile } from 'node:child_process'; await source.fetch();` }],
  },
  {
    title: 'no test is left out, and none leaves out the others',
    check: leftOut,
    on: code,
    bad: [
      { 'test/unit/a.test.ts': `it.skip('a', () => {});` },
      { 'test/unit/a.test.ts': `describe.only('a', () => {});` },
      { 'test/unit/a.test.ts': `it('a', function () { this.skip(); });` },
      { 'test/unit/a.test.ts': `xit('a', () => {});` },
    ],
  },
  {
    title: 'no file of src is longer than 400 lines',
    check: tooLong,
    on: code,
    bad: [{ 'src/plan/a.ts': '\n'.repeat(401) }],
    good: [{ 'src/plan/a.ts': '\n'.repeat(400) }],
  },
  {
    title: 'no committed file names a path of one machine or a package host',
    check: machineTraces,
    on: files,
    bad: [
      { 'src/a.ts': `const at = '/work/main';` },
      { 'README.md': `see /root/notes` },
      { 'package-lock.json': `"resolved": "https://registry.npmjs.org/a"` },
    ],
    good: [{ 'src/a.ts': `const at = '/workspace/hello'; const other = join(root, '/srv/work/a');` }],
  },
];

describe('house', function () {
  this.timeout(300_000);
  for (const { title, check, on, bad, good = [] } of rules) {
    it(title, () => {
      expect(check(on).join('\n')).to.equal('');
    });
    it(`${title} (and this test finds it)`, () => {
      for (const sample of bad) expect(check(filesOf(sample)), JSON.stringify(sample)).to.not.deep.equal([]);
      for (const sample of good) expect(check(filesOf(sample)), JSON.stringify(sample)).to.deep.equal([]);
    });
  }

  it('the table of libraries has no line for one that nobody imports or that package.json does not have', () => {
    const manifest = files.find(({ path }) => path === 'package.json');
    const { dependencies } = JSON.parse(manifest?.text ?? '{}') as { dependencies: Record<string, string> };
    expect(Object.keys(LIBRARIES).sort()).to.deep.equal(Object.keys(dependencies).sort());
  });

  it('looks at files that are there', () => {
    expect(code.length).to.be.greaterThan(50);
    expect(code.flatMap(importsOf).map(({ target }) => packageOf(target))).to.include('valibot');
  });
});

function filesOf(sample: Readonly<Record<string, string>>): SourceFile[] {
  return Object.entries(sample).map(([path, text]) => ({ path, text }));
}
