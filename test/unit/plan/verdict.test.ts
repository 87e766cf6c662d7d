import { expect } from 'chai';
import type { Desired, Service } from '../../../src/definitions/types.ts';
import type { ObservedContainer } from '../../../src/node/types.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import { budgetOf, judge, namedServices, removableServices } from '../../../src/plan/guard.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

/** The guard's verdict on facts made by hand: what it says, to the word, and about whom. */
describe('the verdict of the guard', () => {
  it('G7 counts those that stand: an unnamed one more than the budget and none goes; named ones spend nothing', () => {
    const facts = standing(10, ['s08', 's09', 's07']);
    expect(judge(facts)).to.deep.include({ removed: [], kept: [], orphans: [] });
    expect(judge(facts).refused).to.deep.equal(
      ['s07', 's08', 's09'].map((name) => ({
        service: name,
        why: '3 of 10 services would be removed at once, and the budget is 2: none is',
        hint: 'If it is meant, push a commit with the trailer "Remove-Services: s07, s08, s09", or name them in removals.toml.',
      })),
    );
    expect(judge(named(facts, 's09'))).to.deep.equal({
      removed: ['s07', 's08', 's09'],
      kept: [],
      refused: [],
      orphans: [],
    });
    expect(budgetOf(facts)).to.deep.equal({ spent: ['s07', 's08', 's09'], named: [], allowed: 2, of: 10 });
    expect(budgetOf(named(facts, 's09'))).to.deep.equal({
      spent: ['s07', 's08'],
      named: ['s09'],
      allowed: 2,
      of: 10,
    });
  });

  it('G7 says stopped, removed, or both, and keeps what would be stopped', () => {
    const stops = standing(4, [], ['s02', 's03']);
    expect(judge(stops).kept).to.deep.equal(['s02', 's03']);
    expect(judge(stops).refused.map(({ why }) => why)).to.deep.equal([
      '2 of 4 services would be stopped at once, and the budget is 1: none is',
      '2 of 4 services would be stopped at once, and the budget is 1: none is',
    ]);
    const both = judge(standing(4, ['s02'], ['s03']));
    expect(both.refused.map(({ service: name, why }) => `${name}: ${why}`)).to.deep.equal([
      's02: 2 of 4 services would be stopped or removed at once, and the budget is 1: none is',
      's03: 2 of 4 services would be stopped or removed at once, and the budget is 1: none is',
    ]);
    expect(both.kept).to.deep.equal(['s03']);
    expect(judge(named(standing(4, ['s02'], ['s03']), 's03'))).to.deep.include({
      removed: ['s02'],
      kept: [],
    });
  });

  it('G7 a record without a container, and a container without a record, stand; what never ran here does not', () => {
    const facts = standing(10, ['s08', 's09']);
    const files = [{ service: 'ghost', file: 'services/ghost.toml', oid: 'g', commit: 'c' }];
    const ghostly = { ...facts, promised: { ...facts.promised, files: [...facts.promised.files, ...files] } };
    expect(judge(ghostly)).to.deep.include({ removed: ['ghost', 's08', 's09'], refused: [] });
    const forgotten = { ...facts, promised: { ...facts.promised, applied: [] } };
    expect(budgetOf(forgotten)).to.deep.equal({ spent: ['s08', 's09'], named: [], allowed: 2, of: 10 });
    const gone = without(facts);
    expect(budgetOf(gone)).to.deep.equal({ spent: ['s08', 's09'], named: [], allowed: 2, of: 10 });
  });

  it('G7 a service that is inactive and already rests is neither stopped nor counted, and one on pause is left alone', () => {
    const rested = without(standing(4, [], ['s02', 's03']));
    const applied = rested.promised.applied.map((entry) => ({ ...entry, state: 'stopped' as const }));
    expect(judge({ ...rested, promised: { ...rested.promised, applied } })).to.deep.equal(NOTHING);
    const running = standing(4, [], ['s02', 's03']);
    const stopped = running.promised.applied.map((entry) => ({ ...entry, state: 'stopped' as const }));
    expect(
      judge({ ...running, promised: { ...running.promised, applied: stopped } }).kept,
      'somebody started them: to be stopped, within the budget',
    ).to.deep.equal(['s02', 's03']);
    expect(judge(without(running)).kept, 'recorded as running counts as well').to.deep.equal(['s02', 's03']);
    const paused = standing(4, [], ['s02', 's03'], { paused: true });
    expect(judge(paused)).to.deep.equal(NOTHING);
  });

  it('what is protected is refused by its own words and costs the others nothing', () => {
    const facts = standing(4, ['s01', 's02'], ['s03']);
    const kept = { ...facts, settings: { ...facts.settings, protect: ['s01', 's03'] } };
    expect(judge(kept)).to.deep.equal({
      removed: ['s02'],
      kept: ['s03'],
      refused: [
        {
          service: 's01',
          why: 'the settings of this node protect it: it is never removed, only replaced',
          hint: 'Bring its definition back, or take it off [policy] protect on the node.',
        },
        {
          service: 's03',
          why: 'the settings of this node protect it: it is never stopped, only replaced',
          hint: 'Bring its definition back, or take it off [policy] protect on the node.',
        },
      ],
      orphans: [],
    });
  });

  it('L03 a lost registry stops and removes nothing under the commit it was lost at, and does under the next', () => {
    const facts = standing(10, ['s09'], ['s08']);
    const at = (lostAt: string): Facts => ({ ...facts, promised: { ...facts.promised, lostAt } });
    const lost = judge(at(facts.desired.commit.oid));
    expect(lost).to.deep.include({ removed: [], kept: ['s08'] });
    expect(lost.refused).to.deep.equal(
      ['s09', 's08'].map((name) => ({
        service: name,
        why: 'the registry was lost, and the file beside it too: nothing is stopped or removed under this commit',
        hint: 'It goes on with the next commit.',
      })),
    );
    expect(judge(at('f'.repeat(40)))).to.deep.include({ removed: ['s09'], kept: [], refused: [] });
  });

  it('G7 removals wait for an unreadable file, and for a repository that names nothing any more; a refused file is no empty repository', () => {
    const facts = standing(10, ['s09'], ['s08']);
    const unreadable = judge(change(facts, { unreadable: true }));
    expect(unreadable).to.deep.include({ removed: [], kept: [] });
    expect(unreadable.refused).to.deep.equal([
      {
        service: 's09',
        why: 'it is no longer in the repository, but removals wait while any definition of this node is unreadable',
        hint: 'Mend the definitions with issues first.',
      },
    ]);
    const last = standing(1, ['s00']);
    expect(judge(last).refused[0]).to.deep.equal({
      service: 's00',
      why: 'the repository holds no definition for this node any more: nothing is removed without being named',
      hint: 'If it is meant, push a commit with the trailer "Remove-Services: s00", or name them in removals.toml.',
    });
    expect(judge(change(last, { refused: ['other'] }))).to.deep.include({ removed: ['s00'], refused: [] });
  });

  it('L33 what has a bad file is no removal', () => {
    expect(judge(change(standing(10, ['s09']), { refused: ['s09'] }))).to.deep.equal(NOTHING);
  });

  it('L47 prune = false: its last file counts, not what was applied before it; it is listed and spends nothing', () => {
    const facts = standing(10, ['s07', 's08', 's09']);
    const files = facts.promised.files.map((file) =>
      file.service === 's09' ? { ...file, prune: false as const } : file,
    );
    const kept = { ...facts, promised: { ...facts.promised, files } };
    expect(judge(kept)).to.deep.equal({
      removed: ['s07', 's08'],
      kept: [],
      refused: [],
      orphans: [
        {
          service: 's09',
          for: 'orphan',
          why: 'its definition is gone, and prune = false leaves it running',
          hint: 'Bring its definition back, or have it removed: a commit with the trailer "Remove-Services: s09".',
        },
      ],
    });
    expect(budgetOf(kept).spent).to.deep.equal(['s07', 's08']);
    const applied = facts.promised.applied.map((entry) =>
      entry.service.name === 's09'
        ? { ...entry, service: { ...entry.service, prune: false as const } }
        : entry,
    );
    const before = { ...facts, promised: { ...facts.promised, applied } };
    expect(judge(before).refused, 'its file says otherwise').to.have.length(3);
    const fileless = facts.promised.files.filter((file) => file.service !== 's09');
    expect(judge({ ...before, promised: { ...before.promised, files: fileless } }).orphans).to.have.length(1);
    const isProtected = { ...kept, settings: { ...kept.settings, protect: ['s09'] } };
    expect(judge(isProtected).orphans, 'told once').to.deep.equal([]);
  });

  it('L34 containers that nobody remembers are told of, taken in, and go under a later commit only', () => {
    const facts = standing(10, []);
    const of = (list: Facts['promised']['applied']): Facts['promised']['applied'] =>
      list.filter((entry) => entry.service.name !== 's09');
    const strange = change(
      {
        ...facts,
        promised: {
          ...facts.promised,
          applied: of(facts.promised.applied),
          files: facts.promised.files.filter((file) => file.service !== 's09'),
          leases: [],
          routes: [],
        },
      },
      { services: facts.desired.services.filter((entry) => entry.service.name !== 's09') },
    );
    expect(judge(strange)).to.deep.equal({
      removed: [],
      kept: [],
      refused: [],
      orphans: [
        {
          service: 's09',
          for: 'orphan',
          why: 'its containers carry our labels, but neither git nor the registry knows it: it is left alone under this commit, and goes with a later one within the budget',
          hint: 'Add its definition to the repository to keep it; to be rid of it at once, remove its containers by hand.',
        },
      ],
    });
    const taken = (commit: string): Facts => ({
      ...strange,
      promised: {
        ...strange.promised,
        orphans: [
          { service: 's00', commit: 'x', seenAt: 0 },
          { service: 's09', commit, seenAt: 0 },
        ],
      },
    });
    expect(judge(taken(strange.desired.commit.oid))).to.deep.include({ removed: [] });
    expect(judge(taken(strange.desired.commit.oid)).orphans).to.have.length(1);
    expect(judge(taken('e'.repeat(40))), 's00 is wanted, and no orphan').to.deep.equal({
      ...NOTHING,
      removed: ['s09'],
    });
    expect(judge(without(taken('e'.repeat(40)))).removed, 'its record alone is enough').to.deep.equal([
      's09',
    ]);
    expect(judge(change(taken('e'.repeat(40)), { refused: ['s09'] }))).to.deep.equal(NOTHING);
  });

  it('names come from a line that begins with the trailer, in order, each once; what is unknown or wanted again is left out', () => {
    const desired = desiredOf([], { removals: ['z', 'a'] });
    const commit = { ...desired.commit, message: 'x\n\nRemove-Services: m, a,,\nNot-Remove-Services: q' };
    expect(removableServices({ ...desired, commit }, ['b', 'a'])).to.deep.equal(['a', 'b', 'm', 'z']);
    const facts = standing(3, []);
    const promised = { ...facts.promised, orphans: [{ service: 'stray', commit: 'c', seenAt: 0 }] };
    const message = 'Remove-Services: stray, s02, s01,nobody';
    expect(namedServices([{ message }], change(facts, { services: [] }).desired, promised)).to.deep.equal([
      's01',
      's02',
      'stray',
    ]);
    expect(namedServices([{ message: 'no trailer' }], desired, promised)).to.deep.equal([]);
  });
});

const NOTHING = { removed: [], kept: [], refused: [], orphans: [] };

/** `count` services run here; git has those no more that are in `gone`, and those inactive that are in `off`. */
function standing(
  count: number,
  gone: readonly string[],
  off: readonly string[] = [],
  more: Partial<Service> = {},
): Facts {
  const world = new World();
  const all = Array.from({ length: count }, (_, at) => {
    const name = `s${String(at).padStart(2, '0')}`;
    return service(name, [component(name)]);
  });
  world.desired = desiredOf(all);
  world.accept();
  const before = world.facts();
  const applied = before.desired.services.map((entry) => ({
    service: entry.service,
    file: entry.file,
    oid: entry.oid,
    digest: entry.digest,
    commit: entry.commit,
    state: 'running' as const,
    appliedAt: 0,
  }));
  const containers = all.map(({ name }) => containerOf(name, before.settings.owner));
  const { engine } = before.observed;
  if (!engine.known) throw new Error('the engine is known');
  const left = all
    .filter(({ name }) => !gone.includes(name))
    .map((entry) => (off.includes(entry.name) ? { ...entry, active: false, ...more } : entry));
  return {
    ...before,
    desired: desiredOf(left),
    promised: { ...before.promised, applied },
    observed: { ...before.observed, engine: { ...engine, value: { ...engine.value, containers } } },
  };
}

function containerOf(name: string, owner: string): ObservedContainer {
  return {
    id: name,
    name,
    image: `mcr.example.net/${name}:v1.0.0`,
    imageId: `sha256:${name}`,
    state: 'running',
    restartCount: 0,
    labels: {},
    identity: { owner, service: name, component: name, spec: '', leases: {}, format: '1' },
    publish: [],
  };
}

function named(facts: Facts, ...names: string[]): Facts {
  return { ...facts, settings: { ...facts.settings, removable: names } };
}

function change(facts: Facts, more: Partial<Desired>): Facts {
  return { ...facts, desired: { ...facts.desired, ...more } };
}

/** None of our containers is there. */
function without(facts: Facts): Facts {
  const { engine } = facts.observed;
  if (!engine.known) return facts;
  return {
    ...facts,
    observed: { ...facts.observed, engine: { ...engine, value: { ...engine.value, containers: [] } } },
  };
}
