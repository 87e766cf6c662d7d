import { expect } from 'chai';
import { known } from '../../../src/base/outcome.ts';
import type { Health } from '../../../src/definitions/types.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import type { StepResult } from '../../../src/execute/types.ts';
import type { ProxyFacts } from '../../../src/node/types.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Plan } from '../../../src/plan/types.ts';
import { causesOf } from '../../../src/report/causes.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { atEdge, named, running, web } from '../plan/edge.kit.ts';

const LIMITS = { sourceAfterMs: 300_000, degradedAfterMs: 60_000 };
const HOST = `a.${SUFFIX}`;

/** What is told of results in a pass that sees the world as it is now: with late ones it is not the world that they were planned in. */
function told(world: World, results: readonly StepResult[]): string[] {
  const seen = { ...world.facts(), plan: world.plan() };
  return causesOf({ seen, results, source: { reachable: true } }, LIMITS)
    .filter(({ kind }) => kind === 'drift repaired')
    .map(({ key, text }) => `${key.replace(/^(drift (?!proxy:)[^:]*):.*$/, '$1')} | ${text}`);
}

async function pass(world: World): Promise<readonly StepResult[]> {
  return (await world.pass()).results;
}

/** In which containers that exit too often rest. */
class RestingWorld extends World {
  override settings(): ReturnType<World['settings']> {
    return { ...super.settings(), flapping: { exits: 3, windowMs: 60_000 } };
  }
}

async function convergedWith(...names: string[]): Promise<World> {
  const world = new RestingWorld();
  const route = { name: '', port: 443, mode: 'l7', backendTls: false } as const;
  world.desired = desiredOf(
    names.map((name) =>
      service(name, [component(name, { routes: [{ ...route, hostname: `${name}.${SUFFIX}` }] })]),
    ),
  );
  world.present(...names.map((name) => `mcr.example.net/${name}:v1.0.0`));
  await world.converge();
  return world;
}

/** What came of the plan, all of it done, while the proxy was seen with these `stale` routes. */
function doneWith(world: World, stale: NonNullable<ProxyFacts['stale']>): StepResult[] {
  const facts = world.facts();
  const { proxy } = facts.observed;
  if (!proxy.known) throw new Error('no proxy');
  const observed: Facts['observed'] = { ...facts.observed, proxy: known({ ...proxy.value, stale }) };
  return done(makePlan({ ...facts, observed }));
}

function done({ steps }: Plan): StepResult[] {
  return steps.map((step) => ({
    step,
    outcome: { kind: 'ok', value: undefined },
    startedAt: 0,
    endedAt: 0,
  }));
}

describe('what there is a notice for as drift that was repaired', () => {
  it('a container that died and a route that somebody took away, each by itself, and whenever its result comes', async () => {
    const world = await convergedWith('a');
    world.table = [];
    const route = await pass(world);
    world.kill('a');
    const container = await pass(world);
    const words = [
      `drift a routes | a was repaired: route ${HOST}:443 is missing (put-routes ${HOST})`,
      'drift a | a was repaired: container a is exited (start-container a)',
    ];
    expect(told(world, [...container, ...route])).to.deep.equal(words);
    world.desired = desiredOf([service('a', [component('a', { network: 'none' })])]);
    expect(told(world, [...container, ...route]), 'git has moved on meanwhile').to.deep.equal(words);
  });

  it('none while it flaps, but its routes all the same', async () => {
    const world = await convergedWith('a');
    const flap = { service: 'a', component: 'a', count: 1, heldAt: world.now, why: 'exits' };
    world.kill('a');
    const spec = world.container('a')?.identity?.spec ?? '';
    world.flaps = [{ ...flap, spec }];
    world.now += 20_000;
    const start = await pass(world);
    expect(start.map(({ step }) => step.kind)).to.deep.equal(['start-container']);
    expect(told(world, start)).to.deep.equal([]);
    world.table = [];
    world.now += 5_000;
    expect(told(world, await pass(world))).to.have.length(1);
  });

  it('no new service, no new version, no route that a commit moved, and not what of it is told late', async () => {
    const world = await convergedWith('a');
    const moved = { name: '', port: 443, mode: 'l7', hostname: `b.${SUFFIX}`, backendTls: false } as const;
    world.desired = desiredOf([service('a', [component('a', { routes: [moved] })])]);
    const all: StepResult[] = [];
    for (let round = 0; round < 8; round += 1) {
      all.push(...(await pass(world)));
      world.now += 2_000;
    }
    expect(all.map(({ step }) => step.kind)).to.include.members(['put-routes', 'remove-routes']);
    expect(world.plan().steps).to.deep.equal([]);
    expect(told(world, all)).to.deep.equal([]);
  });

  it('no renewed certificate that the proxy takes up, also when its result comes late; a file that was changed by hand is', async () => {
    const world = await convergedWith('a');
    const key = { listenerPort: 443, hostname: HOST };
    const renewed = doneWith(world, [key]);
    expect(renewed.map(({ step }) => step.kind)).to.deep.equal(['put-routes']);
    expect(told(world, renewed)).to.deep.equal([]);
    expect(told(world, doneWith(world, [{ ...key, why: '/h.cfg was changed by hand' }]))).to.deep.equal([
      `drift proxy: /h.cfg was changed by hand | a was repaired: route ${HOST}:443: /h.cfg was changed by hand (put-routes ${HOST})`,
    ]);
  });

  it('one hand edit is one notice, with the names of some of the services that suffered from it', async () => {
    const names = Array.from({ length: 10 }, (_one, index) => `s${index}`);
    const world = await convergedWith(...names);
    const why = '/h.cfg was changed by hand';
    const stale = names.map((name) => ({ listenerPort: 443, hostname: `${name}.${SUFFIX}`, why }));
    expect(told(world, doneWith(world, stale))).to.deep.equal([
      `drift proxy: ${why} | routes of s0, s1, s2, s3, s4, s5, s6, s7 and 2 more were repaired: ${why}`,
    ]);
  });

  it('no container and no route that this agent itself moved to another port, which was taken', async () => {
    const world = await convergedWith('a');
    const [lease] = world.leases;
    if (lease === undefined) throw new Error('no lease');
    world.leases = [{ ...lease, port: lease.port + 7 }];
    const all: StepResult[] = [];
    for (let round = 0; round < 8; round += 1) {
      all.push(...(await pass(world)));
      world.now += 2_000;
    }
    expect(all.map(({ step }) => step.kind)).to.include('put-routes');
    expect(told(world, all)).to.deep.equal([]);
    const [made] = all.filter(({ step }) => step.kind === 'create-container');
    expect(made?.step.because.summary).to.equal(
      `container a gets another port: ${lease.port} is not free any more`,
    );
    expect(made?.step.because.commit, 'no commit asked for it').to.equal(undefined);
  });

  it('no container that is made anew because of the settings alone: no commit is named for it', async () => {
    const world = await convergedWith('a');
    world.logMaxSize = '20m';
    const results = await pass(world);
    expect(results.map(({ step }) => step.kind)).to.include.members(['create-container', 'start-container']);
    expect(told(world, results)).to.deep.equal([]);
    for (const { step } of results)
      expect(step.because, step.kind).to.deep.equal({
        summary: 'container a is not as this agent makes it now',
        by: 'settings',
      });
  });

  it('another cause for another thing that is found, and the same one for the same thing, whatever the container', async () => {
    const world = await convergedWith('a');
    const keys = async (happens: () => void): Promise<string[]> => {
      happens();
      const seen = { ...world.facts(), plan: world.plan() };
      const causes = causesOf({ seen, results: await pass(world), source: { reachable: true } }, LIMITS);
      await world.converge();
      return causes.map(({ key }) => key);
    };
    const rename = (): void => {
      world.containers = world.containers.map((one) => ({ ...one, name: 'b' }));
    };
    const limits = await keys(() => world.edit('a', { resources: { memoryBytes: 64 } }));
    const renamed = await keys(rename);
    expect(limits).to.deep.equal(['drift a: container a was changed by hand: memory limit was added']);
    expect(renamed).to.deep.equal(['drift a: container a () was renamed to b']);
    expect(await keys(() => world.edit('a', { resources: { memoryBytes: 65 } }))).to.deep.equal(limits);
    expect(await keys(rename)).to.deep.equal(renamed);
  });

  it('not once more what was told, when its container took long to stop and is replaced with the next pass', async () => {
    const world = await convergedWith('a');
    world.edit('a', { resources: { memoryBytes: 64 } });
    world.failing.set('start', { kind: 'retry', why: 'the agent had no time for it' });
    await pass(world);
    world.failing.clear();
    world.now += 10_000;
    expect(world.containers.map(({ name }) => name.replace(/-.*/, '')).sort()).to.deep.equal([
      'a.next',
      'a.prev',
    ]);
    const results = await pass(world);
    expect(results.map(({ step }) => step.kind)).to.include('start-container');
    expect(told(world, results)).to.deep.equal([]);
    const [{ step } = { step: undefined }] = results;
    expect(step?.because.summary).to.equal('container a was set aside, and its successor follows');
  });

  it('a container that is missing beside a predecessor that is still kept', async () => {
    const world = await convergedWith('a');
    world.edit('a', { resources: { memoryBytes: 64 } });
    await pass(world);
    world.containers = world.containers.filter(({ name }) => name !== 'a');
    expect(told(world, await pass(world)).join()).to.contain('container a is missing');
  });

  it('no restart of a container that was unwell', async () => {
    const world = await convergedWith();
    const health: Health = {
      type: 'exec',
      command: ['check'],
      ...{ intervalMs: 10_000, timeoutMs: 5_000, retries: 3 },
      startPeriodMs: 0,
      onFailure: 'restart',
    };
    world.desired = desiredOf([service('a', [component('a', { health })])]);
    world.present('mcr.example.net/a:v1.0.0');
    await world.converge();
    world.unwell.set('a', 1);
    const results = await pass(world);
    expect(results.map(({ step }) => step.kind)).to.deep.equal(['stop-container', 'start-container']);
    expect(told(world, results)).to.deep.equal([]);
    expect(results[0]?.step.because).to.deep.equal({
      summary: 'restarted: a is unwell: status 503',
      by: 'agent',
    });
  });

  describe('of an edge', () => {
    it('nothing that a commit added, moved or took away, nor a home that moved, nor what is recorded anew', async () => {
      const { edge } = await running();
      const all: StepResult[] = [];
      const follows = async (desired: World['desired']): Promise<void> => {
        edge.desired = desired;
        const results = await pass(edge);
        expect(results.map(({ step }) => step.kind)).to.include('put-routes');
        all.push(...results);
        for (let round = 0; round < 4; round += 1) all.push(...(await pass(edge)));
        expect(edge.plan().steps).to.deep.equal([]);
      };
      const two = web({ mode: 'l4' });
      await follows(atEdge(web({ mode: 'l4', hostname: `new.${SUFFIX}` })));
      await follows(atEdge(two));
      await follows(atEdge(two, { address: '10.0.0.9' }));
      edge.routes = [];
      await follows(atEdge(two, { address: '10.0.0.9' }));
      edge.desired = atEdge(named('web', {}, { active: false }));
      all.push(...(await pass(edge)));
      expect(all.map(({ step }) => step.kind)).to.include('remove-routes');
      expect(told(edge, all)).to.deep.equal([]);
    });

    it('a route that somebody took away, led elsewhere or added', async () => {
      const { edge } = await running(web({ mode: 'l4' }));
      const [route] = edge.table;
      if (route === undefined) throw new Error('no route');
      const words = (what: string): string[] => [
        `drift web@n1 routes | web@n1 was repaired: ${what} (put-routes web.${SUFFIX})`,
      ];
      edge.table = [];
      const missing = await pass(edge);
      expect(told(edge, missing)).to.deep.equal(words(`route web.${SUFFIX}:443 is missing`));
      edge.table = [{ ...route, backend: '10.6.6.6:443' }];
      expect(told(edge, await pass(edge))).to.deep.equal(
        words(`route web.${SUFFIX}:443 leads to 10.6.6.6:443 instead of 10.0.0.1:443`),
      );
      edge.table = [route, { ...route, hostname: `x.${SUFFIX}` }];
      expect(told(edge, await pass(edge))).to.deep.equal([
        `drift web@n1 routes | web@n1 was repaired: x.${SUFFIX}:443: our mark, and nobody ordered it (remove-routes x.${SUFFIX})`,
      ]);
      edge.desired = { ...desiredOf([]), node: 'n2' };
      expect(told(edge, missing), 'told late, with the service gone').to.have.length(1);
    });

    it('no route whose first writing failed and is tried again', async () => {
      const { edge } = await running(web({ mode: 'l4' }));
      edge.desired = atEdge(web({ mode: 'l4', hostname: `new.${SUFFIX}` }));
      edge.failing.set('route', { kind: 'retry', why: 'the proxy is busy' });
      const tried = await pass(edge);
      expect(tried.map(({ step, outcome }) => `${step.kind} ${outcome.kind}`)).to.include('put-routes retry');
      edge.failing.clear();
      edge.now += 10_000;
      const again = await pass(edge);
      expect(again.map(({ step, outcome }) => `${step.kind} ${outcome.kind}`)).to.include('put-routes ok');
      expect(told(edge, again)).to.deep.equal([]);
    });
  });
});
