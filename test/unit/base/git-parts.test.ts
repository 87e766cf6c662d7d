import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { isRefName, parseGitAddress } from '../../../src/base/git/address.ts';
import { parseCommit, parseTag, parseTree } from '../../../src/base/git/objects.ts';
import { parseLsRemote, sshCommand } from '../../../src/base/git/remotessh.ts';
import { messageOf } from '../../../src/base/outcome.ts';
import { openReader } from '../../../src/base/git/reader.ts';

const OID = 'a'.repeat(40);

describe('base/git: addresses and names', () => {
  it('takes http, ssh, scp-like, file and path apart, and shows no user info and no query (G10)', () => {
    const cases: [string, string, string][] = [
      ['https://u:p@h.example/a.git?x=1', 'http', 'https://h.example/a.git'],
      ['http://h.example:3000/a/b/', 'http', 'http://h.example:3000/a/b/'],
      ['ssh://git@h.example:22/a.git', 'ssh', 'ssh://h.example:22/a.git'],
      ['git@h.example:a/b.git', 'ssh', 'git@h.example:a/b.git'],
      ['file:///srv/a%20b.git', 'local', '/srv/a b.git'],
      ['/srv/a.git', 'local', '/srv/a.git'],
    ];
    for (const [url, kind, shown] of cases) expect(parseGitAddress(url)).to.include({ kind, shown });
    const http = parseGitAddress('https://u:p%40ss-canary@h.example/a.git');
    expect(http).to.include({ url: 'https://h.example/a.git', user: 'u' });
    expect(JSON.stringify(http)).not.to.contain('canary');
  });

  it('refuses what git would take for a program or an option', () => {
    const bad = [
      'ext::sh -c id',
      '--upload-pack=x',
      'git@-x:a',
      '-x@h:a',
      'git@h:-a',
      'ssh://-oX/y',
      'ssh://u:p@h/y',
      'ssh://h/',
      'ssh://h o/y',
      'file://host/x',
      'a/b',
      '',
      'https://',
      '/a\nb',
      'git@h:a b',
      'ssh://%zz/',
      'file://%',
      'fd::3',
      'ssh://$(id)@h/x',
    ];
    for (const url of bad) expect(parseGitAddress(url), url).to.equal(undefined);
  });

  it('keeps the grammar of ref names', () => {
    for (const name of ['main', 'feature/x-1', 'v1.0.0', 'a.b', 'ü'])
      expect(isRefName(name), name).to.equal(true);
    const bad = [
      '',
      '-x',
      '../x',
      'a..b',
      'a b',
      'a~1',
      'a^',
      'a:b',
      'a?',
      'a*',
      'a[',
      'a\\b',
      '/a',
      'a/',
      'a//b',
      '.a',
      'a/.b',
      'a.lock',
      'a.',
      'a@{1}',
      '@',
      'a\nb',
      'x'.repeat(201),
    ];
    for (const name of bad) expect(isRefName(name), name).to.equal(false);
  });

  it('hands ssh no path that a shell could take for more', () => {
    expect(sshCommand({ sshKeyFile: '/k/id', knownHostsFile: '/k/known' }))
      .to.contain(' -i /k/id ')
      .and.contain('UserKnownHostsFile=/k/known');
    for (const path of ['/a b', '/a;b', '/$(a)', "/a'b", '/a`b`', 'relative', '/a\nb', '/%h', '-x', '/~']) {
      expect(() => sshCommand({ sshKeyFile: path }), path).to.throw(/cannot be handed to ssh safely/);
      expect(() => sshCommand({ knownHostsFile: path }), path).to.throw(/cannot be handed to ssh safely/);
    }
  });

  it('reads ls-remote, and refuses SHA-256 ids (G27)', () => {
    const output = `ref: refs/heads/main\tHEAD\n${OID}\tHEAD\n${OID}\trefs/tags/v1\n${'b'.repeat(40)}\trefs/tags/v1^{}\nnonsense\n`;
    expect(parseLsRemote(output)).to.deep.equal([
      { name: 'HEAD', oid: OID, target: 'refs/heads/main' },
      { name: 'refs/tags/v1', oid: OID, peeled: 'b'.repeat(40) },
    ]);
    expect(() => parseLsRemote(`${'a'.repeat(64)}\tHEAD\n`)).to.throw(/SHA-256/);
  });
});

describe('base/git: objects', () => {
  const commit = (text: string): ReturnType<typeof parseCommit> =>
    parseCommit(OID, Buffer.from(text, 'latin1'));

  it('parses commits with signatures, without authors, and in old encodings', () => {
    const head = `tree ${OID}\nparent ${OID}\nparent ${'b'.repeat(40)}\nauthor A B <a@b> 1 +0000\ncommitter C <c@d> 1700000000 +0200\n`;
    expect(commit(`${head}gpgsig -----BEGIN\n tree x\n -----END\n\nSubject\n\nBody\n`)).to.deep.equal({
      oid: OID,
      tree: OID,
      parents: [OID, 'b'.repeat(40)],
      author: 'A B',
      email: 'a@b',
      time: 1_700_000_000_000,
      message: 'Subject\n\nBody\n',
    });
    expect(commit(`tree ${OID}\nauthor \xfc <> x\n`)).to.include({ author: '', time: 0, message: '' });
    expect(commit('author A <a@b> 1 +0000\n\nno tree')).to.equal(undefined);
    expect(commit('tree 12\n\n')).to.equal(undefined);
  });

  it('parses tags, and takes nothing else for one', () => {
    expect(parseTag(Buffer.from(`object ${OID}\ntype commit\ntag v1\n\n`))).to.deep.equal({
      object: OID,
      type: 'commit',
    });
    expect(parseTag(Buffer.from(`tree ${OID}\n`))).to.equal(undefined);
  });

  it('marks unsafe names of a tree entry by entry, and refuses a damaged tree (G44)', () => {
    const entry = (name: Buffer | string, mode = '100644'): Buffer =>
      Buffer.concat([
        Buffer.from(`${mode} `),
        Buffer.from(name as string),
        Buffer.from([0]),
        Buffer.from(OID, 'hex'),
      ]);
    const unsafe = [
      '.',
      '..',
      'a/b',
      'a\\b',
      '.git',
      '.GIT',
      'a\x1bb',
      'a\u202eb',
      'x'.repeat(256),
      Buffer.from([0x61, 0xff]),
    ];
    const tree = parseTree(
      Buffer.concat([entry('good.toml'), entry('dir', '40000'), ...unsafe.map((name) => entry(name))]),
    );
    expect(tree?.slice(0, 2)).to.deep.equal([
      { name: 'good.toml', mode: '100644', oid: OID },
      { name: 'dir', mode: '040000', oid: OID },
    ]);
    expect(tree).to.have.length(2 + unsafe.length);
    for (const one of tree?.slice(2) ?? []) expect(one.unsafe, one.name).to.be.a('string');
    expect(parseTree(entry('a').subarray(0, 20))).to.equal(undefined);
    expect(parseTree(Buffer.from('garbage'))).to.equal(undefined);
    expect(parseTree(Buffer.alloc(0))).to.deep.equal([]);
  });
});

describe('base/git: reading', () => {
  let root: string;
  const git = (args: string[], input?: string | Buffer): string =>
    execFileSync('git', args, {
      cwd: root,
      ...(input === undefined ? {} : { input }),
      env: {
        PATH: process.env.PATH,
        GIT_CONFIG_GLOBAL: '/dev/null',
        GIT_AUTHOR_NAME: 'A',
        GIT_AUTHOR_EMAIL: 'a@b',
        GIT_COMMITTER_NAME: 'A',
        GIT_COMMITTER_EMAIL: 'a@b',
      },
    })
      .toString()
      .trim();
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'mc-git-'));
    git(['init', '--quiet', '--bare', '.']);
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('tells the size of loose, packed and deltified blobs without inflating them', async () => {
    const sizes = [0, 1, 15, 16, 127, 128, 2_047, 2_048, 100_000, 3_000_000];
    const blobs = new Map(
      sizes.map((size) => [git(['hash-object', '-w', '--stdin'], Buffer.alloc(size, `${size} `)), size]),
    );
    const base = Array.from({ length: 3_000 }, (_unused, i) => `line ${i * 7919}\n`).join('');
    for (let i = 0; i < 5; i += 1) {
      const text = `${base}changed ${i}\n`;
      blobs.set(git(['hash-object', '-w', '--stdin'], text), text.length);
    }
    const check = async (): Promise<void> => {
      const reader = openReader(root);
      for (const [oid, size] of blobs) {
        expect(await reader.blobSize(oid)).to.equal(size);
        expect(await reader.has(oid)).to.equal(true);
        expect((await reader.blob(oid, size)).length).to.equal(size);
        if (size > 0) {
          const fault = await reader.blob(oid, size - 1).then(() => 'read', messageOf);
          expect(fault).to.contain(`more than the limit of ${size - 1}`);
        }
      }
      expect(await reader.blobSize(OID)).to.equal(undefined);
      expect(await reader.has(OID)).to.equal(false);
    };
    await check();
    const pack = git(
      ['pack-objects', '--quiet', join(root, 'objects/pack/pack')],
      [...blobs.keys()].join('\n') + '\n',
    );
    git(['prune-packed']);
    expect(pack).to.match(/^[0-9a-f]{40}$/);
    expect(git(['verify-pack', '-v', join(root, `objects/pack/pack-${pack}.idx`)])).to.contain(
      'chain length',
    );
    await check();
  });

  it('does not believe an object whose bytes are not those of its id (G29)', async () => {
    const one = git(['hash-object', '-w', '--stdin'], 'one');
    const two = git(['hash-object', '-w', '--stdin'], 'two');
    const path = (oid: string): string => join(root, 'objects', oid.slice(0, 2), oid.slice(2));
    const { readFile, chmod } = await import('node:fs/promises');
    await chmod(path(one), 0o644);
    await writeFile(path(one), await readFile(path(two)));
    const reader = openReader(root);
    const fault = await reader.blob(one, 100).then(() => 'read', messageOf);
    expect(fault).to.contain(one);
    const wrongType = await reader.commit(two).then(() => 'read', messageOf);
    expect(wrongType).to.contain('is a blob, not a commit');
  });

  it('follows a tag of a tag, and says when a tag is of no commit', async () => {
    const blob = git(['hash-object', '-w', '--stdin'], 'one');
    const tree = git(['mktree'], `100644 blob ${blob}\ta\n`);
    const commit = git(['commit-tree', tree, '-m', 'x']);
    git(['tag', '-a', 'a', '-m', 'a', commit]);
    git(['-c', 'advice.nestedTag=false', 'tag', '-a', 'b', '-m', 'b', 'a']);
    git(['tag', '-a', 'c', '-m', 'c', tree]);
    const reader = openReader(root);
    expect(await reader.peel(git(['rev-parse', 'b']))).to.equal(commit);
    const fault = await reader.peel(git(['rev-parse', 'c'])).then(() => 'peeled', messageOf);
    expect(fault).to.contain('does not point to a commit');
  });
});
