import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { validate, type ValidateOptions } from '../../src/commands/validate.ts';
import { run } from '../../src/demo/process.ts';
import { serviceText } from '../unit/definitions/support.ts';

describe('mc-gitops validate --workspace', () => {
  let dir: string;
  let definitions: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mc-lint-'));
    definitions = join(dir, 'definitions');
    await mkdir(join(definitions, 'services'), { recursive: true });
    await mkdir(join(dir, 'src/a'), { recursive: true });
    const git = (...args: string[]): Promise<unknown> =>
      run('git', ['-C', join(dir, 'src/a'), '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args], {
        env: { PATH: process.env['PATH'], HOME: dir },
      });
    await git('init', '-q', '-b', 'main');
    await writeFile(join(dir, 'src/a/Dockerfile'), 'FROM scratch\nUSER 1000\nENTRYPOINT /a\n');
    await symlink('Dockerfile', join(dir, 'src/a/Dockerfile.link'));
    await git('add', '-A');
    await git('commit', '-q', '-m', 'first');
    await git('tag', 'v1.0.0');
    await writeFile(join(dir, 'src/a/Dockerfile'), 'FROM scratch\n');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function check(options: Partial<ValidateOptions>): Promise<{ code: number; out: string }> {
    let out = '';
    const code = await validate(
      definitions,
      { format: 'text', strict: false, color: false, workspace: join(dir, 'src'), ...options },
      { out: (text) => void (out += text), err: () => undefined },
    );
    return { code, out: out.replaceAll(dir, 'DIR') };
  }
  const write = (name: string): Promise<void> =>
    writeFile(
      join(definitions, `services/${name}.toml`),
      serviceText(name).replace('node =', `build.images = { ${name} = "Dockerfile" }\nnode =`),
    );

  it('judges the Dockerfile of the tag, not of the work tree, and shows its line', async () => {
    await write('a');
    const { code, out } = await check({});
    expect(out).to.contain(
      ['a@v1.0.0:Dockerfile:2:1: error: USER 1000 [dockerfile/user]', '  2 | USER 1000', '    | ^'].join(
        '\n',
      ),
    );
    expect(out).to.contain('a@v1.0.0:Dockerfile:3:1: warning: ENTRYPOINT is run by a shell');
    expect(out).to.contain('1 file, 1 good service, 1 error, 1 warning');
    expect(code).to.equal(1);
    const json = JSON.parse((await check({ format: 'json' })).out) as { rule: string; line: number }[];
    expect(json.map(({ rule, line }) => `${rule}:${line}`)).to.deep.equal([
      'dockerfile/user:2',
      'dockerfile/entrypoint:3',
    ]);
    // It is no file of the pull request: nothing there could have the annotation.
    expect((await check({ format: 'github' })).out).to.match(
      /^::error title=dockerfile\/user::a@v1\.0\.0:Dockerfile:2:1: USER 1000\. /,
    );
  });

  it('a Dockerfile that is a symbolic link, or is not there, is an error by its name: nothing would be built', async () => {
    for (const [dockerfile, why] of [
      ['Dockerfile.link', 'is a symbolic link'],
      ['Dockerfile.none', 'has no Dockerfile Dockerfile.none'],
    ] as const) {
      await writeFile(
        join(definitions, 'services/a.toml'),
        serviceText('a').replace('node =', `build.images = { a = "${dockerfile}" }\nnode =`),
      );
      const { code, out } = await check({});
      expect(out).to.contain(`a@v1.0.0:${dockerfile}:1:1: error: `).and.to.contain(why);
      expect(code).to.equal(1);
    }
  });

  it('a source that is not in the workspace is a warning: it was not judged', async () => {
    await write('b');
    const { code, out } = await check({});
    expect(out).to.match(/b@v1\.0\.0:Dockerfile:1:1: warning: .*no such repository \[dockerfile\/source\]/);
    expect(code).to.equal(0);
    expect((await check({ strict: true })).code).to.equal(1);
  });
});
