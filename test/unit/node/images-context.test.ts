import { expect } from 'chai';
import { extract } from 'tar-stream';
import type { Outcome } from '../../../src/base/outcome.ts';
import { prepareContext, type BuildContext, type ContextLimits } from '../../../src/node/images/context.ts';
import { openSource, workspaceSources } from '../../../src/node/images/source.ts';
import { plainPath } from '../../../src/node/images/tree.ts';
import type { TagTree } from '../../../src/node/images/types.ts';
import { digestOf, treeOf } from './images-support.ts';

interface Entry {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly linkname: string | null;
  readonly content: string;
}

const OPTIONS = { what: 'tag v1.0.0 of hello', dockerfile: 'Dockerfile', maxBytes: 10_000, maxFiles: 100 };

describe('images: build context', () => {
  const prepare = (
    tree: TagTree,
    options: Partial<ContextLimits & { dockerfile: string }> = {},
  ): Promise<Outcome<BuildContext>> => prepareContext(tree, { ...OPTIONS, ...options });
  const opened = async (tree: TagTree, options = {}): Promise<BuildContext> => {
    const context = await prepare(tree, options);
    if (context.kind !== 'ok') throw new Error(context.why);
    return context.value;
  };
  const bytesOf = async (context: BuildContext): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    for await (const piece of context.stream) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  };
  const entriesOf = async (context: BuildContext): Promise<Entry[]> => {
    const entries: Entry[] = [];
    for await (const entry of context.stream.pipe(extract())) {
      const { name, type, mode, linkname, uid, gid, mtime } = entry.header;
      expect([uid, gid, mtime.getTime()]).to.deep.equal([0, 0, Date.UTC(2026, 0, 2, 3, 4, 5)]);
      const pieces: Buffer[] = [];
      for await (const piece of entry) pieces.push(piece as Buffer);
      entries.push({
        name,
        type,
        mode,
        linkname,
        content: Buffer.concat(pieces).toString(),
      });
    }
    return entries;
  };
  const namesOf = async (context: BuildContext): Promise<string[]> =>
    (await entriesOf(context)).map(({ name }) => name);
  const whyOf = async (tree: TagTree, options = {}): Promise<string> => {
    const context = await prepare(tree, options);
    return context.kind === 'ok' ? 'ok' : `${context.kind}: ${context.why}`;
  };
  /** Why the context ends while it is sent. */
  const faultOf = async (tree: TagTree, options = {}): Promise<string> => {
    const context = await opened(tree, options);
    await bytesOf(context).then(
      () => Promise.reject(new Error('it was sent whole')),
      () => undefined,
    );
    expect(context.unfit.aborted).to.equal(true);
    return context.fault()?.why ?? 'none';
  };

  it('sends folders and files sorted, with the modes of git, owned by 0:0 at the time of the tag', async () => {
    const tree = treeOf({
      Dockerfile: 'FROM scratch',
      'a/run': { content: '#!', mode: '100755' },
      'a/b/empty': '',
      link: { content: 'a/run', mode: '120000' },
    });
    expect(await entriesOf(await opened(tree))).to.deep.equal([
      { name: 'a/', type: 'directory', mode: 0o755, linkname: null, content: '' },
      { name: 'a/b/', type: 'directory', mode: 0o755, linkname: null, content: '' },
      { name: 'Dockerfile', type: 'file', mode: 0o644, linkname: null, content: 'FROM scratch' },
      { name: 'a/b/empty', type: 'file', mode: 0o644, linkname: null, content: '' },
      { name: 'a/run', type: 'file', mode: 0o755, linkname: null, content: '#!' },
      { name: 'link', type: 'symlink', mode: 0o777, linkname: 'a/run', content: '' },
    ]);
  });

  it('the same tree gives the same bytes; long and foreign names come through', async () => {
    const long = `${'d'.repeat(90)}/${'f'.repeat(120)}-ü.txt`;
    const tree = treeOf({ Dockerfile: 'FROM scratch', [long]: 'x', 'é/ñ': 'y' });
    const first = await bytesOf(await opened(tree));
    expect(digestOf(first.toString('latin1'))).to.equal(
      digestOf((await bytesOf(await opened(tree))).toString('latin1')),
    );
    expect(await namesOf(await opened(tree))).to.include.members([long, 'é/ñ']);
  });

  it('.dockerignore: globs, exceptions, case; an emptied folder stays; Dockerfile and list are always sent', async () => {
    const tree = treeOf({
      '.dockerignore': '*\n!src\n**/*.log\n!src/keep.log\n# note\nSRC/main\n',
      Dockerfile: 'FROM scratch',
      README: 'x',
      'src/main': 'x',
      'src/a.log': 'x',
      'src/keep.log': 'x',
      'src/logs/b.log': 'x',
      'docs/a': 'x',
    });
    expect(await namesOf(await opened(tree))).to.deep.equal([
      'src/',
      'src/logs/',
      '.dockerignore',
      'Dockerfile',
      'src/keep.log',
      'src/main',
    ]);
  });

  it('<Dockerfile>.dockerignore goes before the general one, which is then not sent', async () => {
    const tree = treeOf({
      '.dockerignore': 'a\n',
      'Dockerfile.api': 'FROM scratch',
      'Dockerfile.api.dockerignore': 'b\n',
      a: 'x',
      b: 'x',
    });
    expect(await namesOf(await opened(tree, { dockerfile: './Dockerfile.api' }))).to.deep.equal([
      'Dockerfile.api',
      'Dockerfile.api.dockerignore',
      'a',
    ]);
  });

  it('names what is missing or outside: the Dockerfile with repository and tag', async () => {
    const tree = treeOf({ Dockerfile: 'FROM scratch' });
    expect(await whyOf(tree, { dockerfile: 'Dockerfile.web' })).to.equal(
      'blocked: tag v1.0.0 of hello has no Dockerfile Dockerfile.web',
    );
    for (const dockerfile of ['../Dockerfile', '/etc/passwd', 'a/../../Dockerfile', '', 'a/']) {
      expect(await whyOf(tree, { dockerfile })).to.match(
        /^blocked: Dockerfile .* lies outside of the repository/,
      );
    }
    expect(plainPath('./a//b/../Dockerfile')).to.equal('a/Dockerfile');
  });

  it('submodules, links that leave the tree and unusable names are blocked with their names, unless ignored', async () => {
    const link = (content: string): { content: string; mode: string } => ({ content, mode: '120000' });
    const tree = { Dockerfile: 'FROM scratch', 'd/in': link('../Dockerfile') };
    expect(await whyOf(treeOf(tree))).to.equal('ok');
    for (const target of ['/etc/passwd', '../../etc/passwd', '../..', 'x/../../..', '']) {
      expect(await whyOf(treeOf({ ...tree, 'd/out': link(target) }))).to.match(
        /leave it: "d\/out" \[source\/symlink\]$/,
      );
    }
    const module = { lib: { mode: '160000' } };
    expect(await whyOf(treeOf({ ...tree, ...module }))).to.match(
      /submodules, .*: "lib" \[source\/submodule\]$/,
    );
    expect(await whyOf(treeOf({ ...tree, ...module, '.dockerignore': 'lib\n' }))).to.equal('ok');
    const odd = { 'a\nb': { content: 'x', unsafe: 'the name has control characters' } };
    expect(await whyOf(treeOf({ ...tree, ...odd }))).to.match(
      /cannot be used: "a\\nb" \(the name has control/,
    );
    const many = Object.fromEntries(
      Array.from({ length: 9 }, (_, index) => [`m${index}`, { mode: '160000' }]),
    );
    expect(await whyOf(treeOf({ ...tree, ...many }))).to.match(/"m4" and 4 more \[source\/submodule\]$/);
  });

  it('a pointer to Git LFS ends the context and is named; a text about LFS does not', async () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n';
    expect(await faultOf(treeOf({ Dockerfile: 'FROM scratch', 'a.bin': pointer }))).to.contain(
      'a.bin of tag v1.0.0 of hello',
    );
    expect(await namesOf(await opened(treeOf({ Dockerfile: `# ${pointer}` })))).to.deep.equal(['Dockerfile']);
  });

  it('where the tree says that it uses Git LFS, a pointer is found before a byte is sent', async () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n';
    const files = { Dockerfile: 'FROM scratch', '.gitattributes': '*.bin filter=lfs diff=lfs -text\n' };
    const sizesOf = (all: Record<string, string>): TagTree => ({
      ...treeOf(all),
      sizesOf: async () => new Map(Object.entries(all).map(([path, text]) => [path, text.length])),
    });
    expect(await whyOf(sizesOf({ ...files, 'a.bin': pointer }))).to.match(
      /^blocked: a\.bin .*\[source\/lfs\]$/,
    );
    expect(await whyOf(sizesOf({ ...files, 'a.bin': 'the file itself' }))).to.equal('ok');
    const ignored = { ...files, 'a.bin': pointer, '.dockerignore': '*.bin' };
    expect(await whyOf(sizesOf(ignored)), 'not part of the build').to.equal('ok');
  });

  it('limits: number of files before, size while it is sent (what is too large is not read)', async () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`f${index}`, '']));
    expect(await whyOf(treeOf({ Dockerfile: '', ...many }))).to.equal(
      'blocked: tag v1.0.0 of hello has 102 files, more than 100',
    );
    const tree = treeOf({ Dockerfile: 'FROM scratch', a: 'x'.repeat(9_000), b: 'x'.repeat(2_000), c: 'x' });
    expect(await faultOf(tree)).to.contain('more than 10000 bytes together (at b)');
    expect(tree.reads).to.not.include('c');
  });

  it('a blob that cannot be read ends the context', async () => {
    const tree = treeOf({ Dockerfile: 'FROM scratch', a: 'x' });
    const broken: TagTree = {
      ...tree,
      readBlob: async (oid, max) =>
        oid === 'a' ? { kind: 'retry', why: 'damaged' } : tree.readBlob(oid, max),
    };
    expect(await faultOf(broken)).to.equal('damaged');
  });

  it('reads no faster than it is read from: memory stays flat', async () => {
    const files = Object.fromEntries(
      Array.from({ length: 50 }, (_, index) => [`f${String(index).padStart(2, '0')}`, 'x'.repeat(100_000)]),
    );
    const tree = treeOf({ Dockerfile: 'FROM scratch', ...files });
    const context = await opened(tree, { maxBytes: 10_000_000 });
    const reader = context.stream[Symbol.asyncIterator]();
    let sent = 0;
    while (sent < 1_000_000) sent += ((await reader.next()).value as Buffer).length;
    await new Promise((resolve) => setImmediate(resolve));
    expect(context.bytes() - sent).to.be.below(500_000);
    await context.close();
    expect(tree.reads.length).to.be.below(20);
    expect(context.fault()).to.equal(undefined);
  });

  it('a path never leaves the workspace, whatever it is', async () => {
    for (const path of ['..', '../x', 'a/../../x', '/etc', 'a\0b']) {
      const request = {
        path,
        tag: 'v1.0.0',
        dockerfile: 'Dockerfile',
        reference: 'hello:v1.0.0',
      };
      const sources = workspaceSources('/tmp', () => Promise.reject(new Error('opened')));
      const source = await openSource(request, sources);
      expect(source.kind === 'ok' ? 'ok' : source.why).to.match(/which leaves the workspace$/);
    }
  });
});
