import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { one, starts, versioned, worldOf } from './holds.kit.ts';

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
