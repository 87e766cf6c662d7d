import { expect } from 'chai';
import type { Component, Health } from '../../../src/definitions/types.ts';
import { probeTargets } from '../../../src/plan/look.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const HEALTH: Health = {
  type: 'http',
  path: '/healthz',
  intervalMs: 10_000,
  timeoutMs: 5_000,
  retries: 3,
  startPeriodMs: 0,
  onFailure: 'restart',
};
const L7 = { name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false } as const;

async function running(change: Partial<Component>): Promise<World> {
  const world = new World();
  world.desired = desiredOf([service('web', [component('web', { routes: [L7], ...change })])]);
  world.present('mcr.example.net/web:v1.0.0');
  await world.converge();
  return world;
}

describe('a component that becomes unwell', () => {
  it('is restarted at once the first time, then after waits that double from 10 s to 5 min; its route stays', async () => {
    const world = await running({ health: HEALTH });
    const table = world.table;
    const waits: number[] = [];
    for (const times of [1, 2, 3, 4, 20]) {
      world.unwell.set('web', times);
      const since = world.now;
      const { steps, waiting, wakeAt } = world.plan();
      if (steps.length === 0) {
        expect(waiting[0]).to.include({ for: 'health', why: 'web is unwell: status 503', since });
        world.now = wakeAt ?? 0;
      }
      waits.push(world.now - since);
      const from = world.journal.length;
      await world.pass();
      expect(world.journal.slice(from)).to.deep.equal(['stop web', 'start web']);
      expect(world.container('web')?.state).to.equal('running');
      world.unwell.clear();
      await world.converge();
    }
    expect(waits).to.deep.equal([0, 10_000, 20_000, 40_000, 300_000]);
    expect(world.table).to.deep.equal(table);
  });

  it('is only told with on_failure = "report"', async () => {
    const world = await running({ health: { ...HEALTH, onFailure: 'report' } });
    world.unwell.set('web', 1);
    const { steps, waiting } = world.plan();
    expect(steps).to.deep.equal([]);
    expect(waiting[0]).to.include({ service: 'web', component: 'web', for: 'health' });
    expect(waiting[0]?.hint).to.contain('on_failure = "restart"');
  });

  it('G13 a crash between stop and start leaves nothing stopped', async () => {
    const world = await running({ health: HEALTH });
    world.unwell.set('web', 1);
    world.cutInside = 'start';
    await world.pass().catch(() => undefined);
    world.unwell.clear();
    await world.converge();
    expect(world.container('web')?.state).to.equal('running');
  });
});

describe('what is asked of a container', () => {
  const asked = async (change: Partial<Component>): Promise<unknown> => {
    const world = await running(change);
    const [target] = probeTargets(world.facts());
    return { checks: target?.checks.map(({ kind }) => kind), check: target?.health?.check };
  };

  it('a health check takes the place of the one of the route or port that it asks', async () => {
    expect(await asked({})).to.deep.equal({ checks: ['http'], check: undefined });
    const http = (await asked({ health: HEALTH })) as { checks: unknown; check: object };
    expect(http.checks).to.deep.equal([]);
    expect(http.check).to.include({ kind: 'http', path: '/healthz', hostname: L7.hostname, tls: false });
    expect(http.check).to.deep.include({ expect: [200, 399] });
    const command = ['check'];
    expect(await asked({ health: { ...HEALTH, type: 'exec', command } })).to.deep.equal({
      checks: ['http'],
      check: { kind: 'exec', command },
    });
    const l4 = { ...L7, name: 'rest', mode: 'l4' } as const;
    const named = (await asked({
      routes: [L7, l4].map((one, at) => ({ ...one, name: ['web', 'rest'][at] ?? '', port: 443 + at })),
      health: { ...HEALTH, route: 'rest' },
    })) as { checks: unknown; check: object };
    expect(named.checks).to.deep.equal(['http']);
    expect(named.check).to.include({ route: 'rest' });
  });

  it('a port: published or not; tcp looks inside, http and tls ask where it is published', async () => {
    const ports = [
      { ip: '0.0.0.0', host: 8053, container: 53, protocol: 'tcp' } as const,
      { host: 8053, container: 53, protocol: 'udp' } as const,
    ];
    const rest: Health = { ...HEALTH, type: 'tls' };
    expect(await asked({ routes: [], ports, health: { ...rest, type: 'tls', port: 53 } })).to.deep.equal({
      checks: ['listen'],
      check: { kind: 'tls', ip: '127.0.0.1', port: 8053, hostname: 'web', route: '' },
    });
    expect(await asked({ routes: [], health: { ...rest, type: 'tcp', port: 5432 } })).to.deep.equal({
      checks: [],
      check: { kind: 'listen', ip: '127.0.0.1', port: 0, containerPort: 5432, protocol: 'tcp' },
    });
  });
});
