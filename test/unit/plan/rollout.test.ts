import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component } from '../../../src/definitions/types.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import { desiredOf } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { one, versioned, worldOf } from './holds.kit.ts';

describe('changes that no file of its own caused', () => {
  /** The same blob, another definition: a default of the node, or a setting, changed. */
  const rolled = (world: World, change: Partial<Component>): void => {
    const before = world.desired.services;
    const after = desiredOf(
      before.map(({ service: { name, after: names, deploy } }) =>
        one(name, change, { ...(names && { after: names }), ...(deploy && { deploy }) }),
      ),
    );
    world.desired = {
      ...after,
      services: after.services.map((entry, i) => ({ ...entry, oid: before[i]?.oid ?? '' })),
    };
  };

  /** Some passes, and not until the next window opens. */
  const minutes = async (world: World): Promise<void> => {
    for (let at = 0; at < 20; at += 1) {
      await world.pass();
      world.now += 10_000;
    }
  };

  it('run one service at a time, each proved before the next begins', async () => {
    const world = worldOf(one('a'), one('b'), one('c'));
    await world.converge();
    const from = world.journal.length;
    rolled(world, { user: '1000:1000' });
    await world.pass();
    expect(world.plan().waiting.find((entry) => entry.service === 'b')?.why).to.contain(
      'a is not proved yet',
    );
    await world.converge();
    const steps = world.journal.slice(from).map((line) => line.replace(/\.(next|prev)-.*/, '.$1'));
    expect(steps).to.deep.equal(
      ['a', 'b', 'c'].flatMap((name) => [
        `create ${name}.next`,
        `retire ${name}`,
        `trying ${name}`,
        `start ${name}`,
        `applied ${name} running`,
        `remove ${name}.prev`,
      ]),
    );
  });

  it('L42 go to a service only after those it comes after, whatever the names: none waits for another for ever', async () => {
    const world = worldOf(
      one('a', {}, { after: ['m'] }),
      one('b'),
      one('m', {}, { after: ['z'] }),
      one('z', {}, { after: ['nobody'] }),
    );
    await world.converge();
    const from = world.journal.length;
    rolled(world, { user: '1000:1000' });
    await world.converge();
    const applied = world.journal.slice(from).filter((line) => line.startsWith('applied'));
    expect(applied.map((line) => line.split(' ')[1])).to.have.members(['a', 'b', 'm', 'z']);
    expect(applied.indexOf('applied z running')).to.be.lessThan(applied.indexOf('applied m running'));
    expect(applied.indexOf('applied m running')).to.be.lessThan(applied.indexOf('applied a running'));
    expect(world.plan().waiting).to.deep.equal([]);
  });

  it('L42 go on when what has begun comes after one that is due since', async () => {
    const world = worldOf(one('a', {}, { after: ['b'] }), one('b'));
    await world.converge();
    const [a, b] = world.desired.services;
    rolled(world, { user: '1000:1000' });
    const rolledA = world.desired.services[0];
    if (a === undefined || b === undefined || rolledA === undefined) throw new Error('two services');
    world.desired = { ...world.desired, services: [rolledA, b] };
    world.unready.add('a');
    for (let at = 0; at < 3; at += 1) await world.pass();
    rolled(world, { user: '1000:1000' });
    world.kill('a');
    world.unready.clear();
    await world.converge();
    expect(
      world.applied.map(({ service: { name, components } }) => [name, components[0]?.user]),
    ).to.have.deep.members([
      ['a', '1000:1000'],
      ['b', '1000:1000'],
    ]);
  });

  it('do not wait behind one whose window is closed', async () => {
    const deploy = { window: { cron: '0 3 1 7 *', forMs: 3_600_000, timezone: 'UTC' } };
    const world = worldOf(one('a', {}, { deploy }), one('b'), one('c'));
    await world.converge();
    rolled(world, { user: '1000:1000' });
    await minutes(world);
    const users = world.applied.map(({ service: { name, components } }) => [name, components[0]?.user]);
    expect(users).to.have.deep.members([
      ['a', undefined],
      ['b', '1000:1000'],
      ['c', '1000:1000'],
    ]);
    expect(world.plan().waiting.map((entry) => `${entry.service} ${entry.for}`)).to.deep.equal(['a window']);
  });

  it('L42 what died is started again while the one it comes after waits days for its own change', async () => {
    const deploy = { window: { cron: '0 3 1 7 *', forMs: 3_600_000, timezone: 'UTC' } };
    const world = worldOf(one('app', {}, { after: ['db'] }), one('db', {}, { deploy }));
    await world.converge();
    const before = world.container('db')?.id;
    rolled(world, { user: '1000:1000' });
    await minutes(world);
    expect(world.container('db')?.id).to.equal(before);
    for (const change of ['ended', 'gone'] as const) {
      if (change === 'ended') world.kill('app');
      else world.containers = world.containers.filter((container) => container.name !== 'app');
      await minutes(world);
      expect(world.container('app')?.state, change).to.equal('running');
    }
    expect(world.container('db')?.id).to.equal(before);
    world.kill('db');
    world.kill('app');
    world.unready.add('db');
    await minutes(world);
    expect(world.container('app')?.state, 'the order of starts holds').to.equal('exited');
  });

  it('L42 a job that ended well before its own change is waited for counts as what comes first', async () => {
    const deploy = { window: { cron: '0 3 1 7 *', forMs: 3_600_000, timezone: 'UTC' } };
    const world = worldOf(one('app', {}, { after: ['setup'] }), one('setup', { restart: 'no' }, { deploy }));
    await minutes(world);
    world.edit('setup', {}, { state: 'exited', exitCode: 0, finishedAt: world.now });
    await minutes(world);
    const [app, setup] = world.desired.services;
    const after = desiredOf([
      one('app', {}, { after: ['setup'] }),
      one('setup', { restart: 'no', user: '1000:1000' }, { deploy }),
    ]);
    world.desired = {
      ...after,
      services: after.services.map((entry, i) => ({ ...entry, oid: [app, setup][i]?.oid ?? '' })),
    };
    world.kill('app');
    await minutes(world);
    expect(world.container('setup')?.state).to.equal('exited');
    expect(world.container('app')?.state).to.equal('running');
  });

  it('stop at the first failure, and say whose it is; what the others need for their own goes on', async () => {
    const world = worldOf(one('a'), one('b'), one('c'));
    await world.converge();
    rolled(world, { user: '1000:1000' });
    const own = one('c', versioned('c', 'v2.0.0'));
    world.present('mcr.example.net/c:v2.0.0');
    const [c] = desiredOf([own]).services;
    world.desired = {
      ...world.desired,
      services: [...world.desired.services.slice(0, 2), ...(c === undefined ? [] : [c])],
    };
    world.unready.add('a');
    for (let i = 0; i < 6; i += 1) {
      await world.pass();
      world.now += 60_000;
    }
    expect(world.container('b')?.startedAt).to.equal(Date.UTC(2026, 0, 1));
    expect(world.container('c')?.image).to.equal('mcr.example.net/c:v2.0.0');
    expect(world.plan().waiting.find((entry) => entry.service === 'b')).to.include({ for: 'turn' });
  });

  it('stop at the first one that is not proved in time, also after it returned', async () => {
    const world = worldOf(one('a'), one('b'));
    await world.converge();
    const b = world.container('b');
    world.present('mcr.example.net/a:v2.0.0');
    world.bad.add('mcr.example.net/a:v2.0.0');
    const [first, second] = world.desired.services;
    const after = desiredOf([one('a', versioned('a', 'v2.0.0')), one('b', { user: '1000:1000' })]);
    const oids = [first?.oid ?? '', second?.oid ?? ''];
    world.desired = {
      ...after,
      services: after.services.map((entry, i) => ({ ...entry, oid: oids[i] ?? '' })),
    };
    await world.converge();
    expect(world.trials[0]).to.include({ service: 'a', phase: 'held back' });
    expect(world.container('b')).to.deep.equal(b);
    expect(world.plan().waiting.find((entry) => entry.for === 'turn')?.why).to.contain(
      'a failed: not proved',
    );
  });

  it('stop when a step of the first one fails', async () => {
    const world = worldOf(one('a'), one('b'));
    await world.converge();
    rolled(world, { user: '1000:1000' });
    world.failing.set('create', retry('no space left'));
    await world.pass();
    world.failing.clear();
    await world.pass();
    const b = world.plan().waiting.find((entry) => entry.service === 'b');
    expect(b?.why).to.contain('a failed: no space left');
    await world.converge();
    expect(world.plan().waiting).to.deep.equal([]);
  });

  it('name the commit of the node file where that sets the default, and none where the settings do', async () => {
    const nodeFile = { file: 'nodes/n1.toml', oid: 'd'.repeat(40), commit: 'e'.repeat(40) };
    for (const nodeDefaults of [['user', 'hostname_suffix'], ['network'], []]) {
      const world = worldOf(one('a'));
      await world.converge();
      rolled(world, { user: '1000:1000' });
      const facts = world.facts();
      const { steps } = makePlan({
        ...facts,
        promised: { ...facts.promised, nodeFile },
        settings: { ...facts.settings, nodeDefaults },
      });
      const { summary, commit, file, by } = steps[0]?.because ?? { summary: '' };
      const what = 'components/a/user added → 1000:1000';
      expect({ summary, commit, file, by }).to.deep.equal(
        nodeDefaults.includes('user')
          ? {
              ...{ summary: `${what}: a default of nodes/n1.toml`, by: undefined },
              ...{ commit: nodeFile.commit, file: nodeFile.file },
            }
          : {
              ...{ summary: `${what}: a default of this agent and its settings`, by: 'settings' },
              ...{ commit: undefined, file: undefined },
            },
      );
    }
  });

  it('do not hold up healing', async () => {
    const world = worldOf(one('a'), one('b'), one('c'));
    await world.converge();
    rolled(world, { user: '1000:1000' });
    world.unready.add('a');
    await world.pass();
    world.kill('b');
    world.containers = world.containers.filter((container) => container.name !== 'c');
    for (let i = 0; i < 4; i += 1) await world.pass();
    expect([world.container('b')?.state, world.container('c')?.state]).to.deep.equal(['running', 'running']);
  });
});
