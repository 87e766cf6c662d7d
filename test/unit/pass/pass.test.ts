import { expect } from 'chai';
import type { Memory } from '../../../src/pass.ts';
import { converged, definition, headOf, MAX_FILES, passRig } from './pass.kit.ts';

describe('a pass', () => {
  const rig = passRig();

  for (const restarted of [false, true]) {
    it(`G6 goes on healing when the newest commit cannot be read${restarted ? ', after a restart too' : ''}`, async () => {
      const { repository, world, house } = rig();
      await repository.commit({ 'services/web.toml': definition('web') });
      let memory: Memory = {};
      const good = await converged(house, memory);
      expect(world.container('web')?.state).to.equal('running');

      const many = Array.from({ length: MAX_FILES + 1 }, (_, i) => [
        `services/s${i}.toml`,
        definition(`s${i}`),
      ]);
      await repository.commit(Object.fromEntries(many) as Record<string, string>);
      if (restarted) memory = { head: await headOf(house, good) };
      world.containers = [];
      await converged(house, memory);
      expect(memory.idle?.why).to.contain('definition files');
      expect(memory.seen?.desired.commit.oid).to.equal(good);
      expect(world.container('web')?.state).to.equal('running');

      await repository.commit({ 'services/web.toml': definition('web') }, { fresh: true });
      expect(await converged(house, memory)).to.not.equal(good);
      expect(memory.idle).to.equal(undefined);
    });
  }
});

describe('a pass and the commits it takes', () => {
  const rig = passRig();

  it('L31 finds the trailer of a commit in the middle of accepted..new', async () => {
    const { repository, world, house } = rig();
    const names = ['aa', 'bb', 'cc', 'dd'];
    const files = (left: readonly string[]): Record<string, string | undefined> =>
      Object.fromEntries(
        names.map((name) => [`services/${name}.toml`, left.includes(name) ? definition(name) : undefined]),
      );
    await repository.commit(files(['aa', 'bb', 'cc']));
    const memory: Memory = {};
    await converged(house, memory);
    await repository.commit(files(['aa']));
    await converged(house, memory);
    expect(memory.seen?.plan.refused.map((entry) => entry.service)).to.deep.equal(['bb', 'cc']);
    await repository.commit({ note: '1' }, { message: 'Away\n\nRemove-Services: bb, cc' });
    await repository.commit({ note: '2' }, { message: 'Something else' });
    await converged(house, memory);
    expect(world.containers.map((container) => container.name)).to.deep.equal(['aa']);
    expect(house.registry.promised().named).to.deep.equal(['bb', 'cc']);
    await repository.commit({ note: '3' });
    await converged(house, memory);
    expect(house.registry.promised().named, 'forgotten once they are gone').to.deep.equal([]);
  });
});

describe('a pass over a node that is only observed', () => {
  const rig = passRig();

  it('L27 touches nothing until nodes/<node>.toml no longer says mode = "observe"', async () => {
    const { repository, world, house } = rig();
    const memory: Memory = {};
    await repository.commit({
      'services/aa.toml': definition('aa'),
      'nodes/n1.toml': 'mode = "observe"\n',
    });
    await converged(house, memory);
    expect(world.journal).to.deep.equal([]);
    expect(memory.seen?.plan.waiting[0]).to.include({ service: 'aa', for: 'observe' });
    await repository.commit({ 'nodes/n1.toml': undefined });
    await converged(house, memory);
    expect(world.container('aa')?.state).to.equal('running');
  });

  it('L47 remembers prune = false of a file that is gone', async () => {
    const { repository, world, house } = rig();
    await repository.commit({
      'services/aa.toml': definition('aa'),
      'services/bb.toml': `prune = false\n${definition('bb')}`,
    });
    await converged(house, {});
    await repository.commit({ 'services/bb.toml': undefined });
    await converged(house, {});
    expect(world.container('bb')?.state).to.equal('running');
  });
});
