import { expect } from 'chai';
import { Resolver } from 'node:dns/promises';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeRepository, type Repository } from '../../src/demo/repository.ts';
import type { Condition } from '../../src/report/types.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { openLan, type Lan } from '../support/lan.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import type { Driver } from '../support/proxyrig.ts';
import { startStream, type Part } from '../support/stream.ts';
import { connectTo, type Target } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';
import { makeNode, startHostEngine, type HostEngine, type TwoNode } from './edge-nodes.kit.ts';

const SUFFIX = 'svc.test';
const NAME = `web.${SUFFIX}`;
const EDGE_SERVICE = 'web@home';
/** In no zone of ours. */
const OTHERS = 'docs.example.org';

/** Two nodes with these proxies, and what happens to them one after the other, told as it happened. */
export function twoNodes(edgeKind: Driver, homeKind: Driver): void {
  describe(`two nodes in two network namespaces: agents, proxies (edge: ${edgeKind}, home: ${homeKind}) and engines of their own, and a real name server`, () =>
    between(edgeKind, homeKind));
}

interface Site {
  readonly lan: Lan;
  readonly engines: readonly HostEngine[];
  readonly dns: NameServer;
  /** What the machines resolve names with; it has a zone that none of our agents manages. */
  readonly world: NameServer;
}

function between(edgeKind: Driver, homeKind: Driver): void {
  const ends: (() => Promise<unknown>)[] = [];
  let site: Site;

  before(async function () {
    this.timeout(300_000);
    const lan = await openLan(2);
    ends.push(() => lan.close());
    const engines: HostEngine[] = [];
    for (const host of lan.hosts) {
      const engine = await startHostEngine(host);
      ends.push(() => engine.stop());
      engines.push(engine);
    }
    const dns = await startKnot({ zone: SUFFIX, address: lan.here });
    ends.push(() => dns.stop());
    const world = await startKnot({ zone: 'example.org', port: 53, ...lan.hub });
    ends.push(() => world.stop());
    site = { lan, engines, dns, world };
    for (const version of ['v1.0.0', 'v2.0.0'])
      await buildBusyboxImage(engineOf(0), imageOf(version), {
        cmd: ['sh', '-c', 'exec httpd -f -p $PORT -h /www'],
        files: { '/www/index.html': `${version}\n` },
      });
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const engineOf = (index: number): HostEngine => {
    const engine = site.engines[index];
    if (engine === undefined) throw new Error('no engine');
    return engine;
  };

  it('request → edge → home → container; the home moves, the edge restarts, and nothing is lost; removed, nothing is left (G36–G40)', async () => {
    const { lan, dns, world } = site;
    const directory = await mkdtemp(join(tmpdir(), 'two-'));
    const definitions = await makeRepository(join(directory, 'definitions.git'));
    const roots = join(directory, 'home-ca.pem');
    const nodes = await Promise.all(
      (
        [
          ['home', homeKind],
          ['edge', edgeKind],
        ] as const
      ).map(([name, kind], index) => {
        const host = lan.hosts[index];
        if (host === undefined) throw new Error('no host');
        const own = join(directory, name);
        const engine = engineOf(index);
        return makeNode({
          ...{ name, kind, host, engine, dns, roots, resolver: lan.hub.address },
          ...{ directory: own, definitions: definitions.path, suffix: SUFFIX },
        });
      }),
    );
    const [home, edge] = nodes as [TwoNode, TwoNode];
    const lines: string[] = [];
    const begun = performance.now();
    const say = (line: string): void => {
      lines.push(`${((performance.now() - begun) / 1_000).toFixed(1).padStart(5)} s  ${line}`);
    };
    try {
      await story({ home, edge, definitions, roots, dns, world, say });
    } catch (error) {
      const logs = nodes.map((node) => `${node.name}: ${node.log().slice(-3_000)}`);
      throw new Error(`${String(error)}\n${[...lines, ...logs].join('\n')}`, { cause: error });
    } finally {
      await Promise.all(nodes.map((node) => node.stop()));
      await rm(directory, { recursive: true, force: true });
    }
    for (const line of lines) console.log(`      ${line}`);
  });
}

interface Story {
  readonly home: TwoNode;
  readonly edge: TwoNode;
  readonly definitions: Repository;
  readonly roots: string;
  readonly dns: NameServer;
  readonly world: NameServer;
  readonly say: (line: string) => void;
}

async function story({ home, edge, definitions, roots, dns, world, say }: Story): Promise<void> {
  const dig = async (): Promise<string> => `dig ${NAME} A: ${(await dns.dig(NAME, 'A')).join() || 'nothing'}`;
  const files = {
    'nodes/home.toml': `addresses = ["${home.address}"]\n`,
    'nodes/edge.toml': `addresses = ["${edge.address}"]\n`,
  };
  say(`home ${home.address} (${home.kind}), edge ${edge.address} (${edge.kind}); before: ${await dig()}`);

  await world.update(`update add ${OTHERS} 60 A 192.0.2.7`);
  const first = await definitions.commit({
    ...{ ...files, 'services/web.toml': definition('v1.0.0'), 'services/docs.toml': DOCS },
  });
  await home.startAgent();
  await home.startProxy();
  const before = await home.awaits('web', 'converged', first);
  await home.awaits('docs', 'converged', first);
  await writeFile(roots, await home.root());
  const amiss = await until(
    'the name that others manage to be resolved',
    async () => (await home.view()).dns?.elsewhere[0]?.why,
  );
  say(`dig ${OTHERS} A: ${(await world.dig(OTHERS, 'A')).join()}; home says: ${amiss}`);
  expect(amiss).to.equal(`${OTHERS} resolves to 192.0.2.7, not to this node`);
  const warning = await dnsOf(home);
  expect(warning.text).to.contain(amiss);
  expect(warning.hint).to.match(/^Those names are managed elsewhere: .* mend them there\.$/);
  await world.update(`update delete ${OTHERS}`, `update add ${OTHERS} 60 A ${home.address}`);
  await edge.startAgent();
  await edge.startProxy();
  const route = await edge.awaits(EDGE_SERVICE, 'converged', first);
  say(`${await dig()}; edge routes ${NAME}:443 -> ${route.routes[0]?.backend ?? '?'}`);
  expect(await dns.dig(NAME, 'A'), 'edge addresses only').to.deep.equal([edge.address]);
  expect(route.routes[0]?.backend).to.equal(`${home.address}:443`);

  const target: Target = { port: 443, hostname: NAME, ca: await edge.root() };
  const resolver = new Resolver();
  resolver.setServers([dns.server]);
  const stream = startStream(target, async () => (await resolver.resolve4(NAME))[0] ?? '');
  const heard = (what: string): Part => {
    const part = stream.part();
    say(`${what}: ${told(part)}`);
    expect(part.lost, what).to.deep.equal([]);
    return part;
  };

  const second = await definitions.commit({ 'services/web.toml': definition('v2.0.0') });
  const after = await home.awaits('web', 'converged', second);
  const [from, to] = [before, after].map(({ routes }) => routes[0]?.backend);
  const moved = heard(`the home moves the service from ${from ?? '?'} to ${to ?? '?'}`);
  expect(from).to.not.equal(to);
  expect(Object.keys(moved.answers).sort()).to.deep.equal(['200 v1.0.0', '200 v2.0.0']);
  expect(moved.refused, 'no connection is refused meanwhile').to.equal(0);
  const still = await edge.awaits(EDGE_SERVICE, 'converged', second);
  expect(still.routes, 'the edge never knows').to.deep.equal(route.routes);
  for (const node of [home, edge])
    expect(
      (await node.view()).notices.filter(({ kind }) => kind === 'drift repaired'),
      'nobody changed anything but git',
    ).to.deep.equal([]);

  await Promise.all([edge.killAgent(), home.killAgent()]);
  await Promise.all([edge.startAgent(), home.startAgent()]);
  await edge.awaits(EDGE_SERVICE, 'converged', second);
  await home.awaits('web', 'converged', second);
  const restarted = heard('kill -9 of both agents, and other ones');
  expect(restarted.refused).to.equal(0);
  expect(Object.keys(restarted.answers)).to.deep.equal(['200 v2.0.0']);

  await until('the name to lead here', async () => !(await dnsOf(home)).text.includes(OTHERS));
  expect(await dnsOf(home)).to.not.have.property('hint');
  say(`dig ${OTHERS} A: ${(await world.dig(OTHERS, 'A')).join()}; home has nothing to say of it`);

  await edge.stopProxy();
  await edge.startProxy();
  await edge.awaits(EDGE_SERVICE, 'converged', second);
  expect(await dns.dig(NAME, 'A')).to.deep.equal([edge.address]);
  heard('the edge’s proxy ends and begins anew');
  await until('answers by the new proxy', () => stream.answered() >= 20);
  const last = await stream.end();
  say(`then: ${told(last)}`);
  expect(last).to.deep.include({ refused: 0, lost: [] });
  expect(Object.keys(last.answers)).to.deep.equal(['200 v2.0.0']);

  expect(await edge.certificates()).to.deep.equal([`${NAME}.pem`]);
  const third = await definitions.commit({ 'services/web.toml': undefined });
  await Promise.all([edge.awaitsGone(EDGE_SERVICE, third), home.awaitsGone('web', third)]);
  const closed = await connectTo(target, { host: edge.address }).then(
    () => 'a handshake',
    (error: unknown) => String(error),
  );
  say(
    `removed: ${await dig()}, mark ${(await dns.dig(`_mc-gitops.${NAME}`, 'TXT')).join() || 'nothing'}; ${closed}`,
  );
  expect(await dns.dig(NAME, 'A')).to.deep.equal([]);
  expect(await dns.dig(`_mc-gitops.${NAME}`, 'TXT')).to.deep.equal([]);
  expect(closed, 'no route, and no certificate').to.match(/Error/);
  await until('the certificates to go', async () => {
    const left = [...(await edge.certificates()), ...(await home.certificates())];
    if (left.join() === `${OTHERS}.pem`) return true;
    throw new Error(left.join());
  });
  say(`certificates that are left: none on the edge, that of ${OTHERS} at home`);
}

/** What the node says of its names. */
async function dnsOf(node: TwoNode): Promise<Condition> {
  const found = (await node.view()).conditions.find(({ name }) => name === 'dns');
  if (found === undefined) throw new Error('nothing is said of DNS');
  return found;
}

function told({ answers, refused, lost }: Part): string {
  const words = Object.entries(answers).map(([answer, count]) => `${count} × ${answer}`);
  return `${words.join(', ') || 'no answer'}; ${refused} connections refused, ${lost.length} requests lost`;
}

function imageOf(version: string): string {
  return `localhost/mcg-edge-nodes/web:${version}`;
}

function definition(version: string): string {
  return `name = "web"
node = "home"

[deploy]
strategy = "blue-green"

[[components]]
name = "web"
image = "${imageOf(version)}"

[[components.routes]]
port = 443
mode = "l7"
edge = ["edge"]
`;
}

const DOCS = `name = "docs"
node = "home"

[[components]]
name = "docs"
image = "${imageOf('v1.0.0')}"

[[components.routes]]
hostname = "${OTHERS}"
port = 443
mode = "l7"
`;
