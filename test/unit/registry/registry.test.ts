import { rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { openRegistry } from '../../../src/registry/registry.ts';
import { APPLIED, log, must, PRINTED, TRIAL, useRegistry } from './registry.kit.ts';

describe('the registry', () => {
  const { open, opened, at } = useRegistry();

  it('L47 remembers what the last file of a service said of prune', () => {
    const registry = open();
    const file = { service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' };
    must(registry.accept('c1', 5, [{ ...file, prune: false }]));
    must(registry.accept('c2', 6, []));
    expect(registry.promised().files).to.deep.equal([{ ...file, prune: false }]);
    must(registry.accept('c3', 7, [file]));
    expect(registry.promised().files).to.deep.equal([file]);
  });

  it('gives back what was promised, also after it was closed', () => {
    const before = open();
    must(before.accept('c1', 5, [{ service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' }]));
    must(before.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
    must(
      before.putRoutes('web', [
        { service: 'web', component: 'web', route: '', hostname: 'web.example.net', port: 443 },
      ]),
    );
    must(before.recordImage({ reference: 'web:v1.0.0', imageId: 'sha256:1', built: true }, 9));
    must(before.recordApplied(APPLIED));
    must(before.recordTrial(TRIAL));
    must(
      before.recordFailure({
        service: 'web',
        digest: 'd',
        lastAt: 3,
        why: 'w',
        hint: 'h',
        cause: 'outside',
      }),
    );
    const promised = before.promised();
    before.close();
    opened.pop();
    expect(open().promised()).to.deep.equal(promised);
    expect(promised).to.deep.equal({
      accepted: { commit: 'c1', at: 5 },
      fresh: { kept: false },
      applied: [APPLIED],
      leases: [{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }],
      routes: [{ service: 'web', component: 'web', route: '', hostname: 'web.example.net', port: 443 }],
      images: [{ reference: 'web:v1.0.0', imageId: 'sha256:1', firstSeenAt: 9, built: true }],
      files: [{ service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' }],
      failures: [{ service: 'web', digest: 'd', count: 1, lastAt: 3, why: 'w', hint: 'h', cause: 'outside' }],
      trials: [TRIAL],
    });
  });

  it('L08 keeps which records of ours stand in DNS, also after it was closed, until they or their service are gone', () => {
    const before = open();
    const record = { service: 'web', hostname: 'web.example.net', addresses: ['10.0.0.1', 'fd00::1'] };
    const other = { service: 'api', hostname: 'api.example.net', addresses: ['10.0.0.1'] };
    must(before.putRecords([{ ...record, addresses: ['10.0.0.9'] }, other]));
    must(before.putRecords([record]));
    before.close();
    opened.pop();
    const registry = open();
    expect(registry.promised().records).to.deep.equal([other, record]);
    must(registry.removeRecords([{ ...record, service: 'api' }]));
    expect(registry.promised().records, 'one of another service stays').to.deep.equal([other, record]);
    must(registry.removeRecords([record]));
    expect(registry.promised().records).to.deep.equal([other]);
    must(registry.forgetService('api'));
    expect(registry.promised()).to.not.have.property('records');
  });

  it('G4 never leases one port twice', () => {
    const registry = open();
    must(registry.lease([{ service: 'a', component: 'a', route: '', slot: 'a', port: 20000 }]));
    const twice = registry.lease([{ service: 'b', component: 'b', route: '', slot: 'a', port: 20000 }]);
    expect(twice.kind).to.equal('blocked');
    expect(registry.promised().leases).to.have.length(1);
  });

  it('replaces the lease of a route whose port was stolen', () => {
    const registry = open();
    must(registry.lease([{ service: 'a', component: 'a', route: '', slot: 'a', port: 20000 }]));
    must(registry.lease([{ service: 'a', component: 'a', route: '', slot: 'a', port: 20001 }]));
    expect(registry.promised().leases.map((lease) => lease.port)).to.deep.equal([20001]);
  });

  it('L32 ends a trial when a version is applied, and begins the failures anew when a trial begins', () => {
    const registry = open();
    must(registry.recordFailure({ service: 'web', digest: 'd2', lastAt: 3, why: 'w' }));
    must(registry.recordTrial({ ...TRIAL, phase: 'trying' }));
    expect(registry.promised().failures).to.deep.equal([]);
    must(registry.recordTrial(TRIAL));
    expect(registry.promised().trials).to.deep.equal([TRIAL]);
    must(registry.recordApplied(APPLIED));
    expect(registry.promised().trials).to.deep.equal([]);
  });

  it('keeps what a version printed last that gave way as long as it is held back, and nothing of another version', () => {
    const registry = open();
    const other = { ...PRINTED, component: 'db' };
    must(registry.recordTrial({ ...TRIAL, phase: 'trying' }));
    must(registry.recordPrinted('web', TRIAL.digest, [PRINTED, other]));
    must(registry.recordPrinted('web', TRIAL.digest, [PRINTED]));
    must(registry.recordTrial(TRIAL));
    expect([...registry.printed()], 'in the place of what was kept before').to.deep.equal([
      ['web', [PRINTED]],
    ]);
    registry.close();
    opened.pop();
    const again = open();
    expect([...again.printed()], 'after a restart').to.deep.equal([['web', [PRINTED]]]);
    must(again.recordTrial({ ...TRIAL, digest: 'd9', phase: 'trying' }));
    expect([...again.printed()]).to.deep.equal([]);
    must(again.recordTrial(TRIAL));
    must(again.recordApplied(APPLIED));
    must(again.recordTrial(TRIAL));
    expect([...again.printed()], 'it went with its trial').to.deep.equal([]);
    must(again.recordPrinted('web', TRIAL.digest, [PRINTED]));
    must(again.forgetService('web'));
    must(again.recordTrial(TRIAL));
    expect([...again.printed()]).to.deep.equal([]);
  });

  it('L32 L34 a lost registry still knows what is held back, and which version is in force instead', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    must(registry.recordTrial(TRIAL));
    registry.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${at.path}${suffix}`, { force: true });
    const { service: of, state, file, oid, digest, commit, appliedAt } = APPLIED;
    const applied = { service: of, state, file, oid, digest, commit, appliedAt };
    const again = open();
    expect(again.promised()).to.deep.include({ trials: [TRIAL], applied: [applied] });
    must(again.recordApplied({ ...APPLIED, digest: 'd3' }));
    again.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${at.path}${suffix}`, { force: true });
    expect(open().promised(), 'over, also in the file beside it').to.deep.include({
      trials: [],
      applied: [],
    });
  });

  it('L07 L34 a lost registry still knows which version is in force while git has another one that waits or is tried: there is one to return to', () => {
    const { service: of, state, file, oid, digest, commit, appliedAt } = APPLIED;
    const inForce = { service: of, state, file, oid, digest, commit, appliedAt };
    const lose = (): void => {
      opened.pop()?.close();
      for (const suffix of ['', '-wal', '-shm']) rmSync(`${at.path}${suffix}`, { force: true });
    };
    const before = open();
    must(before.accept('c1', 5, [{ service: of.name, file, oid, commit }]));
    must(before.recordApplied(APPLIED));
    lose();
    const same = open();
    expect(same.promised().applied, 'the labels tell it').to.deep.equal([]);
    must(same.recordApplied(APPLIED));
    must(same.accept('c2', 6, [{ service: of.name, file, oid: 'next', commit: 'c2' }]));
    lose();
    const later = open();
    expect(later.promised().applied).to.deep.equal([inForce]);
    must(later.recordApplied({ ...APPLIED, oid: 'next', commit: 'c2' }));
    lose();
    expect(open().promised().applied, 'over, also in the file beside it').to.deep.equal([]);
  });

  it('L32 L34 a lost registry still knows what gave back the place that it took, and is held back although nothing was ever applied', () => {
    const before = open();
    must(before.accept('c2', 5, []));
    must(before.recordTrial({ ...TRIAL, service: 'taker' }));
    must(before.recordTrial({ ...TRIAL, service: 'later', phase: 'outside' }));
    before.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${at.path}${suffix}`, { force: true });
    const { trials, applied } = open().promised();
    expect(trials).to.deep.equal([{ ...TRIAL, service: 'taker' }]);
    expect(applied).to.deep.equal([]);
  });

  it('does not count the time in which no agent looked: a trial goes on with its whole time, a hold-back stays as it is', () => {
    const registry = open();
    must(registry.recordTrial({ ...TRIAL, service: 'a', phase: 'trying' }));
    must(registry.recordTrial({ ...TRIAL, service: 'b' }));
    registry.close();
    opened.pop();
    const from = Date.now();
    const [a, b] = open().promised().trials;
    expect(a?.since).to.be.at.least(from);
    expect(b).to.deep.equal({ ...TRIAL, service: 'b' });
  });

  it('G42 a clock that is set in the middle of a pass: what was tried before keeps its time, what is tried from then on has its own', () => {
    let wall = 1_000_000_000_000;
    const registry = must(
      openRegistry({ path: at.path, clock: { ...systemClock, now: () => wall, monotonic: () => 5 }, log }),
    );
    opened.push(registry);
    for (const byMs of [3_600_000, -3_600_000]) {
      const since = wall;
      must(registry.recordTrial({ ...TRIAL, service: 'before', phase: 'trying', since }));
      must(registry.check());
      wall += byMs;
      expect(registry.promised().trials.find(({ service }) => service === 'before')?.since).to.equal(
        since + byMs,
      );
      wall -= byMs;
      must(registry.recordTrial({ ...TRIAL, service: 'after', phase: 'trying', since: wall }));
      must(registry.check());
      const trials = registry.promised().trials.map((trial) => trial.since);
      expect(trials, String(byMs)).to.deep.equal([wall, wall]);
    }
  });

  it('G42 a clock that is set, forward or back, by a minute, a day or ten years, leaves a trial the time that it has left', () => {
    let wall = 1_000_000_000_000;
    let monotonic = 5;
    const clock = { ...systemClock, now: () => wall, monotonic: () => monotonic };
    const registry = must(openRegistry({ path: at.path, clock, log }));
    opened.push(registry);
    for (const byMs of [60_000, -60_000, 86_400_000, -86_400_000, 315_360_000_000, -315_360_000_000]) {
      for (const phase of ['trying', 'outside'] as const)
        must(registry.recordTrial({ ...TRIAL, service: phase, phase, since: wall }));
      wall += 30_000;
      monotonic += 30_000;
      must(registry.check());
      const elapsed = (): number[] => registry.promised().trials.map(({ since }) => wall - since);
      expect(elapsed(), 'time that passes counts').to.deep.equal([30_000, 30_000]);
      wall += byMs + 10_000;
      monotonic += 10_000;
      must(registry.check());
      must(registry.check());
      expect(elapsed(), String(byMs)).to.deep.equal([40_000, 40_000]);
    }
  });

  it('keeps the begin of a trial when agents end in a loop: its whole time is given again twice, and then no more', () => {
    let now = 1_000;
    const clock = { ...systemClock, now: () => now };
    const since = (): number | undefined => {
      const registry = must(openRegistry({ path: at.path, clock, log }));
      if (registry.promised().trials.length === 0)
        must(registry.recordTrial({ ...TRIAL, service: 'a', phase: 'trying', since: now }));
      const [trial] = registry.promised().trials;
      registry.close();
      now += 1_000;
      return trial?.since;
    };
    expect(Array.from({ length: 6 }, since)).to.deep.equal([1_000, 2_000, 3_000, 3_000, 3_000, 3_000]);
    const registry = must(openRegistry({ path: at.path, clock, log }));
    must(registry.recordTrial({ ...TRIAL, service: 'a', phase: 'returning', since: now }));
    registry.close();
    expect(since(), 'another phase is another trial').to.equal(now - 1_000);
  });

  it('knows when a route was put last and as what, and keeps it when only its record is written again', () => {
    const registry = open();
    const route = { service: 'web', component: 'web', route: '', hostname: 'h', port: 443 };
    must(registry.putRoutes('web', [{ ...route, putAt: 5, written: 'd' }]));
    must(registry.putRoutes('web', [route]));
    expect(registry.promised().routes).to.deep.equal([{ ...route, putAt: 5, written: 'd' }]);
  });

  it('forgets a service whole', () => {
    const registry = open();
    must(registry.accept('c1', 5, [{ service: 'web', file: 'f', oid: 'o', commit: 'c1' }]));
    must(registry.recordApplied(APPLIED));
    must(registry.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
    must(registry.recordTrial(TRIAL));
    must(registry.forgetService('web'));
    const { applied, leases, files, trials } = registry.promised();
    expect(trials).to.deep.equal([]);
    expect([applied, leases, files]).to.deep.equal([[], [], []]);
  });

  it('keeps the file of a service that left git until it is forgotten', () => {
    const registry = open();
    must(registry.accept('c1', 5, [{ service: 'web', file: 'f', oid: 'o', commit: 'c1' }]));
    must(registry.accept('c2', 6, []));
    expect(registry.promised().files.map((file) => file.service)).to.deep.equal(['web']);
  });

  it('keeps the last good file of the node', () => {
    const registry = open();
    const nodeFile = { file: 'nodes/n1.toml', oid: 'o1', commit: 'c1' };
    must(registry.accept('c1', 5, [], nodeFile));
    must(registry.accept('c2', 6, []));
    expect(registry.promised().nodeFile).to.deep.equal(nodeFile);
  });

  it('counts the failures of one definition in a row, and begins anew with another', () => {
    const registry = open();
    const failure = { service: 'web', digest: 'd1', lastAt: 1, why: 'w' };
    must(registry.recordFailure(failure));
    must(registry.recordFailure(failure));
    expect(registry.promised().failures[0]?.count).to.equal(2);
    must(registry.recordFailure({ ...failure, digest: 'd2' }));
    expect(registry.promised().failures[0]?.count).to.equal(1);
    must(registry.clearFailure('web'));
    expect(registry.promised().failures).to.deep.equal([]);
  });

  it('L35 journals intent, then result; a step that a dead agent left open is marked as interrupted', () => {
    const now = Date.now();
    const first = open();
    const pass = must(first.beginPass({ trigger: 'git', commit: 'c', startedAt: now }));
    const done = must(
      first.intend(pass, {
        service: 'web',
        kind: 'create-container',
        subject: 'web',
        because: { summary: 'new' },
        startedAt: now,
      }),
    );
    must(first.conclude(done, { result: 'ok', endedAt: now }));
    must(
      first.intend(pass, {
        service: 'web',
        kind: 'start-container',
        subject: 'web',
        because: { summary: 'new' },
        startedAt: now,
      }),
    );
    first.close();
    opened.pop();
    const steps = open()
      .passes(5)[0]
      ?.steps.map((step) => [step.kind, step.result, step.because.summary]);
    expect(steps).to.deep.equal([
      ['create-container', 'ok', 'new'],
      ['start-container', 'interrupted', 'new'],
    ]);
  });

  it('writes nothing when the accepted commit and files are the same', () => {
    const registry = open();
    const files = [{ service: 'web', file: 'f', oid: 'o', commit: 'c1' }];
    must(registry.accept('c1', 5, files));
    const other = new Database(at.path, { readonly: true });
    const version = other.pragma('data_version', { simple: true });
    must(registry.accept('c1', 6, files));
    must(registry.clearFailure('web'));
    registry.promised();
    expect(other.pragma('data_version', { simple: true })).to.equal(version);
    other.close();
  });
});
