import { expect } from 'chai';
import type { Component, Health, Mount, Route, Service } from '../../../src/definitions/types.ts';
import { checksOf } from '../../../src/plan/checks.ts';
import { prepareCommands, runCommands, shellText, type RenderOptions } from '../../../src/plan/render.ts';
import { ownNetwork, specOf } from '../../../src/plan/spec.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const HOST = `a.${SUFFIX}`;
const MOUNTS: readonly Mount[] = [
  { kind: 'bind', source: '/srv/a,b', target: '/a', readOnly: true },
  { kind: 'volume', volume: 'v', target: '/v', readOnly: false },
];

function route(name: string, change: Partial<Route> = {}): Route {
  return { name, port: 443, mode: 'l7', hostname: HOST, backendTls: false, ...change };
}

const WEB = component('web', {
  routes: [route('grpc'), route('my-rest', { containerPort: 8080 }), route('http')],
  ports: [
    { host: 53, container: 53, protocol: 'udp' },
    { ip: '::1', host: 80, container: 81, protocol: 'tcp' },
  ],
  env: [{ name: 'Z', hash: 'h' }],
  mounts: MOUNTS,
  cmd: ["it's"],
  user: '0:0',
});
const DB = component('my-db', { routes: [route('')] });
const ALONE = component('alone', { network: 'none', routes: [route('x')] });

/** Each route has a lease, from 10001 on, in the order of the file. */
function worldOf(...components: Component[]): { world: World; wanted: Service } {
  const world = new World();
  const wanted = service('a', components);
  world.desired = desiredOf([wanted]);
  world.leases = components
    .flatMap(({ name, routes }) => routes.map((one) => ({ component: name, route: one.name })))
    .map((one, at) => ({ service: 'a', ...one, port: 10_001 + at, slot: 'a' }));
  return { world, wanted };
}

describe('what a component of several gets from the agent', () => {
  const { world, wanted } = worldOf(WEB, DB, ALONE);
  const specs = wanted.components.map((one) => specOf(world.facts(), wanted, one));
  const variables = (at: number): string[] =>
    (specs[at]?.agentEnv ?? []).map(({ name, value }) => `${name}=${value}`);

  it('its ports by name and by the main route, and its siblings as PEER_…, sorted (L25)', () => {
    expect(variables(0)).to.deep.equal([
      'PEER_MY_DB=my-db:10004',
      'PORT=10003',
      'PORT_GRPC=10001',
      'PORT_HTTP=10003',
      'PORT_MY_REST=8080',
    ]);
    expect(variables(1)).to.deep.equal([
      'PEER_WEB=web:10003',
      'PEER_WEB_GRPC=web:10001',
      'PEER_WEB_HTTP=web:10003',
      'PEER_WEB_MY_REST=web:8080',
      'PORT=10004',
    ]);
  });

  it('nothing of siblings without a network, and a network of their own besides the shared one (L26)', () => {
    expect(variables(2)).to.deep.equal(['PORT=10005', 'PORT_X=10005']);
    expect(
      specs.map(({ networks }) => networks.map(({ name, aliases }) => `${name} ${aliases.join()}`)),
    ).to.deep.equal([['mcpnet a-web', 'mcg-a web'], ['mcpnet a-my-db', 'mcg-a my-db'], []]);
    expect([ownNetwork('n1/main', 'a'), ownNetwork('n1/two', 'a')]).to.deep.equal(['mcg-a', 'mcg-two-a']);
  });

  it('leased ports on the address of the node, to the port of the container; fixed ports where the file says', () => {
    expect(
      specs[0]?.publish.map((one) => `${one.ip} ${one.host} ${one.container} ${one.protocol}`),
    ).to.deep.equal([
      '127.0.0.1 10001 10001 tcp',
      '127.0.0.1 10002 8080 tcp',
      '127.0.0.1 10003 10003 tcp',
      '0.0.0.0 53 53 udp',
      '::1 80 81 tcp',
    ]);
    expect(specs[0]?.leases).to.deep.equal({ grpc: 10_001, 'my-rest': 10_002, http: 10_003 });
  });

  it('PORT is the only route, else rest, web, http, else the first', () => {
    for (const [names, main] of [
      [['x'], 'x'],
      [['x', 'http', 'web', 'rest'], 'rest'],
      [['x', 'http', 'web'], 'web'],
      [['x', 'http'], 'http'],
      [['x', 'y'], 'x'],
    ] as const) {
      const one = worldOf(component('b', { routes: names.map((name) => route(name)) }));
      const { agentEnv } = specOf(one.world.facts(), one.wanted, one.wanted.components[0] ?? WEB);
      const of = (name: string): string | undefined => agentEnv.find((entry) => entry.name === name)?.value;
      expect(of('PORT'), names.join()).to.equal(of(`PORT_${main.toUpperCase()}`));
      expect(of('PORT'), names.join()).to.match(/^100\d\d$/);
    }
  });

  it('a route without a lease yet is left out', () => {
    const { agentEnv, publish } = specOf(new World().facts(), wanted, wanted.components[1] ?? DB);
    expect([agentEnv.map(({ name }) => name), publish]).to.deep.equal([['PEER_WEB_MY_REST'], []]);
  });
});

describe('the commands that a definition stands for', () => {
  const { world, wanted } = worldOf(WEB, DB, ALONE);
  const lines = (at: number, engine: RenderOptions['engine']): string[] => {
    const spec = specOf(world.facts(), wanted, wanted.components[at] ?? WEB);
    const options = { engine, labels: { k: 'v w' }, values: new Map([['Z', { raw: '"$Z"' }]]) };
    return [...prepareCommands(spec, { engine, label: 'k=v' }), ...runCommands(spec, options)].map((one) =>
      shellText(one).replaceAll(' \\\n ', ''),
    );
  };
  const made = (engine: string): string[] => [
    ...['mcpnet', 'mcg-a'].map(
      (name) =>
        `${engine} network inspect ${name} > /dev/null 2>&1 || ${engine} network create --driver bridge --label k=v ${name}`,
    ),
    `${engine} volume inspect v > /dev/null 2>&1 || ${engine} volume create --label k=v v`,
  ];
  const variables =
    '--env Z="$Z" --env PEER_MY_DB=my-db:10004 --env PORT=10003 --env PORT_GRPC=10001 --env PORT_HTTP=10003 --env PORT_MY_REST=8080';
  const ports =
    "--publish 127.0.0.1:10001:10001/tcp --publish 127.0.0.1:10002:8080/tcp --publish 127.0.0.1:10003:10003/tcp --publish 0.0.0.0:53:53/udp --publish '[::1]:80:81/tcp'";
  const end = String.raw`mcr.example.net/web:v1.0.0 'it'\''s'`;

  it('of Docker, which joins the second network by a step of its own', () => {
    expect(lines(0, 'docker')).to.deep.equal([
      ...made('docker'),
      `docker create --name a-web --label 'k=v w' ${variables} --mount 'type=bind,"source=/srv/a,b",target=/a,readonly,bind-propagation=rprivate' --mount type=volume,source=v,target=/v ${ports} --user 0:0 --restart unless-stopped --network mcpnet --network-alias a-web --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 --security-opt no-new-privileges --init=false ${end}`,
      'docker network connect --alias web mcg-a a-web',
      'docker start a-web',
    ]);
  });

  it('of Podman, in one', () => {
    expect(lines(0, 'podman')).to.deep.equal([
      ...made('podman'),
      `podman run --detach --name a-web --label 'k=v w' ${variables} --volume /srv/a,b:/a:ro,rbind,rprivate --volume v:/v:rw ${ports} --user 0:0 --restart unless-stopped --network mcpnet:alias=a-web --network mcg-a:alias=web --log-driver k8s-file --log-opt max-size=10m --security-opt no-new-privileges --init=false --http-proxy=false --systemd=false ${end}`,
    ]);
  });

  it('without a network', () => {
    for (const engine of ['docker', 'podman'] as const) {
      const [only = '', ...more] = lines(2, engine);
      expect(more).to.deep.equal([]);
      expect(only).to.match(
        new RegExp(`^${engine} run --detach --name a-alone .* --network none --log-driver`),
      );
    }
  });

  it('with an entrypoint, as each engine takes it', () => {
    const one = worldOf(component('a', { entrypoint: ['/bin/a', 'serve'], cmd: ['now'] }));
    const spec = specOf(one.world.facts(), one.wanted, one.wanted.components[0] ?? WEB);
    for (const [engine, program] of [
      ['docker', '/bin/a'],
      ['podman', `'["/bin/a"]'`],
    ] as const) {
      const [text = ''] = runCommands(spec, { engine, labels: {}, values: new Map() }).map(shellText);
      expect(text)
        .to.contain(`--entrypoint ${program} `)
        .and.match(/a:v1\.0\.0 serve now$/);
    }
  });
});

describe('what is asked of a running container', () => {
  const HEALTH = { intervalMs: 1, timeoutMs: 2, retries: 3, startPeriodMs: 4, onFailure: 'report' } as const;
  const FIXED = { host: 80, container: 81, protocol: 'tcp' } as const;
  const checks = (change: Partial<Component>): ReturnType<typeof checksOf> => {
    const { world, wanted } = worldOf(component('a', change));
    return checksOf(world.facts(), wanted, wanted.components[0] ?? WEB);
  };
  const at = { ip: '127.0.0.1', port: 10_001, hostname: HOST, route: '' };
  const health = (more: Omit<Health, keyof typeof HEALTH>, change: Partial<Component> = {}): unknown =>
    checks({ health: { ...HEALTH, ...more }, ...change }).health?.check;

  it('by itself: a handshake behind l4, any answer behind l7, and somebody who listens at a fixed port', () => {
    expect(checks({ routes: [route('', { mode: 'l4' })] })).to.deep.equal({
      checks: [{ kind: 'tls', ...at }],
    });
    expect(checks({ routes: [route('', { backendTls: true })] }).checks).to.deep.equal([
      { kind: 'http', ...at, tls: true },
    ]);
    const listen = { kind: 'listen', ip: '127.0.0.1', port: 80, containerPort: 81, protocol: 'tcp' };
    expect(checks({ ports: [FIXED, { ...FIXED, ip: '::1' }] }).checks).to.deep.equal([
      listen,
      { ...listen, ip: '::1' },
    ]);
  });

  it('a health check takes the place of what its route or port has by itself', () => {
    const both = { routes: [route('x'), route('y')], ports: [FIXED, { ...FIXED, protocol: 'udp' as const }] };
    const left = (more: Partial<Health>): string[] =>
      checks({ ...both, health: { ...HEALTH, type: 'http', ...more } }).checks.map((one) =>
        'route' in one ? one.route : one.kind === 'listen' ? one.protocol : one.kind,
      );
    expect(left({})).to.deep.equal(['y', 'tcp', 'udp']);
    expect(left({ route: 'y' })).to.deep.equal(['x', 'tcp', 'udp']);
    expect(left({ type: 'tcp', port: 81 })).to.deep.equal(['x', 'y', 'udp']);
    expect(left({ type: 'exec', command: ['true'] })).to.deep.equal(['x', 'y', 'tcp', 'udp']);
    expect(checks({ health: { ...HEALTH, type: 'exec', command: ['true'] } }).health).to.deep.equal({
      check: { kind: 'exec', command: ['true'] },
      ...{ intervalMs: 1, timeoutMs: 2, retries: 3, startPeriodMs: 4 },
    });
  });

  it('each type of health check asks what it is for', () => {
    const routes = [route('')];
    expect(health({ type: 'tls' }, { routes })).to.deep.equal({ kind: 'tls', ...at });
    expect(health({ type: 'http', path: '/x', expect: [200, 204] }, { routes })).to.deep.equal({
      ...{ kind: 'http', ...at, tls: false, path: '/x', expect: [200, 204] },
    });
    expect(health({ type: 'http' }, { routes: [route('', { mode: 'l4' })] })).to.deep.equal({
      ...{ kind: 'http', ...at, tls: true, expect: [200, 399] },
    });
    const listen = { kind: 'listen', ip: '127.0.0.1', port: 10_001, protocol: 'tcp' };
    expect(health({ type: 'tcp' }, { routes })).to.deep.equal({ ...listen, containerPort: 10_001 });
    expect(health({ type: 'tcp' }, { routes: [route('', { containerPort: 8080 })] })).to.deep.equal({
      ...listen,
      containerPort: 8080,
    });
    expect(health({ type: 'tcp', port: 9 }), 'published or not').to.deep.equal({
      ...{ ...listen, port: 0, containerPort: 9 },
    });
    for (const ip of ['0.0.0.0', '::', '192.0.2.1'])
      expect(health({ type: 'http', port: 81 }, { ports: [{ ...FIXED, ip }] })).to.deep.equal({
        ...{ kind: 'http', ip: ip === '192.0.2.1' ? ip : '127.0.0.1', port: 80, hostname: 'a', route: '' },
        ...{ tls: false, expect: [200, 399] },
      });
    expect(health({ type: 'http', port: 82 }, { ports: [FIXED] }), 'not published').to.equal(undefined);
  });
});
