import { expect } from 'chai';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { PlanSettings } from '../../../src/plan/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { atEdge, running as pair, web } from './edge.kit.ts';
import { stepsBy, toldBy } from './words.kit.ts';

const NAME = `a.${SUFFIX}`;
const ADDRESSES = ['10.0.0.1', '10.0.0.2'];

function one(name: string, change: Partial<Component> = {}, more: Partial<Service> = {}): Service {
  return service(name, [component(name, change)], more);
}

function fresh(...services: Service[]): World {
  const world = new World();
  world.present(...['a', 'b', 'x', 'y'].map((name) => component(name).image.reference));
  world.desired = desiredOf(services);
  return world;
}

async function converged(world: World): Promise<World> {
  await world.converge();
  return world;
}

describe('what is told of DNS records', () => {
  const at = (hostname: string): Service =>
    one('a', { routes: [{ name: '', port: 443, mode: 'l7', hostname, backendTls: false }] });
  let world: World;
  beforeEach(async () => {
    world = fresh(at(NAME));
    Object.assign(world, { zones: [SUFFIX], addresses: ADDRESSES });
    await world.converge();
  });
  const found = (): string[] => [...toldBy(world), ...stepsBy(world)];
  const put = (why: string): string[] => [`put-records ${NAME}: ${why}`];
  const record = (): World['names'][string] => world.names[NAME] ?? { addresses: [] };

  it('what became of one of ours: gone, changed, without its mark, or never made', () => {
    const before = record();
    world.names = { [NAME]: { ...before, addresses: ['10.0.0.9'] } };
    expect(found()).to.deep.equal(
      put(`the record of ${NAME} on name server ns has 10.0.0.9 instead of ${ADDRESSES.join(', ')}`),
    );
    world.names = { [NAME]: { addresses: ADDRESSES } };
    expect(found()).to.deep.equal(put(`the mark of ${NAME} is missing or not as it was written`));
    world.names = {};
    expect(found()).to.deep.equal(put(`the record of ${NAME} on name server ns is missing`));
    world.dnsRecords = [];
    expect(found()).to.deep.equal(put(`${NAME} of a has no record yet`));
  });

  it('one of somebody else: where it leads, and that it stays; the same values do no harm', () => {
    const refused = (values: string): string[] => [
      `a refused: ${NAME} has a record on name server ns that is not ours: ${values} | Remove it there, or give the route another host name; foreign records are never written over.`,
    ];
    world.dnsRecords = [];
    world.names = { [NAME]: { addresses: ['10.9.9.9'] } };
    expect(found()).to.deep.equal(refused('10.9.9.9'));
    world.names = { [NAME]: { addresses: [], alias: 'x.example.net', foreign: true } };
    expect(found()).to.deep.equal(refused('CNAME x.example.net'));
    world.names = { [NAME]: { addresses: ADDRESSES } };
    expect(found()).to.deep.equal([]);
    const mark = { owner: 'n9/main', service: 'a', addresses: ADDRESSES };
    world.names = { [NAME]: { addresses: ADDRESSES, mark } };
    expect(found(), 'with a mark of somebody').to.deep.equal(refused(ADDRESSES.join(', ')));
  });

  it('without addresses, with a server that refuses, and with one that does not answer: what to look at', async () => {
    const refused = `a dns: name server ns did not take the update of ${NAME}: REFUSED | Look at the name server, its zone and [mcns] key_file. What is served goes on being served. (until 30 s)`;
    world.addresses = [];
    expect(found()).to.deep.equal([
      `a dns: ${NAME}: this node has no addresses that a record could name | Set addresses = ["…"] in nodes/n1.toml.`,
    ]);
    world.addresses = ADDRESSES;
    world.names = {};
    world.refusing.add('ns');
    await world.pass();
    expect(found()).to.deep.equal([refused]);
    world.refusing.clear();
    world.dnsAnswers = false;
    world.desired = desiredOf([at(`docs.${SUFFIX}`)]);
    await world.converge();
    expect(found()).to.deep.equal([
      'a dns: name server ns does not answer | Records follow when it answers; the service itself is served.',
      'a dns: name server ns does not answer | It goes on once the name is gone there. Mend the server or its key, or take it out of [mcns].',
    ]);
  });
});

describe('what is told at an edge', () => {
  let edge: World;
  beforeEach(async () => {
    edge = (await pair()).edge;
  });
  const told = (desired: World['desired']): string[] => {
    edge.desired = desired;
    return [...toldBy(edge), ...stepsBy(edge)];
  };
  const gone = (more: Parameters<typeof desiredOf>[1] = {}): World['desired'] => ({
    ...desiredOf([], more),
    node: 'n2',
  });

  it('of a service that is paused, held, inactive, or cannot be reached', () => {
    expect(told(atEdge(web(), { paused: true }))).to.deep.equal([
      'web@n1 paused: it is paused in git: looked at only, whatever it does',
    ]);
    expect(told(atEdge(web(), { held: 'nodes/n1.toml cannot be read' }))).to.deep.equal([
      'web@n1 git: it is left as it is: nodes/n1.toml cannot be read | Mend the file of the node n1.',
    ]);
    expect(told(atEdge(web(), { active: false }))).to.deep.equal([
      `remove-routes web.${SUFFIX}: web of n1 is inactive`,
    ]);
    const { edges = [], ...rest } = atEdge(web());
    const unreached = edges.map((entry) =>
      Object.fromEntries(Object.entries(entry).filter(([key]) => key !== 'address')),
    );
    expect(told({ ...rest, edges: unreached as unknown as typeof edges })).to.deep.equal([
      'web@n1 address: nodes/n1.toml names no address, so it cannot be reached | Set addresses = ["…"] there.',
    ]);
  });

  it('L31 of one that goes: why, and what keeps it', () => {
    const why = 'this node is no longer the edge of web of n1';
    expect(told(gone())).to.deep.equal([
      `remove-records web.${SUFFIX}: ${why}`,
      `remove-routes web.${SUFFIX}: ${why}`,
      `forget-service web@n1: ${why}`,
    ]);
    expect(told(gone({ isEmpty: true }))).to.deep.equal([
      'web@n1 refused: the repository holds no definition any more: no edge is taken away without being named | If it is meant, push a commit with the trailer "Remove-Services: web", or name them in removals.toml.',
    ]);
    expect(told(gone({ unreadable: true }))).to.deep.equal([
      'web@n1 refused: this node is no longer named as its edge, but removals wait while any definition of this node is unreadable | Mend the definitions with issues first.',
    ]);
    expect(told(gone({ edgesUnread: ['web@n1'] }))).to.deep.equal([
      'web@n1 git: it is left as it is: its newest definition cannot be used | Mend the definition of the service; its own node says what is wrong.',
    ]);
    edge.lostAt = edge.desired.commit.oid;
    expect(told(gone())).to.deep.equal([
      'web@n1 refused: the registry was lost, and the file beside it too: no edge is taken away under this commit | It goes on with the next commit.',
    ]);
  });

  it('the way home: to the address of its node in the spelling of its kind, verified with the roots of the settings', () => {
    const put = (address: string, mode: 'l4' | 'l7', more: Partial<PlanSettings> = {}): unknown => {
      edge.desired = atEdge(web({ mode }), { address });
      const facts = edge.facts();
      const { steps } = makePlan({ ...facts, settings: { ...facts.settings, ...more } });
      return steps.flatMap((step) => (step.kind === 'put-routes' ? step.routes : []))[0];
    };
    const roots = '/etc/ssl/certs/ca-certificates.crt';
    expect(put('10.0.0.9', 'l7')).to.include({ backend: '10.0.0.9:443', backendTls: true, backendCa: roots });
    expect(put('2001:db8::9', 'l7', { edgeCa: '/ca.pem' })).to.include({
      ...{ backend: '[2001:db8::9]:443', backendTls: true, backendCa: '/ca.pem' },
    });
    expect(put('10.0.0.9', 'l4')).to.include({ backend: '10.0.0.9:443', backendTls: false });
    expect(put('10.0.0.9', 'l4')).to.not.have.property('backendCa');
  });

  it('L08 of what stands and is in no registry: it is recorded anew', () => {
    Object.assign(edge, { routes: [], dnsRecords: [] });
    const why = 'web of n1 is served here too (edge): recorded anew';
    expect(stepsBy(edge)).to.deep.equal([
      `put-routes web.${SUFFIX}: ${why}`,
      `put-records web.${SUFFIX}: ${why}`,
    ]);
  });
});

describe('what is told of the order of services and versions', () => {
  it('L42 whom a service waits for, and what goes on meanwhile', async () => {
    const world = fresh(one('a', {}, { after: ['b'] }), one('b'));
    world.unready.add('b');
    await world.pass();
    expect(toldBy(world)[0]).to.equal(
      'a after: b is not ready yet, and comes first (after) | What runs goes on; starts and changes follow once b is ready. See what it waits for.',
    );
    world.unready.clear();
    await world.converge();
    const image = { reference: 'q/b:v2.0.0', repository: 'q/b', tag: 'v2.0.0' };
    world.images[image.reference] = { kind: 'pulling', since: world.now };
    world.desired = desiredOf([one('a', { cmd: ['x'] }, { after: ['b'] }), one('b', { image })]);
    expect(toldBy(world)[0]).to.equal(
      'a after: b is to be changed first (after) | Changes follow once b has changed. See what it waits for.',
    );
  });

  it('which component of the same service has to be ready before', async () => {
    const world = fresh(service('s', [component('x', { after: ['y'] }), component('y')]));
    world.unready.add('s-y');
    await world.pass();
    expect(toldBy(world)).to.deep.equal([
      's after: s-x: s-y is not ready yet, and comes first (after)',
      's ready: s-y: nothing answers (since 0 s) (until 60 s)',
    ]);
  });

  it('a version that is late gives way, and is held back: why, and how it is tried again', async () => {
    const world = await converged(fresh(one('a')));
    const image = { ...component('a').image, reference: 'mcr.example.net/a:v2.0.0', tag: 'v2.0.0' };
    world.present(image.reference);
    world.bad.add(image.reference);
    world.desired = desiredOf([one('a', { image })]);
    await world.pass();
    await world.pass();
    world.now += 61_000;
    const why = 'not proved within 60 s: a: nothing answers';
    expect(stepsBy(world)).to.deep.equal([`record-trial a: gives way to the version of cccccccc: ${why}`]);
    await world.pass();
    expect(toldBy(world)).to.deep.equal([`a return: the version of cccccccc gives way: ${why} (since 0 s)`]);
    expect(stepsBy(world)[0]).to.equal(`retire-container a: returned to the version of cccccccc: ${why}`);
    await world.converge();
    expect(toldBy(world)).to.deep.equal([
      `a git: the version of cccccccc is held back: ${why} | Push a commit that changes the service; to try the very same again, raise its \`generation\`. (since 0 s)`,
    ]);
  });

  it('a version that is late, and has none before it or shall stay, is left running and says so', async () => {
    const late = async (more: Partial<Service> = {}): Promise<string[]> => {
      const world = fresh(one('a', {}, more));
      world.unready.add('a');
      await world.pass();
      await world.pass();
      world.now += 61_000;
      return toldBy(world);
    };
    expect(await late()).to.deep.equal([
      'a ready: a: nothing answers | No earlier version was proved, so there is none to return to: it is left running. Mend it with a commit. (since -61 s)',
    ]);
    expect(await late({ deploy: { return: 'never' } })).to.deep.equal([
      'a ready: a: nothing answers | deploy.return = "never": it is left as it is, for a person to see to. (since -61 s)',
    ]);
  });
});
