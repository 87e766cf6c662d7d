import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import { simulate } from '../../../src/plan/simulate.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const NAME = `lost.${SUFFIX}`;
const OTHER = `theirs.${SUFFIX}`;

describe('records with our mark that nobody knows (L08)', () => {
  it('go, with their own values and nobody else’s: the definition went while the registry was lost', async () => {
    const world = await stray();
    world.names[OTHER] = recordBy('other/main', 'lost');
    const from = world.journal.length;
    await world.converge();
    expect(world.journal.slice(from)).to.deep.equal([`unname ${NAME}`]);
    expect(Object.keys(world.names).sort()).to.deep.equal([`a.${SUFFIX}`, OTHER]);
    expect(world.plan().steps, 'G2').to.deep.equal([]);
  });

  it('stay as long as anybody may know them: a definition of any kind, a route, containers of ours, what cannot be read (L33, L34, G9)', async () => {
    for (const [what, change] of [
      ['a file cannot be read', (world) => (world.desired = { ...world.desired, unreadable: true })],
      ['a definition is refused', (world) => (world.desired = { ...world.desired, refused: ['lost'] })],
      ['an edge is unread', (world) => (world.desired = { ...world.desired, edgesUnread: [] })],
      ['nothing is defined any more', (world) => (world.desired = { ...world.desired, isEmpty: true })],
      ['the registry was lost at this commit', (world) => (world.lostAt = world.desired.commit.oid)],
      ['the name server is down', (world) => (world.dnsAnswers = false)],
      ['the proxy cannot be read', (world) => (world.proxyKnown = false)],
      [
        'it is stopped in git',
        (world) => (world.desired = desiredOf([one('a'), { ...one('lost'), active: false }])),
      ],
      [
        'its containers are here',
        (world) => {
          const [first] = world.containers;
          if (first?.identity === undefined) throw new Error('no container');
          const identity = { ...first.identity, service: 'lost', component: 'lost' };
          world.containers = [...world.containers, { ...first, id: 'b'.repeat(64), name: 'lost', identity }];
        },
      ],
    ] as readonly (readonly [string, (world: World) => unknown])[]) {
      const world = await stray();
      const planned = (): string[] =>
        world.plan().steps.flatMap((step) => (step.kind === 'remove-records' ? [step.subject] : []));
      expect(planned(), 'else').to.deep.equal([NAME]);
      change(world);
      expect(planned(), what).to.deep.equal([]);
    }
  });

  it('a name that is wanted again is written anew in place of what is left', async () => {
    const world = await stray();
    world.desired = desiredOf([one('a'), one('b', 'lost')]);
    const from = world.journal.length;
    await world.converge();
    expect(world.journal.slice(from).filter((line) => line.includes('name '))).to.deep.equal([
      `name ${NAME}`,
    ]);
    expect(world.names[NAME]?.mark?.service).to.equal('b');
  });

  it('a removal that fails is tried again after a while, and holds no service up', async () => {
    const world = await stray();
    world.failing.set('unname', { kind: 'retry', why: 'the name server does not take it' });
    world.desired = desiredOf([one('a'), one('b')]);
    for (let pass = 0; pass < 40; pass += 1) {
      const { plan } = await world.pass();
      if (plan.steps.length > 0) continue;
      if (world.applied.length === 2) break;
      world.now = Math.max(world.now, plan.wakeAt ?? 0);
    }
    const waits = (): string[] =>
      world
        .plan()
        .waiting.filter(({ service }) => service === '(node)')
        .map(({ why }) => why);
    expect(waits()).to.have.length(1);
    expect(waits()[0]).to.match(/^the name server does not take it \(try \d+\)$/);
    expect(world.applied.map(({ service: { name } }) => name).sort()).to.deep.equal(['a', 'b']);
    expect(world.names[NAME]).to.not.equal(undefined);
    world.failing.clear();
    world.now += 3_600_000;
    await world.converge();
    expect(world.names[NAME]).to.equal(undefined);
    expect(world.failures).to.deep.equal([]);
  });

  it('the simulated chain takes them away, and ends', async () => {
    const { steps, end } = simulate((await stray()).facts());
    expect(steps.map(({ kind, subject }) => `${kind} ${subject}`)).to.deep.equal([`remove-records ${NAME}`]);
    expect(end.steps).to.deep.equal([]);
  });
});

/** One service that runs, and the record of another that nobody remembers. */
async function stray(): Promise<World> {
  const world = new World();
  world.zones = [SUFFIX];
  world.addresses = ['10.0.0.1'];
  world.present('mcr.example.net/a:v1.0.0', 'mcr.example.net/b:v1.0.0');
  world.desired = desiredOf([one('a')]);
  await world.converge();
  world.names[NAME] = recordBy('n1/main', 'lost');
  return world;
}

function recordBy(owner: string, of: string): World['names'][string] {
  const addresses = ['10.0.0.1'];
  return { addresses, mark: { owner, service: of, addresses } };
}

function one(name: string, host = name): Service {
  const hostname = `${host}.${SUFFIX}`;
  const routes = [{ name: '', port: 443, mode: 'l7' as const, hostname, backendTls: false }];
  return service(name, [component(name, { routes })]);
}
