import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import { simulate } from '../../../src/plan/simulate.ts';
import { causesOf } from '../../../src/report/causes.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const NAME = `a.${SUFFIX}`;
const DAY_MS = 86_400_000;
const LIMITS = { sourceAfterMs: 300_000, degradedAfterMs: 60_000 };

describe('certificates that are ordered from a CA', () => {
  it('http-01: record, order, container, route, in that order; until the CA has signed nothing is started and nothing is routed (L11, G39)', async () => {
    const world = prepared();
    await world.converge();
    expect(kinds(world)).to.deep.equal(['name', 'certificate']);
    expect(world.plan().waiting[0]).to.include({ for: 'certificate', service: 'a', since: world.now });
    expect([world.containers, world.table]).to.deep.equal([[], []]);
    world.sign(NAME);
    await world.converge();
    const order = kinds(world).filter((kind) => ['name', 'certificate', 'create', 'route'].includes(kind));
    expect(order).to.deep.equal(['name', 'certificate', 'create', 'route']);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('http-01 waits for the name server: a CA that finds nothing would count it as a failure', async () => {
    const world = prepared();
    world.dnsAnswers = false;
    await world.converge();
    expect(kinds(world)).to.deep.equal([]);
    expect(world.plan().waiting.map((entry) => entry.for)).to.deep.equal(['dns']);
  });

  it('http-01 waits for no name server that is silent, when another one has the name; for one that says otherwise it does (L20)', async () => {
    const world = prepared();
    world.secondNames = {};
    world.silent.add('ns2');
    while ((await world.pass()).plan.steps.length > 0);
    expect(kinds(world)).to.deep.equal(['name', 'certificate']);

    const other = prepared();
    other.secondNames = { [NAME]: { addresses: ['198.51.100.66'] } };
    other.silent.add('ns');
    while ((await other.pass()).plan.steps.length > 0);
    expect(kinds(other)).to.deep.equal([]);
    other.silent.clear();
    while ((await other.pass()).plan.steps.length > 0);
    expect(kinds(other)).to.not.include('certificate');
    expect(other.plan().refused[0]?.why).to.contain('198.51.100.66');

    const refused = prepared();
    refused.secondNames = {};
    refused.refusing.add('ns2');
    while ((await refused.pass()).plan.steps.length > 0);
    expect(kinds(refused), 'one that answers and does not have it').to.not.include('certificate');
  });

  it('dns-01 needs no record first', async () => {
    const world = prepared();
    world.acmeChallenge = 'dns-01';
    world.dnsAnswers = false;
    await world.converge();
    expect(kinds(world)).to.deep.equal(['certificate']);
  });

  it('the chain of `plan` has record and order before the container, and ends', () => {
    const { steps, end } = simulate(prepared().facts());
    const order = steps
      .map((step) => step.kind)
      .filter((kind) =>
        ['put-records', 'issue-certificate', 'create-container', 'put-routes'].includes(kind),
      );
    expect(order).to.deep.equal(['put-records', 'issue-certificate', 'create-container', 'put-routes']);
    expect(steps.find((step) => step.kind === 'put-records')?.because.summary).to.match(/http-01/);
    expect(end.steps).to.deep.equal([]);
  });

  it('a CA that fails is waited for until the time that it or the growing pause gives, and told once (L15)', async () => {
    const world = prepared();
    await world.converge();
    const retryAt = world.now + 120_000;
    const failed = {
      kind: 'failed',
      at: world.now,
      why: 'the CA ca refuses: sealed',
      hint: 'unseal it',
      retryAt,
    } as const;
    world.certificates[NAME] = { ...failed, certPath: '/x' };
    const plan = world.plan();
    expect([plan.steps, plan.wakeAt]).to.deep.equal([[], retryAt]);
    expect(plan.waiting[0]).to.include({ for: 'certificate', hint: 'unseal it', until: retryAt });
    expect(causes(world)).to.deep.equal([
      ['certificate', `a waits for its certificate: no certificate for ${NAME}: the CA ca refuses: sealed`],
    ]);
    world.now = retryAt;
    expect(world.plan().steps.map((step) => step.kind)).to.deep.equal(['issue-certificate']);
  });

  it('an order that is under way is no trouble for as long as it may take; what came of the one before is the reason of the next', async () => {
    const world = prepared();
    await world.converge();
    const aftersOf = (): unknown[] =>
      causesOf(
        { seen: { ...world.facts(), plan: world.plan() }, results: [], source: { reachable: true } },
        LIMITS,
      )
        .filter(({ kind }) => kind === 'certificate')
        .map(({ afterMs }) => afterMs);
    world.certificates[NAME] = { kind: 'ordered', since: world.now, certPath: '/x' };
    expect(aftersOf()).to.deep.equal([300_000]);
    const failed = { kind: 'failed', at: world.now, why: 'down', hint: 'look', certPath: '/x' } as const;
    world.certificates[NAME] = { ...failed, retryAt: world.now + 1 };
    expect(aftersOf()).to.deep.equal([LIMITS.degradedAfterMs]);
    world.certificates[NAME] = { ...failed, retryAt: world.now };
    expect(world.plan().steps[0]?.because.summary).to.equal('new service a; once more, as before: down');
    world.sign(NAME);
    await world.converge();
    world.certificates[NAME] = { ...failed, retryAt: world.now, endedAt: Date.parse('2026-04-01T12:30Z') };
    expect(world.plan().steps[0]?.because.summary).to.equal(
      `the certificate of ${NAME} has ended on 2026-04-01 12:30 UTC, and there is no other; once more, as before: down`,
    );
    world.certificates[NAME] = {
      ...failed,
      retryAt: world.now + 1,
      endedAt: Date.parse('2026-04-01T12:30Z'),
    };
    expect(world.plan().waiting[0]?.why).to.equal(
      `the certificate of ${NAME} has ended on 2026-04-01 12:30 UTC, and there is no other: down`,
    );
  });

  it('renewal: what is in place is served all the time, also when the CA fails; then it is degraded with the end of what is there (L15)', async () => {
    const world = prepared();
    await world.converge();
    world.sign(NAME);
    await world.converge();
    const there = world.certificates[NAME];
    const table = world.table;
    if (there?.kind !== 'valid') throw new Error('not valid');
    world.certificates[NAME] = { ...there, renewal: { kind: 'due' } };
    const { steps } = world.plan();
    expect(steps.map((step) => step.kind)).to.deep.equal(['issue-certificate']);
    await world.pass();
    expect(world.plan()).to.deep.include({ steps: [], waiting: [] });
    const retryAt = world.now + 120_000;
    const failed = { kind: 'failed', at: world.now, why: 'down', hint: 'look', retryAt } as const;
    world.certificates[NAME] = { ...there, renewal: failed };
    expect(world.plan().steps).to.deep.equal([]);
    expect(causes(world)[0]).to.satisfy(
      ([kind, text]: string[]) =>
        kind === 'degraded' && /could not be renewed: down; the one in place ends on 2026-/.test(text!),
    );
    world.now = retryAt;
    expect(world.plan().steps.map((step) => step.kind)).to.deep.equal(['issue-certificate']);
    expect(world.table).to.deep.equal(table);
  });

  it('a certificate that ends while its CA is down: the route stays as it is, nothing is stopped, and it is mended by the next one (G39)', async () => {
    const world = prepared();
    await world.converge();
    world.sign(NAME);
    await world.converge();
    const table = world.table;
    world.now += 91 * DAY_MS;
    const retryAt = world.now + 120_000;
    const failed = { kind: 'failed', at: world.now, why: 'down', hint: 'look', retryAt } as const;
    world.certificates[NAME] = { ...failed, certPath: '/x' };
    expect(world.plan().steps).to.deep.equal([]);
    expect(world.plan().waiting.map((entry) => entry.for)).to.include('certificate');
    expect(world.table).to.deep.equal(table);
    world.sign(NAME);
    await world.converge();
    expect(world.plan()).to.deep.include({ steps: [], waiting: [], refused: [] });
  });
});

describe('a certificate that ends during a pass', () => {
  for (const driver of ['local', 'acme'] as const) {
    it(`${driver}: the pass ends as it was planned, nothing that runs is touched, and the next one mends it (G39)`, async () => {
      const world = prepared();
      world.certificateDriver = driver;
      if (driver === 'acme') await world.converge().then(() => world.sign(NAME));
      await world.converge();
      const { table } = world;
      const mine = (): unknown => structuredClone(world.containers.filter(({ name }) => name === 'a'));
      const containers = mine();
      world.desired = desiredOf([one(), service('b', [component('b', { network: 'none' })])]);
      world.present('mcr.example.net/b:v1.0.0');
      const plan = world.plan.bind(world);
      // It was seen as good; by the time that the first step is taken it has ended.
      world.plan = () => {
        const planned = plan();
        world.certificates = {};
        world.plan = plan;
        return planned;
      };
      const { results } = await world.pass();
      expect(results.map(({ outcome }) => outcome.kind)).to.satisfy((all: string[]) =>
        all.every((kind) => kind === 'ok'),
      );
      expect(world.certificates).not.to.have.property(NAME);
      expect(world.table).to.deep.equal(table);
      await world.converge();
      if (driver === 'acme') world.sign(NAME);
      await world.converge();
      expect(world.certificates[NAME]).to.have.property('kind', 'valid');
      expect(world.table).to.deep.equal(table);
      expect(mine()).to.deep.equal(containers);
      expect(world.plan()).to.deep.include({ steps: [], waiting: [], refused: [] });
    });
  }
});

function prepared(): World {
  const world = new World();
  world.certificateDriver = 'acme';
  world.zones = [SUFFIX];
  world.addresses = ['10.0.0.1'];
  world.desired = desiredOf([one()]);
  world.present('mcr.example.net/a:v1.0.0');
  return world;
}

function one(): Service {
  const route = { name: '', port: 443, mode: 'l7', hostname: NAME, backendTls: false } as const;
  return service('a', [component('a', { routes: [route] })]);
}

/** The first words of what was done, without what is of no matter here. */
function kinds(world: World): string[] {
  return world.journal
    .map((line) => line.split(' ')[0] ?? '')
    .filter((kind) => !['create-network', 'trying', 'build', 'pull'].includes(kind));
}

function causes(world: World): string[][] {
  const { desired, promised, observed } = world.facts();
  const source = { reachable: true };
  return causesOf(
    { seen: { desired, promised, observed, plan: world.plan() }, results: [], source },
    { sourceAfterMs: 0, degradedAfterMs: 0 },
  ).map(({ kind, text }) => [kind, text]);
}
