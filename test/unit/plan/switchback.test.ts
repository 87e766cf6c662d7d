import { expect } from 'chai';
import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

/**
 * Blue-green: v1 is proved, v2 has the route and is not proved, and a commit brings v3, which takes the place of v2. Until it
 * is ready, v1 has the route again.
 */
describe('the planner: a version that is not proved is replaced while it has the route', () => {
  let world: World;
  let proved: string;
  const backend = (hostname = `web.${SUFFIX}`): string | undefined =>
    world.table.find((entry) => entry.hostname === hostname)?.backend;
  const puts = (): string[] =>
    world
      .plan()
      .steps.flatMap((step) => (step.kind === 'put-routes' ? step.routes : []))
      .map((entry) => `${entry.hostname} ${entry.backend}`);

  async function overtaken(versionOf: (tag: string) => Service): Promise<void> {
    world = new World();
    world.desired = desiredOf([versionOf('v1')]);
    world.present(...['v1', 'v2', 'v3'].flatMap((tag) => ['web', 'api'].map((name) => reference(name, tag))));
    await world.converge();
    proved = backend() ?? '';
    world.desired = desiredOf([versionOf('v2')]);
    for (let pass = 0; pass < 2; pass += 1) await world.pass();
    expect(backend(), 'v2 has the route').to.not.equal(proved);
    world.desired = desiredOf([versionOf('v3')]);
    world.accept();
  }

  it('the proved one has it again, and the step says why', async () => {
    await overtaken((tag) => service('web', [web(tag)], BLUE_GREEN));
    expect(puts()).to.deep.equal([`web.${SUFFIX} ${proved}`]);
    const step = world.plan().steps.find(({ kind }) => kind === 'put-routes');
    expect(step?.because.summary).to.equal(
      'the proved version has the routes while the one that was not proved is replaced',
    );
  });

  it('only of the components that are replaced: a sibling that stays as it is keeps its route', async () => {
    await overtaken((tag) => service('web', [web(tag), api('v1')], BLUE_GREEN));
    expect(puts()).to.deep.equal([`web.${SUFFIX} ${proved}`]);
    const before = backend(`api.${SUFFIX}`);
    await world.converge();
    expect(backend(`api.${SUFFIX}`)).to.equal(before);
  });

  it('not when the container of the proved one is down: nobody is sent to what does not run', async () => {
    await overtaken((tag) => service('web', [web(tag)], BLUE_GREEN));
    world.containers = world.containers.map((one) =>
      one.image === reference('web', 'v1') ? { ...one, state: 'exited', finishedAt: world.now } : one,
    );
    expect(puts()).to.not.include(`web.${SUFFIX} ${proved}`);
  });

  it('not what another service is wanted to serve by now', async () => {
    await overtaken((tag) => service('web', [web(tag)], BLUE_GREEN));
    const [newest] = world.desired.services;
    const heir = service('heir', [component('heir', { routes: [route(`web.${SUFFIX}`)] })]);
    world.desired = desiredOf([newest?.service ?? heir, heir]);
    world.accept();
    expect(puts()).to.not.include(`web.${SUFFIX} ${proved}`);
  });

  for (const [what, lose] of [
    ['is not seen', () => void (world.proxyKnown = false)],
    ['does not run', () => void (world.proxyRuns = false)],
  ] as const)
    it(`waits for no proxy that ${what}: the newest version is made all the same`, async () => {
      await overtaken((tag) => service('web', [web(tag)], BLUE_GREEN));
      lose();
      expect(puts()).to.deep.equal([]);
      for (let pass = 0; pass < 3; pass += 1) await world.pass();
      expect(world.containers.map((one) => one.image)).to.include(reference('web', 'v3'));
    });

  it('a handshake that fails does not keep the newest version out', async () => {
    await overtaken((tag) => service('web', [web(tag)], BLUE_GREEN));
    await world.pass();
    world.handshakes = { [`web.${SUFFIX}:443`]: { kind: 'failed', why: 'the handshake was refused' } };
    for (let pass = 0; pass < 3; pass += 1) await world.pass();
    expect(world.containers.map((one) => one.image)).to.include(reference('web', 'v3'));
  });

  it('nothing of it with strategy recreate: there is no proved container beside the one that is replaced', async () => {
    await overtaken((tag) => service('web', [web(tag)], tag === 'v3' ? {} : BLUE_GREEN));
    expect(puts()).to.deep.equal([]);
  });
});

const BLUE_GREEN: Partial<Service> = { deploy: { strategy: 'blue-green' } };

function reference(name: string, tag: string): string {
  return `mcr.example.net/${name}:${tag}`;
}

function route(hostname: string): Route {
  return { name: '', port: 443, mode: 'l7', hostname, backendTls: false };
}

function part(name: string, tag: string): Component {
  const image = { reference: reference(name, tag), host: 'mcr.example.net', repository: name, tag };
  return component(name, { image, routes: [route(`${name}.${SUFFIX}`)] });
}

function web(tag: string): Component {
  return part('web', tag);
}

function api(tag: string): Component {
  return part('api', tag);
}
