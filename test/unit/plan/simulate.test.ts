import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import { simulate } from '../../../src/plan/simulate.ts';
import { component, desiredOf, service, SUFFIX, World } from '../../support/world.ts';

function web(version: string, change: Partial<Service> = {}): Service {
  const reference = `mcr.example.net/web:${version}`;
  const image = { reference, host: 'mcr.example.net', repository: 'web', tag: version };
  const route = { name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false } as const;
  return service('web', [component('web', { image, dockerfile: 'Dockerfile', routes: [route] })], change);
}

/** Steps as the world and the simulation name them alike: kind and, for containers, the final or staging name. */
async function bothWays(world: World): Promise<[string[], string[]]> {
  const simulated = simulate(world.facts()).steps.map((step) => step.kind);
  const taken: string[] = [];
  for (let pass = 0; pass < 40; pass += 1) {
    const { plan } = await world.pass();
    taken.push(...plan.steps.map((step) => step.kind));
    if (plan.steps.length === 0) {
      if (plan.wakeAt === undefined) break;
      world.now = Math.max(world.now, plan.wakeAt);
    }
  }
  return [simulated, taken];
}

describe('the simulated chain', () => {
  it('is what the agent then does, step by step: create, replace, stop, start, rename, remove', async () => {
    const world = new World();
    world.images['mcr.example.net/web:v1.0.0'] = { kind: 'absent' };
    world.images['mcr.example.net/web:v1.1.0'] = { kind: 'absent' };
    const other = service('other', [component('aa'), component('bb')]);
    world.present('mcr.example.net/aa:v1.0.0', 'mcr.example.net/bb:v1.0.0', 'mcr.example.net/cc:v1.0.0');
    const commits = [
      [web('v1.0.0')],
      [web('v1.0.0'), other],
      [web('v1.1.0'), other],
      [web('v1.1.0', { active: false }), other],
      [web('v1.1.0'), service('other', [component('aa'), component('cc')])],
      [web('v1.1.0')],
    ];
    for (const services of commits) {
      world.desired = desiredOf(services);
      const [simulated, taken] = await bothWays(world);
      expect(simulated).to.deep.equal(taken);
      expect(simulated).to.not.deep.equal([]);
    }
  });

  it('ends with what is still waited for when a step cannot follow', () => {
    const world = new World();
    world.desired = desiredOf([web('v1.0.0')]);
    world.images['mcr.example.net/web:v1.0.0'] = { kind: 'unknown', why: 'registry down' };
    const { steps, end } = simulate(world.facts());
    expect(steps.map((step) => step.kind)).to.deep.equal(['issue-certificate']);
    expect(end.waiting[0]?.why).to.contain('registry down');
  });

  it('leaves its input as it was', () => {
    const world = new World();
    world.desired = desiredOf([web('v1.0.0')]);
    world.present('mcr.example.net/web:v1.0.0');
    const before = JSON.stringify(world.facts());
    simulate(world.facts());
    expect(JSON.stringify(world.facts())).to.equal(before);
  });
});
