import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Desired, Service } from '../../../src/definitions/types.ts';
import { namedServices } from '../../../src/plan/guard.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

describe('the guard', () => {
  it('G7 L31 counts what would be stopped, moved or removed together: more than max(1, a fifth) and none of them is, while the rest converges', async () => {
    const world = await running(...many(10));
    world.desired = next(world, [...many(7), { ...one('s07'), active: false }, one('new')]);
    world.present('mcr.example.net/new:v1.0.0');
    expect(await world.converge()).to.deep.equal([
      world.journal.find((line) => line.startsWith('create new')),
      'trying new',
      'start new',
      'applied new running',
    ]);
    const { refused } = world.plan();
    expect(refused.map((entry) => entry.service)).to.have.members(['s07', 's08', 's09']);
    expect(refused[0]?.why).to.contain('3 of 11 services would be stopped or removed at once');
    expect(refused[0]?.hint).to.contain('Remove-Services: s08, s09, s07');
    expect(world.container('s07')?.state).to.equal('running');
  });

  it('G7 allows a fifth, and one of few', async () => {
    const world = await running(...many(10));
    world.desired = next(world, [...many(8), { ...one('s08'), active: false }]);
    await world.converge();
    expect([world.container('s08')?.state, world.container('s09')]).to.deep.equal(['exited', undefined]);
    const few = await running(one('a'), one('b'));
    few.desired = next(few, [one('a')]);
    await few.converge();
    expect(few.container('b')).to.equal(undefined);
  });

  it('L31 has no larger budget because the same commit brings new services', async () => {
    const world = await running(...many(5));
    const fresh = Array.from({ length: 20 }, (_, i) => one(`new${i}`));
    world.desired = next(world, [...many(3), ...fresh]);
    world.accept();
    expect(world.plan().refused.map((entry) => entry.service)).to.deep.equal(['s03', 's04']);
  });

  it('L34 G7 what was not brought into line yet, and has ports, spends of the budget also when a list of the engine hides it', async () => {
    const gone = ['s03', 's04'];
    const world = await running(...many(3), one('s03'), one('s04'));
    world.leases = gone.map((name, at) => ({
      ...{ service: name, component: name, route: '443', slot: 'a' as const, port: 12_000 + at },
    }));
    world.applied = world.applied.filter((entry) => !gone.includes(entry.service.name));
    world.containers = world.containers.filter(({ identity }) => !gone.includes(identity?.service ?? ''));
    world.desired = next(world, many(3));
    const { refused } = world.plan();
    expect(refused.map((entry) => entry.service)).to.deep.equal(gone);
    expect(refused[0]?.why).to.contain('2 of 5 services would be removed at once, and the budget is 1');
  });

  it('L31 lets go what a trailer names, also when the pass that removed it failed and git has moved on since', async () => {
    const world = await running(...many(5));
    world.desired = next(world, many(2), 'Clear up\n\nRemove-Services: s02, s03,s04\n\nSigned-off-by: a');
    world.failing.set('remove', retry('engine is busy'));
    await world.pass();
    world.failing.clear();
    world.desired = next(world, many(2), 'Something else');
    const steps = await world.converge();
    expect(steps.filter((line) => line.startsWith('forget'))).to.deep.equal([
      'forget s02',
      'forget s03',
      'forget s04',
    ]);
  });

  it('L31 takes every commit of accepted..new, and forgets a name whose service is wanted again or gone', () => {
    const world = new World();
    world.desired = desiredOf(many(4));
    world.accept();
    const desired = desiredOf([one('s00'), { ...one('s01'), active: false }]);
    const commits = [
      'Merge',
      'x\n\nremove-services: s01 , s02,',
      '* y\n\n  Remove-Services: s03, s00, nobody',
    ];
    const named = namedServices(
      commits.map((message) => ({ message })),
      desired,
      world.promised(),
    );
    expect(named).to.deep.equal(['s01', 's02', 's03']);
    const back = desiredOf([...many(3)]);
    expect(namedServices([], back, { ...world.promised(), named })).to.deep.equal(['s03']);
  });

  it('[policy] protect: is never stopped or removed, whoever names it, and costs the others no budget; it is replaced all the same', async () => {
    const world = await running(one('dns'), one('ca'), one('web'));
    world.protect = ['dns', 'ca'];
    world.desired = next(world, [{ ...one('ca'), active: false }], 'x\n\nRemove-Services: dns, ca');
    const steps = await world.converge();
    expect(steps).to.deep.equal(['remove web', 'forget web']);
    expect(world.plan().refused.map((entry) => `${entry.service}: ${entry.why}`)).to.deep.equal([
      'dns: the settings of this node protect it: it is never removed, only replaced',
      'ca: the settings of this node protect it: it is never stopped, only replaced',
    ]);
    const newer = component('ca').image;
    const image = { ...newer, reference: 'mcr.example.net/ca:v2.0.0', tag: 'v2.0.0' };
    world.present(image.reference);
    world.desired = next(world, [one('ca', { image }), one('dns')]);
    await world.converge();
    expect(world.container('ca')?.image).to.equal(image.reference);
  });

  it('G7 removals wait while a file is unreadable, stops do not', async () => {
    const world = await running(...many(10));
    const left = [...many(8), { ...one('s08'), active: false }];
    world.desired = next(world, left, '', { unreadable: true });
    expect(await world.converge()).to.deep.equal(['stop s08', 'applied s08 stopped']);
    expect(world.plan().refused[0]?.why).to.contain('removals wait while any definition');
  });
});

describe('orphans and paused services', () => {
  it('L47 prune = false leaves everything running when the file goes, lists it, spends no budget, and lets it go when it is named', async () => {
    const world = await running(one('kept', {}, { prune: false }), one('b'), one('c'));
    world.desired = next(world, [one('b')]);
    expect(await world.converge()).to.deep.equal(['remove c', 'forget c']);
    const plan = world.plan();
    expect(plan.waiting).to.have.length(1);
    expect(plan.waiting[0]).to.include({ service: 'kept', for: 'orphan' });
    expect(world.container('kept')?.state).to.equal('running');
    world.desired = next(world, [one('b')], 'x\n\nRemove-Services: kept');
    expect(await world.converge()).to.deep.equal(['remove kept', 'forget kept']);
  });

  it('house rule 8: ours without a record is taken in first, and goes under a later commit, within the budget', async () => {
    const world = await running(one('a'), one('lost'));
    world.applied = world.applied.filter((entry) => entry.service.name !== 'lost');
    world.files = world.files.filter((entry) => entry.service !== 'lost');
    world.desired = { ...desiredOf([one('a')]), commit: world.desired.commit };
    expect(await world.converge()).to.deep.equal(['orphan lost']);
    expect(world.plan().waiting[0]).to.include({ service: 'lost', for: 'orphan' });
    world.desired = next(world, [one('a')], '', { unreadable: true });
    expect(await world.converge(), 'the guard holds for orphans too').to.deep.equal([]);
    world.desired = next(world, [one('a')]);
    expect(await world.converge()).to.deep.equal(['remove lost', 'forget lost']);
    expect(world.orphans).to.deep.equal([]);
  });

  it('an orphan whose definition comes back is a service like the others, and is not removed later', async () => {
    const world = await running(one('a'), one('lost'));
    Object.assign(world, { applied: [], files: [], leases: [], routes: [] });
    world.desired = next(world, [one('a')]);
    await world.converge();
    expect(world.orphans).to.have.length(1);
    world.desired = next(world, [one('a'), one('lost')]);
    expect(await world.converge()).to.deep.equal(['applied lost running']);
    expect(world.orphans).to.deep.equal([]);
  });

  it('L48 paused leaves everything exactly as it is, says so, and goes on when it is lifted', async () => {
    const world = await running(one('a'), one('b'));
    const image = { ...component('a').image, reference: 'mcr.example.net/a:v2.0.0', tag: 'v2.0.0' };
    world.present(image.reference);
    world.desired = next(world, [one('a', { image }, { paused: true }), one('b')]);
    world.kill('a');
    expect(await world.converge()).to.deep.equal([]);
    expect(world.plan().waiting).to.have.length(1);
    expect(world.plan().waiting[0]).to.include({ service: 'a', for: 'paused' });
    world.desired = next(world, [one('a', { image }, { paused: true, active: false }), one('b')]);
    expect(await world.converge(), 'not stopped either').to.deep.equal([]);
    world.desired = next(world, [one('a', { image }), one('b')]);
    await world.converge();
    expect(world.container('a')?.image).to.equal(image.reference);
  });
});

describe('mode = "observe"', () => {
  it('L27 plans and says everything, takes no step, and asks for no time to wake', async () => {
    const world = await running(one('a'), one('b'), one('c'));
    world.mode = 'observe';
    world.kill('a');
    world.desired = next(world, [one('a'), one('c'), one('new')]);
    world.present('mcr.example.net/new:v1.0.0');
    const before = JSON.stringify([world.containers, world.table, world.applied]);
    expect(await world.converge()).to.deep.equal([]);
    expect(JSON.stringify([world.containers, world.table, world.applied])).to.equal(before);
    const told = world.plan().waiting.filter((entry) => entry.for === 'observe');
    expect(told.map((entry) => entry.service)).to.deep.equal(['b', 'a', 'new']);
    expect(told[0]?.why).to.contain('it would now: remove-container b, forget-service b');
    expect(told[2]?.why).to.contain(
      'create-container new, record-trial new, start-container new (new service new)',
    );
    world.mode = undefined;
    await world.converge();
    expect(world.containers.map((container) => container.name)).to.have.members(['a', 'c', 'new']);
  });
});

describe('the identity of the engine', () => {
  it('L05 G22 is recorded before the first step; another one refuses everything until the settings name it', async () => {
    const world = await running(one('a'), one('b'));
    expect(world.engine).to.deep.equal({ id: 'e', storageRoot: '/x' });
    world.engineIdentity = { id: 'other', storageRoot: '/home/mcp' };
    world.containers = [];
    expect(await world.converge()).to.deep.equal([]);
    const { refused } = world.plan();
    expect(refused.map((entry) => entry.service)).to.deep.equal(['a', 'b']);
    expect(refused[0]?.why).to.contain('other (/home/mcp) instead of e (/x)');
    expect(refused[0]?.hint).to.contain('engine_id = "other"');
    world.engineId = 'other';
    await world.converge();
    expect(world.containers.map((one) => one.name)).to.have.members(['a', 'b']);
    expect(world.engine).to.deep.equal(world.engineIdentity);
  });

  it('L05 the same node moved is taken: all our containers are there', async () => {
    const world = await running(one('a'), one('b'));
    world.engineIdentity = { id: 'e', storageRoot: '/data/docker' };
    expect(await world.converge()).to.deep.equal([]);
    expect(world.plan().refused).to.deep.equal([]);
    expect(world.engine).to.deep.equal(world.engineIdentity);
    world.engineIdentity = { id: 'f', storageRoot: '/x' };
    world.containers = world.containers.filter((container) => container.name === 'a');
    expect(world.plan().refused, 'half of them is not the same node').to.have.length(2);
  });

  it('L05 settings that name another engine than the first one seen refuse it before anything is made', async () => {
    const world = new World();
    world.engineId = 'meant';
    world.desired = desiredOf([one('a')]);
    world.present('mcr.example.net/a:v1.0.0');
    expect(await world.converge()).to.deep.equal([]);
    expect(world.plan().refused[0]?.why).to.contain('the container engine is another one');
  });

  it('G22 a store that is empty under the same identity is the create path', async () => {
    const world = await running(one('a'));
    world.containers = [];
    await world.converge();
    expect(world.container('a')?.state).to.equal('running');
  });
});

let commits = 0;

/** The definitions of a later commit. */
function next(world: World, services: Service[], message = 'm', change: Partial<Desired> = {}): Desired {
  commits += 1;
  const oid = commits.toString(16).padStart(40, '0');
  const commit = { ...world.desired.commit, oid, message };
  const { services: desired, ...rest } = desiredOf(services, { commit, ...change });
  return { ...rest, services: desired.map((entry) => ({ ...entry, commit: oid })) };
}

async function running(...services: Service[]): Promise<World> {
  const world = new World();
  world.desired = desiredOf(services);
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  await world.converge();
  return world;
}

function many(count: number): Service[] {
  return Array.from({ length: count }, (_, i) => one(`s${String(i).padStart(2, '0')}`));
}

function one(name: string, change: Partial<Component> = {}, more: Partial<Service> = {}): Service {
  return service(name, [component(name, change)], more);
}
