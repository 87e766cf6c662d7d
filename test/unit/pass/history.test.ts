import { rm } from 'node:fs/promises';
import { expect } from 'chai';
import type { Memory } from '../../../src/pass.ts';
import { formatHistory, historyOf } from '../../../src/report/history.ts';
import type { HistoryEntry } from '../../../src/report/types.ts';
import { converged, definition, passRig } from './pass.kit.ts';

const VALUE = 'env = ["GREETING=hi"]\n';

describe('the history of a service, when several commits came with one pull', () => {
  const rig = passRig();

  /** Newest first: what was done, and the subject of the commit that is named for it. */
  const told = (service: string): [string, string | undefined][] =>
    historyOf(rig().house.registry.changes(service, 20)).map(({ why, message }) => [why, message]);
  const newest = (service: string): HistoryEntry | undefined =>
    historyOf(rig().house.registry.changes(service, 1))[0];

  it('L35 names for each change the commit that its file was changed with, with author and subject', async () => {
    const { repository, house } = rig();
    const first = await commit('services/aa.toml', definition('aa'), 'aa: begin');
    await commit('services/bb.toml', definition('bb'), 'bb: begin\n\nWith more words.');
    await commit('note', '1', 'a note');
    await converged(house, {});
    expect(told('aa')).to.deep.equal([['new service aa', 'aa: begin']]);
    expect(newest('aa')).to.include({ commit: first, author: 'Ada Example' });
    expect(told('bb')).to.deep.equal([['new service bb', 'bb: begin']]);

    await commit('services/aa.toml', `${definition('aa')}${VALUE}`, 'aa: greet');
    const last = await commit('services/bb.toml', `${definition('bb')}${VALUE}`, 'bb: greet');
    await converged(house, {});
    expect(told('aa')[0]?.[1]).to.equal('aa: greet');
    expect(told('bb')[0]?.[1]).to.equal('bb: greet');
    expect(newest('bb')?.commit).to.equal(last);
    expect(await repository.resolve('main')).to.equal(last);
  });

  it('L35 names for a removal the commit that took the definition away, also when the budget let it go with a later one', async () => {
    const { house } = rig();
    for (const name of ['aa', 'bb', 'cc']) await commit(`services/${name}.toml`, definition(name), name);
    const memory: Memory = {};
    await converged(house, memory);
    await commit('services/aa.toml', undefined, 'aa: away');
    await commit('note', '1', 'a note');
    await converged(house, memory);
    expect(told('aa')[0]).to.deep.equal(['the definition of aa is no longer in the repository', 'aa: away']);

    await commit('services/bb.toml', undefined, 'bb: away');
    await commit('services/cc.toml', undefined, 'cc: away');
    await converged(house, memory);
    expect(memory.seen?.plan.refused).to.have.length(2);
    await commit('note', '2', 'They may go\n\nRemove-Services: bb, cc');
    await converged(house, {});
    expect(told('bb')[0]?.[1]).to.equal('bb: away');
    expect(told('cc')[0]?.[1]).to.equal('cc: away');
  });

  it('L35 tells author and subject of older commits when the repository is gone, for steps that come later too', async () => {
    const { dir, repository, house, world } = rig();
    await commit('services/aa.toml', definition('aa'), 'aa: begin');
    const memory: Memory = {};
    await converged(house, memory);
    await commit('services/bb.toml', definition('bb'), 'bb: begin');
    await converged(house, memory);
    await rm(repository.path, { recursive: true });
    await rm(`${dir}/data/mirrors`, { recursive: true, force: true });
    world.containers = [];
    await converged(house, memory);
    expect(newest('aa')).to.include({ message: 'aa: begin', author: 'Ada Example' });
    expect(formatHistory(historyOf(house.registry.changes('aa', 1)))).to.match(
      /commit {3}[0-9a-f]{12} Ada Example "aa: begin" services\/aa\.toml\n {2}because {2}new service aa\n/,
    );
  });

  it('L35 an endless subject is cut before it is kept', async () => {
    const { house } = rig();
    await commit('services/aa.toml', definition('aa'), 'x'.repeat(100_000));
    await converged(house, {});
    expect(newest('aa')?.message).to.have.length(301);
  });

  const commit = (path: string, text: string | undefined, message: string): Promise<string> =>
    rig().repository.commit({ [path]: text }, { message });
});
