import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { Secret } from '../../../src/base/secret.ts';
import { replay } from '../../../src/commands/replay.ts';
import { execute } from '../../../src/execute/execute.ts';
import type { RegistryWriter } from '../../../src/execute/types.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Plan } from '../../../src/plan/types.ts';
import { openKey } from '../../../src/registry/key.ts';
import { openReader } from '../../../src/registry/reader.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import { takeSnapshot } from '../../../src/registry/snapshots.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { scratch } from './registry.kit.ts';

const COMMIT = { oid: 'c'.repeat(40), author: 'Ada', at: 5, message: 'web v1' };
const LIMITS = { maxAgeMs: 3_600_000, maxPasses: 3, maxPlans: 2 };

describe('the journal', () => {
  let dir: string;
  let path: string;
  let registry: Registry;
  let direct: Database.Database;
  let world: World;

  const open = (): Outcome<Registry> => {
    const { key } = must(openKey(dir));
    return openRegistry({ path, clock: systemClock, log: makeLog('silent'), journal: LIMITS, key });
  };

  beforeEach(() => {
    dir = scratch();
    path = join(dir, 'registry.db');
    registry = must(open());
    direct = new Database(path);
    world = new World();
    world.now = Date.now();
    const many = Array.from({ length: 8 }, (_, i) =>
      service(`s${i}`, [component(`s${i}`, { network: 'none' })]),
    );
    world.desired = desiredOf(many);
    world.present(...many.flatMap((entry) => entry.components.map((c) => c.image.reference)));
  });
  afterEach(() => {
    direct.close();
    registry.close();
    rmSync(dir, { recursive: true });
  });

  /** One pass as the agent makes it: the world for a node, the real registry for the journal. */
  const pass = async (): Promise<Plan> => {
    world.accept();
    // The stand-ins of the world for certificates and mounts are no data.
    const facts = world.facts();
    const inputs: Facts = { ...facts, observed: { ...facts.observed, certificates: {}, mounts: {} } };
    const plan = makePlan(inputs);
    Object.assign(world, journalOf(registry));
    must(
      await execute(
        plan,
        world.tools(),
        {
          ...{ trigger: 'test', commit: COMMIT.oid, about: COMMIT, digests: new Map<string, string>() },
          ...{ seen: inputs, inputs, version: 'test' },
        },
        new AbortController().signal,
      ),
    );
    return plan;
  };
  const converge = async (): Promise<void> => {
    for (let i = 0; i < 20; i += 1) {
      const plan = await pass();
      if (plan.steps.length === 0 && plan.wakeAt === undefined) return;
      world.now = Math.max(world.now, plan.wakeAt ?? 0);
    }
    throw new Error('not converged');
  };
  const count = (table: string): number =>
    direct.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;

  it('is append-only: what is written is changed and removed by nobody, and only pruning takes it away', async () => {
    await pass();
    expect(count('steps')).to.be.greaterThan(15);
    for (const sql of [
      'DELETE FROM steps',
      'DELETE FROM passes',
      "UPDATE steps SET result = 'ok'",
      "UPDATE steps SET because = '{}'",
      'UPDATE passes SET ended_at = 1',
      "UPDATE passes SET trigger_words = 'x'",
    ])
      expect(() => direct.exec(sql), sql).to.throw(/append-only/);
  });

  it('G11 has of each step what was there before and what it left, and of each pass the commit with its author', async () => {
    await pass();
    const [made] = registry.changes('s3', 9);
    expect(made).to.include({ author: 'Ada', message: 'web v1', commit: COMMIT.oid, replay: true });
    expect(made?.steps.find((step) => step.kind === 'start-container')?.after).to.deep.include({
      name: 's3',
      state: 'running',
    });
    await converge();
    world.kill('s3');
    await pass();
    const [healed] = registry.changes('s3', 1);
    const start = healed?.steps.find((step) => step.kind === 'start-container');
    expect(start?.before).to.deep.include({ name: 's3', state: 'exited', exitCode: 137 });
    expect(start?.because.summary).to.contain('s3 is exited');
    expect(start?.result).to.equal('ok');
  });

  it('L35 each pass whose plan changed can be replayed: the same inputs give the same plan, to the byte', async () => {
    await converge();
    world.kill('s3');
    await pass();
    const ids = direct.prepare('SELECT pass FROM plans').pluck().all() as number[];
    expect(ids.length).to.be.greaterThan(2);
    for (const id of ids) {
      const stored = registry.plan(id);
      if (stored === undefined) throw new Error('not stored');
      const replayed = replay(stored);
      expect(replayed).to.include({ same: true, pass: id, madeBy: 'test' });
      const { steps } = stored.plan as Plan;
      for (const { service: of, kind, subject, because } of steps)
        expect(replayed.plan.join('\n'), 'why it was done').to.contain(
          `step     ${of}: ${kind} ${subject}, because ${because.summary}`,
        );
    }
  });

  it('L35 the pass of a changed definition replays too, whatever the order in which its fields are compared', async () => {
    await converge();
    const changed = service('s0', [component('s0', { network: 'none', user: '1:1', cmd: ['run'] })]);
    const others = world.desired.services.filter(({ service: { name } }) => name !== 's0');
    world.desired = { ...world.desired, services: [...desiredOf([changed]).services, ...others] };
    const [step] = (await pass()).steps;
    expect(step?.because.patch?.map(({ path: at }) => at)).to.have.length(2);
    const ids = direct.prepare('SELECT pass FROM plans ORDER BY pass DESC').pluck().all() as number[];
    const stored = registry.plan(ids[0] ?? 0);
    expect(stored === undefined ? undefined : replay(stored).differences).to.deep.equal([]);
  });

  it('L35 a replay that decides otherwise says which step is another one', async () => {
    await pass();
    const stored = registry.plan(1);
    if (stored === undefined) throw new Error('not stored');
    const facts = stored.inputs as Facts;
    const changed = replay({
      ...stored,
      inputs: { ...facts, settings: { ...facts.settings, owner: 'n1/other' } },
    });
    expect(changed.same).to.equal(false);
    expect(changed.differences.join('\n'))
      .to.match(/^- step s0: create-container .*\n/m)
      .and.match(/^\+ /m);
  });

  it('a pass that changes nothing writes nothing, also after a restart; one whose waits changed is written once', async () => {
    await converge();
    const version = direct.pragma('data_version', { simple: true });
    await pass();
    expect(direct.pragma('data_version', { simple: true })).to.equal(version);
    registry.close();
    registry = must(open());
    const again = direct.pragma('data_version', { simple: true });
    await pass();
    await pass();
    expect(direct.pragma('data_version', { simple: true })).to.equal(again);
    const before = count('passes');
    world.engineUp = false;
    await pass();
    await pass();
    expect(count('passes')).to.equal(before + 1);
    expect(registry.passes(99).every((entry) => entry.steps.length > 0)).to.equal(true);
  });

  it('stored plans share their parts: a change of one service of eight adds little', async () => {
    await converge();
    const size = (): number => direct.prepare('SELECT sum(length(body)) FROM parts').pluck().get() as number;
    const whole = size();
    world.kill('s3');
    await pass();
    expect(size() - whole).to.be.lessThan(whole / 3);
  });

  it('is pruned by age and count, inputs sooner than steps, and parts that nothing needs go with them', async () => {
    await converge();
    for (let i = 0; i < 6; i += 1) {
      world.kill(`s${i}`);
      await pass();
      await pass();
    }
    const parts = count('parts');
    registry.close();
    registry = must(open());
    expect(count('plans')).to.equal(LIMITS.maxPlans);
    expect(registry.passes(99)).to.have.length(LIMITS.maxPasses);
    expect(count('parts')).to.be.lessThan(parts);
    const [id] = direct.prepare('SELECT pass FROM plans ORDER BY pass').pluck().all() as number[];
    const kept = registry.plan(id ?? 0);
    expect(kept === undefined ? undefined : replay(kept).same).to.equal(true);
    expect(count('commits')).to.equal(1);
  });

  it('L35 keeps what a commit was for as long as a step names it or a definition of it is in force, and no longer', () => {
    const commits = ['1', '2', '3', '4'].map((digit) => ({ ...COMMIT, oid: digit.repeat(40) }));
    const [ofStep = '', ofGone = '', ofPass = '', ofNobody = ''] = commits.map(({ oid }) => oid);
    must(registry.accept('c0', 1, [{ service: 's1', file: 'f', oid: 'o', commit: 'c0' }]));
    must(registry.accept('c1', 2, [], undefined, [], [], { gone: new Map([['s1', ofGone]]), commits }));
    const passes = [0, 1].map((startedAt) =>
      must(
        registry.beginPass({
          trigger: 'git',
          commit: startedAt === 0 ? 'old' : ofPass,
          startedAt: Date.now(),
        }),
      ),
    );
    const step = { service: 's1', kind: 'stop-container', subject: 's1', startedAt: 2 };
    must(registry.intend(passes[1] ?? 0, { ...step, because: { summary: 'x', commit: ofStep } }));
    passes.forEach((pass) => must(registry.endPass(pass, 3)));
    registry.close();
    registry = must(open());
    expect(registry.untold(commits.map(({ oid }) => oid))).to.deep.equal([ofNobody]);
    expect(registry.history('s1', 1)[0]?.about).to.deep.equal({ ...COMMIT, oid: ofStep });
  });

  it('G10 a registered secret that got into the inputs is masked in what is stored', async () => {
    const secret = new Secret('canary-7f3a91c2');
    world.desired = {
      ...world.desired,
      commit: { ...world.desired.commit, message: `oops ${secret.reveal()}` },
    };
    await pass();
    expect(JSON.stringify(registry.plan(1)?.inputs)).to.contain('oops •••');
  });

  it('a snapshot is whole, private, and replays; the newest stay, and files of others too', async () => {
    await pass();
    const snapshots = join(dir, 'snapshots');
    const taken: string[] = [];
    for (let i = 0; i < 4; i += 1)
      taken.push(must(takeSnapshot({ path, dir: snapshots, keep: 2, now: Date.UTC(2026, 0, 1 + i) })));
    writeFileSync(join(snapshots, 'mine.db'), 'x');
    taken.push(must(takeSnapshot({ path, dir: snapshots, keep: 2, now: Date.UTC(2026, 0, 9) })));
    expect(readdirSync(snapshots).sort()).to.deep.equal(
      ['mine.db', ...taken.slice(-2).map((file) => file.slice(snapshots.length + 1))].sort(),
    );
    const newest = taken.at(-1) ?? '';
    expect(statSync(newest).mode & 0o777).to.equal(0o600);
    const reader = must(openReader(newest));
    expect(reader.plan(1)).to.deep.equal(registry.plan(1));
    reader.close();
    expect(existsSync(`${newest}-wal`)).to.equal(false);
  });

  it('a reader says what is wrong: no registry there, one of another form, a snapshot over an existing file', () => {
    expect(openReader(join(dir, 'none.db'))).to.include({ kind: 'blocked' });
    const other = join(dir, 'other.db');
    new Database(other).exec('CREATE TABLE a (b)').close();
    expect(openReader(other)).to.deep.include({ kind: 'blocked' });
    const reader = must(openReader(path));
    const again = reader.snapshot(other);
    reader.close();
    expect('why' in again && again.why).to.contain('exists already');
  });
});

/** The journalling half of the real registry. */
function journalOf(registry: Registry): Partial<RegistryWriter> {
  return {
    beginPass: (pass) => registry.beginPass(pass),
    endPass: (pass, endedAt) => registry.endPass(pass, endedAt),
    planKey: () => registry.planKey(),
    storePlan: (pass, plan) => registry.storePlan(pass, plan),
    intend: (pass, step) => registry.intend(pass, step),
    conclude: (step, end) => registry.conclude(step, end),
  };
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}
