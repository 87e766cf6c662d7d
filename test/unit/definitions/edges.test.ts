import { expect } from 'chai';
import { resolve } from '../../../src/definitions/resolve.ts';
import type { Desired, EdgeService } from '../../../src/definitions/types.ts';
import { POLICY, good, inputOf, resolved, rulesOf, serviceText } from './support.ts';

const ROUTE = '[[components.routes]]\nport = 443\nmode = "l7"\n';
const HOME = 'addresses = ["192.0.2.10", "2001:db8::10"]\nlisteners = [443]\n';
const WEB = serviceText('web', `${ROUTE}edge = ["front", "back"]\n`);
const FILES = {
  'services/web.toml': WEB,
  'nodes/rift.toml': HOME,
  'nodes/front.toml': '',
  'nodes/back.toml': '',
};

describe('a route with `edge`', () => {
  it('is known to its own node, with the edge nodes sorted, and to each of them by another name', () => {
    const home = desiredAt('rift', FILES);
    expect(home.services[0]?.service.components[0]?.routes[0]?.edge).to.deep.equal(['back', 'front']);
    expect(home.edges, 'the node of a service is not its edge').to.equal(undefined);
    const [edge, ...more] = desiredAt('front', FILES).edges ?? [];
    expect(more).to.deep.equal([]);
    expect([edge?.service.name, edge?.home, edge?.address, edge?.active, edge?.held]).to.deep.equal([
      'web@rift',
      'rift',
      '192.0.2.10',
      true,
      undefined,
    ]);
    expect(edge?.service.components[0]?.routes.map(({ hostname, port }) => [hostname, port])).to.deep.equal([
      ['web.svc.mcp.metacircular.net', 443],
    ]);
    expect(desiredAt('front', FILES).services, 'nothing of it runs here').to.deep.equal([]);
    expect(desiredAt('other', FILES).edges).to.equal(undefined);
  });

  it('is absent from what does not name it: no digest of a definition without it changes (upgrading plans zero steps)', () => {
    const { services } = desiredAt('rift', { 'services/web.toml': serviceText('web', ROUTE) });
    expect(Object.keys(services[0]?.service.components[0]?.routes[0] ?? {})).to.deep.equal([
      'name',
      'port',
      'mode',
      'hostname',
      'backendTls',
    ]);
  });

  it('changes nothing at the edge when the service gets a new version, and something when its route does', () => {
    const digest = (text: string): string | undefined =>
      edgeAt('front', { ...FILES, 'services/web.toml': text })?.digest;
    expect(digest(WEB.replace('v1.0.0', 'v1.0.1'))).to.equal(digest(WEB));
    expect(digest(WEB.replace('port = 443', 'port = 8443'))).to.not.equal(digest(WEB));
  });

  it('takes its host name and port over all nodes: of a service of the edge node, and of a second edge (L16)', () => {
    const name = 'hostname = "web.svc.mcp.metacircular.net"\n';
    const rival = serviceText('rival', `${ROUTE}${name}`).replace('"rift"', '"front"');
    expect(rulesOf(desiredAt('front', { ...FILES, 'services/rival.toml': rival }).issues)).to.include(
      'route/duplicate',
    );
    const other = serviceText('rival', `${ROUTE}${name}edge = ["front"]\n`).replace('"rift"', '"third"');
    expect(
      rulesOf(resolved({ ...FILES, 'services/rival.toml': other }, { everywhere: true }).desired.issues),
    ).to.include('route/duplicate');
    const incumbent = resolve(inputAt('front', { ...FILES, 'services/rival.toml': other }, FILES)).desired;
    expect(
      incumbent.edges?.map(({ service }) => service.name),
      'the incumbent keeps it',
    ).to.deep.equal(['web@rift']);
  });

  it('stays as it was when its file is bad: at the edge the last good state is in force as well (L33), and without one it is known to be unread', () => {
    const bad = { ...FILES, 'services/web.toml': WEB.replace('mode = "l7"', 'mode = "l5"') };
    const kept = resolve(inputAt('front', bad, FILES)).desired;
    expect(kept.edges?.map(({ service, heldBack }) => [service.name, heldBack])).to.deep.equal([
      ['web@rift', true],
    ]);
    expect(kept.unreadable, "removals of the edge's own services do not wait for it").to.equal(false);
    const lost = desiredAt('front', bad);
    expect([lost.edges, lost.edgesUnread]).to.deep.equal([undefined, ['web@rift']]);
  });

  it("is held while the file of its node is bad: names and addresses would be the settings' own", () => {
    const edge = edgeAt('front', { ...FILES, 'nodes/rift.toml': 'addresses = "x"' });
    expect(edge?.held).to.equal('nodes/rift.toml cannot be read');
  });

  it("is left out where the edge node's settings refuse it, and that is told there", () => {
    const policy = { ...POLICY, hostnames: [], listeners: [8443] };
    const { edges, issues } = resolve({ ...inputAt('front', FILES), policy }).desired;
    expect(edges?.map(({ service }) => service.components)).to.deep.equal([[]]);
    expect(issues.map(({ rule, severity, file }) => [rule, severity, file])).to.deep.equal([
      ['route/edge-refused', 'warning', 'services/web.toml'],
    ]);
    const foreign = WEB.replace('edge =', 'hostname = "www.example.org"\nedge =');
    const own = resolve({
      ...inputAt('front', { ...FILES, 'services/web.toml': foreign }),
      policy: POLICY,
    }).desired;
    expect(own.issues[0]?.message).to.contain('lies in none of its domains');
  });

  it('names other nodes, each once, and few', () => {
    for (const [edge, rule] of [
      ['["rift"]', 'route/edge'],
      ['["front", "front"]', 'route/edge'],
      ['["no_label"]', 'route/edge'],
      [`[${Array.from({ length: 21 }, (_, at) => `"n${at}"`).join(', ')}]`, 'route/edge'],
      ['"front"', 'value/type'],
      ['["forty"]', 'node/unknown'],
    ] as const) {
      const text = serviceText('web', `${ROUTE}edge = ${edge}\n`);
      const { issues } = resolved({ ...FILES, 'services/web.toml': text }, { everywhere: true }).desired;
      expect(rulesOf(issues), edge).to.deep.equal([rule]);
    }
    const none = serviceText('web', `${ROUTE}edge = []\n`);
    expect(desiredAt('rift', { ...FILES, 'services/web.toml': none }).issues).to.deep.equal([]);
  });
});

function desiredAt(node: string, files: Readonly<Record<string, string>>): Desired {
  return resolve(inputAt(node, files)).desired;
}

function edgeAt(node: string, files: Readonly<Record<string, string>>): EdgeService | undefined {
  return desiredAt(node, files).edges?.[0];
}

function inputAt(
  node: string,
  files: Readonly<Record<string, string>>,
  before: Readonly<Record<string, string>> = {},
): Parameters<typeof resolve>[0] {
  return { ...inputOf(files), node, lastGood: good(before) };
}
