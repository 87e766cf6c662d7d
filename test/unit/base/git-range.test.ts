import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { commitsSince } from '../../../src/base/git/range.ts';
import { openReader } from '../../../src/base/git/reader.ts';
import { makeRepository, type Repository } from '../../../src/demo/repository.ts';

describe('base/git: the commits between two', () => {
  let dir: string;
  let repository: Repository;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-range-'));
    repository = await makeRepository(join(dir, 'r.git'));
  });
  after(() => rm(dir, { recursive: true }));

  it('L31 are what git rev-list says: in a line, behind a merge, and from branches that began before the accepted one', async () => {
    const root = await commit('root');
    const early = await commit('early', 'early');
    const accepted = await commit('accepted');
    await commit('one');
    await repository.commit({ file: 'side' }, { branch: 'side', parent: early, message: 'side' });
    const side = await repository.resolve('side');
    const tree = (await repository.git('rev-parse', 'main^{tree}')).trim();
    const main = (await repository.resolve('main')) ?? '';
    const merge = (
      await repository.git('commit-tree', tree, '-p', main, '-p', side ?? '', '-m', 'merge')
    ).trim();
    await repository.setBranch('main', merge);
    const head = await commit('head');
    for (const [from, to] of [
      [accepted, head],
      [root, head],
      [accepted, accepted],
      [early, merge],
      [main, head],
    ] as const) {
      const found = await commitsSince(openReader(repository.path), to, from);
      const told = (await repository.git('rev-list', `${from}..${to}`))
        .split('\n')
        .filter((line) => line !== '');
      expect(found.map(({ oid }) => oid)).to.have.members(told);
    }
  });

  async function commit(message: string, branch = 'main'): Promise<string> {
    const parent = await repository.resolve('main');
    return repository.commit(
      { file: message },
      { message, branch, ...(parent === undefined ? {} : { parent }) },
    );
  }
});
