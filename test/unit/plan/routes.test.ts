import { expect } from 'chai';
import { known } from '../../../src/base/outcome.ts';
import type { Route, Service } from '../../../src/definitions/types.ts';
import type { ObservedRoute, ProxyFacts } from '../../../src/node/types.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import { isShownWrong, strayServices } from '../../../src/plan/routes.ts';
import type { PlanSettings } from '../../../src/plan/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { stepsBy, toldBy } from './words.kit.ts';

const NAME = `a.${SUFFIX}`;
const OTHER = `b.${SUFFIX}`;

function route(change: Partial<Route> = {}): Route {
  return { name: '', port: 443, mode: 'l7', hostname: NAME, backendTls: false, ...change };
}

function a(...routes: Route[]): Service {
  return service('a', [component('a', { routes })]);
}

async function running(...routes: Route[]): Promise<World> {
  const world = new World();
  world.desired = desiredOf([a(...routes)]);
  world.present(component('a').image.reference);
  await world.converge();
  return world;
}

function proxyOf(
  world: World,
  change: Partial<ProxyFacts>,
): { proxy: ReturnType<World['observed']>['proxy'] } {
  const { proxy } = world.observed();
  if (!proxy.known) throw new Error('the proxy is not known');
  return { proxy: known({ ...proxy.value, ...change }) };
}

describe('a route in the table of the proxy', () => {
  it('leads to the leased port, with the certificate of its name where the proxy ends TLS, and bears our mark', async () => {
    const l4 = route({ name: 'raw', mode: 'l4', port: 8443, backendTls: false });
    const world = await running(route({ name: 'web', backendTls: true }), l4);
    const portOf = (name: string): number => world.leases.find((one) => one.route === name)?.port ?? 0;
    const table = [...world.table].sort((x, y) => x.listenerPort - y.listenerPort);
    expect(table).to.deep.equal([
      {
        ...{
          listenerPort: 443,
          hostname: NAME,
          backend: `127.0.0.1:${portOf('web')}`,
          mode: 'l7',
          backendTls: true,
        },
        ...{ tlsCert: `/certs/${NAME}.pem`, tlsKey: `/certs/${NAME}.key`, mark: 'n1/main/a/a/web' },
      },
      {
        ...{
          listenerPort: 8443,
          hostname: NAME,
          backend: `127.0.0.1:${portOf('raw')}`,
          mode: 'l4',
          backendTls: false,
        },
        mark: 'n1/main/a/a/raw',
      },
    ]);
  });

  it('leads to the address of the node where ports are published there, and to this node where they are everywhere', async () => {
    const world = await running(route());
    const backend = (publishIp: string): string | undefined => {
      const facts = world.facts();
      const { steps } = makePlan({ ...facts, settings: { ...facts.settings, publishIp } });
      return steps.flatMap((step) => (step.kind === 'put-routes' ? step.routes : []))[0]?.backend;
    };
    const port = world.leases[0]?.port ?? 0;
    world.table = [];
    // Its containers are made anew for it; those in place are ready by then.
    const deploy = { restart: 'manual' } as const;
    world.desired = desiredOf([{ ...a(route()), deploy }]);
    world.applied = world.applied.map((one) => ({ ...one, digest: world.desired.services[0]?.digest ?? '' }));
    expect([backend('127.0.0.1'), backend('0.0.0.0'), backend('192.0.2.1')]).to.deep.equal([
      `127.0.0.1:${port}`,
      `127.0.0.1:${port}`,
      `192.0.2.1:${port}`,
    ]);
  });

  it('is put again whatever of it was changed, and nothing else is', async () => {
    const world = await running(route(), route({ name: 'other', hostname: OTHER }));
    const { table } = world;
    const changes: readonly Partial<ObservedRoute>[] = [
      { listenerPort: 8443 },
      { hostname: `c.${SUFFIX}` },
      { backend: '127.0.0.1:1' },
      { mode: 'l4' },
      { tlsCert: '/certs/x.pem' },
      { tlsKey: '/certs/x.key' },
      { backendTls: true },
      { backendCa: '/ca.pem' },
      { mark: 'n1/main/a/a/x' },
    ];
    for (const change of changes) {
      world.table = table.map((one) => (one.hostname === NAME ? { ...one, ...change } : one));
      const put = world.plan().steps.filter(({ kind }) => kind === 'put-routes');
      expect(
        put.map(({ subject }) => subject),
        JSON.stringify(change),
      ).to.deep.equal([NAME]);
    }
    world.table = table;
    expect(world.plan().steps).to.deep.equal([]);
  });

  it('stands beside others of its service in one step, which names all of them once', async () => {
    const world = await running(
      route({ name: 'x' }),
      route({ name: 'y', port: 8443 }),
      route({ name: 'z', hostname: OTHER }),
    );
    world.table = [];
    expect(stepsBy(world).map((step) => step.split(':')[0])).to.deep.equal([`put-routes ${NAME}, ${OTHER}`]);
  });

  it('that is written and not served yet is waited for, with what the proxy says of this one', async () => {
    const world = await running(route(), route({ name: 'other', hostname: OTHER }));
    const told = (change: Partial<ProxyFacts>): string[] => toldBy(world, {}, proxyOf(world, change));
    const newest = ['a proxy: the proxy does not serve the newest table yet'];
    expect(told({ live: known(world.table) })).to.deep.equal([]);
    expect(told({ live: known([]) })).to.deep.equal(newest);
    expect(told({ live: known(world.table.slice(1)) }), 'one of two').to.deep.equal(newest);
    const fault = (listenerPort: number, hostname: string): string[] =>
      told({ live: known([]), faults: [{ listenerPort, hostname, why: 'its key is missing' }] });
    expect(fault(443, OTHER)).to.deep.equal(['a proxy: its key is missing']);
    expect(fault(8443, NAME), 'another port').to.deep.equal(newest);
    expect(fault(443, `c.${SUFFIX}`), 'another name').to.deep.equal(newest);
  });

  it('is not what a service waits for that has none, or whose node has no proxy', async () => {
    const without: Partial<PlanSettings> = { proxy: false };
    const world = await running(route());
    world.applied = [];
    const kinds = (settings: Partial<PlanSettings>): string[] => {
      const facts = world.facts();
      return makePlan({ ...facts, settings: { ...facts.settings, ...settings } }).steps.map(
        ({ kind }) => kind,
      );
    };
    world.now += 60_000;
    expect(kinds(without), 'it is proved without them').to.include('record-applied');
    const plain = await running();
    Object.assign(plain, { proxyKnown: false });
    expect(toldBy(plain)).to.deep.equal([]);
    expect(toldBy(plain, without)).to.deep.equal([]);
  });
});

describe('a handshake that shows something else', () => {
  it('is the fault of the proxy behind l7 alone: failed, or with another certificate than the valid one', async () => {
    const world = await running(route(), route({ name: 'raw', mode: 'l4', port: 8443 }));
    const [desired] = world.desired.services;
    const certificate = world.certificates[NAME];
    if (desired === undefined || certificate?.kind !== 'valid') throw new Error('nothing runs');
    const isWrong = (shown: World['handshakes'], kept = true): boolean => {
      world.handshakes = shown;
      const facts = world.facts();
      const certificates = kept ? facts.observed.certificates : {};
      return isShownWrong({ ...facts, observed: { ...facts.observed, certificates } }, desired);
    };
    const ok = (fingerprint256: string): { kind: 'ok'; fingerprint256: string; notAfter: number } => ({
      ...{ kind: 'ok', fingerprint256, notAfter: 0 },
    });
    const failed = { kind: 'failed', why: 'x' } as const;
    expect(isWrong(undefined)).to.equal(false);
    expect(isWrong({})).to.equal(false);
    expect(isWrong({ [`${NAME}:443`]: failed })).to.equal(true);
    expect(isWrong({ [`${NAME}:443`]: failed }, false), 'whatever the certificate').to.equal(true);
    expect(isWrong({ [`${NAME}:8443`]: failed }), "the container's own").to.equal(false);
    expect(isWrong({ [`${NAME}:443`]: ok('another') })).to.equal(true);
    expect(isWrong({ [`${NAME}:443`]: ok('another') }, false), 'there is none to compare').to.equal(false);
    expect(isWrong({ [`${NAME}:443`]: ok(certificate.fingerprint256) })).to.equal(false);
    world.handshakes = {
      [`${NAME}:443`]: ok(certificate.fingerprint256),
      [`${NAME}:8443`]: ok("the container's own"),
    };
    expect(toldBy(world), 'behind l4 any certificate is right').to.deep.equal([]);
  });
});

describe('routes of which nothing else is left', () => {
  it('are those with our mark, and failures of services that nobody knows', async () => {
    const world = await running(route());
    const marked = (mark: string | undefined): ObservedRoute[] => [
      {
        ...{
          listenerPort: 443,
          hostname: `z.${SUFFIX}`,
          backend: '127.0.0.1:1',
          mode: 'l4',
          backendTls: false,
        },
        ...(mark === undefined ? {} : { mark }),
      },
    ];
    const stray = (mark: string | undefined): string[] => {
      world.table = marked(mark);
      return strayServices(world.facts());
    };
    expect(stray('n1/main/zz/zz/')).to.deep.equal(['zz']);
    for (const mark of [undefined, 'n1/other/zz/zz/', 'n2/main/zz/zz/', 'n1/main/a/a/', 'n1/main/zz@n2/zz/'])
      expect(stray(mark), mark).to.deep.equal([]);
    world.desired = { ...world.desired, refused: ['bad'] };
    expect(stray('n1/main/bad/x/'), 'its file is bad').to.deep.equal([]);
    world.orphans = [{ service: 'left', commit: 'c', seenAt: 0 }];
    expect(stray('n1/main/left/x/'), 'it is judged as an orphan').to.deep.equal([]);
    world.table = [];
    const failure = { component: '', why: 'x', at: 0, count: 1, digest: '' };
    Object.assign(world, {
      failures: [
        { service: 'yy', ...failure },
        { service: 'a', ...failure },
      ],
    });
    expect(strayServices(world.facts())).to.deep.equal(['yy']);
  });
});
