import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const STRAY = {
  ...{ listenerPort: 443, hostname: 'ghost.example.net', backend: '127.0.0.1:9', mode: 'l4' as const },
  ...{ backendTls: false, mark: 'n1/main/ghost/ghost/' },
};

describe('a route with our mark that no service has', () => {
  it('L08 goes', async () => {
    const world = running();
    world.table.push(STRAY);
    await world.converge();
    expect(world.table).to.deep.equal([]);
  });

  it('leaves no failure behind when it went although the call that took it away failed', async () => {
    const world = running();
    world.table.push(STRAY);
    world.failing.set('unroute', retry('the connection was reset'));
    await world.pass();
    expect(world.failures.map((failure) => failure.service)).to.deep.equal(['ghost']);
    world.table = [];
    await world.converge();
    expect(world.failures).to.deep.equal([]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('a failure of what belongs to no service, as an image that is not removed, is not taken for one', () => {
    const world = running();
    world.failures = [{ service: '(node)', digest: '', count: 1, why: 'in use', lastAt: world.now }];
    expect(world.plan().steps.filter((step) => step.service === '(node)')).to.deep.equal([]);
  });

  it('nor one that an older version recorded under another name: it is forgotten', async () => {
    const world = running();
    await world.converge();
    world.failures = [{ service: '(images)', digest: '', count: 1, why: 'in use', lastAt: world.now }];
    expect(world.plan().steps.map(({ kind, subject }) => `${kind} ${subject}`)).to.deep.equal([
      'forget-service (images)',
    ]);
    await world.converge();
    expect(world.failures).to.deep.equal([]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });
});

function running(): World {
  const world = new World();
  world.desired = desiredOf([service('web', [component('web')])]);
  world.present('mcr.example.net/web:v1.0.0');
  return world;
}
