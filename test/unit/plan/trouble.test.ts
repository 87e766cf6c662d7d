import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import { World } from '../../support/world.ts';

describe('the planner in trouble', () => {
  it('waits longer after each removal, and after each stop, that fails', async () => {
    for (const desired of [[one('b')], [one('b'), { ...one('a'), active: false }]]) {
      const world = await running(one('a'), one('b'));
      world.desired = desiredOf(desired);
      world.failing.set('remove', retry('device is busy')).set('stop', retry('device is busy'));
      const from = world.journal.length;
      const waits: number[] = [];
      for (let i = 0; i < 3; i += 1) {
        await world.pass();
        expect((await world.pass()).plan.steps).to.deep.equal([]);
        const wakeAt = world.plan().wakeAt ?? 0;
        waits.push(wakeAt - world.now);
        world.now = wakeAt;
      }
      expect(waits).to.deep.equal([2000, 4000, 8000]);
      expect(world.journal.slice(from).filter((line) => /^(remove|stop) a$/.test(line))).to.have.length(3);
      world.failing.clear();
      await world.converge();
      expect(world.failures).to.deep.equal([]);
      expect(world.container('a')?.state).to.equal(desired.length === 1 ? undefined : 'exited');
    }
  });

  it('forgets a failure once the service runs as wanted again, so that the next one begins with a short wait', async () => {
    const world = await running(one('a'));
    world.kill('a');
    world.failing.set('start', retry('no space left'));
    for (let i = 0; i < 4; i += 1) {
      await world.pass();
      world.now = world.plan().wakeAt ?? world.now;
    }
    expect(world.failures[0]?.count).to.equal(4);
    world.failing.clear();
    await world.converge();
    expect(world.failures).to.deep.equal([]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('L10 puts a route again whose certificate the proxy has not taken up, and nothing else', async () => {
    const world = await running(one('a', { routes: [web('a')] }), one('b', { routes: [web('b')] }));
    world.staleRoutes.add(`a.${SUFFIX}`);
    const { steps } = world.plan();
    expect(steps.map(({ kind, subject }) => `${kind} ${subject}`)).to.deep.equal([`put-routes a.${SUFFIX}`]);
    expect(steps[0]?.because.summary).to.equal(
      `route a.${SUFFIX}:443: its certificate has changed since the proxy took it up`,
    );
    await world.converge();
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('L10 is in line only when a handshake through the proxy shows the certificate that was meant', async () => {
    const world = await running(one('a', { routes: [web('a')] }));
    const waits = (): string[] => world.plan().waiting.map((entry) => entry.why);
    const name = `a.${SUFFIX}:443`;
    const certificate = world.certificates[`a.${SUFFIX}`];
    if (certificate?.kind !== 'valid') throw new Error('no certificate');
    world.handshakes = {};
    expect(waits()[0]).to.match(/under way/);
    world.handshakes = { [name]: { kind: 'failed', why: 'nothing answers' } };
    expect(waits()[0]).to.equal('nothing answers');
    world.handshakes = { [name]: { kind: 'ok', fingerprint256: 'another', notAfter: world.now } };
    expect(waits()[0]).to.match(/shows another certificate/);
    const { fingerprint256, notAfter } = certificate;
    world.handshakes = { [name]: { kind: 'ok', fingerprint256, notAfter } };
    expect(world.plan()).to.deep.include({ steps: [], waiting: [] });
  });

  it('L06 gives two new services of one commit different ports, whatever their seeds', async () => {
    const services = Array.from({ length: 40 }, (_, i) => one(`s${i}`, { routes: [web(`s${i}`)] }));
    const world = new World();
    world.desired = desiredOf(services);
    world.present(...services.map((entry) => `mcr.example.net/${entry.name}:v1.0.0`));
    await world.pass();
    await world.pass();
    expect(world.failures).to.deep.equal([]);
    expect(new Set(world.leases.map((lease) => lease.port)).size).to.equal(40);
  });

  it('never leases a port that a definition has as a fixed one', async () => {
    const lone = await running(one('a', { routes: [web('a')] }));
    const port = lone.leases[0]?.port ?? 0;
    const fixed = one('b', { ports: [{ host: port, container: 53, protocol: 'tcp' }] });
    const world = await running(one('a', { routes: [web('a')] }), fixed);
    expect(world.leases[0]?.port).to.not.equal(port);
    expect(world.container('b')?.state).to.equal('running');
  });

  it('L06 takes a lease up from a stopped container too when the registry was lost', async () => {
    const world = await running(one('a', { routes: [web('a')] }));
    const [{ id } = { id: '' }] = world.containers;
    const { leases } = world;
    world.kill('a');
    world.now += 60_000;
    Object.assign(world, { applied: [], leases: [], routes: [], records: [], files: [] });
    expect(await world.converge()).to.deep.equal(['start a', 'applied a running']);
    expect(world.leases).to.deep.equal(leases);
    expect(world.container('a')?.id).to.equal(id);
  });

  it('L31 removes nothing unnamed from an empty repository, even when the others are named', async () => {
    const world = await running(one('a'), one('b'));
    world.desired = desiredOf([]);
    world.removable = ['a'];
    await world.converge();
    expect(world.containers.map((container) => container.name)).to.deep.equal(['b']);
    expect(world.plan().refused[0]).to.include({ service: 'b' });
  });

  it('does not run again and again what shall not be restarted and fails', async () => {
    const world = new World();
    world.desired = desiredOf([one('job', { restart: 'no' })]);
    world.present('mcr.example.net/job:v1.0.0');
    const starts = async (passes: number): Promise<number> => {
      const from = world.journal.length;
      for (let i = 0; i < passes; i += 1) {
        await world.pass();
        if (world.container('job')?.state === 'running') end(world, 'job', 1);
      }
      return world.journal.slice(from).filter((line) => line.startsWith('start')).length;
    };
    expect(await starts(8)).to.equal(1);
    expect(world.plan().waiting[0]?.why).to.contain('exited with code 1');
    world.desired = desiredOf([{ ...one('job', { restart: 'no' }), active: false }]);
    await world.converge();
    world.now += 1_000;
    world.desired = desiredOf([one('job', { restart: 'no' })]);
    expect(await starts(8), 'stopped in git and started again: once').to.equal(1);
  });

  it('starts again what was stopped in git, also when it ended well and shall not be restarted', async () => {
    const world = await running(one('a', { restart: 'no' }));
    world.desired = desiredOf([{ ...one('a', { restart: 'no' }), active: false }]);
    expect(await world.converge()).to.deep.equal(['stop a', 'applied a stopped']);
    world.now += 1_000;
    world.desired = desiredOf([one('a', { restart: 'no' })]);
    expect(await world.converge()).to.deep.equal(['start a', 'applied a running']);
  });

  it('stops a predecessor that somebody started again, before its successor needs the port', async () => {
    const port = { host: 5353, container: 53, protocol: 'tcp' as const };
    const world = await running(one('a', { ports: [port] }));
    world.desired = desiredOf([one('a', { ports: [port], cmd: ['--new'] })]);
    world.failing.set('start', retry('exec format error'));
    await world.pass();
    world.failing.clear();
    const prev = world.containers.find((container) => container.name.includes('.prev-'));
    Object.assign(prev ?? {}, { state: 'running', startedAt: world.now });
    await world.converge();
    expect(world.containers.map((container) => container.name)).to.deep.equal(['a']);
    expect(world.container('a')?.state).to.equal('running');
  });

  it('stops nothing for a name that another service of ours still holds', async () => {
    const world = await running(service('a', [component('b-c')]), service('a-b', [component('x')]), one('z'));
    const x = world.container('a-b-x')?.id;
    world.present('mcr.example.net/c:v1.0.0');
    world.desired = desiredOf(
      [service('a-b', [component('c'), component('x', { cmd: ['--new'] })]), one('z')],
      {
        unreadable: true,
      },
    );
    await world.converge();
    expect(world.container('a-b-x')).to.include({ id: x, state: 'running' });
    expect(world.plan().waiting[0]?.why).to.contain('a-b-c');
    world.desired = { ...world.desired, unreadable: false };
    await world.converge();
    expect(world.containers.map((c) => `${c.name} ${c.state}`).sort()).to.deep.equal([
      'a-b-c running',
      'a-b-x running',
      'z running',
    ]);
  });

  it('L02 G38 keeps the old version up and routed while the new one cannot be made', async () => {
    const world = await running(one('a', { routes: [web('a')] }), one('b'));
    const { table } = world;
    const image = { reference: 'mcr.example.net/a:v9.0.0', repository: 'a', tag: 'v9.0.0' };
    world.desired = desiredOf([one('a', { routes: [web('a')], image }), one('b')]);
    world.images[image.reference] = { kind: 'absent' };
    expect(await world.converge()).to.deep.equal([]);
    world.kill('a');
    world.table = [];
    expect(await world.converge()).to.deep.equal([
      'start a',
      `route a.${SUFFIX}:443>${world.leases[0]?.port}`,
    ]);
    expect(world.table).to.deep.equal(table);
    expect(world.plan().refused[0]?.why).to.contain('is not on this engine');
  });

  it('L38 leaves a host name to the service that has it now, while its old holder waits for an image', async () => {
    const world = await running(one('a', { routes: [web('x')] }), one('b'));
    const image = { reference: 'mcr.example.net/a:v9.0.0', repository: 'a', tag: 'v9.0.0' };
    world.images[image.reference] = { kind: 'absent' };
    world.desired = desiredOf([one('a', { image }), one('b', { routes: [web('x')] })]);
    await world.converge();
    expect(world.table.map((route) => route.mark)).to.deep.equal(['n1/main/b/b/']);
    expect(world.container('a')?.state).to.equal('running');
  });
  it('G5 G9 stops nothing for a fixed port that may be taken: by another process, or by nobody knows what', async () => {
    const port = { host: 5353, container: 53, protocol: 'tcp' as const };
    const world = await running(one('a'));
    const { containers } = world;
    world.desired = desiredOf([one('a', { ports: [port] })]);
    world.portsKnown = false;
    await world.converge();
    expect(world.plan().waiting[0]?.why).to.contain('/proc/net cannot be read');
    world.portsKnown = true;
    world.listening = [{ ip: '0.0.0.0', port: 5353, protocol: 'tcp' }];
    await world.converge();
    expect(world.plan().waiting[0]?.why).to.contain('held by a process outside the engine');
    expect(world.containers).to.deep.equal(containers);
    world.listening = [];
    await world.converge();
    expect(world.container('a')?.publish).to.have.length(1);
  });

  it('takes a fixed port soon after another service gave it up', async () => {
    const port = { host: 5353, container: 53, protocol: 'tcp' as const };
    const world = await running(one('a', { ports: [port] }), one('b'));
    world.desired = desiredOf([
      { ...one('a', { ports: [port] }), active: false },
      one('b', { ports: [port] }),
    ]);
    const from = world.now;
    await world.converge();
    expect(world.container('b')?.publish).to.have.length(1);
    expect(world.now - from).to.be.at.most(10_000);
  });

  it('G5 sees that the port of its own stopped container was taken meanwhile', async () => {
    const port = { host: 5353, container: 53, protocol: 'tcp' as const };
    const world = await running(service('a', [component('x', { ports: [port] }), component('y')]));
    world.kill('a-x');
    world.now += 60_000;
    world.listening = [{ ip: '0.0.0.0', port: 5353, protocol: 'tcp' }];
    world.desired = desiredOf([
      service('a', [component('x', { ports: [port], cmd: ['v2'] }), component('y', { cmd: ['v2'] })]),
    ]);
    const y = world.container('a-y');
    for (let i = 0; i < 5; i += 1) await world.pass();
    expect(
      world.container('a-y'),
      'its sibling is not stopped for a successor that cannot start',
    ).to.deep.equal(y);
  });

  it('L33 plans the others when what is said of one service cannot be understood', async () => {
    const world = await running(one('a'), one('b'));
    world.kill('b');
    const odd = { ...one('a'), components: [{ name: 'a', container: 'a' }] };
    world.desired = desiredOf([odd as unknown as Service, one('b')]);
    expect(await world.converge()).to.deep.equal(['start b']);
    expect(world.plan().refused[0]).to.include({ service: 'a' });
    expect(world.container('a')?.state).to.equal('running');
  });

  it('L13 puts a route again that somebody took away, or led elsewhere, and tells why', async () => {
    const world = await running(one('a', { routes: [web('a')] }));
    const [route] = world.table;
    if (route === undefined) throw new Error('no route');
    const name = `route ${route.hostname}:443`;
    for (const [table, told] of [
      [[], `${name} is missing`],
      [[{ ...route, backend: '127.0.0.1:9' }], `${name} leads to 127.0.0.1:9 instead of ${route.backend}`],
    ] as const) {
      world.table = [...table];
      const [step] = world.plan().steps;
      expect(step).to.include({ kind: 'put-routes', subject: route.hostname });
      expect(step?.because.summary).to.equal(told);
      expect(await world.converge()).to.deep.equal([
        `route ${route.hostname}:443>${route.backend.split(':')[1]}`,
      ]);
      expect(world.table).to.deep.equal([route]);
    }
  });

  it('L08 takes away a route with our mark of which nobody knows the service any more', async () => {
    const world = await running(one('a', { routes: [web('a')] }), one('b'));
    const [route] = world.table;
    if (route === undefined) throw new Error('no route');
    const late = { ...route, hostname: `gone.${SUFFIX}`, mark: 'n1/main/gone/gone/' };
    const foreign = { ...route, hostname: 'theirs.example.net', mark: 'n2/main/gone/gone/' };
    world.table = [...world.table, late, foreign];
    world.proxyKnown = false;
    expect(await world.converge(), 'G9').to.deep.equal([]);
    world.proxyKnown = true;
    expect(await world.converge()).to.deep.equal([`unroute gone.${SUFFIX}:443`, 'forget gone']);
    expect(world.table).to.deep.equal([route, foreign]);
  });

  it('G4 watches a version for its whole time, also when it became ready while the node was looked at', async () => {
    const world = new World();
    world.desired = desiredOf([service('a', [component('a')])]);
    world.present('mcr.example.net/a:v1.0.0');
    for (let at = 0; at < 10 && world.container('a')?.state !== 'running'; at += 1) await world.pass();
    const id = world.container('a')?.id ?? '';
    // The probe says so a moment after the pass has taken its time.
    const facts = world.facts();
    const since = facts.now + 300;
    const plan = makePlan({
      ...facts,
      observed: { ...facts.observed, probes: { [id]: { kind: 'ready', since } } },
    });
    expect(plan.steps).to.deep.equal([]);
    expect(plan.waiting[0]).to.include({ for: 'proved', until: since + 5_000 });
  });

  it('G42 waits seconds and not a day when the clock is set back', async () => {
    const world = await running(one('a'));
    world.desired = desiredOf([one('a', { cmd: ['--new'] })]);
    world.failing.set('create', retry('no space left'));
    await world.pass();
    world.failing.clear();
    world.now -= 86_400_000;
    const from = world.now;
    await world.converge();
    expect(world.containers.map((container) => container.name)).to.deep.equal(['a']);
    expect(world.now - from).to.be.at.most(60_000);
  });

  it('clears away what a given-up call made beside the container in place', async () => {
    const world = await running(one('a'));
    const [container] = world.containers;
    if (container === undefined) throw new Error('no container');
    const late = { ...container, id: 'late', name: 'a.next-0badcafe', state: 'created' as const };
    Reflect.deleteProperty(late, 'startedAt');
    world.containers = [container, late];
    expect(await world.converge()).to.deep.equal(['remove a.next-0badcafe']);
  });

  it('goes on from a record of another version of this program', async () => {
    const world = await running(one('a'));
    const old = { name: 'a', node: 'n1', active: true, path: 'a', components: [{ name: 'a' }] };
    world.applied = world.applied.map((entry) => ({
      ...entry,
      digest: 'old',
      service: old as unknown as Service,
    }));
    expect(await world.converge()).to.deep.equal(['trying a', 'applied a running']);
  });
});

function web(name: string): Route {
  return { name: '', port: 443, mode: 'l7', hostname: `${name}.${SUFFIX}`, backendTls: false };
}

function end(world: World, name: string, exitCode: number): void {
  const target = world.container(name);
  Object.assign(target ?? {}, { state: 'exited', exitCode, finishedAt: world.now });
}

async function running(...services: Service[]): Promise<World> {
  const world = new World();
  world.desired = desiredOf(services);
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  await world.converge();
  return world;
}

function one(name: string, change: Partial<Component> = {}): Service {
  return service(name, [component(name, change)]);
}
