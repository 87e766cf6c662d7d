import { expect } from 'chai';
import type { Component, Route, Service, Window } from '../../../src/definitions/types.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { stepsBy, toldBy } from './words.kit.ts';

const NAME = `a.${SUFFIX}`;
const STOP_IT = 'Stop what holds it, or give the definition another port or address.';
const HEALING = 'Healing, and the return from a version that is not proved, wait for no window.';
const TCP = { host: 80, container: 80, protocol: 'tcp' } as const;
const MADE = 'new service a';

function a(change: Partial<Component> = {}, more: Partial<Service> = {}): Service {
  return service('a', [component('a', change)], more);
}

function route(change: Partial<Route> = {}): Route {
  return { name: '', port: 443, mode: 'l7', hostname: NAME, backendTls: false, ...change };
}

function fresh(wanted: Service): World {
  const world = new World();
  world.desired = desiredOf([wanted]);
  world.present(component('a').image.reference);
  return world;
}

async function running(wanted: Service): Promise<World> {
  const world = fresh(wanted);
  await world.converge();
  return world;
}

function foreign(change: Partial<ObservedContainer> = {}): ObservedContainer {
  const parts = { id: 'f1', name: 'foreign', imageId: 'x', image: 'x', state: 'running', restartCount: 0 };
  return { ...parts, publish: [{ ip: '0.0.0.0', ...TCP }], networks: [], ...change } as ObservedContainer;
}

describe('what is told before a container is made', () => {
  it('a source of a mount that is missing is named, and how it is made', () => {
    const world = fresh(a({ mounts: [{ kind: 'bind', source: '/srv/a', target: '/a', readOnly: false }] }));
    world.missingMounts.add('/srv/a');
    expect(toldBy(world)).to.deep.equal([
      'a mount: /srv/a does not exist on this node, and is never created by the agent | Create it for the user that runs the engine (sudo mkdir -p /srv/a), or mount the disk that holds it.',
    ]);
    expect(stepsBy(world), 'nothing is made before').to.deep.equal([
      `record-image mcr.example.net/a:v1.0.0: ${MADE}`,
    ]);
  });

  it('a source of a mount that is no plain directory or file, or was not looked at, is waited for', () => {
    const world = fresh(a({ mounts: [{ kind: 'bind', source: '/srv/a', target: '/a', readOnly: false }] }));
    const real = 'Mount a real directory or file, without symbolic links in its path.';
    const mounts = { '/srv/a': { kind: 'unknown', why: 'it is a symbolic link' } } as const;
    expect(toldBy(world, {}, { mounts })).to.deep.equal([`a mount: /srv/a: it is a symbolic link | ${real}`]);
    expect(toldBy(world, {}, { mounts: {} })).to.deep.equal([`a mount: /srv/a: not looked at yet | ${real}`]);
  });

  it('a fixed port says who holds it, and for how long if it is let go of', () => {
    const world = fresh(a({ ports: [TCP] }));
    const held = (who: string, until = ''): string[] => [
      `a port: port 80/tcp is held by ${who} | ${STOP_IT}${until}`,
    ];
    world.listening = [{ ip: '0.0.0.0', port: 80, protocol: 'tcp' }];
    expect(toldBy(world)).to.deep.equal(held('a process outside the engine'));
    world.listening = [{ ip: '0.0.0.0', port: 80, protocol: 'udp' }];
    expect(toldBy(world), 'another protocol').to.deep.equal([]);
    world.listening = [{ ip: '0.0.0.0', port: 81, protocol: 'tcp' }];
    expect(toldBy(world), 'another port').to.deep.equal([]);
    world.portsKnown = false;
    expect(toldBy(world)).to.deep.equal([
      'a port: port 80/tcp: /proc/net cannot be read | It goes on once the listening sockets can be read.',
    ]);
    world.containers = [foreign()];
    expect(toldBy(world)).to.deep.equal(held('container foreign'));
    world.containers = [foreign({ state: 'exited', finishedAt: world.now - 1_000 })];
    expect(toldBy(world)).to.deep.equal(held('container foreign', ' (until 2 s)'));
    world.containers = [foreign({ state: 'exited' })];
    expect(toldBy(world), 'nobody knows since when').to.deep.equal(held('container foreign'));
  });

  it('a name says who holds it: somebody else, or another service of ours', () => {
    const world = fresh(a());
    world.containers = [foreign({ name: 'a', publish: [] })];
    expect(toldBy(world)).to.deep.equal([
      'a refused: a container that is not ours has the name a | Rename or remove it by hand, or name it in `replaces` if the service shall take its place; other foreign containers are never touched.',
    ]);
    const identity = { owner: 'n1/main', service: 'z', component: 'z', spec: '1', leases: {}, format: '1' };
    world.containers = [foreign({ name: 'a', publish: [], identity })];
    expect(toldBy(world)).to.deep.equal([
      'z orphan: its containers carry our labels, but neither git nor the registry knows it: it is left alone under this commit, and goes with a later one within the budget | Add its definition to the repository to keep it; to be rid of it at once, remove its containers by hand.',
      'a name: the container name a is still held by service z | It is free once that service has removed or replaced the container; see what keeps it from doing so.',
    ]);
    expect(stepsBy(world)[0]).to.equal(
      'record-orphan z: containers of z carry our labels, and nobody knows it',
    );
  });

  it('blue-green is refused where two versions would share what only one may have, of the version before too', async () => {
    const green = { deploy: { strategy: 'blue-green' } } as const;
    const refused = async (before: Partial<Component>, now: Partial<Component>): Promise<string[]> => {
      const world = await running(a(before, green));
      world.desired = desiredOf([a({ cmd: ['x'], ...now }, green)]);
      return toldBy(world);
    };
    const head = 'a refused: deploy.strategy = "blue-green" cannot replace component a: it';
    const mount = { kind: 'volume', volume: 'v', target: '/v' } as const;
    const writable = { mounts: [{ ...mount, readOnly: false }] };
    const written = [
      `${head} may write to /v, and two versions would at once | Use strategy = "recreate", or mount it read-only (":ro").`,
    ];
    const port = [
      `${head} has the fixed port 80/tcp, which two versions cannot share | Use strategy = "recreate", or a route instead of the fixed port.`,
    ];
    expect(await refused({}, writable)).to.deep.equal(written);
    expect(await refused(writable, {})).to.deep.equal(written);
    expect(await refused({ mounts: [{ ...mount, readOnly: true }] }, {})).to.deep.equal([]);
    expect(await refused({}, { ports: [TCP] })).to.deep.equal(port);
    expect(await refused({ ports: [TCP] }, {})).to.deep.equal(port);
  });

  it('an engine that is away, a pause and a mode that touches nothing say so, and how to go on', () => {
    const world = fresh(a());
    world.engineUp = false;
    expect(toldBy(world)).to.deep.equal([
      'a engine: engine unreachable | What runs goes on running. Start the container engine, or name its socket in [engine] socket.',
    ]);
    expect(toldBy(fresh(a({}, { paused: true })))).to.deep.equal([
      'a paused: it is paused in git: looked at only, whatever it does | Take paused out of services/a.toml to have it converged again.',
    ]);
    const observing = fresh(a());
    observing.mode = 'observe';
    expect(toldBy(observing)).to.deep.equal([
      `a observe: nothing is touched here; it would now: record-image mcr.example.net/a:v1.0.0, create-network mcpnet, create-container a, record-trial a, start-container a (${MADE}) | Take mode = "observe" out of nodes/n1.toml to have it done.`,
    ]);
  });
});

describe('what is told of a change that has to wait for its window', () => {
  const window = (cron: string, timezone = 'UTC'): Window => ({ cron, forMs: 3_600_000, timezone });
  const changed = async (own: readonly Window[], node: readonly Window[]): Promise<World> => {
    const world = await running(a());
    world.windows = node;
    const [first] = own;
    world.desired = desiredOf([a({ cmd: ['x'] }, first === undefined ? {} : { deploy: { window: first } })]);
    return world;
  };

  it('its own window: when it opens next, and that healing waits for none', async () => {
    expect(toldBy(await changed([window('0 3 * * *')], []))).to.deep.equal([
      `a window: the change waits for the window of a, which opens at 2026-01-01T03:00:00.000Z | ${HEALING} (until 10795 s)`,
    ]);
  });

  it('the windows of the node: the first one that opens, in its own time zone', async () => {
    const world = await changed(
      [],
      [window('0 3 * * *', 'Europe/Berlin'), window('0 2 * * *', 'Europe/Berlin')],
    );
    expect(toldBy(world)).to.deep.equal([
      `a window: the change waits for a window of this node, which opens at 2026-01-01T01:00:00.000Z | ${HEALING} (until 3595 s)`,
    ]);
  });

  it('one of the windows of the node is enough', async () => {
    const world = await changed([], [window('0 3 * * *'), window('0 0 * * *')]);
    expect(toldBy(world)).to.deep.equal([]);
    expect(stepsBy(world).join()).to.contain('create-container a');
  });

  it('both its own and one of the node have to be open', async () => {
    expect(toldBy(await changed([window('0 0 * * *')], [window('0 3 * * *')])).join()).to.contain(
      'a window of this node',
    );
    expect(toldBy(await changed([window('0 3 * * *')], [window('0 0 * * *')])).join()).to.contain(
      'the window of a',
    );
  });

  it('a window that never opens is told as that, with what is wrong', async () => {
    const [own = ''] = toldBy(await changed([window('0 3 30 2 *')], []));
    expect(own).to.match(/^a window: the window of a never opens: "0 3 30 2 \*" in UTC: .+ \| Mend the cron/);
    const [node = ''] = toldBy(await changed([], [window('x'), window('y')]));
    expect(node).to.match(/^a window: a window of this node never opens: "x" in UTC: .+, "y" in UTC: /);
    expect(node).to.match(/ \| Mend the cron expression or the time zone\.$/);
  });
});

describe('what is told of routes', () => {
  let world: World;
  beforeEach(async () => {
    world = await running(a({ routes: [route()] }));
  });

  it('without a proxy: which setting is missing', () => {
    expect(toldBy(world, { proxy: false })).to.deep.equal([
      'a proxy: its routes are not served: no proxy is configured | Set [mcproxy] driver in the settings.',
    ]);
  });

  it('a table that cannot be read is not written over', () => {
    world.proxyKnown = false;
    expect(toldBy(world)).to.deep.equal([
      'a proxy: the route table cannot be read | Routes are written once the table can be read. One that was spoiled by hand: mend it, or take the file away, and those of this node are written anew.',
    ]);
  });

  it('a proxy that does not run is told where routes are wanted, and nowhere else', async () => {
    world.proxyRuns = false;
    expect(toldBy(world)).to.deep.equal([
      'a proxy: the proxy does not run | The routes are written; they are served as soon as the proxy runs.',
    ]);
    const plain = await running(a());
    Object.assign(plain, { proxyRuns: false, proxyKnown: false });
    expect(toldBy(plain)).to.deep.equal([]);
  });

  it('L10 a handshake: under way, failed, or with another certificate', () => {
    const told = (shown: World['handshakes']): string[] => {
      world.handshakes = shown;
      return toldBy(world);
    };
    expect(told({})).to.deep.equal([
      `a handshake: a TLS handshake with ${NAME}:443 through the proxy is under way`,
    ]);
    expect(told({ [`${NAME}:443`]: { kind: 'failed', why: 'nothing answers' } })).to.deep.equal([
      'a handshake: nothing answers | The route stands in the proxy; it is tried again.',
    ]);
    expect(told({ [`${NAME}:443`]: { kind: 'ok', fingerprint256: 'x', notAfter: 1 } })).to.deep.equal([
      `a handshake: the proxy shows another certificate for ${NAME}:443 than /certs/${NAME}.pem | It is tried again; if it stays so, look at what else answers there.`,
    ]);
  });

  it('a port on which the proxy does not listen is refused with those on which it does', () => {
    world.desired = desiredOf([a({ routes: [route({ port: 444 })] })]);
    expect(toldBy(world)).to.deep.equal([
      `a refused: route ${NAME}:444: the proxy of this node does not listen on port 444 | Use one of 443, 8443, 9443, or add the port to [mcproxy] listeners.`,
    ]);
  });
});

describe('what is told of a container that is not ready', () => {
  const seen = async (change: Partial<ObservedContainer>, wanted = a()): Promise<string[]> => {
    const world = fresh(wanted);
    world.unready.add('a');
    await world.pass();
    world.update('a', change);
    return [...toldBy(world), ...stepsBy(world).map((step) => step.split(':')[0] ?? '')];
  };

  it('what its state is, and until when it has time', async () => {
    expect(await seen({})).to.deep.equal(['a ready: a: nothing answers (since 0 s) (until 60 s)']);
    expect(await seen({ state: 'restarting', restartCount: 3, exitCode: 1 })).to.deep.equal([
      'a ready: a: exits in a loop: exit code 1, restarted 3 times (since 0 s) (until 60 s)',
    ]);
    expect(await seen({ state: 'paused' })).to.deep.equal(['a ready: a: is paused (until 60 s)']);
    expect(await seen({ state: 'removing' })).to.deep.equal(['a ready: a: is being removed (until 60 s)']);
    expect(await seen({ state: 'exited', exitCode: 3, finishedAt: 0 })).to.deep.equal(['start-container a']);
  });

  it('one that runs again is told with how often it ended, and how', async () => {
    expect(await seen({ restartCount: 1, lastExitCode: 3 })).to.deep.equal([
      'a ready: a: nothing answers (exited once, last with exit code 3) (since 0 s) (until 60 s)',
    ]);
    expect((await seen({ restartCount: 2 }))[0]).to.contain('nothing answers (exited 2 times) (since');
  });

  it('one that shall not be restarted is told with how it ended', async () => {
    const ended = { state: 'exited', exitCode: 3, finishedAt: 0 } as const;
    expect(await seen(ended, a({ restart: 'no' }))).to.deep.equal([
      'a ready: a: exited with code 3, and restart = "no" leaves it so (until 60 s)',
    ]);
  });

  it('Podman: what ended less than a second ago is left alone until then', async () => {
    const world = await running(a());
    world.engineKind = 'podman';
    world.update('a', { state: 'exited', exitCode: 3, finishedAt: world.now - 400 });
    expect(toldBy(world)).to.deep.equal([
      'a ready: a: ended with exit code 3 a moment ago (since -0.4 s) (until 0.6 s)',
    ]);
    world.update('a', { finishedAt: world.now - 1_000 });
    expect(stepsBy(world).join()).to.match(/^start-container a/);
    world.engineKind = 'docker';
    world.update('a', { finishedAt: world.now - 400 });
    expect(stepsBy(world).join(), 'Docker').to.match(/^start-container a/);
  });
});
