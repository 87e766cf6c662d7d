import { expect } from 'chai';
import { desiredOf, SUFFIX } from '../../support/definitions.ts';
import { one, routed, starts, versioned, worldOf } from './holds.kit.ts';

describe('the loss of the registry', () => {
  it('L34 with the file beside it: zero steps, no container restarts, ports unchanged', async () => {
    const world = worldOf(routed('web'), one('b'), { ...one('off'), active: false });
    await world.converge();
    const before = JSON.stringify([world.containers, world.leases, world.table, world.applied.length]);
    world.loseRegistry(true);
    expect(await world.converge()).to.deep.equal([]);
    expect(world.plan()).to.deep.include({ waiting: [], refused: [] });
    const sorted = [...world.leases];
    expect(JSON.stringify([world.containers, sorted, world.table, world.applied.length])).to.equal(before);
    expect(world.routes.map((route) => route.hostname)).to.deep.equal([`web.${SUFFIX}`]);
  });

  it('L34 without it: only what is missing is made, nothing is changed, stopped or removed until the next commit', async () => {
    const services = [routed('web'), one('b'), one('c'), one('d')];
    const world = worldOf(...services);
    await world.converge();
    world.containers = world.containers.filter((container) => container.name !== 'c');
    world.present('mcr.example.net/b:v2.0.0');
    world.desired = desiredOf([
      routed('web'),
      one('b', versioned('b', 'v2.0.0')),
      one('c'),
      { ...one('d'), active: false },
    ]);
    world.loseRegistry(false);
    const steps = await world.converge();
    expect(starts(steps)).to.deep.equal(['start c']);
    expect(steps.some((line) => /^(retire|stop|remove|unroute|forget)/.test(line))).to.equal(false);
    expect(world.container('b')?.image).to.equal('mcr.example.net/b:v1.0.0');
    const plan = world.plan();
    expect(plan.waiting.find((entry) => entry.service === 'b')).to.include({ for: 'commit' });
    expect(plan.refused.map((entry) => entry.service)).to.deep.equal(['d']);
    const oid = 'd'.repeat(40);
    world.desired = { ...world.desired, commit: { ...world.desired.commit, oid } };
    await world.converge();
    expect(world.container('b')?.image).to.equal('mcr.example.net/b:v2.0.0');
    expect(world.container('d')?.state).to.equal('exited');
  });

  it('a new node has nothing to lose: everything is made, and changed as ever', async () => {
    const world = worldOf(one('a'));
    world.fresh = { kept: false };
    await world.converge();
    expect([world.container('a')?.state, world.lostAt, world.fresh]).to.deep.equal([
      'running',
      undefined,
      undefined,
    ]);
  });

  it('G9 takes nothing up while the engine is unknown, and does so once it answers', async () => {
    const world = worldOf(routed('web'));
    await world.converge();
    world.loseRegistry(true);
    world.engineUp = false;
    await world.converge();
    expect(world.fresh).to.deep.equal({ kept: true });
    world.engineUp = true;
    expect(await world.converge()).to.deep.equal([]);
    expect(world.leases).to.have.length(1);
  });
});
