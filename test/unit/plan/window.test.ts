import { expect } from 'chai';
import type { Deploy, Service, Window } from '../../../src/definitions/types.ts';
import { stateOf } from '../../../src/plan/window.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const HOUR = 3_600_000;
/** The world begins at midnight UTC on a Thursday. */
const NIGHT: Window = { cron: '0 2 * * *', forMs: HOUR, timezone: 'UTC' };

describe('windows and manual restarts', () => {
  it('G42 knows when a window is open, in its own time zone, over a change of the clocks', () => {
    const berlin: Window = { cron: '0 2 * * 0', forMs: 2 * HOUR, timezone: 'Europe/Berlin' };
    const at = (iso: string): unknown => stateOf(berlin, Date.parse(iso));
    const open = (iso: string): unknown => ({ kind: 'open', until: Date.parse(iso) });
    const closed = (iso: string): unknown => ({ kind: 'closed', opensAt: Date.parse(iso) });
    expect(at('2026-01-04T00:59:59.999Z')).to.deep.equal(closed('2026-01-04T01:00:00Z'));
    expect(at('2026-01-04T01:00:00Z')).to.deep.equal(open('2026-01-04T03:00:00Z'));
    expect(at('2026-01-04T02:59:59.999Z')).to.deep.equal(open('2026-01-04T03:00:00Z'));
    expect(at('2026-01-04T03:00:00Z')).to.deep.equal(closed('2026-01-11T01:00:00Z'));
    expect(at('2026-07-05T00:00:00Z')).to.deep.equal(open('2026-07-05T02:00:00Z'));
    expect(stateOf({ ...berlin, timezone: 'Mars/Base' }, 0)).to.have.property('kind', 'broken');
    expect(stateOf({ ...berlin, cron: 'at night' }, 0)).to.have.property('kind', 'broken');
  });

  it('bounds a change, says until when it waits, and stages it meanwhile', async () => {
    const world = await started(web('v1'));
    const { id } = world.container('web') ?? {};
    push(world, web('v2', { window: NIGHT }));
    await world.pass();
    const plan = world.plan();
    expect(plan.steps).to.deep.equal([]);
    expect(plan.wakeAt).to.equal(Date.UTC(2026, 0, 1, 2));
    expect(plan.waiting[0]).to.include({ for: 'window', until: Date.UTC(2026, 0, 1, 2) });
    expect(plan.waiting[0]?.why).to.contain('opens at 2026-01-01T02:00:00.000Z');
    expect(world.container('web')?.id).to.equal(id);
    await world.converge();
    expect(world.container('web')?.image).to.contain('v2');
    expect(world.now).to.be.within(Date.UTC(2026, 0, 1, 2), Date.UTC(2026, 0, 1, 2, 1));
  });

  it('has the windows of the node bound the changes of every service, and the one of the file besides', async () => {
    const world = await started(web('v1'));
    world.windows = [NIGHT, { ...NIGHT, cron: '0 5 * * *' }];
    push(world, web('v2', { window: { ...NIGHT, cron: '30 5 * * *' } }));
    await world.converge();
    expect(world.now).to.be.within(Date.UTC(2026, 0, 1, 5, 30), Date.UTC(2026, 0, 1, 5, 31));
    expect(world.container('web')?.image).to.contain('v2');
  });

  it('takes the window of the new file: a wrong one is mended at once', async () => {
    const world = await started(web('v1', { window: { ...NIGHT, cron: '0 2 1 1 *' } }));
    const { now } = world;
    push(world, web('v2'));
    await world.pass();
    expect(world.container('web')?.image).to.contain('v2');
    expect(world.now).to.equal(now);
  });

  it('bounds neither healing, nor the start of what is missing, nor a return', async () => {
    const world = await started(web('v1', { window: NIGHT }));
    world.containers = [];
    expect((await world.converge()).at(-1)).to.equal('start web');
    world.present('mcr.example.net/new:v1.0.0');
    world.desired = desiredOf([
      service('new', [component('new')], { deploy: { window: NIGHT } }),
      web('v1', { window: NIGHT }),
    ]);
    await world.converge();
    expect(world.container('new')?.state).to.equal('running');
    world.now = Date.UTC(2026, 0, 2, 2, 59, 30);
    world.bad.add(ref('v2'));
    push(world, web('v2', { window: NIGHT }));
    await world.pass();
    expect(world.container('web')?.image).to.contain('v2');
    world.now += 60_000;
    await world.pass();
    await world.pass();
    expect(stateOf(NIGHT, world.now).kind).to.equal('closed');
    expect(world.container('web')?.image).to.contain('v1');
  });

  it('bounds a removal by the window that the service had, and a stop by none', async () => {
    const world = await started(web('v1', { window: NIGHT }));
    push(world, { ...web('v1', { window: NIGHT }), active: false });
    await world.pass();
    expect(world.container('web')?.state).to.equal('exited');
    world.desired = desiredOf([]);
    world.removable = ['web'];
    await world.pass();
    expect(world.plan().waiting[0]).to.include({ for: 'window', until: Date.UTC(2026, 0, 1, 2) });
    await world.converge();
    expect(world.containers).to.deep.equal([]);
  });

  it('brings a change that has begun to its end, also when its window closes in between', async () => {
    const world = await started(web('v1'));
    world.now = Date.UTC(2026, 0, 2, 2, 59, 59);
    push(world, web('v2', { window: NIGHT }));
    await world.pass();
    world.now += 2_000;
    await world.converge();
    expect(world.container('web')?.image).to.contain('v2');
    expect(world.now).to.be.below(Date.UTC(2026, 0, 2, 4));
  });

  it('L15 restart = "manual" shows what differs for reasons that are not in git, and restarts nothing for it', async () => {
    const world = await started(web('v1', { restart: 'manual' }));
    const { containers } = world;
    world.logMaxSize = '20m';
    expect(await world.converge()).to.deep.equal([]);
    expect(world.containers).to.deep.equal(containers);
    expect(world.plan().waiting[0]).to.include({ for: 'restart' });
    expect(world.plan().waiting[0]?.hint).to.contain('generation');
    push(world, web('v2', { restart: 'manual' }));
    await world.converge();
    expect(world.container('web')?.image, 'git wants it').to.contain('v2');
    expect(world.plan().waiting).to.deep.equal([]);
    world.logMaxSize = '30m';
    world.kill('web');
    await world.converge();
    expect(world.container('web')?.state, 'it is healed').to.equal('running');
  });
});

function ref(tag: string): string {
  return `mcr.example.net/web:${tag}`;
}

function web(tag: string, deploy: Deploy = {}): Service {
  const image = { reference: ref(tag), host: 'mcr.example.net', repository: 'web', tag };
  return service('web', [component('web', { image })], { deploy });
}

function push(world: World, version: Service): void {
  world.desired = desiredOf([version]);
}

async function started(version: Service): Promise<World> {
  const world = new World();
  world.desired = desiredOf([version]);
  world.present(...['v1', 'v2'].map(ref));
  await world.converge();
  return world;
}
