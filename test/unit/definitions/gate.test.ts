import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { parseToml } from '../../../src/base/toml.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');
const read = (path: string): string => readFileSync(join(EXAMPLE, path), 'utf8');

interface Manager {
  readonly managerFilePatterns: readonly string[];
  readonly matchStrings: readonly string[];
  readonly datasourceTemplate: string;
}

interface Found {
  readonly datasource: string;
  readonly depName: string;
  readonly currentValue: string;
  readonly currentDigest?: string;
}

/** What the regex managers of renovate.json take out of a file, as its documentation describes them. */
function found(path: string, text: string): Found[] {
  const { customManagers } = JSON.parse(read('renovate.json')) as { customManagers: Manager[] };
  return customManagers
    .filter(({ managerFilePatterns }) =>
      managerFilePatterns.some((pattern) => new RegExp(pattern.slice(1, -1)).test(path)),
    )
    .flatMap(({ matchStrings, datasourceTemplate }) =>
      matchStrings.flatMap((pattern) =>
        [...text.matchAll(new RegExp(pattern, 'g'))].map(({ groups = {} }) => {
          const { depName = '', currentValue = '', currentDigest } = groups;
          const digest = currentDigest === undefined ? {} : { currentDigest };
          return { datasource: datasourceTemplate, depName, currentValue, ...digest };
        }),
      ),
    );
}

const HEAD = 'a'.repeat(40);

/** What the `run: |` steps of a workflow run, in their order. */
function scriptsOf(path: string): string[] {
  const { jobs } = parse(read(path)) as { jobs: Record<string, { steps: { run?: string }[] }> };
  return Object.values(jobs).flatMap(({ steps }) =>
    steps.flatMap(({ run }) => (run === undefined || !run.includes('\n') ? [] : [run])),
  );
}

/** Runs a script as a runner does (bash -e), with tools of ours in front of the others. */
function ran(
  script: string,
  { tools, env }: { readonly tools: Readonly<Record<string, string>>; readonly env: NodeJS.ProcessEnv },
): { code: number | null; out: string; files: (name: string) => string } {
  const dir = mkdtempSync(join(tmpdir(), 'mcg-gate-'));
  try {
    mkdirSync(join(dir, 'tools'));
    for (const [name, text] of Object.entries(tools))
      writeFileSync(join(dir, 'tools', name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    const { status, stdout, stderr } = spawnSync('bash', ['-e', '-c', script], {
      cwd: dir,
      encoding: 'utf8',
      env: {
        ...env,
        PATH: `${join(dir, 'tools')}:${process.env.PATH ?? ''}`,
        GITHUB_STEP_SUMMARY: join(dir, 'summary'),
        GITHUB_PATH: join(dir, 'path'),
        RUNNER_TEMP: dir,
      },
    });
    const texts = new Map(
      ['called', 'calls', 'summary'].map((name) => {
        const path = join(dir, name);
        return [name, existsSync(path) ? readFileSync(path, 'utf8') : ''];
      }),
    );
    return { code: status, out: stdout + stderr, files: (name) => texts.get(name) ?? '' };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe('definitions-example as the gate', function () {
  this.timeout(300_000);
  const help = new Map<string, string>();
  before(() => {
    for (const command of ['validate', 'plan']) {
      const program = ['--import', 'tsx', 'src/main.ts', command, '--help'];
      help.set(command, execFileSync(process.execPath, program, { encoding: 'utf8' }));
    }
  });

  it('who calls a command wrongly gets exit code 2 and is told what there is', () => {
    for (const [args, told] of [
      [['validate', '--format', 'xml'], 'text, json, github'],
      [['validate', '--nowhere'], "unknown option '--nowhere'"],
      [['render', '--format', 'json'], 'shell, compose'],
    ] as const) {
      const program = ['--import', 'tsx', 'src/main.ts', ...args];
      const { status, stderr } = spawnSync(process.execPath, program, { encoding: 'utf8' });
      expect(status, args.join(' ')).to.equal(2);
      expect(stderr).to.contain(told);
    }
  });

  it('renovate: every image of the example follows the git tags of its source, and each is found once', () => {
    const files = readdirSync(join(EXAMPLE, 'services')).map((name) => `services/${name}`);
    const all = files.flatMap((path) => found(path, read(path)));
    const images = files.flatMap((path) => read(path).match(/^image = /gm) ?? []);
    expect(all).to.have.length(images.length);
    expect(new Set(all.map(({ datasource }) => datasource))).to.deep.equal(new Set(['git-tags']));
    expect(all).to.deep.include({ datasource: 'git-tags', depName: 'mcr', currentValue: 'v1.2.0' });
    // The web half of a service is built from the source of the service.
    expect(all.filter(({ depName }) => depName === 'metacrypt')).to.have.length(2);
  });

  it('renovate: an image of another registry follows it, with its digest; other files and tags are left alone', () => {
    const digest = `sha256:${'a'.repeat(64)}`;
    const text = (reference: string): string => `image = "${reference}"\n`;
    expect(found('services/db.toml', text(`docker.io/library/mariadb:11.4.2@${digest}`))).to.deep.equal([
      {
        datasource: 'docker',
        depName: 'docker.io/library/mariadb',
        currentValue: '11.4.2',
        currentDigest: digest,
      },
    ]);
    expect(found('services/sub/db.toml', text('registry.example.net:5000/a/b:v1.0.0'))).to.deep.equal([
      { datasource: 'docker', depName: 'registry.example.net:5000/a/b', currentValue: 'v1.0.0' },
    ]);
    expect(found('services/db.toml', text('docker.io/library/mariadb:latest'))).to.deep.equal([]);
    expect(found('nodes/rift.toml', text('docker.io/library/mariadb:11.4.2'))).to.deep.equal([]);
  });

  it('.taplo.toml is TOML and names schemas that the program prints', () => {
    const parsed = parseToml(read('.taplo.toml'));
    expect(parsed.ok).to.equal(true);
    const kinds = read('.taplo.toml')
      .match(/schema\/(\w+)\.json", enabled/g)
      ?.map((text) => text.slice(7).split('.')[0]);
    expect(kinds).to.deep.equal(['service', 'node', 'removals']);
  });

  for (const path of ['.github/workflows/definitions.yml', '.gitea/workflows/definitions.yml']) {
    it(`${path} calls only commands and options that there are, and finds its comment by the mark of the plan`, () => {
      const calls = read(path).match(/mc-gitops (?:validate|plan)[^|>\n]*/g) ?? [];
      expect(calls.length).to.be.at.least(3);
      for (const command of ['validate', 'plan']) {
        const options = calls
          .filter((call) => call.startsWith(`mc-gitops ${command}`))
          .flatMap((call) => call.match(/--[a-z-]+/g) ?? []);
        expect(options).to.not.deep.equal([]);
        for (const option of options) expect(help.get(command), command).to.contain(option);
      }
      expect(read(path)).to.contain('startswith("<!-- mc-gitops plan -->")').and.contain('fetch-depth: 0');
    });

    it(`${path} takes mc-gitops from a commit that is whole, and never from a registry by its name`, () => {
      expect(read(path)).to.not.match(/npm (?:install|i|exec)\b|npx /);
      const [, judge = ''] = scriptsOf(path);
      expect(judge).to.contain('ci --ignore-scripts');
      for (const [commit, code] of [
        ['main', 1],
        [HEAD, 0],
      ] as const) {
        const tools = { git: `echo ${HEAD}`, npm: 'exit 0' };
        expect(ran(judge, { tools, env: { COMMIT: commit } }).code, commit).to.equal(code);
      }
    });

    for (const [what, code, fork, canWrite, expected] of [
      ['all can be done', 0, 'false', true, 0],
      ['something is refused', 1, 'false', true, 1],
      ['something is refused, from a fork', 1, 'true', false, 1],
      ['all can be done, from a fork whose token may only read', 0, 'true', false, 0],
      ['no comment can be written, and it is no fork', 0, 'false', false, 1],
      ['an agent does not answer', 3, 'false', true, 3],
    ] as const) {
      it(`${path} ends with ${expected} when ${what}`, () => {
        const [plan = '', comment = '', verdict = ''] = scriptsOf(path).slice(-3);
        const api = canWrite ? 'echo "$@" >> calls; echo []' : 'echo "403 Forbidden" >&2; exit 22';
        const tools = {
          'mc-gitops': `echo "$@" > called; echo "<!-- mc-gitops plan -->"; exit ${code}`,
          gh: api.replace('echo []', 'true'),
          curl: api,
        };
        const env = {
          BASE: 'b'.repeat(40),
          STATES: 'http://a:1 http://b:2',
          FORK: fork,
          API: 'http://api',
          NUMBER: '1',
        };
        const whole = [plan, comment, verdict].map((script) => `(\n${script}\n) || exit $?`).join('\n');
        const { code: ended, out, files } = ran(whole, { tools, env });
        expect(ended, out).to.equal(expected);
        expect(files('called')).to.equal(
          `plan . --base ${'b'.repeat(40)} --state http://a:1 --state http://b:2 --format markdown\n`,
        );
        if (code < 2 && canWrite) expect(files('calls')).to.contain('POST');
        if (code < 2) expect(files('summary')).to.contain('<!-- mc-gitops plan -->');
        if (!canWrite && fork === 'true') expect(out).to.contain('may not write one');
      });
    }
  }
});
