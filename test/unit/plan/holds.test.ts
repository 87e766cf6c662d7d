import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

describe('after', () => {
  it('L42 starts a service only when those it names are ready', async () => {
    const world = worldOf(one('web', {}, { after: ['db'] }), one('db'));
    world.unready.add('db');
    await world.converge();
    expect(world.containers.map((container) => container.name)).to.deep.equal(['db']);
    expect(world.plan().waiting.find((entry) => entry.service === 'web')).to.include({ for: 'after' });
    world.unready.clear();
    await world.converge();
    expect(world.container('web')?.state).to.equal('running');
  });

  it('L42 delays changes, and never what runs', async () => {
    const world = worldOf(one('web', {}, { after: ['db'] }), one('db'));
    await world.converge();
    world.unready.add('db');
    world.kill('db');
    await world.converge();
    world.desired = desiredOf([one('web', versioned('web', 'v2.0.0'), { after: ['db'] }), one('db')]);
    world.present('mcr.example.net/web:v2.0.0');
    expect(await world.converge()).to.deep.equal([]);
    expect(world.container('web')).to.include({ state: 'running', image: 'mcr.example.net/web:v1.0.0' });
    world.unready.clear();
    await world.converge();
    expect(world.container('web')?.image).to.equal('mcr.example.net/web:v2.0.0');
  });

  it('L42 a component that a change adds waits like the rest of it: no trial begins that could not be proved', async () => {
    const app = (...names: string[]): Service =>
      service(
        'app',
        names.map((name) => component(name)),
        { after: ['db'] },
      );
    const world = worldOf(app('app'), one('db'));
    await world.converge();
    world.images['mcr.example.net/db:v2.0.0'] = { kind: 'pulling', since: world.now };
    world.present('mcr.example.net/cron:v1.0.0');
    world.desired = desiredOf([app('app', 'cron'), one('db', versioned('db', 'v2.0.0'))]);
    expect(await world.converge()).to.deep.equal([]);
    expect(world.plan().waiting.find((entry) => entry.service === 'app')).to.include({ for: 'after' });
    world.present('mcr.example.net/db:v2.0.0');
    await world.converge();
    expect(world.container('app-cron')?.state).to.equal('running');
    expect(world.trials).to.deep.equal([]);
  });

  it('L42 orders the starts after a boot too', async () => {
    const world = worldOf(one('app', {}, { after: ['db'] }), one('db'));
    await world.converge();
    world.unready.add('db');
    world.kill('app');
    world.kill('db');
    expect(await world.converge()).to.deep.equal(['start db']);
    expect(world.plan().waiting.map((entry) => `${entry.service} ${entry.for}`)).to.have.members([
      'app after',
      'db ready',
    ]);
    world.unready.clear();
    expect(await world.converge()).to.deep.equal(['start app']);
  });

  for (const [state, change] of [
    ['paused', { paused: true }],
    ['inactive', { active: false }],
  ] as const) {
    it(`ignores a service that is ${state}, and one that is not there`, async () => {
      const world = worldOf(one('web', {}, { after: ['db', 'nobody'] }), one('db', {}, change));
      await world.converge();
      expect(world.container('web')?.state).to.equal('running');
    });
  }

  it('orders the components of one service: new ones, changed ones, and at boot', async () => {
    const pair = (tag: string): Service =>
      service('shop', [
        component('api', { ...versioned('api', tag), after: ['db'] }),
        component('db', versioned('db', tag)),
      ]);
    const world = worldOf(pair('v1.0.0'));
    world.present('mcr.example.net/api:v2.0.0', 'mcr.example.net/db:v2.0.0');
    expect(starts(await world.converge())).to.deep.equal(['start shop-db', 'start shop-api']);
    world.desired = desiredOf([pair('v2.0.0')]);
    world.unready.add('shop-db');
    for (let i = 0; i < 4; i += 1) await world.pass();
    expect(world.container('shop-db')?.image).to.equal('mcr.example.net/db:v2.0.0');
    expect(world.container('shop-api'), 'the old one goes on meanwhile').to.include({
      image: 'mcr.example.net/api:v1.0.0',
      state: 'running',
    });
    world.unready.clear();
    await world.converge();
    expect(world.container('shop-api')?.image).to.equal('mcr.example.net/api:v2.0.0');
    world.kill('shop-api');
    world.kill('shop-db');
    expect(starts(await world.converge())).to.deep.equal(['start shop-db', 'start shop-api']);
  });
});

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

function worldOf(...services: Service[]): World {
  const world = new World();
  world.desired = desiredOf(services);
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  return world;
}

function one(name: string, change: Partial<Component> = {}, more: Partial<Service> = {}): Service {
  return service(name, [component(name, change)], more);
}

function routed(name: string): Service {
  const route: Route = {
    name: '',
    port: 443,
    mode: 'l7',
    hostname: `${name}.${SUFFIX}`,
    backendTls: false,
  };
  return one(name, { routes: [route] });
}

function versioned(name: string, tag: string): Partial<Component> {
  const reference = `mcr.example.net/${name}:${tag}`;
  return { image: { reference, host: 'mcr.example.net', repository: name, tag } };
}

function starts(steps: readonly string[]): string[] {
  return steps.filter((line) => line.startsWith('start'));
}
