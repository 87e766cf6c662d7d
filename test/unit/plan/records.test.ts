import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import { wanted } from '../../../src/plan/look.ts';
import { simulate } from '../../../src/plan/simulate.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const ADDRESSES = ['10.0.0.1', 'fd00::1'];
const NAME = `a.${SUFFIX}`;

describe('records in DNS', () => {
  it('come after the route and before nothing; removed on undeploy after the routes and before the containers (house 4)', async () => {
    const world = await running(one('a'));
    const kinds = (): string[] => world.journal.map((line) => line.split(' ')[0] ?? '');
    expect(world.names[NAME]?.addresses).to.deep.equal(ADDRESSES);
    expect(kinds().indexOf('name')).to.be.greaterThan(kinds().lastIndexOf('route'));
    expect(world.dnsRecords).to.deep.equal([{ service: 'a', hostname: NAME, addresses: ADDRESSES }]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
    const from = world.journal.length;
    world.desired = desiredOf([]);
    world.removable = ['a'];
    await world.converge();
    const then = world.journal.slice(from).map((line) => line.split(' ')[0]);
    const order = then.filter((word) => ['unroute', 'unname', 'remove', 'forget'].includes(word ?? ''));
    expect(order).to.deep.equal(['unroute', 'unname', 'remove', 'forget']);
    expect([world.names[NAME], world.dnsRecords]).to.deep.equal([undefined, []]);
  });

  it('the reason is what was found: a record that was never made was not repaired', async () => {
    const world = prepared(one('a'));
    world.dnsAnswers = false;
    await world.converge();
    world.dnsAnswers = true;
    const reasons = (): string[] => world.plan().steps.map((step) => `${step.kind}: ${step.because.summary}`);
    expect(reasons()).to.deep.equal([`put-records: ${NAME} of a has no record yet`]);
    await world.converge();
    const mark = world.names[NAME]?.mark;
    if (mark === undefined) throw new Error('no mark');
    world.names[NAME] = { addresses: ['10.0.0.1'], mark };
    expect(reasons()).to.deep.equal([
      `put-records: the record of ${NAME} on name server ns has 10.0.0.1 instead of 10.0.0.1, fd00::1`,
    ]);
    world.names[NAME] = { addresses: ADDRESSES };
    expect(reasons()).to.deep.equal([`put-records: the mark of ${NAME} is missing or not as it was written`]);
    world.names = {};
    expect(reasons()).to.deep.equal([`put-records: the record of ${NAME} on name server ns is missing`]);
  });

  it('the simulated chain has them, and ends', () => {
    const world = prepared(one('a'));
    const { steps, end } = simulate(world.facts());
    expect(steps.filter((step) => step.kind === 'put-records').map((step) => step.subject)).to.deep.equal([
      NAME,
    ]);
    expect(end.steps).to.deep.equal([]);
  });

  it('stay when a service is stopped, and follow when a host name or an address changes', async () => {
    const world = await running(one('a'));
    world.desired = desiredOf([{ ...one('a'), active: false }]);
    await world.converge();
    expect(world.names[NAME]?.addresses).to.deep.equal(ADDRESSES);
    world.desired = desiredOf([one('a', 'docs')]);
    await world.converge();
    expect(Object.keys(world.names)).to.deep.equal([`docs.${SUFFIX}`]);
    world.addresses = ['10.0.0.2'];
    await world.converge();
    expect(world.names[`docs.${SUFFIX}`]?.addresses).to.deep.equal(['10.0.0.2']);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('of a service that is stopped and has another host name now: the old one goes, and a server that is down holds no stop up', async () => {
    const world = await running(one('a'));
    world.dnsAnswers = false;
    world.desired = desiredOf([{ ...one('a', 'docs'), active: false }]);
    await world.converge();
    expect(world.container('a')?.state).to.equal('exited');
    expect(world.plan().waiting.map((entry) => entry.for)).to.deep.equal(['dns']);
    world.dnsAnswers = true;
    await world.converge();
    expect([world.names[NAME], world.dnsRecords]).to.deep.equal([undefined, []]);
    expect(world.plan(), 'G2').to.deep.include({ steps: [], waiting: [] });
  });

  it('a name server that is down holds up nothing but its records, and an undeploy waits for it (G9)', async () => {
    const world = prepared(one('a'));
    world.dnsAnswers = false;
    await world.converge();
    expect(world.applied.map((entry) => entry.state)).to.deep.equal(['running']);
    expect(world.plan().waiting).to.deep.include({
      service: 'a',
      for: 'dns',
      why: 'name server ns does not answer',
      hint: 'Records follow when it answers; the service itself is served.',
    });
    world.dnsAnswers = true;
    await world.converge();
    expect(world.names[NAME]?.addresses).to.deep.equal(ADDRESSES);
    world.dnsAnswers = false;
    world.desired = desiredOf([]);
    world.removable = ['a'];
    await world.converge();
    expect(world.container('a')?.state).to.equal('running');
    expect(world.plan().waiting.map((entry) => entry.for)).to.deep.equal(['dns']);
    world.dnsAnswers = true;
    await world.converge();
    expect(world.container('a')).to.equal(undefined);
  });

  it('of two name servers one is down: the other is right at once, and the first follows when it is back (L20)', async () => {
    const world = prepared(one('a'));
    world.secondNames = {};
    for (const down of ['ns', 'ns2']) {
      world.addresses = down === 'ns' ? ADDRESSES : ['10.0.0.3'];
      const [there, other] =
        down === 'ns' ? [world.secondNames, world.names] : [world.names, world.secondNames];
      const before = other[NAME]?.addresses;
      world.silent.add(down);
      await world.converge();
      expect([there[NAME]?.addresses, other[NAME]?.addresses]).to.deep.equal([world.addresses, before]);
      expect(world.plan().steps, 'nothing is sent again and again').to.deep.equal([]);
      expect(world.plan().waiting.map(({ why }) => why)).to.deep.equal([
        `name server ${down} does not answer`,
      ]);
      world.silent.clear();
      await world.converge();
      expect(other[NAME]?.addresses).to.deep.equal(world.addresses);
      expect(world.plan(), 'G2').to.deep.include({ steps: [], waiting: [] });
    }
  });

  it('of two name servers one refuses: the other is right, the pause is told, and the first follows (L20)', async () => {
    const world = prepared(one('a'));
    world.secondNames = {};
    world.refusing.add('ns2');
    while ((await world.pass()).plan.steps.length > 0);
    const refusedAt = world.now;
    world.now += 10_000;
    while ((await world.pass()).plan.steps.length > 0);
    expect([world.names[NAME]?.addresses, world.secondNames[NAME]]).to.deep.equal([ADDRESSES, undefined]);
    expect(world.plan().waiting.map(({ why, until }) => [why, until])).to.deep.equal([
      [`name server ns2 did not take the update of ${NAME}: REFUSED`, refusedAt + 30_000],
    ]);
    world.refusing.clear();
    await world.converge();
    expect(world.secondNames[NAME]?.addresses).to.deep.equal(ADDRESSES);
  });

  it('after the loss of the registry a record is ours by its mark: nothing is sent again, and an undeploy takes it away', async () => {
    const world = await running(one('a'));
    const from = world.journal.length;
    world.applied = [];
    world.dnsRecords = [];
    await world.converge();
    const words = (): string[] => world.journal.slice(from).map((line) => line.split(' ')[0] ?? '');
    expect(words()).not.to.include.members(['name']);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
    world.desired = desiredOf([]);
    world.removable = ['a'];
    await world.converge();
    expect(words()).to.include.members(['unname', 'remove']);
    expect(world.names).to.deep.equal({});
  });

  it('of a version that is kept until its successor can be made: its names stay, and so do their certificates (L07)', async () => {
    const world = await running(one('a', 'a', 'l7'));
    world.desired = desiredOf([next(one('a', 'docs', 'l7'))]);
    // Put and taken away in turn, they came to no end.
    await world.converge();
    expect(Object.keys(world.names)).to.deep.equal([NAME]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
    const { certificates } = wanted(world.desired, world.settings(), world.promised());
    expect(certificates.map(({ hostname }) => hostname)).to.deep.equal([NAME, `docs.${SUFFIX}`]);
    world.present('mcr.example.net/a:v2.0.0');
    await world.converge();
    expect(Object.keys(world.names)).to.deep.equal([`docs.${SUFFIX}`]);
  });

  it('a foreign record is refused and left alone (L08), one that says the same is nobody’s to repeat', async () => {
    const world = prepared(one('a'));
    world.names[NAME] = { addresses: ['10.9.9.9'] };
    await world.converge();
    expect(world.plan().refused).to.have.lengthOf(1);
    expect(world.plan().refused[0]?.why).to.match(/not ours: 10\.9\.9\.9/);
    expect(world.names[NAME]).to.deep.equal({ addresses: ['10.9.9.9'] });
    world.names[NAME] = { addresses: ADDRESSES };
    expect(world.plan().refused).to.deep.equal([]);
    expect(world.plan().steps).to.deep.equal([]);
  });

  it('without addresses of the node it says where to set them; without a driver nothing is planned (L14)', async () => {
    const world = prepared(one('a'));
    world.addresses = [];
    await world.converge();
    expect(world.plan().waiting[0]).to.include({
      for: 'dns',
      hint: 'Set addresses = ["…"] in nodes/n1.toml.',
    });
    world.zones = [];
    expect(world.plan()).to.deep.include({ steps: [], waiting: [] });
  });
});

function one(name: string, host = name, mode: 'l4' | 'l7' = 'l4'): Service {
  const route = {
    name: '',
    port: 443,
    mode,
    hostname: `${host}.${SUFFIX}`,
    backendTls: false,
  } as const;
  return service(name, [component(name, { routes: [route] })]);
}

/** Of a version whose image is not there yet. */
function next(before: Service): Service {
  const components = before.components.map((part) => {
    const reference = part.image.reference.replace('v1.0.0', 'v2.0.0');
    return { ...part, image: { ...part.image, reference, tag: 'v2.0.0' } };
  });
  return { ...before, components };
}

function prepared(...services: Service[]): World {
  const world = new World();
  world.zones = [SUFFIX];
  world.addresses = [...ADDRESSES];
  world.desired = desiredOf(services);
  world.present(...services.map((entry) => `mcr.example.net/${entry.name}:v1.0.0`));
  return world;
}

async function running(...services: Service[]): Promise<World> {
  const world = prepared(...services);
  await world.converge();
  return world;
}
