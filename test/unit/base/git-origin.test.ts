import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { originsOf } from '../../../src/base/git/origin.ts';
import { openReader } from '../../../src/base/git/reader.ts';
import { git, makeRepository, type Repository } from '../../../src/demo/repository.ts';

const PATHS = ['services/a.toml', 'services/b.toml', 'services/x/c.toml', 'top.toml', 'services/never.toml'];

describe('base/git: the commit that a path is of', () => {
  let dir: string;
  let repository: Repository;
  /** By name, newest last. */
  const commits = new Map<string, string>();

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-origin-'));
    repository = await makeRepository(join(dir, 'r.git'));
  });
  after(() => rm(dir, { recursive: true }));

  it('L35 is what git log says: changed, removed, moved to another folder, made of another kind, and never there', async () => {
    await commit('root', { 'services/a.toml': '1', 'services/x/c.toml': '1', 'top.toml': '1' });
    await commit('b', { 'services/b.toml': '1' });
    await commit('a2', { 'services/a.toml': '2' });
    await commit('b-gone', { 'services/b.toml': undefined });
    await commit('c-gone', { 'services/x/c.toml': undefined, 'services/x/d.toml': '1' });
    await commit('mode', { 'top.toml': { mode: '120000', text: '1' } });
    await commit('head', { note: '1' });
    expect(await originsAt('head')).to.deep.equal({
      ...{ 'services/a.toml': 'a2', 'services/b.toml': 'b-gone' },
      ...{ 'services/x/c.toml': 'c-gone', 'top.toml': 'mode' },
    });
    for (const path of PATHS) {
      const told = await repository.git('log', '-1', '--format=%H', 'main', '--', path);
      expect((await origins(repository.path, 'head', [path])).get(path)?.oid ?? '').to.equal(told);
    }
  });

  it('L35 lies behind a merge: the one on the side branch, and the one that took a file away that the side never had', async () => {
    await commit('before', { 'services/a.toml': '3' });
    const fork = commits.get('before') ?? '';
    await commit('added', { 'services/b.toml': '2' });
    await commit('side', { 'services/x/c.toml': '2' }, { branch: 'side', parent: fork });
    await commit('removed', { 'services/b.toml': undefined });
    const tree = await repository.git('merge-tree', '--write-tree', 'main', 'side');
    // The side first: what it never had is no answer to who took it away.
    const merge = await repository.git('commit-tree', tree, '-p', 'side', '-p', 'main', '-m', 'merge');
    commits.set('merge', merge);
    await repository.setBranch('main', merge);
    expect(await originsAt('merge')).to.include({
      ...{ 'services/a.toml': 'before', 'services/b.toml': 'removed', 'services/x/c.toml': 'side' },
    });
  });

  it('L35 is nobody where a shallow copy ends, instead of whoever is met last', async () => {
    await commit('last', { 'services/a.toml': '4' });
    const copy = join(dir, 'shallow.git');
    await git(['clone', '--quiet', '--bare', '--depth=1', `file://${repository.path}`, copy]);
    expect([...(await origins(copy, 'last', PATHS)).keys()]).to.deep.equal([]);
    await git(['-C', copy, 'fetch', '--quiet', '--depth=2', 'origin', 'main']);
    expect(await originsAt('last', copy)).to.deep.equal({ 'services/a.toml': 'last' });
  });

  async function commit(name: string, ...[files, options]: Parameters<Repository['commit']>): Promise<void> {
    commits.set(name, await repository.commit(files, { message: name, ...options }));
  }

  const origins = (path: string, name: string, paths: readonly string[]): ReturnType<typeof originsOf> =>
    originsOf(openReader(path), commits.get(name) ?? '', paths);

  async function originsAt(name: string, path = repository.path): Promise<Record<string, string>> {
    const found = await origins(path, name, PATHS);
    return Object.fromEntries([...found].map(([at, info]) => [at, info.message.trim()]));
  }
});
