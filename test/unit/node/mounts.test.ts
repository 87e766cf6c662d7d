import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { observeMounts } from '../../../src/node/mounts.ts';

describe('node/mounts', () => {
  let root: string;
  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'mounts-')));
  });
  afterEach(() => rm(root, { recursive: true }));

  const stateOf = async (source: string) => (await observeMounts([source]))[source]!;

  it('a directory and a file are present', async () => {
    await mkdir(join(root, 'data'));
    await writeFile(join(root, 'file'), '');
    expect(await observeMounts([join(root, 'data'), `${root}/data/`, join(root, 'file')])).to.deep.equal({
      [join(root, 'data')]: { kind: 'present' },
      [`${root}/data/`]: { kind: 'present' },
      [join(root, 'file')]: { kind: 'present' },
    });
  });

  it('a missing part is missing, and nothing is created (L04, L24)', async () => {
    expect(await stateOf(join(root, 'a/b/c'))).to.deep.equal({ kind: 'missing' });
    expect(await readdir(root)).to.deep.equal([]);
  });

  it('a symbolic link in any part is unfit and named, also a dangling one', async () => {
    await mkdir(join(root, 'real/below'), { recursive: true });
    await symlink(join(root, 'real'), join(root, 'link'));
    await symlink('/nowhere', join(root, 'dangling'));
    for (const [path, culprit] of [
      ['link', 'link'],
      ['link/below', 'link'],
      ['dangling', 'dangling'],
    ]) {
      const state = await stateOf(join(root, path!));
      expect(state, path).to.deep.equal({
        kind: 'unfit',
        why: `${join(root, culprit!)} is a symbolic link`,
      });
    }
  });

  it('a path through a file, a pipe, a relative path and ".." are unfit', async () => {
    await writeFile(join(root, 'file'), '');
    execFileSync('mkfifo', [join(root, 'pipe')]);
    for (const path of [`${root}/file/x`, `${root}/file/`, `${root}/pipe`, 'relative', `${root}/../etc`]) {
      expect(await stateOf(path), path).to.have.property('kind', 'unfit');
    }
  });

  it('a socket is present, unless a directory is wanted', async () => {
    const server = createServer().listen(join(root, 'sock'));
    await once(server, 'listening');
    try {
      expect(await stateOf(join(root, 'sock'))).to.have.property('kind', 'present');
      expect(await stateOf(`${root}/sock/`)).to.have.property('kind', 'unfit');
    } finally {
      server.close();
    }
  });

  it('what cannot be looked at is unknown with the reason', async () => {
    const long = join(root, 'x'.repeat(300));
    const state = await stateOf(long);
    expect(state).to.have.property('kind', 'unknown');
    expect(state).to.have.property('why').that.includes('ENAMETOOLONG');
  });
});
