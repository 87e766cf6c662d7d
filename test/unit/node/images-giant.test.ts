import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { expect } from 'chai';
import { run } from '../../../src/demo/process.ts';
import { prepareContext } from '../../../src/node/images/context.ts';
import { openSource, workspaceSources } from '../../../src/node/images/source.ts';
import type { TagTree } from '../../../src/node/images/types.ts';

describe('images: giant source trees', () => {
  let workspace: string;
  let directory: string;
  beforeEach(async () => {
    workspace = await mkdtemp(join(tmpdir(), 'mc-giant-'));
    directory = join(workspace, 'hello');
    await run('git', ['init', '-q', '-b', 'main', directory]);
  });
  afterEach(() => rm(workspace, { recursive: true, force: true }));

  const git = (args: string[], input?: string): Promise<string> =>
    run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args], {
      ...(input === undefined ? {} : { input }),
    }).then(({ stdout }) => stdout.trim());
  const opened = async (): Promise<TagTree> => {
    const request = { path: 'hello', tag: 'v1.0.0', dockerfile: 'Dockerfile', reference: 'hello:v1.0.0' };
    const tree = await openSource(request, workspaceSources(workspace));
    if (tree.kind !== 'ok') throw new Error(tree.why);
    return tree.value;
  };
  const whyOf = async (tree: TagTree): Promise<string> => {
    const limits = { what: 'tag v1.0.0 of hello', maxBytes: 1 << 30, maxFiles: 50_000 };
    const context = await prepareContext(tree, { ...limits, dockerfile: 'Dockerfile' });
    return context.kind === 'ok' ? 'ok' : context.why;
  };

  it('a file of 5 GB is refused by the size that its store declares: no byte of it is read', async () => {
    const dockerfile = await git(['hash-object', '-w', '--stdin'], 'FROM scratch\n');
    const giant = 'ab'.repeat(20);
    await mkdir(join(directory, '.git/objects/ab'), { recursive: true });
    const head = deflateSync(Buffer.from(`blob ${5 * 2 ** 30}\0only this is there`));
    await writeFile(join(directory, '.git/objects/ab', giant.slice(2)), head);
    const entries = `100644 blob ${dockerfile}\tDockerfile\n100644 blob ${giant}\tgiant.bin\n`;
    const tree = await git(['mktree', '--missing'], entries);
    await git(['tag', 'v1.0.0', await git(['commit-tree', tree, '-m', 'giant'])]);
    const found = await opened();
    const reads: string[] = [];
    const watched: TagTree = {
      ...found,
      readBlob: (oid, max) => {
        reads.push(oid);
        return found.readBlob(oid, max);
      },
    };
    expect(await whyOf(watched)).to.equal(
      'the files of tag v1.0.0 of hello have more than 1073741824 bytes together (at giant.bin)',
    );
    expect(reads).to.deep.equal([]);
  });

  it('100,000 files are refused by their number, before one of them is read', async () => {
    const blob = 'blob\nmark :1\ndata 2\nx\n';
    const docker = 'blob\nmark :2\ndata 13\nFROM scratch\n';
    const head = 'commit refs/heads/main\ncommitter t <t@example.net> 1767323045 +0000\ndata 1\nm\n';
    const files = Array.from({ length: 100_000 }, (_, at) => `M 100644 :1 d${at % 100}/f${at}\n`).join('');
    await git(['fast-import', '--quiet'], `${blob}\n${docker}\n${head}M 100644 :2 Dockerfile\n${files}\n`);
    await git(['tag', 'v1.0.0', 'main']);
    expect(await whyOf(await opened())).to.equal('tag v1.0.0 of hello has 100001 files, more than 50000');
  });

  it('sizes of many blobs are told from packs and loose objects alike', async () => {
    await mkdir(join(directory, 'src'));
    for (let at = 0; at < 50; at += 1) await writeFile(join(directory, `src/f${at}`), 'x'.repeat(at * 10));
    await git(['add', '-A']);
    await git(['commit', '-q', '-m', 'one']);
    await git(['gc', '-q']);
    await writeFile(join(directory, 'Dockerfile'), 'FROM scratch\n');
    await git(['add', '-A']);
    await git(['commit', '-q', '-m', 'two']);
    await git(['tag', 'v1.0.0']);
    const tree = await opened();
    const sizes = await tree.sizesOf?.(tree.files.map(({ oid }) => oid));
    const told = tree.files.map(({ path, oid }) => [path, sizes?.get(oid)]);
    expect(told).to.have.length(51);
    for (const [path, size] of told)
      expect(size, String(path)).to.equal(
        path === 'Dockerfile' ? 13 : Number(/\d+/.exec(String(path))?.[0]) * 10,
      );
  });
});
