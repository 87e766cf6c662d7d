import { expect } from 'chai';
import type { Service } from '../../../src/definitions/types.ts';
import {
  budgetOf,
  hintToName,
  judge,
  namedServices,
  removableServices,
  trailersFor,
} from '../../../src/plan/guard.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { toldBy } from './words.kit.ts';

const NAMES = ['aa', 'bb', 'cc', 'dd'];
const TRAILER = (names: string): string =>
  `If it is meant, push a commit with the trailer "Remove-Services: ${names}", or name them in removals.toml.`;

function one(name: string, change: Partial<Service> = {}): Service {
  return service(name, [component(name)], change);
}

async function running(names = NAMES, change: Partial<Service> = {}): Promise<World> {
  const world = new World();
  world.present(...names.map((name) => component(name).image.reference));
  world.desired = desiredOf(names.map((name) => one(name, change)));
  await world.converge();
  return world;
}

/** What is wanted from now on, under another commit. */
function push(world: World, services: readonly Service[], more: Parameters<typeof desiredOf>[1] = {}): void {
  const { commit } = desiredOf([]);
  world.desired = desiredOf(services, { commit: { ...commit, oid: 'd'.repeat(40) }, ...more });
}

describe('services that are named to go', () => {
  const messages = (...all: string[]): { message: string }[] => all.map((message) => ({ message }));

  it('by a trailer on a line of its own, in any case, with any spaces, of one or several names', async () => {
    const world = await running(['a-b', ...NAMES]);
    const named = (...all: string[]): string[] =>
      namedServices(messages(...all), desiredOf([]), world.promised());
    expect(named('Tidy up\n\n  remove-services:  cc ,, a-b,\nRemove-Services:bb')).to.deep.equal([
      'a-b',
      'bb',
      'cc',
    ]);
    expect(named('See Remove-Services: aa', 'Remove-Services aa', 'Remove-Services:', '')).to.deep.equal([]);
    expect(named('Remove-Services: dd', 'x\nRemove-Services: aa\ny'), 'of all commits').to.deep.equal([
      'aa',
      'dd',
    ]);
    expect(named('Remove-Services: zz'), 'nobody knows it').to.deep.equal([]);
    world.named = ['bb'];
    expect(named(), 'not used yet').to.deep.equal(['bb']);
    const orphans = [{ service: 'zz', commit: 'c', seenAt: 0 }];
    const promised = { ...world.promised(), named: [], orphans };
    expect(namedServices(messages('Remove-Services: zz'), desiredOf([]), promised)).to.deep.equal(['zz']);
  });

  it('not for as long as they are wanted; what is inactive is not wanted', async () => {
    const world = await running();
    const desired = desiredOf([one('aa'), one('bb', { active: false })]);
    expect(namedServices(messages('Remove-Services: aa, bb'), desired, world.promised())).to.deep.equal([
      'bb',
    ]);
  });

  it('for an edge by the name of the service too', () => {
    const world = new World();
    const promised = {
      ...world.promised(),
      files: [{ service: 'web@n1', file: 'services/web.toml', oid: 'o', commit: 'c' }],
    };
    const named = (name: string): string[] =>
      namedServices(messages(`Remove-Services: ${name}`), desiredOf([]), promised);
    expect([named('web'), named('web@n1'), named('n1')]).to.deep.equal([['web'], ['web@n1'], []]);
  });

  it('by removals.toml, the newest commit and the ones before, sorted, each once', () => {
    const { commit } = desiredOf([]);
    const desired = desiredOf([], {
      removals: ['cc', 'aa'],
      commit: { ...commit, message: 'Remove-Services: bb, aa' },
    });
    expect(removableServices(desired, ['dd', 'cc'])).to.deep.equal(['aa', 'bb', 'cc', 'dd']);
    expect(removableServices(desired)).to.deep.equal(['aa', 'bb', 'cc']);
  });

  it('twenty a line, and whoever has to name more is told how many', () => {
    const names = Array.from({ length: 41 }, (_, at) => `s${at}`);
    const lines = trailersFor(names);
    expect(lines.map((line) => line.split(', ').length)).to.deep.equal([20, 20, 1]);
    expect(lines[2]).to.equal('Remove-Services: s40');
    expect(trailersFor(names.slice(0, 20))).to.have.length(1);
    expect(hintToName(names.slice(0, 20))).to.equal(TRAILER(names.slice(0, 20).join(', ')));
    expect(hintToName(names.slice(0, 21))).to.equal(
      'If it is meant, push a commit with trailers that name all 21, so many a line as you like ("Remove-Services: a, b"): mc-gitops plan prints them; or name them in removals.toml.',
    );
  });
});

describe('what is told of services that may not go', () => {
  it('L31 how many of how many would go, in which way, and how they are named', async () => {
    const world = await running();
    const told = (services: readonly Service[]): string[] => {
      push(world, services);
      return toldBy(world);
    };
    const refused = (names: readonly string[], what: string): string[] =>
      names.map(
        (name) =>
          `${name} refused: ${names.length} of 4 services would be ${what} at once, and the budget is 1: none is | ${TRAILER(names.join(', '))}`,
      );
    expect(told([one('aa'), one('bb')])).to.deep.equal(refused(['cc', 'dd'], 'removed'));
    const off = { active: false };
    expect(told([one('aa'), one('bb'), one('cc', off), one('dd', off)])).to.deep.equal(
      refused(['cc', 'dd'], 'stopped'),
    );
    expect(told([one('aa'), one('bb'), one('dd', off)])).to.deep.equal(
      refused(['cc', 'dd'], 'stopped or removed'),
    );
    expect(told([one('aa'), one('bb'), one('cc'), one('dd', off)]), 'one may').to.deep.equal([]);
  });

  it('what is paused, or does not run, is not stopped, and spends nothing', async () => {
    const world = await running();
    const off = { active: false };
    push(world, [one('aa'), one('bb', { ...off, paused: true }), one('cc', off), one('dd')]);
    expect(judge(world.facts()).refused).to.deep.equal([]);
    await world.converge();
    push(world, [one('aa', off), one('bb', { ...off, paused: true }), one('cc', off), one('dd')]);
    expect(judge(world.facts()).refused, 'cc is stopped already').to.deep.equal([]);
    world.applied = world.applied.filter(({ service: { name } }) => name !== 'dd');
    push(world, [one('aa', off), one('bb'), one('cc', off), one('dd', off)]);
    const { kept, refused } = judge(world.facts());
    expect(kept, 'it runs, recorded or not').to.deep.equal(['aa', 'dd']);
    expect(refused.map(({ service: name }) => name)).to.deep.equal(['aa', 'dd']);
  });

  it('what is named to be stopped spends nothing; what only the registry knows to run does', async () => {
    const world = await running();
    const off = { active: false };
    push(world, [one('aa'), one('bb'), one('cc', off), one('dd', off)]);
    world.removable = ['cc'];
    expect(judge(world.facts())).to.deep.include({ kept: [], refused: [] });
    world.removable = [];
    world.containers = [];
    expect(judge(world.facts()).kept, 'a list that hides them').to.deep.equal(['cc', 'dd']);
    world.desired = desiredOf(NAMES.map((name) => one(name)));
    await world.converge();
    const [first] = world.containers;
    if (first === undefined) throw new Error('nothing runs');
    const left = { ...first, id: 'left', name: `${first.name}.prev-1`, state: 'exited' } as const;
    world.containers = [left, ...world.containers];
    world.applied = [];
    push(world, [one('aa', off), one('bb', off), one('cc'), one('dd')]);
    expect(judge(world.facts()).kept, 'one that ended beside one that runs').to.deep.equal(['aa', 'bb']);
  });

  it('what was never here goes beside one that was, and a service that git has is no orphan', async () => {
    const world = await running();
    world.files.push({ service: 'new', file: 'services/new.toml', oid: 'o', commit: 'c' });
    push(world, [one('aa'), one('bb'), one('cc')]);
    expect(judge(world.facts())).to.deep.include({ refused: [], removed: ['dd', 'new'] });
    Object.assign(world, { applied: [], files: [], leases: [] });
    push(
      world,
      NAMES.map((name) => one(name)),
    );
    expect(judge(world.facts())).to.deep.include({ orphans: [], removed: [] });
  });

  it('[policy] protect: whether it is removed or stopped, and the way out', async () => {
    const world = await running();
    world.protect = ['dd'];
    const refused = (what: string): string[] => [
      `dd refused: the settings of this node protect it: it is never ${what}, only replaced | Bring its definition back, or take it off [policy] protect on the node.`,
    ];
    push(world, [one('aa'), one('bb'), one('cc')]);
    expect(toldBy(world)).to.deep.equal(refused('removed'));
    expect(judge(world.facts()).removed).to.deep.equal([]);
    push(world, [one('aa'), one('bb'), one('cc'), one('dd', { active: false })]);
    expect(toldBy(world)).to.deep.equal(refused('stopped'));
    expect(judge(world.facts()).kept).to.deep.equal(['dd']);
  });

  it('removals wait while a file is unreadable, and an empty repository removes nothing unnamed', async () => {
    const world = await running(['aa']);
    push(world, [], { unreadable: true });
    expect(toldBy(world)).to.deep.equal([
      'aa refused: it is no longer in the repository, but removals wait while any definition of this node is unreadable | Mend the definitions with issues first.',
    ]);
    push(world, []);
    expect(toldBy(world)).to.deep.equal([
      `aa refused: the repository holds no definition for this node any more: nothing is removed without being named | ${TRAILER('aa')}`,
    ]);
    push(world, [], { refused: ['bb'] });
    expect(judge(world.facts()).removed, 'one is there, and bad').to.deep.equal(['aa']);
    push(world, [], { refused: ['aa'] });
    expect(judge(world.facts()).removed, 'its own is there, and bad').to.deep.equal([]);
    world.removable = ['aa'];
    push(world, []);
    expect(judge(world.facts()).removed, 'it is named').to.deep.equal(['aa']);
  });

  it('G7 a registry that was lost under this commit removes and stops nothing', async () => {
    const world = await running();
    push(world, [one('aa'), one('bb'), one('cc')]);
    world.lostAt = world.desired.commit.oid;
    expect(judge(world.facts()).refused).to.deep.equal([
      {
        service: 'dd',
        why: 'the registry was lost, and the file beside it too: nothing is stopped or removed under this commit',
        hint: 'It goes on with the next commit.',
      },
    ]);
    world.lostAt = 'e'.repeat(40);
    expect(judge(world.facts())).to.deep.include({ refused: [], removed: ['dd'] });
  });

  it('L47 prune = false: it is left running, and says how it goes', async () => {
    const world = await running(NAMES, { prune: false });
    push(world, [one('aa'), one('bb')]);
    expect(toldBy(world)).to.deep.equal(
      ['cc', 'dd'].map(
        (name) =>
          `${name} orphan: its definition is gone, and prune = false leaves it running | Bring its definition back, or have it removed: a commit with the trailer "Remove-Services: ${name}".`,
      ),
    );
    world.protect = ['cc'];
    expect(toldBy(world).filter((line) => line.startsWith('cc'))).to.have.length(1);
  });

  it('L34 containers that nobody knows are left under the commit that found them, and go with a later one', async () => {
    const world = await running();
    world.applied = world.applied.filter(({ service: { name } }) => name !== 'dd');
    world.files = world.files.filter(({ service: name }) => name !== 'dd');
    push(world, [one('aa'), one('bb'), one('cc')]);
    const orphan = {
      service: 'dd',
      for: 'orphan',
      why: 'its containers carry our labels, but neither git nor the registry knows it: it is left alone under this commit, and goes with a later one within the budget',
      hint: 'Add its definition to the repository to keep it; to be rid of it at once, remove its containers by hand.',
    };
    expect(judge(world.facts())).to.deep.include({ orphans: [orphan], removed: [] });
    world.orphans = [
      { service: 'zz', commit: 'x', seenAt: 0 },
      { service: 'dd', commit: world.desired.commit.oid, seenAt: 0 },
    ];
    expect(judge(world.facts()).orphans).to.deep.equal([orphan]);
    world.orphans = [{ service: 'dd', commit: 'c'.repeat(40), seenAt: 0 }];
    expect(judge(world.facts())).to.deep.include({ orphans: [], removed: ['dd'] });
    push(world, [one('aa'), one('bb'), one('cc')], { refused: ['dd'] });
    expect(judge(world.facts()), 'its definition is there, and bad').to.deep.include({
      orphans: [],
      removed: [],
    });
  });
});

describe('what a change spends of the budget', () => {
  it('is counted for people: who goes, who of them is named, how many may, and of how many', async () => {
    const world = await running([...NAMES, 'ee', 'ff', 'gg', 'hh', 'ii', 'jj']);
    world.removable = ['bb'];
    push(world, [
      one('aa', { active: false }),
      ...['dd', 'ee', 'ff', 'gg', 'hh', 'ii', 'jj'].map((name) => one(name)),
    ]);
    expect(budgetOf(world.facts())).to.deep.equal({ spent: ['aa', 'cc'], named: ['bb'], allowed: 2, of: 10 });
  });

  it('has nothing of what stays (prune = false), and of what was never here', async () => {
    const world = await running(NAMES, { prune: false });
    push(world, [one('aa')]);
    expect(budgetOf(world.facts())).to.deep.equal({ spent: [], named: [], allowed: 1, of: 4 });
    const fresh = await running();
    fresh.files.push({ service: 'new', file: 'services/new.toml', oid: 'o', commit: 'c' });
    push(
      fresh,
      NAMES.map((name) => one(name)),
    );
    expect(budgetOf(fresh.facts())).to.deep.equal({ spent: [], named: [], allowed: 1, of: 4 });
  });
});
