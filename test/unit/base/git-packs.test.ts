import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, open, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { applyDelta, deltaResultSize } from '../../../src/base/git/delta.ts';
import { openPacks, type Packs } from '../../../src/base/git/packs.ts';
import { openReader } from '../../../src/base/git/reader.ts';
import { messageOf } from '../../../src/base/outcome.ts';

describe('base/git: packs, a window at a time', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mc-packs-'));
    git('init', '-q', '-b', 'main', '.');
    git('config', 'gc.auto', '0');
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  function git(...args: string[]): Buffer {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.net'];
    const quiet = { stdio: ['ignore', 'pipe', 'ignore'] as ['ignore', 'pipe', 'ignore'] };
    return execFileSync('git', ['-C', dir, ...identity, ...args], { maxBuffer: 1 << 26, ...quiet });
  }
  const gitdir = (): string => join(dir, '.git');
  const oidOf = (name: string): string => git('rev-parse', name).toString().trim();
  /** Texts that change a little from commit to commit, and one file that is longer than a window. */
  const history = async (commits: number): Promise<void> => {
    const lines = Array.from({ length: 400 }, (_, at) => `line ${at}: ${randomBytes(20).toString('hex')}`);
    await writeFile(join(dir, 'large'), randomBytes(700_000));
    for (let at = 0; at < commits; at += 1) {
      lines[at * 7] = `changed ${at}`;
      await writeFile(join(dir, 'text'), lines.join('\n'));
      await writeFile(join(dir, 'empty'), '');
      await writeFile(join(dir, `new-${at}`), `${at}`);
      git('add', '-A');
      git('commit', '-q', '-m', `commit ${at}`);
    }
    git('tag', '-f', '-a', 'v1', '-m', 'tagged');
  };
  const listed = (): { oid: string; type: string; size: number }[] =>
    git('cat-file', '--batch-all-objects', '--batch-check')
      .toString()
      .trim()
      .split('\n')
      .map((line) => line.split(' '))
      .map(([oid = '', type = '', size]) => ({ oid, type, size: Number(size) }));
  const compare = async (packs: Packs): Promise<void> => {
    const objects = listed();
    const sizes = await packs.sizes(objects.map(({ oid }) => oid));
    for (const { oid, type, size } of objects) {
      const found = await packs.read(oid);
      expect(found?.type, oid).to.equal(type);
      expect(Buffer.compare(found?.bytes ?? Buffer.alloc(0), git('cat-file', type, oid)), oid).to.equal(0);
      expect(sizes.get(oid), oid).to.equal(size);
    }
  };
  const isDeltified = (): boolean =>
    git('cat-file', '--batch-all-objects', '--batch-check=%(deltabase)')
      .toString()
      .split('\n')
      .some((base) => /[1-9a-f]/.test(base));

  it('gives what git gives, byte for byte: deltas by offset and by name, long and empty files, trees, commits, tags', async () => {
    await history(12);
    git('repack', '-adfq', '--depth=50');
    expect(isDeltified(), 'there is a delta in it').to.equal(true);
    await compare(openPacks(gitdir()));
    git('-c', 'repack.useDeltaBaseOffset=false', 'repack', '-adfq', '--depth=50');
    expect(isDeltified()).to.equal(true);
    await compare(openPacks(gitdir()));
  });

  it('sees a pack that comes later, and reads on when `git gc` moves everything into another one', async () => {
    await history(2);
    git('repack', '-dq');
    const packs = openPacks(gitdir());
    const first = oidOf('HEAD');
    expect((await packs.read(first))?.type).to.equal('commit');
    await history(2);
    const second = oidOf('HEAD');
    expect(await packs.read(second), 'a loose object is in no pack').to.equal(undefined);
    git('repack', '-dq');
    expect((await packs.read(second))?.type).to.equal('commit');
    git('repack', '-adfq');
    // What was read last is still in a window; the rest lies in another file now.
    for (let look = 0; look < 2; look += 1) await packs.read(oidOf('HEAD:large'));
    await compare(packs);
  });

  it('bytes that are damaged are not believed, whichever entry they belong to (G29)', async () => {
    await history(1);
    git('repack', '-adfq');
    const blob = oidOf('HEAD:large');
    const folder = join(gitdir(), 'objects/pack');
    const name = (await readdir(folder)).find((one) => one.endsWith('.pack')) ?? '';
    const { size } = await stat(join(folder, name));
    await chmod(join(folder, name), 0o644);
    const file = await open(join(folder, name), 'r+');
    await file.write(Buffer.alloc(64, 0x55), 0, 64, Math.floor(size / 2));
    await file.close();
    const why = await openReader(gitdir())
      .blob(blob, 1 << 20)
      .then(() => 'read', messageOf);
    expect(why).to.equal(`object ${blob} is missing or damaged`);
  });

  it('what it does not know is read by the other reader: an index of version 1', async () => {
    await history(1);
    git('-c', 'pack.indexVersion=1', 'repack', '-adfq');
    const blob = oidOf('HEAD:text');
    expect(await openPacks(gitdir()).read(blob)).to.equal(undefined);
    const why = await openReader(gitdir())
      .blob(blob, 1 << 20)
      .then((bytes) => bytes.length, messageOf);
    expect(why).to.satisfy(
      (told: unknown) => typeof told === 'number' || /missing or damaged/.test(String(told)),
    );
  });

  it('a delta that reaches beyond its base, its end or its result is refused', () => {
    const base = Buffer.from('0123456789');
    const good = Uint8Array.of(10, 7, 0x91, 2, 5, 2, 0x41, 0x42);
    expect(Buffer.from(applyDelta(base, good)).toString()).to.equal('23456AB');
    expect(deltaResultSize(good)).to.equal(7);
    const bad: [string, number[]][] = [
      ['another base', [11, 7, 0x91, 2, 5, 2, 0x41, 0x42]],
      ['beyond its base', [10, 7, 0x91, 8, 5, 2, 0x41, 0x42]],
      ['beyond its end', [10, 7, 0x91, 2, 5, 9, 0x41]],
      ['longer than its result', [10, 6, 0x91, 2, 5, 2, 0x41, 0x42]],
      ['shorter than its result', [10, 9, 0x91, 2, 5, 2, 0x41, 0x42]],
      ['a reserved order', [10, 7, 0x00]],
      ['a number without end', [0x80]],
    ];
    for (const [title, bytes] of bad)
      expect(() => applyDelta(base, Uint8Array.from(bytes)), title).to.throw(RangeError);
  });
});
