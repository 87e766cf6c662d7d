import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import type { Outcome } from '../../../src/base/outcome.ts';
import { MIGRATIONS } from '../../../src/registry/migrations.ts';
import { openFile, type RegistryFile } from '../../../src/registry/open.ts';
import { migrate } from '../../../src/registry/sound.ts';
import { registryOn } from '../../../src/registry/registry.ts';
import type { Lease } from '../../../src/registry/types.ts';
import { scratch } from './registry.kit.ts';

const log = makeLog('silent');
const BECAUSE = { summary: 'x'.repeat(500) };

describe('the registry when its disk or its past is bad', () => {
  let dir: string;
  let path: string;
  let file: RegistryFile;
  let registry: ReturnType<typeof registryOn>;

  beforeEach(() => {
    dir = scratch();
    path = join(dir, 'registry.db');
    file = must(openFile(path, log, 0));
    registry = registryOn(file, { path, clock: systemClock, log });
  });
  afterEach(() => {
    registry.close();
    rmSync(dir, { recursive: true });
  });

  it('G32 a full disk is an outcome that says what to do, and nothing of that write is there', () => {
    must(registry.lease([lease(1)]));
    const before = registry.promised();
    fillUp(file.db);
    const many = Array.from({ length: 5_000 }, (_, index) => lease(index + 2));
    const full = registry.lease(many);
    expect(full).to.include({ kind: 'retry' });
    expect(full.kind === 'ok' ? '' : full.why)
      .to.contain(path)
      .and.contain('full');
    expect(full.kind === 'ok' ? '' : full.hint).to.contain('Make room');
    expect(registry.promised()).to.deep.equal(before);
  });

  it('G32 a journal that is full refuses the intent, so that the act is not done, and works again when there is room', () => {
    const pass = must(registry.beginPass({ trigger: 'git', commit: 'c', startedAt: 1 }));
    fillUp(file.db);
    const intend = (): Outcome<number> =>
      registry.intend(pass, { service: 's', kind: 'k', subject: 's', because: BECAUSE, startedAt: 1 });
    let written = 0;
    let outcome = intend();
    while (outcome.kind === 'ok' && written < 1_000) {
      written += 1;
      outcome = intend();
    }
    expect(outcome).to.include({ kind: 'retry' });
    expect(registry.passes(1)[0]?.steps).to.have.length(written);
    file.db.pragma('max_page_count = 100000');
    expect(intend().kind).to.equal('ok');
    expect(file.db.pragma('integrity_check', { simple: true })).to.equal('ok');
  });

  it('a lease batch of which one port is taken records none of it', () => {
    must(registry.lease([lease(1)]));
    const clash = registry.lease([lease(2), { ...lease(3), port: lease(1).port }]);
    expect(clash).to.include({ kind: 'blocked' });
    expect(registry.promised().leases).to.deep.equal([lease(1)]);
  });

  it('numbered migrations: each whole or not at all, and the next start goes on where it stopped', () => {
    const db = new Database(join(dir, 'other.db'));
    const good = 'CREATE TABLE b (x INTEGER) STRICT;';
    const bad = 'CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);';
    expect(() => migrate(db, ['CREATE TABLE a (x INTEGER) STRICT;', bad])).to.throw('nowhere');
    expect([versionOf(db), tablesOf(db)]).to.deep.equal([1, ['a']]);
    migrate(db, ['CREATE TABLE a (x INTEGER) STRICT;', good]);
    expect([versionOf(db), tablesOf(db)]).to.deep.equal([2, ['a', 'b']]);
    migrate(db, ['CREATE TABLE a (x INTEGER) STRICT;', good]);
    expect(versionOf(db)).to.equal(2);
    db.close();
    expect(versionOf(file.db)).to.equal(MIGRATIONS.length);
  });

  it('survives a power loss: every commit is synced, references hold, and the log is written ahead', () => {
    const pragma = (name: string): unknown => file.db.pragma(name, { simple: true });
    expect([
      pragma('journal_mode'),
      pragma('synchronous'),
      pragma('foreign_keys'),
      pragma('busy_timeout'),
    ]).to.deep.equal(['wal', 2, 1, 5_000]);
  });

  it('the journal keeps a bounded past: the oldest passes go with their steps, what is under way stays', () => {
    const old = Date.now() - 91 * 24 * 3_600_000;
    const first = must(registry.beginPass({ trigger: 'git', commit: 'c', startedAt: old }));
    must(
      registry.intend(first, {
        service: 's',
        kind: 'k',
        subject: 's',
        because: { summary: 'old' },
        startedAt: old,
      }),
    );
    must(registry.endPass(first, old));
    const open = must(registry.beginPass({ trigger: 'git', commit: 'c', startedAt: old }));
    for (let pass = open; pass < 100;) {
      pass = must(registry.beginPass({ trigger: 'git', commit: 'c', startedAt: Date.now() }));
      must(registry.endPass(pass, Date.now()));
    }
    expect(registry.pass(first)).to.equal(undefined);
    expect(registry.pass(open)?.id).to.equal(open);
    expect(registry.history('s', 5)).to.deep.equal([]);
  });
});

/** From now on the file may not grow: the same error as a full disk, without root. */
function fillUp(db: Database.Database): void {
  const pages = db.pragma('page_count', { simple: true }) as number;
  db.pragma(`max_page_count = ${pages}`);
}

function lease(n: number): Lease {
  return { service: `s${n}`, component: 'c', route: '', slot: 'a', port: 10_000 + n };
}

function versionOf(db: Database.Database): unknown {
  return db.pragma('user_version', { simple: true });
}

function tablesOf(db: Database.Database): unknown[] {
  return db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").pluck().all();
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}
