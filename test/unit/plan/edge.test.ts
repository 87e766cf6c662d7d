import { expect } from 'chai';
import type { EdgeService } from '../../../src/definitions/types.ts';
import type { Handshake } from '../../../src/node/types.ts';
import { simulate } from '../../../src/plan/simulate.ts';
import { causesOf } from '../../../src/report/causes.ts';
import { component, desiredOf, SUFFIX } from '../../support/definitions.ts';
import { running, node, web, named, atHome, atEdge, edgeOf, kinds, HOME_IP, EDGE_IP } from './edge.kit.ts';

const NAME = `web.${SUFFIX}`;

describe('a route that another node serves too (edge)', () => {
  it('certificate, route to the listener at home, record, in that order; the name leads to the edge only', async () => {
    const { home, edge } = await running();
    expect(kinds(edge)).to.deep.equal(['certificate', 'route', 'name']);
    expect(edge.table).to.deep.equal([
      {
        listenerPort: 443,
        hostname: NAME,
        backend: `${HOME_IP}:443`,
        mode: 'l7',
        tlsCert: `/certs/${NAME}.pem`,
        tlsKey: `/certs/${NAME}.key`,
        backendTls: true,
        backendCa: '/etc/ssl/certs/ca-certificates.crt',
        mark: 'n2/main/web@n1/web/',
      },
    ]);
    expect(home.table[0]?.backend, 'at home the container stands behind it').to.match(/^127\.0\.0\.1:/);
    expect(home.names[NAME]?.addresses).to.deep.equal([EDGE_IP]);
    expect([edge.containers, edge.leases, edge.applied], 'nothing runs at the edge').to.deep.equal([
      [],
      [],
      [],
    ]);
    expect(edge.routes.map((one) => one.service)).to.deep.equal(['web@n1']);
    expect(
      [home.plan(), edge.plan()].flatMap(({ steps, waiting, refused }) => [steps, waiting, refused]),
      'G2',
    ).to.deep.equal([[], [], [], [], [], []]);
  });

  it('a home node that cannot be reached is told of the edge, which was in line: as waiting and by a notice (L20)', async () => {
    const { edge } = await running();
    const why = 'nothing answers on 10.0.0.1:443 (the home node)';
    edge.handshakes = { [`${NAME}:443`]: { kind: 'failed', why } };
    const plan = edge.plan();
    expect(plan.steps).to.deep.equal([]);
    expect(plan.waiting.map((entry) => `${entry.service} ${entry.for}: ${entry.why}`)).to.deep.equal([
      `web@n1 handshake: ${why}`,
    ]);
    const limits = { sourceAfterMs: 1, degradedAfterMs: 1 };
    const input = { seen: { ...edge.facts(), plan }, results: [], source: { reachable: true } };
    expect(causesOf(input, limits).map(({ kind, service: of }) => `${kind} ${of ?? ''}`)).to.deep.equal([
      'degraded web@n1',
    ]);
    expect(edge.names[NAME]?.addresses, 'its record stays').to.deep.equal([EDGE_IP]);
  });

  it('a home node of which nothing is reached is told once, with what to look at; one of its routes for itself (L15)', async () => {
    const { edge } = await running();
    const names = ['web', 'api', 'shop'];
    edge.desired = {
      ...desiredOf([]),
      node: 'n2',
      edges: names.map((name) => edgeOf(named(name))),
    };
    await edge.converge();
    const failed = (name: string, isHome: boolean): Handshake => ({
      ...{ kind: 'failed', why: `nothing answers for ${name}` },
      ...(isHome ? { isHome: true as const } : {}),
    });
    const causes = (isHome: (name: string) => boolean): string[][] => {
      edge.handshakes = Object.fromEntries(
        names.map((name) => [`${name}.${SUFFIX}:443`, failed(name, isHome(name))]),
      );
      const input = {
        seen: { ...edge.facts(), plan: edge.plan() },
        results: [],
        source: { reachable: true },
      };
      return causesOf(input, { sourceAfterMs: 1, degradedAfterMs: 1 }).map(({ key, text, hint = '' }) => [
        ...[key, text, hint],
      ]);
    };
    const hint =
      'Look at the proxy of n1, and at what it shows for this name; it is tried again every few seconds.';
    expect(causes(() => true)).to.deep.equal([
      [
        'degraded home n1',
        'node n1 is not reached: nothing answers for web: api@n1, shop@n1, web@n1 wait for it',
        hint,
      ],
    ]);
    expect(
      causes((name) => name === 'web').map(([key, , told]) => [key, told === hint]),
    ).to.have.deep.members([
      ['degraded web@n1', true],
      ['degraded api@n1', false],
      ['degraded shop@n1', false],
    ]);
  });

  it('what became of a record of the edge is the reason it is put right, and not that there is an edge', async () => {
    const { edge } = await running();
    const reasons = (): string[] =>
      edge.plan().steps.map(({ kind, because }) => `${kind}: ${because.summary}`);
    edge.names[NAME] = { ...edge.names[NAME], addresses: [] };
    expect(reasons()).to.deep.equal([`put-records: the record of ${NAME} on name server ns is missing`]);
    await edge.converge();
    edge.addresses = ['10.0.0.9'];
    expect(reasons()).to.deep.equal([
      `put-records: the record of ${NAME} on name server ns has ${EDGE_IP} instead of 10.0.0.9`,
    ]);
  });

  it('l4: bytes are handed on as they are, without a certificate of the edge', async () => {
    const { edge } = await running(web({ mode: 'l4' }));
    expect(kinds(edge)).to.deep.equal(['route', 'name']);
    expect(edge.table[0]).to.include({ backend: `${HOME_IP}:443`, mode: 'l4', backendTls: false });
    expect(edge.table[0]).to.not.have.any.keys('backendCa', 'tlsCert');
  });

  it('reaches a home node by IPv6, and by its new address when that changes', async () => {
    const pair = await running();
    pair.edge.desired = atEdge(web(), { address: 'fd00::1' });
    await pair.edge.converge();
    expect(pair.edge.table[0]?.backend).to.equal('[fd00::1]:443');
  });

  it('the home node may move the service to another leased port, or bring a new version: the edge plans nothing (L06)', async () => {
    const { home, edge } = await running();
    const [lease] = home.leases;
    home.listening.push({ ip: '127.0.0.1', port: lease?.port ?? 0, protocol: 'tcp' });
    home.containers = [];
    await home.converge();
    expect(home.leases[0]?.port).to.not.equal(lease?.port);
    edge.desired = atEdge(web({}, { generation: 2 }));
    expect(edge.plan().steps).to.deep.equal([]);
  });

  it('what somebody changed in the proxy or in DNS of the edge is put right, and only there', async () => {
    const { edge } = await running();
    edge.table = edge.table.map((route) => ({ ...route, backend: '10.9.9.9:443' }));
    edge.names[NAME] = { ...edge.names[NAME], addresses: [] };
    await edge.converge();
    expect([edge.table[0]?.backend, edge.names[NAME].addresses]).to.deep.equal([`${HOME_IP}:443`, [EDGE_IP]]);
    edge.table = [];
    await edge.converge();
    expect(edge.table).to.have.length(1);
  });

  it('the service goes: record, route and what is known of it go, in that order, and nothing of the node that runs it is asked', async () => {
    const { edge } = await running();
    const from = edge.journal.length;
    edge.desired = { ...desiredOf([]), node: 'n2' };
    await edge.converge();
    expect(edge.journal.slice(from).map((line) => line.split(' ')[0])).to.deep.equal([
      'unname',
      'unroute',
      'forget',
    ]);
    expect([edge.table, edge.routes, edge.dnsRecords, edge.files, edge.names]).to.deep.equal([
      [],
      [],
      [],
      [],
      {},
    ]);
    expect(edge.plan().steps, 'G2').to.deep.equal([]);
  });

  it('inactive at home: the route goes at the edge, the record and the certificate stay; active again: it is back', async () => {
    const { edge } = await running();
    edge.desired = atEdge(web({}, { active: false }), { active: false });
    await edge.converge();
    expect([edge.table, edge.names[NAME]?.addresses]).to.deep.equal([[], [EDGE_IP]]);
    expect(edge.plan().steps, 'G2').to.deep.equal([]);
    edge.desired = atEdge(web());
    await edge.converge();
    expect(edge.table).to.have.length(1);
  });

  it('paused, held or without an address: what stands there stays as it is', async () => {
    const { edge } = await running();
    edge.table = edge.table.map((route) => ({ ...route, backend: '10.9.9.9:443' }));
    for (const [change, what] of [
      [{ paused: true }, 'paused'],
      [{ held: 'nodes/n1.toml cannot be read' }, 'git'],
      [{ address: undefined }, 'address'],
    ] as const) {
      edge.desired = atEdge(web(), change as Partial<EdgeService>);
      const { steps, waiting } = edge.plan();
      expect([steps, waiting.map((entry) => entry.for)], what).to.deep.equal([[], [what]]);
    }
  });

  it('taken off the list: the name leads home again beside the edge, and then home only; each takes away its own values alone', async () => {
    const { home, edge } = await running();
    home.desired = atHome(web({ edge: undefined }));
    await home.converge();
    expect(home.names[NAME]?.addresses, 'for a moment both').to.deep.equal([HOME_IP, EDGE_IP]);
    edge.desired = { ...desiredOf([]), node: 'n2' };
    await edge.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal([HOME_IP]);
    expect([home.plan().steps, edge.plan().steps], 'G2').to.deep.equal([[], []]);
  });

  it('put on the list later: the name leads home until an edge node has its record, and never nowhere', async () => {
    const { home, edge } = await running(web({ edge: undefined }));
    expect(home.names[NAME]?.addresses).to.deep.equal([HOME_IP]);
    home.desired = atHome(web());
    await home.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal([HOME_IP]);
    expect(home.plan().waiting.map(({ why }) => why)).to.deep.equal([
      `${NAME} still leads here: no edge node has its record yet`,
    ]);
    edge.desired = atEdge(web());
    await edge.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal([HOME_IP, EDGE_IP]);
    expect(home.plan().steps.map(({ kind, because }) => `${kind}: ${because.summary}`)).to.deep.equal([
      `remove-records: the name ${NAME} leads to the edge now (n2)`,
    ]);
    await home.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal([EDGE_IP]);
    expect([home.plan().steps, edge.plan().steps, home.plan().waiting], 'G2').to.deep.equal([[], [], []]);
  });

  it('two edge nodes each write their own addresses, and never undo one another', async () => {
    const text = web({ edge: ['n2', 'n3'] });
    const { home, edge } = await running(text);
    const third = node('n3', '10.0.0.3');
    third.names = home.names;
    third.desired = atEdge(text);
    for (let turn = 0; turn < 3; turn += 1) for (const world of [edge, third, home]) await world.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal([EDGE_IP, '10.0.0.3']);
    const lines = [edge, third].map((world) => world.journal.length);
    for (const world of [third, edge, home]) await world.converge();
    expect(
      [edge, third].map((world) => world.journal.length),
      'nobody does anything',
    ).to.deep.equal(lines);
    edge.desired = { ...desiredOf([]), node: 'n2' };
    await edge.converge();
    expect(home.names[NAME]?.addresses).to.deep.equal(['10.0.0.3']);
    expect(third.plan().steps, 'G2').to.deep.equal([]);
  });

  it("a foreign record of the name is not written over, nor that of another service's edge", async () => {
    for (const record of [
      { addresses: ['10.9.9.9'] },
      { addresses: ['10.9.9.9'], mark: { owner: 'n9/main', service: 'other', addresses: ['10.9.9.9'] } },
      { addresses: ['10.9.9.9'], mark: { owner: 'n9/main', service: 'web@n8', addresses: ['10.9.9.9'] } },
    ]) {
      const edge = node('n2', EDGE_IP);
      edge.names[NAME] = record;
      edge.desired = atEdge(web());
      await edge.converge();
      expect(edge.names[NAME]).to.deep.equal(record);
      expect(edge.plan().refused[0]?.why).to.contain('not ours');
    }
  });

  it('the registry of the edge is lost: what stands is recorded anew without a change, and goes when the service does (L08)', async () => {
    const { edge } = await running();
    edge.loseRegistry(true);
    await edge.converge();
    expect([edge.routes.map((one) => one.service), edge.dnsRecords]).to.deep.equal([
      ['web@n1'],
      [{ service: 'web@n1', hostname: NAME, addresses: [EDGE_IP] }],
    ]);
    expect(edge.plan().steps, 'G2').to.deep.equal([]);
    edge.desired = { ...desiredOf([]), node: 'n2' };
    await edge.converge();
    expect([edge.table, edge.names]).to.deep.equal([[], {}]);
  });

  it('a stray route of an edge that nobody knows is taken away by its mark (L08), but not while its file is unread', async () => {
    const { edge } = await running();
    edge.desired = { ...desiredOf([]), node: 'n2', edgesUnread: ['web@n1'] };
    edge.loseRegistry(true);
    await edge.converge();
    expect(edge.table).to.have.length(1);
    expect(edge.plan().waiting[0]?.why).to.contain('left as it is');
    edge.desired = { ...desiredOf([]), node: 'n2' };
    await edge.converge();
    expect(edge.table).to.deep.equal([]);
  });

  it('more edges than the budget allows go only when they are named, for their home node or by their own name (L31)', async () => {
    const edge = node('n2', EDGE_IP);
    const names = ['a', 'b', 'c'];
    const all = names.map((name) => edgeOf(named(name)));
    edge.desired = { ...desiredOf([]), node: 'n2', edges: all };
    await edge.converge();
    expect(edge.table).to.have.length(3);
    edge.desired = { ...desiredOf([]), node: 'n2', edges: all.slice(2) };
    const { steps, refused } = edge.plan();
    expect([steps, refused.map(({ service: of }) => of)]).to.deep.equal([[], ['a@n1', 'b@n1']]);
    expect(refused[0]?.hint).to.contain('Remove-Services: a, b');
    edge.removable = ['a', 'b@n1'];
    await edge.converge();
    expect(edge.table.map(({ hostname }) => hostname)).to.deep.equal([`c.${SUFFIX}`]);
    edge.removable = [];
    edge.desired = { ...desiredOf([]), node: 'n2', isEmpty: true };
    expect(edge.plan().refused[0]?.why, 'an empty repository').to.contain('no definition any more');
    edge.desired = { ...desiredOf([]), node: 'n2', unreadable: true };
    expect(edge.plan().refused[0]?.why).to.contain('unreadable');
  });

  it('names of a trailer stand until the edge is gone', async () => {
    const { edge } = await running();
    const gone = desiredOf([]);
    edge.desired = {
      ...gone,
      node: 'n2',
      isEmpty: true,
      commit: { ...gone.commit, message: 'x\n\nRemove-Services: web' },
    };
    edge.proxyKnown = false;
    await edge.converge();
    expect([edge.table.length, edge.named]).to.deep.equal([1, ['web']]);
    edge.proxyKnown = true;
    edge.desired = { ...gone, node: 'n2', isEmpty: true };
    await edge.converge();
    expect(edge.table).to.deep.equal([]);
    await edge.pass();
    expect(edge.named).to.deep.equal([]);
  });

  it('http-01 cannot prove such a name at home, nor at one of several edge nodes: that is said, and what stands is served', async () => {
    const home = node('n1', HOME_IP);
    Object.assign(home, { certificateDriver: 'acme', acmeChallenge: 'http-01' });
    home.desired = atHome(web());
    home.present(component('web').image.reference);
    await home.converge();
    expect(home.plan().refused[0]?.why).to.contain('can be had by http-01').and.contain('n2');
    expect(kinds(home)).to.not.include('certificate');
    home.acmeChallenge = 'dns-01';
    await home.converge();
    expect(kinds(home)).to.include('certificate');

    for (const [edges, word] of [
      [['n2'], 'certificate'],
      [['n2', 'n3'], undefined],
    ] as const) {
      const edge = node('n2', EDGE_IP);
      Object.assign(edge, { certificateDriver: 'acme', acmeChallenge: 'http-01' });
      edge.desired = atEdge(web({ edge: edges }));
      await edge.converge();
      expect(kinds(edge).find((kind) => kind === 'certificate')).to.equal(word);
      if (word !== undefined)
        expect(kinds(edge), 'the record comes first').to.deep.equal(['name', 'certificate']);
    }
  });

  it('a port on which the proxy of the edge does not listen is refused there', async () => {
    const edge = node('n2', EDGE_IP);
    edge.desired = atEdge(web({ port: 8888 }));
    await edge.converge();
    expect(edge.plan().refused[0]?.why).to.contain('does not listen on port 8888');
  });

  it('a failure at the edge rests, is tried again, and is over when it succeeds', async () => {
    const edge = node('n2', EDGE_IP);
    edge.desired = atEdge(web());
    edge.failing.set('certificate', { kind: 'retry', why: 'disk full' });
    await edge.pass();
    expect(edge.failures[0]).to.include({ service: 'web@n1', count: 1 });
    expect(edge.plan().steps).to.deep.equal([]);
    expect(edge.plan().waiting[0]).to.include({ for: 'retry' });
    edge.failing.clear();
    await edge.converge();
    expect([edge.failures, edge.table.length]).to.deep.equal([[], 1]);
  });

  it('mode = "observe" and a proxy that cannot be read: nothing is done, and it is said', async () => {
    const edge = node('n2', EDGE_IP);
    edge.desired = atEdge(web());
    edge.mode = 'observe';
    await edge.converge();
    expect([edge.journal, edge.plan().waiting.map((entry) => entry.for)]).to.deep.equal([[], ['observe']]);
    edge.mode = undefined;
    edge.proxyKnown = false;
    await edge.converge();
    expect(kinds(edge)).to.deep.equal(['certificate']);
    expect(edge.plan().waiting.map((entry) => entry.for)).to.deep.equal(['proxy']);
  });

  it('the simulated chain has its steps, and ends', () => {
    const edge = node('n2', EDGE_IP);
    edge.desired = atEdge(web());
    const { steps, end } = simulate(edge.facts());
    expect(steps.map((step) => step.kind)).to.deep.equal(['issue-certificate', 'put-routes', 'put-records']);
    expect([end.steps, end.waiting]).to.deep.equal([[], []]);
  });
});
