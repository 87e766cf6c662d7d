import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { validate, type ValidateOptions } from '../../../src/commands/validate.ts';
import { readImage } from '../../../src/definitions/image.ts';
import { shownLines } from '../../../src/definitions/mask.ts';
import { DEFAULTS, serviceText } from './support.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');
const NOT_CHECKED =
  "Not checked: what the node's settings allow (image/host, network/policy, ports/policy, route/domain, volume/policy); --state FILE|URL takes what a node's agent serves at /api/v1/state.\n" +
  'Not checked: whether an active service with volumes changes its node (service/node-move); --state, or `plan --base REF`, knows what was before.';
const TEXT: ValidateOptions = { format: 'text', strict: false, color: false };

describe('mc-gitops validate', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'mcg-validate-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  function put(path: string, content: string): void {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }

  async function run(
    options: Partial<ValidateOptions> = {},
    where = dir,
  ): Promise<{ code: number; out: string; err: string }> {
    let out = '';
    let err = '';
    const output = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) };
    const code = await validate(where, { ...TEXT, ...options }, output);
    return { code, out: out.replaceAll(where, 'DIR'), err: err.replaceAll(where, 'DIR') };
  }

  it('accepts the example, also when warnings are errors', async () => {
    const { code, out } = await run({ strict: true }, EXAMPLE);
    expect(out).to.match(/^11 files, 9 good services, 0 errors, 0 warnings\n/);
    expect(code).to.equal(0);
  });

  it('G10 a password in an image or an address is shown nowhere, also of a file that is no TOML', async () => {
    for (const [head, value] of [
      ['', 'user:hunter2pw@host.example/x:v1.0.0'],
      ['', 'https://user:hunter2pw@host.example/x:v1.0.0'],
      ['[broken\n', 'user:hunter2pw@host.example/x:v1.0.0'],
    ] as const) {
      const text = `${head}name = "q"\nnode = "n1"\n[[components]]\nname = "q"\nimage = "${value}"\n`;
      const shown = shownLines(Buffer.from(text)).join('\n');
      expect(shown).to.contain('name = "q"');
      expect(shown).to.not.contain('hunter2pw');
      const read = JSON.stringify(readImage(value));
      expect(read).to.contain('"ok":false');
      expect(read).to.not.contain('hunter2pw');
    }
    const pinned = `image = "host.example:8443/x:v1.0.0@sha256:${'a'.repeat(64)}"`;
    expect(shownLines(Buffer.from(pinned))[0]).to.equal(pinned);
  });

  it('G10 what looks like a secret is told by its place, and shown nowhere: in env, cmd, entrypoint and labels', async () => {
    const text = `${serviceText('web')}cmd = ["serve", "--db-password=hunter2pw", "ghp_hunter2pw", "--password=/srv/web/password", "--token", "hunter2pw", "--token-file", "/srv/web/token"]
env = ["SMTP_PWD=hunter2pw", "PWD=/srv/web", "AUTH_TYPE=basic"]
[components.labels]
"org.example.token" = "hunter2pw"
`;
    put('services/web.toml', text);
    for (const format of ['text', 'json', 'github'] as const) {
      const { out } = await run({ format });
      expect(out, format).to.not.contain('hunter2pw');
      expect(out.split('looks like a secret'), out).to.have.length(6);
    }
    for (const line of [
      'enw = ["TOKEN=hunter2pw"]',
      'env = ["A=b"] # was hunter2pw',
      'env = ["A=b"]  #hunter2pw',
    ])
      expect(shownLines(Buffer.from(line)).join(), line).to.not.contain('hunter2pw');
    const broken = shownLines(Buffer.from(`[broken\n${text}`)).join('\n');
    expect(broken).to.not.contain('hunter2pw');
  });

  it('shows the source line with a caret below the place, and how to mend it', async () => {
    put('services/a.toml', serviceText('a', '\tuser = "0:0:0"'));
    const { code, out } = await run();
    expect(out).to.equal(
      [
        'DIR/services/a.toml:7:9: error: "0:0:0" is no user [component/user]',
        '  7 | \tuser = "0:0:0"',
        '    | \t       ^',
        '  Write for example "0:0".',
        '',
        '1 file, 0 good services, 1 error, 0 warnings',
        NOT_CHECKED,
        '',
      ].join('\n'),
    );
    expect(code).to.equal(1);
  });

  it('uses colour only when told so', async () => {
    put('services/a.toml', serviceText('a', 'user = "0:0:0"\nenv = ["A_TOKEN=abcdefgh"]'));
    expect((await run()).out).to.not.contain('\x1b');
    const { out } = await run({ color: true });
    expect(out).to.contain('\x1b[31merror\x1b[0m').and.contain('\x1b[33mwarning\x1b[0m');
  });

  it('covers the values of variables in the lines that it shows', async () => {
    put(
      'services/a.toml',
      serviceText(
        'a',
        'env = ["DB_PASSWORD=s3cr3t", \'\'\'K=s3\ncr3t\'\'\', "s3cr3t"]\nenvironment = "s3cr3t"',
      ),
    );
    put('services/b.toml', `${serviceText('b', 'env = ["K=s3cr3t"')}\nK=s3cr3t\n`);
    const { out } = await run();
    expect(out).to.contain("  7 | env = [\"DB_PASSWORD=••••••\", '''K=••");
    expect(out).to.not.match(/s3|cr3t/);
  });

  it('covers everything that may be a value in a file that is no TOML, and leaves what cannot be one', () => {
    const text = [
      '[[components]]',
      'name = "api"',
      'env = ["K=s3cr3t", oops',
      'K=s3cr3t',
      '"s3cr3t",',
      '["s3cr3t"]',
      'env=["s3cr3t"]',
      'name = "api" env = ["K=s3cr3t"]',
      '',
      '\x1b[2J\u202e',
    ].join('\n');
    const lines = shownLines(Buffer.from(text));
    expect(lines.slice(0, 2)).to.deep.equal(['[[components]]', 'name = "api"']);
    expect(lines[2]).to.equal('env = ["••••••••", ••••');
    expect(lines.join('\n')).to.not.match(/s3cr3t/);
    expect(lines.at(-1)).to.equal('•[•••');
  });

  it('--format json: an array of findings', async () => {
    put('services/a.toml', serviceText('a', 'user = "0:0:0"'));
    const { code, out } = await run({ format: 'json' });
    expect(JSON.parse(out)).to.deep.equal([
      {
        file: 'services/a.toml',
        line: 7,
        column: 8,
        path: 'components[0].user',
        rule: 'component/user',
        severity: 'error',
        message: '"0:0:0" is no user',
        hint: 'Write for example "0:0".',
      },
    ]);
    expect(code).to.equal(1);
    rmSync(join(dir, 'services/a.toml'));
    expect((await run({ format: 'json' })).out).to.equal('[]\n');
  });

  it('--format github: annotations, with everything escaped', async () => {
    put('services/50%,x:y.toml', serviceText('a'));
    const { out } = await run({ format: 'github' });
    expect(out).to.equal(
      '::error file=DIR/services/50%25%2Cx%3Ay.toml,line=1,col=8,title=service/file-name::' +
        'the service is called "a", its file "50%25,x:y.toml". Rename the file to "a.toml".\n',
    );
  });

  it('gives 0 with warnings only, and 1 with --strict', async () => {
    put('services/a.toml', serviceText('a', 'env = ["A_TOKEN=abcdefgh"]'));
    expect((await run()).code).to.equal(0);
    const strict = await run({ strict: true });
    expect(strict.code).to.equal(1);
    expect(strict.out).to.contain('error: "A_TOKEN" looks like a secret');
  });

  it('the caret stands below the place also behind wide and combining characters', async () => {
    put('services/a.toml', serviceText('a', 'volumes = ["日本🎉e\u0301", "bad"]'));
    const lines = (await run()).out.split('\n');
    const at = lines.findIndex((line) => line.includes('"bad" is no volume'));
    // Two CJK characters and an emoji take two columns each, the accent none.
    const columns = 'volumes = ["'.length + 3 * 2 + 1 + '", '.length;
    expect(lines[at + 2]).to.equal(`    | ${' '.repeat(columns)}^`);
  });

  it('a node that nobody names, or a workspace that is none, is a usage error with the nearest name', async () => {
    put('services/aa.toml', serviceText('aa'));
    put('nodes/orion.toml', 'this is bad');
    for (const [node, told] of [
      ['rifft', 'Did you mean rift?'],
      ['Bad Node', 'There is orion, rift.'],
    ] as const) {
      const { code, out, err } = await run({ node });
      expect([code, out], node).to.deep.equal([2, '']);
      expect(err)
        .to.contain(`of a node ${JSON.stringify(node)}`)
        .and.contain(told);
    }
    expect((await run({ node: 'orion' })).code).to.equal(1);
    const { code, err } = await run({ workspace: join(dir, 'nowhere') });
    expect(code).to.equal(2);
    expect(err).to.contain('DIR/nowhere is no directory');
  });

  it('--node: only what concerns that node', async () => {
    put('services/a.toml', serviceText('a', 'oops = 1'));
    put('nodes/orion.toml', '');
    expect((await run({ node: 'rift' })).code).to.equal(1);
    expect((await run({ node: 'orion' })).code).to.equal(0);
  });

  it('--state: what the node allows is checked too, and what was not is said, of which nodes', async () => {
    put('services/a.toml', serviceText('a', 'ports = ["80:80"]'));
    put('services/b.toml', serviceText('b', 'ports = ["80:80"]').replace('"rift"', '"orion"'));
    const policy = { mounts: [], networks: ['mcpnet'], ports: ['1024-65535'], hostnames: [] };
    const promised = { applied: [], leases: [], routes: [], images: [], files: [], failures: [] };
    const state = { format: 1, node: 'rift', defaults: { ...DEFAULTS }, policy, root: '', promised };
    put('state.json', JSON.stringify(state));
    const from = { state: [join(dir, 'state.json')] };
    const { code, out } = await run(from);
    expect(code).to.equal(1);
    expect(out).to.contain(
      'services/a.toml:7:10: error: the node does not allow the fixed port 80 [ports/policy]',
    );
    expect(out).to.contain('2 files, 1 good service, 1 error, 0 warnings\n');
    expect(out)
      .to.contain('Not checked: what the settings of orion allow (')
      .and.not.contain('services/b.toml:');
    const own = await run({ ...from, node: 'rift' });
    expect(own.code).to.equal(1);
    expect(own.out).to.not.contain('Not checked');
    put('state.json', JSON.stringify({ ...state, policy: { ...policy, ports: ['80'] } }));
    expect(await run(from)).to.deep.include({ code: 0 });
    expect((await run({ ...from, node: 'orion' })).code).to.equal(2);
    // For programs the note stands beside the output.
    const json = await run({ ...from, format: 'json' });
    expect(json.out).to.equal('[]\n');
    expect(json.err).to.match(/^Not checked: what the settings of orion allow/);
  });

  it('--state: 2 for what is no state, 3 when the agent does not answer', async () => {
    put('services/a.toml', serviceText('a'));
    put('state.json', '{"format":99}');
    put('no.json', 'null');
    expect(await run({ state: [join(dir, 'state.json')] })).to.deep.include({ code: 2, out: '' });
    expect(await run({ state: [join(dir, 'no.json')] })).to.deep.include({ code: 2, out: '' });
    expect(await run({ state: [join(dir, 'missing.json')] })).to.deep.include({ code: 2, out: '' });
    const unreachable = await run({ state: ['http://127.0.0.1:9/'] });
    expect(unreachable).to.deep.include({ code: 3, out: '' });
    expect(unreachable.err).to.contain('the state cannot be read').and.contain('/api/v1/state');
  });

  it('tells links and never follows them, also links to folders; sorts files; reads no file that is too large', async () => {
    put('elsewhere/x.toml', 'oops');
    put('services/z.toml', serviceText('z'));
    put('services/sub/y.toml', serviceText('y'));
    put('services/README.md', '# no definition');
    put('nodes/sub/x.toml', 'no node');
    put('services/big.toml', '');
    truncateSync(join(dir, 'services/big.toml'), 100 * 1024 * 1024);
    symlinkSync('../elsewhere/x.toml', join(dir, 'services/link.toml'));
    symlinkSync('../elsewhere', join(dir, 'services/folder'));
    symlinkSync('elsewhere/x.toml', join(dir, 'removals.toml'));
    const { out } = await run({ format: 'json' });
    const told = (JSON.parse(out) as { file: string; rule: string }[]).map(
      ({ file, rule }) => `${file} ${rule}`,
    );
    expect(told).to.deep.equal([
      'nodes/sub/x.toml file/ignored',
      'removals.toml file/refused',
      'services/big.toml file/size',
      'services/folder file/refused',
      'services/link.toml file/refused',
    ]);
  });

  it('a submodule is told, filled or not, as the agent tells it: removals wait for it', async () => {
    put('services/z.toml', serviceText('z'));
    put('services/filled/.git', 'gitdir: elsewhere\n');
    put('services/filled/y.toml', serviceText('y'));
    mkdirSync(join(dir, 'services/empty'));
    mkdirSync(join(dir, '.git'));
    put('.gitmodules', '[submodule "empty"]\n\tpath = services/empty\n\turl = ../empty\n');
    const { code, out } = await run({ format: 'json' });
    const told = JSON.parse(out) as { file: string; rule: string; message: string }[];
    expect(told.map(({ file, rule }) => `${file} ${rule}`)).to.deep.equal([
      'services/empty file/refused',
      'services/filled file/refused',
    ]);
    expect(told[0]?.message).to.contain('submodule');
    expect(code).to.equal(1);
  });

  it('gives 2 for what is no directory of definitions', async () => {
    expect(await run()).to.deep.include({ code: 2, out: '' });
    expect((await run()).err).to.contain('DIR has no definitions');
    put('file', '');
    expect((await run({}, join(dir, 'file'))).code).to.equal(2);
    expect((await run({}, join(dir, 'missing'))).err).to.contain('is no directory');
  });

  it('tells files that look meant and are read by nobody, with the nearest right place, and no others', async () => {
    for (const path of [
      'services/Foo.TOML',
      'services/x/hello.tml',
      'service/hello.toml',
      'nodes/sub/rift.toml',
    ])
      put(path, 'oops');
    for (const path of ['removal.toml', 'node.toml', 'README.md', '.taplo.toml', 'renovate.json'])
      put(path, 'oops');
    for (const path of ['.github/workflows/a.yml', 'schema/service.json', 'services/README.md'])
      put(path, 'oops');
    put('services/a.toml', serviceText('a'));
    const { code, out } = await run({ format: 'json' });
    const told = JSON.parse(out) as { file: string; rule: string; hint: string }[];
    expect(told.map(({ file, rule, hint }) => `${file} ${rule} ${hint.split('?')[0] ?? ''}`)).to.deep.equal([
      'node.toml file/ignored Did you mean nodes/<node>.toml',
      'nodes/sub/rift.toml file/ignored Did you mean nodes/rift.toml',
      'removal.toml file/ignored Did you mean removals.toml',
      'service/hello.toml file/ignored Did you mean services/hello.toml',
      'services/Foo.TOML file/ignored Did you mean services/Foo.toml',
      'services/x/hello.tml file/ignored Did you mean services/x/hello.toml',
    ]);
    expect(code).to.equal(0);
  });

  it('says of what is too large, and of an unsafe name, what is wrong and what to do, and the path once', async () => {
    put('services/big.toml', '');
    truncateSync(join(dir, 'services/big.toml'), 300_000);
    put('services/a\nb.toml', serviceText('a'));
    const told = JSON.parse((await run({ format: 'json' })).out) as Record<string, string>[];
    expect(told.map(({ rule, message, hint }) => [rule, message, hint])).to.deep.equal([
      ['file/refused', 'the name has control characters', 'Give it another name, and commit it again.'],
      [
        'file/size',
        'it has 300000 bytes, more than the limit of 262144',
        'Move what is no definition elsewhere; data belongs in /srv/<service>.',
      ],
    ]);
  });

  it('follows a link that is the directory itself: it is what the operator names', async () => {
    put('real/services/a.toml', serviceText('a'));
    symlinkSync('real', join(dir, 'link'));
    const { code, out } = await run({}, join(dir, 'link'));
    expect(out).to.match(/^1 file, 1 good service, 0 errors/);
    expect(code).to.equal(0);
  });

  it('refuses two states of one node: its services would count twice', async () => {
    put('services/a.toml', serviceText('a'));
    const promised = { applied: [], leases: [], routes: [], images: [], files: [], failures: [] };
    const policy = { mounts: [], networks: ['mcpnet'], ports: [], hostnames: [] };
    put(
      'state.json',
      JSON.stringify({ format: 1, node: 'rift', defaults: DEFAULTS, policy, root: '', promised }),
    );
    const state = join(dir, 'state.json');
    const { code, err } = await run({ state: [state, state] });
    expect(code).to.equal(2);
    expect(err).to.contain('two of the states are of the node rift');
  });

  it('refuses folders that are nested too deep', async () => {
    put(`services/${'d/'.repeat(32)}a.toml`, serviceText('a'));
    expect((await run()).code).to.equal(0);
    put(`services/${'d/'.repeat(33)}a.toml`, serviceText('a'));
    expect((await run()).out).to.contain('the folder is nested deeper than 32 levels');
  });
});
