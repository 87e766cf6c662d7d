import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { openKey } from '../../../src/registry/key.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import type { Applied, Trial } from '../../../src/registry/types.ts';
import { component, service } from '../../support/definitions.ts';
import { until } from '../../support/until.ts';

const log = makeLog('silent');

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

const APPLIED: Applied = {
  service: service('web', [component('web')]),
  state: 'running',
  file: 'services/web.toml',
  oid: 'o',
  digest: 'd',
  commit: 'c',
  appliedAt: 7,
  slotB: ['web'],
};

const TRIAL: Trial = {
  service: 'web',
  digest: 'd2',
  phase: 'held back',
  since: 11,
  tries: 0,
  why: 'nothing answers',
  file: 'services/web.toml',
  commit: 'c2',
};

describe('the registry', () => {
  let dir: string;
  let path: string;
  const opened: Registry[] = [];
  const open = (): Registry => {
    const registry = must(openRegistry({ path, clock: systemClock, log }));
    opened.push(registry);
    return registry;
  };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'mcg-registry-'));
    path = join(dir, 'registry.db');
  });
  afterEach(() => {
    for (const registry of opened.splice(0)) registry.close();
    rmSync(dir, { recursive: true });
  });

  it('L47 remembers what the last file of a service said of prune', () => {
    const registry = open();
    const file = { service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' };
    must(registry.accept('c1', 5, [{ ...file, prune: false }]));
    must(registry.accept('c2', 6, []));
    expect(registry.promised().files).to.deep.equal([{ ...file, prune: false }]);
    must(registry.accept('c3', 7, [file]));
    expect(registry.promised().files).to.deep.equal([file]);
  });

  it('L34 L05 a lost registry begins with what the file beside it kept: commit, engine, names, orphans, last good files', () => {
    const before = open();
    const file = { service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' };
    const nodeFile = { file: 'nodes/n1.toml', oid: 'n', commit: 'c1' };
    must(before.recordOrphan({ service: 'old', commit: 'c0', seenAt: 1 }));
    must(before.recordEngine({ id: 'e', storageRoot: '/x' }));
    must(before.accept('c1', 5, [{ ...file, prune: false }], nodeFile, ['gone']));
    must(before.putRecords([{ service: 'web', hostname: 'web.example.net', addresses: ['10.0.0.1'] }]));
    const { accepted, engine, named, orphans, files, records } = before.promised();
    expect(records).to.have.length(1);
    before.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    const side = join(dir, 'kept-registry.json');
    expect(statSync(side).mode & 0o777).to.equal(0o600);
    const after = open().promised();
    expect(after).to.deep.include({
      accepted,
      engine,
      named,
      orphans,
      files,
      records,
      nodeFile,
      fresh: { kept: true },
    });
    expect(after.applied).to.deep.equal([]);
  });

  it('G35 deleted under a running agent it is written again as it was, journal and all, and goes on', () => {
    const registry = open();
    must(registry.accept('c1', 5, [{ service: 'web', file: 'services/web.toml', oid: 'o', commit: 'c1' }]));
    must(registry.recordApplied(APPLIED));
    const at = Date.now();
    must(registry.endPass(must(registry.beginPass({ trigger: 'git', commit: 'c1', startedAt: at })), at + 1));
    const before = [registry.promised(), registry.passes(5)];
    for (const [deleted, left] of [
      [['', '-wal', '-shm'], []],
      [[''], ['-wal', '-shm']],
    ]) {
      for (const suffix of deleted ?? []) rmSync(path + suffix, { force: true });
      expect(left?.every((suffix) => existsSync(path + suffix))).to.equal(true);
      must(registry.check());
      expect([registry.promised(), registry.passes(5)]).to.deep.equal(before);
      expect(statSync(path).mode & 0o777).to.equal(0o600);
    }
    must(registry.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
    registry.close();
    opened.pop();
    expect(open().promised().leases, 'it is the file on the disk that is written').to.have.length(1);
  });

  it('G35 replaced under a running agent the new file is taken', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    const copy = join(dir, 'copy.db');
    must(registry.snapshot(copy));
    must(registry.forgetService('web'));
    for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true });
    renameSync(copy, path);
    must(registry.check());
    expect(registry.promised().applied).to.deep.equal([APPLIED]);
  });

  it('L34 a file beside it that is damaged is as good as none, and keeps nothing from going on', () => {
    open().close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    writeFileSync(join(dir, 'kept-registry.json'), '{"format": 1, "files": [{}]}');
    expect(open().promised()).to.deep.include({ fresh: { kept: false }, files: [] });
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

  it('L32 L34 a lost registry still knows what is held back, and which version is in force instead', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    must(registry.recordTrial(TRIAL));
    registry.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    const { service: of, state, file, oid, digest, commit, appliedAt } = APPLIED;
    const applied = { service: of, state, file, oid, digest, commit, appliedAt };
    const again = open();
    expect(again.promised()).to.deep.include({ trials: [TRIAL], applied: [applied] });
    must(again.recordApplied({ ...APPLIED, digest: 'd3' }));
    again.close();
    opened.pop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true });
    expect(open().promised(), 'over, also in the file beside it').to.deep.include({
      trials: [],
      applied: [],
    });
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

  it('keeps the begin of a trial when agents end in a loop: its whole time is given again twice, and then no more', () => {
    let now = 1_000;
    const clock = { ...systemClock, now: () => now };
    const since = (): number | undefined => {
      const registry = must(openRegistry({ path, clock, log }));
      if (registry.promised().trials.length === 0)
        must(registry.recordTrial({ ...TRIAL, service: 'a', phase: 'trying', since: now }));
      const [trial] = registry.promised().trials;
      registry.close();
      now += 1_000;
      return trial?.since;
    };
    expect(Array.from({ length: 6 }, since)).to.deep.equal([1_000, 2_000, 3_000, 3_000, 3_000, 3_000]);
    const registry = must(openRegistry({ path, clock, log }));
    must(registry.recordTrial({ ...TRIAL, service: 'a', phase: 'returning', since: now }));
    registry.close();
    expect(since(), 'another phase is another trial').to.equal(now - 1_000);
  });

  it('knows when a route was put last, and keeps it when only its record is written again', () => {
    const registry = open();
    const route = { service: 'web', component: 'web', route: '', hostname: 'h', port: 443 };
    must(registry.putRoutes('web', [{ ...route, putAt: 5 }]));
    must(registry.putRoutes('web', [route]));
    expect(registry.promised().routes).to.deep.equal([{ ...route, putAt: 5 }]);
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
    const other = new Database(path, { readonly: true });
    const version = other.pragma('data_version', { simple: true });
    must(registry.accept('c1', 6, files));
    must(registry.clearFailure('web'));
    registry.promised();
    expect(other.pragma('data_version', { simple: true })).to.equal(version);
    other.close();
  });

  it('is readable by its owner only', () => {
    open().promised();
    for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o077, name).to.equal(0);
  });

  it('G34 refuses a second agent with a clear line, and is free the moment the first one is killed', async () => {
    const script = `
      const { openRegistry } = await import(${JSON.stringify(new URL('../../../src/registry/registry.ts', import.meta.url).href)});
      const { systemClock } = await import(${JSON.stringify(new URL('../../../src/base/clock.ts', import.meta.url).href)});
      const { makeLog } = await import(${JSON.stringify(new URL('../../../src/base/log.ts', import.meta.url).href)});
      const opened = openRegistry({ path: ${JSON.stringify(path)}, clock: systemClock, log: makeLog('silent') });
      process.stdout.write(opened.kind + '\\n');
      setInterval(() => undefined, 1000);`;
    const holder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    holder.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      await until('the first agent', () => said === 'ok\n');
      const second = openRegistry({ path, clock: systemClock, log });
      expect(second).to.include({ kind: 'blocked' });
      expect(second.kind === 'ok' ? '' : second.why).to.contain('another agent holds');
    } finally {
      holder.kill('SIGKILL');
    }
    await until(
      'the lock',
      () => {
        const again = openRegistry({ path, clock: systemClock, log });
        if (again.kind === 'ok') opened.push(again.value);
        return again.kind === 'ok';
      },
      1_000,
    );
  });

  for (const [how, damage] of [
    [
      'its first page is zeroed',
      (file: string) =>
        writeFileSync(file, Buffer.concat([Buffer.alloc(4096), readFileSync(file).subarray(4096)])),
    ],
    [
      'a page in the middle is zeroed',
      (file: string) => {
        const bytes = readFileSync(file);
        bytes.fill(0xff, 8192, 12288);
        writeFileSync(file, bytes);
      },
    ],
    ['it is cut short', (file: string) => truncateSync(file, 10_000)],
    [
      'it is no database',
      (file: string) =>
        writeFileSync(file, 'this is not a database, but long enough to be looked at as one'.repeat(20)),
    ],
  ] as const) {
    it(`G31 is set aside with a timestamp and begun anew when ${how}`, () => {
      const before = open();
      must(before.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
      before.close();
      opened.pop();
      damage(path);
      const anew = open();
      expect(anew.promised().leases).to.deep.equal([]);
      const aside = readdirSync(dir).filter((name) =>
        /^registry\.db\.damaged-\d{4}-\d\d-\d\dT[\d-]+Z$/.test(name),
      );
      expect(aside.map((name) => join(dir, name))).to.deep.equal([anew.setAside]);
    });
  }

  it('G33 politely refuses a registry that a newer version wrote, and leaves it as it is', () => {
    open().close();
    opened.pop();
    const raw = new Database(path);
    raw.pragma('user_version = 99');
    raw.close();
    const refused = openRegistry({ path, clock: systemClock, log });
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain('newer version (99');
    expect(readdirSync(dir).some((name) => name.includes('damaged'))).to.equal(false);
  });

  it('takes a consistent snapshot', () => {
    const registry = open();
    must(registry.recordApplied(APPLIED));
    const copy = join(dir, 'copy.db');
    must(registry.snapshot(copy));
    path = copy;
    expect(open().promised().applied).to.deep.equal([APPLIED]);
    expect(registry.snapshot(copy).kind).to.equal('blocked');
  });

  it('says which file and what to do when its directory cannot be made', () => {
    writeFileSync(join(dir, 'file'), '');
    const refused = openRegistry({ path: join(dir, 'file', 'registry.db'), clock: systemClock, log });
    expect(refused).to.include({ kind: 'blocked' });
    expect(refused.kind === 'ok' ? '' : refused.why).to.contain('registry.db');
  });

  it('keeps the key of the environment hashes in a 0600 file of its own, and says when it is no key', () => {
    const first = must(openKey(dir));
    const second = must(openKey(dir));
    expect([first.created, second.created, second.keyId]).to.deep.equal([true, false, first.keyId]);
    expect(statSync(join(dir, 'env.key')).mode & 0o777).to.equal(0o600);
    chmodSync(join(dir, 'env.key'), 0o600);
    writeFileSync(join(dir, 'env.key'), 'short');
    expect(openKey(dir).kind).to.equal('blocked');
    expect(existsSync(join(dir, 'env.key'))).to.equal(true);
  });
});
