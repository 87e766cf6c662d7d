import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { FOREIGN_PARTS } from '../../support/foreign.ts';
import { World } from '../../support/world.ts';

const L7: Route = { name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false };

function web(version = 'v1.0.0', route: Partial<Route> = {}): Service {
  const image = {
    reference: `mcr.example.net/web:${version}`,
    host: 'mcr.example.net',
    repository: 'web',
    tag: version,
  };
  return service('web', [
    component('web', { image, dockerfile: 'Dockerfile', routes: [{ ...L7, ...route }] }),
  ]);
}

function worldWith(...services: Service[]): World {
  const world = new World();
  world.desired = desiredOf(services);
  return world;
}

describe('the planner', () => {
  it('G2 starts a new service in the order image, ports, certificate, container, ready, route, record, and is then done', async () => {
    const world = worldWith(web());
    world.images['mcr.example.net/web:v1.0.0'] = { kind: 'absent' };
    const steps = await world.converge();
    const port = world.leases[0]?.port ?? 0;
    const staging = steps.find((step) => step.startsWith('create web.next')) ?? '';
    expect(steps).to.deep.equal([
      'build mcr.example.net/web:v1.0.0',
      `certificate web.${SUFFIX}`,
      'create-network mcpnet',
      staging,
      'trying web',
      'start web',
      `route web.${SUFFIX}:443>${port}`,
      'applied web running',
    ]);
    expect(world.plan().steps).to.deep.equal([]);
    expect(port).to.be.within(10000, 10050);
  });

  it('L07 makes the successor before it stops the predecessor, and keeps that one until the new one is proved', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/web:v1.1.0');
    await world.converge();
    const lease = world.leases;
    world.desired = desiredOf([web('v1.1.0')]);
    const from = world.journal.length;
    await world.pass();
    expect(world.journal.slice(from).map((line) => line.split('.')[0])).to.deep.equal([
      'create web',
      'retire web',
      'trying web',
      'start web',
    ]);
    expect(world.containers.filter((c) => c.name.includes('.prev-'))).to.have.length(1);
    const rest = await world.converge();
    expect(rest.at(-1)).to.match(/^remove web\.prev-/);
    expect(world.leases, 'L06: the port stays').to.deep.equal(lease);
    expect(world.containers.map((c) => c.name)).to.deep.equal(['web']);
  });

  it('L30 touches nothing that runs while the new image is missing, its mount is absent, or its container cannot be made', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const before = world.container('web');
    const changed = service('web', [
      component('web', {
        image: {
          reference: 'mcr.example.net/web:v2.0.0',
          host: 'mcr.example.net',
          repository: 'web',
          tag: 'v2.0.0',
        },
        routes: [L7],
        mounts: [{ kind: 'bind', source: '/srv/web', target: '/srv/web', readOnly: false }],
      }),
    ]);
    world.desired = desiredOf([changed]);
    world.images['mcr.example.net/web:v2.0.0'] = { kind: 'absent' };
    expect((await world.pass()).plan.refused[0]?.why).to.contain('no registry is configured for');
    world.present('mcr.example.net/web:v2.0.0');
    world.missingMounts.add('/srv/web');
    expect((await world.pass()).plan.waiting[0]?.for).to.equal('mount');
    world.missingMounts.clear();
    world.failing.set('create', retry('no space left'));
    await world.pass();
    expect(world.container('web')).to.deep.equal(before);
  });

  it('L11 has no route before its certificate and none before ready', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    world.unready.add('web');
    await world.converge();
    expect(world.table).to.deep.equal([]);
    expect(world.plan().waiting[0]?.why).to.contain('nothing answers');
    world.unready.clear();
    world.failing.set('certificate', retry('CA is sealed'));
    world.certificates = {};
    await world.pass();
    expect(world.table).to.deep.equal([]);
  });

  it('stops: routes, then containers; the lease stays, and the start that follows has the same port', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const port = world.leases[0]?.port;
    world.desired = desiredOf([{ ...web(), active: false }]);
    expect(await world.converge()).to.deep.equal([
      `unroute web.${SUFFIX}:443`,
      'stop web',
      'applied web stopped',
    ]);
    world.desired = desiredOf([web()]);
    expect(await world.converge()).to.deep.equal([
      'start web',
      `route web.${SUFFIX}:443>${port ?? ''}`,
      'applied web running',
    ]);
  });

  it('L23 undeploys in the order routes, containers, network, leases', async () => {
    const pair = service('shop', [
      component('api'),
      component('web', { routes: [{ ...L7, hostname: `shop.${SUFFIX}` }] }),
    ]);
    const world = worldWith(pair, web());
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/api:v1.0.0');
    await world.converge();
    world.desired = desiredOf([web()]);
    expect(await world.converge()).to.deep.equal([
      `unroute shop.${SUFFIX}:443`,
      'remove shop-api',
      'remove shop-web',
      'remove-network mcg-shop',
      'forget shop',
    ]);
    expect(world.leases.map((lease) => lease.service)).to.deep.equal(['web']);
  });

  it('G7 L31 removes nothing when the repository is empty, when the budget is spent, or while a file is unreadable', async () => {
    const names = ['a', 'b', 'c'].map((name) => service(name, [component(name)]));
    const world = worldWith(...names);
    world.present(...['a', 'b', 'c'].map((name) => `mcr.example.net/${name}:v1.0.0`));
    await world.converge();
    world.desired = desiredOf([]);
    expect(world.plan()).to.deep.include({ steps: [] });
    expect(world.plan().refused).to.have.length(3);
    world.desired = desiredOf(names.slice(0, 1));
    expect(world.plan().steps).to.deep.equal([]);
    world.desired = desiredOf(names.slice(0, 2), { unreadable: true });
    expect(world.plan().steps).to.deep.equal([]);
    world.desired = desiredOf(names.slice(0, 1));
    world.removable = ['b', 'c'];
    expect(await world.converge()).to.have.members(['remove b', 'forget b', 'remove c', 'forget c']);
  });

  it('G9 plans no step while the engine is unknown', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    world.engineUp = false;
    expect(world.plan().steps).to.deep.equal([]);
    expect(world.plan().waiting[0]).to.include({ for: 'engine' });
  });

  it('G3 never touches a foreign container that has our name', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    world.containers.push({ id: 'f', name: 'web', ...FOREIGN_PARTS });
    await world.converge();
    expect(world.journal).to.deep.equal([]);
    expect(world.plan().refused[0]?.why).to.contain('not ours');
  });

  it('G8 converges the others when one service fails, and waits longer after each failure', async () => {
    const world = worldWith(web(), service('ok', [component('ok')]));
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/ok:v1.0.0');
    world.failing.set('certificate', retry('CA is sealed'));
    await world.pass();
    await world.pass();
    expect(world.container('ok')?.state).to.equal('running');
    world.now += 60_000;
    world.failures = [];
    await world.pass();
    const waits: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      const wakeAt = world.plan().wakeAt ?? 0;
      waits.push(wakeAt - world.now);
      world.now = wakeAt;
      await world.pass();
    }
    expect(waits).to.deep.equal([2000, 4000, 8000, 16000]);
  });

  it('L36 does not let a newer definition wait for the failures of the older one', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/web:v1.0.1');
    world.failing.set('start', retry('exec format error'));
    await world.pass();
    await world.pass();
    world.failing.clear();
    world.desired = desiredOf([web('v1.0.1')]);
    const { plan } = await world.pass();
    expect(plan.steps.map((step) => step.kind)).to.include('start-container');
  });

  it('L01 G22 puts a whole node back from git alone when the engine has none of its containers', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const port = world.leases[0]?.port;
    world.containers = [];
    world.networks = [];
    const steps = await world.converge();
    expect(steps.map((step) => step.split('.')[0])).to.deep.equal([
      'create-network mcpnet',
      'create web',
      'start web',
    ]);
    expect(world.container('web')?.publish[0]?.host).to.equal(port);
  });

  it('L06 takes leases up from the containers when the registry was lost, and restarts nothing', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const before = [world.containers, world.leases, world.table];
    Object.assign(world, { applied: [], leases: [], routes: [], records: [], files: [], failures: [] });
    const steps = await world.converge();
    expect(steps).to.deep.equal(['applied web running']);
    expect([world.containers, world.leases, world.table]).to.deep.equal(before);
  });

  it('G36 gives a route another port when its own was stolen, and the route follows', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const stolen = world.leases[0]?.port ?? 0;
    world.containers = [];
    world.listening.push({ ip: '0.0.0.0', port: stolen, protocol: 'tcp' });
    await world.converge();
    expect(world.leases[0]?.port).to.not.equal(stolen);
    expect(world.table[0]?.backend).to.equal(`127.0.0.1:${world.leases[0]?.port ?? ''}`);
  });

  it('says so when no port is left, and only that service stands still', async () => {
    const many = Array.from({ length: 51 }, (_, i) => ({
      ...L7,
      name: `r${i}`,
      hostname: `r${i}.${SUFFIX}`,
    }));
    const world = worldWith(
      service('big', [
        component('big', { routes: [...many, { ...L7, name: 'x', hostname: `x.${SUFFIX}` }] }),
      ]),
      web(),
    );
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/big:v1.0.0');
    await world.converge();
    expect(world.plan().refused[0]?.why).to.contain('no host port is free in 10000-10050');
    expect(world.container('web')?.state).to.equal('running');
  });

  it('L38 renames: the new host name serves before the old one goes', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    await world.converge();
    const port = world.leases[0]?.port ?? 0;
    world.desired = desiredOf([web('v1.0.0', { hostname: 'www.example.net' })]);
    expect(await world.converge()).to.deep.equal([
      'trying web',
      'certificate www.example.net',
      `route www.example.net:443>${port}`,
      `unroute web.${SUFFIX}:443`,
      'applied web running',
    ]);
  });

  it('replaces only the component that changed, and removes one that is gone after the rest is proved', async () => {
    const shop = (...names: string[]): Service =>
      service(
        'shop',
        names.map((name) => component(name)),
      );
    const world = worldWith(shop('api', 'worker'));
    world.present(...['api', 'worker', 'cron'].map((name) => `mcr.example.net/${name}:v1.0.0`));
    await world.converge();
    const api = world.container('shop-api')?.id;
    world.desired = desiredOf([shop('api', 'cron')]);
    const steps = await world.converge();
    expect(steps.map((s) => s.replace(/\.(next|prev)-.*/, '.$1'))).to.deep.equal([
      'create shop-cron.next',
      'retire shop-worker',
      'trying shop',
      'start shop-cron',
      'applied shop running',
      'remove shop-worker.prev',
    ]);
    expect(world.container('shop-api')?.id).to.equal(api);
  });

  it('starts again what was stopped by hand, and leaves alone what ended well and shall not be restarted', async () => {
    const job = service('job', [component('job', { restart: 'no' })]);
    const world = worldWith(web(), job);
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/job:v1.0.0');
    await world.converge();
    world.kill('web');
    expect(await world.converge()).to.deep.equal(['start web']);
    world.containers = world.containers.map((c) =>
      c.name === 'job' ? { ...c, state: 'exited', exitCode: 0, finishedAt: world.now } : c,
    );
    expect(await world.converge()).to.deep.equal([]);
  });

  it('G10 a reason has no argument and no label that looks like a secret', async () => {
    const world = new World();
    const made = (change: Partial<Component>): Service => service('a', [component('a', change)]);
    world.present('mcr.example.net/a:v1.0.0');
    world.desired = desiredOf([made({})]);
    await world.converge();
    const token = { name: 'org.example.token', value: 'hunter2pw' };
    for (const change of [
      { cmd: ['serve', '--password=hunter2pw'], labels: [token] },
      { cmd: ['serve', '--password=hunter3pw'], labels: [{ ...token, value: 'hunter3pw' }] },
      { cmd: ['serve', '--password', 'hunter4pw', '•••'] },
      { cmd: ['serve', '--password', 'hunter5pw', '•••'] },
    ]) {
      world.desired = desiredOf([made(change)]);
      world.accept();
      const said = JSON.stringify(world.plan());
      expect(said).to.contain('•••').and.to.contain('serve');
      expect(said.replaceAll(/"cmd":\[[^\]]*\]|"labels":\[[^\]]*\]/g, '')).to.not.match(/hunter\dpw/);
      await world.converge();
    }
  });

  it('L35 gives every step its reason: commit, file, and the JSON patch of what changed', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0', 'mcr.example.net/web:v1.1.0');
    await world.converge();
    world.desired = desiredOf([web('v1.1.0')]);
    for (const step of world.plan().steps) {
      expect(step.because).to.deep.include({ commit: 'c'.repeat(40), file: 'services/web.toml' });
      expect(step.because.patch).to.deep.equal([
        { op: 'replace', path: '/components/web/image', value: 'mcr.example.net/web:v1.1.0' },
      ]);
    }
  });

  it('L02 converges containers while the proxy is down, and says what waits for it', async () => {
    const world = worldWith(web());
    world.present('mcr.example.net/web:v1.0.0');
    world.proxyRuns = false;
    await world.converge();
    expect(world.container('web')?.state).to.equal('running');
    expect(world.plan().waiting[0]).to.include({ for: 'proxy', why: 'the proxy does not run' });
    world.proxyRuns = true;
    expect(await world.converge()).to.deep.equal(['applied web running']);
  });

  it('refuses an image whose VOLUME no mount covers, before anything is made', async () => {
    const world = worldWith(web());
    world.images['mcr.example.net/web:v1.0.0'] = {
      kind: 'present',
      imageId: 'i',
      user: '',
      volumes: ['/data'],
    };
    await world.converge();
    expect(world.plan().refused[0]?.why).to.contain('VOLUME /data');
    expect(world.containers).to.deep.equal([]);
  });

  it('house rule 3: the same facts give the same bytes', async () => {
    const world = worldWith(web(), service('shop', [component('api'), component('web')]));
    expect(JSON.stringify(world.plan())).to.equal(JSON.stringify(world.plan()));
  });
});
