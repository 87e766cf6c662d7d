import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { MIGRATIONS } from '../../../src/registry/migrations.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import { migrate } from '../../../src/registry/sound.ts';
import type { Promised } from '../../../src/registry/types.ts';
import { component, service } from '../../support/definitions.ts';
import { tally } from '../../support/tally.ts';
import { APPLIED, filledRegistry, log, must, TRIAL, useRegistry } from './registry.kit.ts';

/** What a disk writes whole or not at all. */
const SECTOR = 512;
const LOSSES = Number(process.env.POWER_LOSSES ?? 200);

type Files = ReadonlyMap<string, Buffer>;

describe('a registry whose agent, or whose machine, dies in the middle of a write', () => {
  const { open, opened, at } = useRegistry();

  const files = (): Files =>
    new Map(
      ['', '-wal']
        .filter((suffix) => existsSync(at.path + suffix))
        .map((suffix) => [suffix, readFileSync(at.path + suffix)]),
    );
  const place = (dir: string, left: Files): string => {
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir);
    const path = join(dir, 'registry.db');
    for (const [suffix, bytes] of left) writeFileSync(path + suffix, bytes);
    return path;
  };
  const found = (left: Files): Promised => {
    const registry = must(
      openRegistry({ path: place(join(at.dir, 'after'), left), clock: systemClock, log }),
    );
    try {
      expect(registry.setAside, 'nothing is damaged by a loss of power').to.equal(undefined);
      return registry.promised();
    } finally {
      registry.close();
    }
  };

  it(`G15 the power goes at ${LOSSES} writes, any part of the last one is lost: all before it is there, and it is there whole or not at all`, () => {
    writeFileSync(at.path, filledRegistry());
    const registry = open();
    const below = dice(15);
    const begun = performance.now();
    const kinds = { lost: 0, kept: 0 };
    for (let loss = 0; loss < LOSSES; loss += 1) {
      const before = { promised: registry.promised(), files: files() };
      write(registry, loss);
      const after = { promised: registry.promised(), files: files() };
      const now = found(torn(before.files, after.files, below));
      const isKept = JSON.stringify(now) === JSON.stringify(after.promised);
      if (!isKept) expect(now, `loss ${loss}`).to.deep.equal(before.promised);
      kinds[isKept ? 'kept' : 'lost'] += 1;
    }
    tally({ kind: 'registry: losses of power', fired: LOSSES, unit: 'cases', ms: performance.now() - begun });
    expect(kinds.lost).to.be.greaterThan(0);
    expect(kinds.kept).to.be.greaterThan(0);
  }).timeout(1_800_000);

  it('G15 the power goes while the log is carried over into the file: nothing is lost', () => {
    writeFileSync(at.path, filledRegistry());
    const registry = open();
    for (let turn = 0; turn < 16; turn += 1) write(registry, turn);
    const before = files();
    const other = new Database(at.path);
    other.pragma('wal_checkpoint(FULL)');
    const after = files();
    other.close();
    expect(after.get('')).to.not.deep.equal(before.get(''));
    const below = dice(16);
    for (let loss = 0; loss < 20; loss += 1) {
      const log_ = before.get('-wal') ?? Buffer.alloc(0);
      const left = torn(
        new Map([['', before.get('') ?? log_]]),
        new Map([['', after.get('') ?? log_]]),
        below,
      );
      expect(found(new Map([...left, ['-wal', log_]]))).to.deep.equal(registry.promised());
    }
  });

  it('G33 killed at each statement of each migration: the next start goes on from the form before, and nothing is lost', () => {
    for (let version = 0; version < MIGRATIONS.length; version += 1) {
      const statements = statementsOf(MIGRATIONS[version] ?? '');
      for (let done = 0; done <= statements.length; done += 1) {
        const left = killedAt(join(at.dir, 'old'), version, statements.slice(0, done));
        const now = found(left);
        expect(now.accepted?.commit, `form ${version}, ${done} statements`).to.equal(
          version === 0 ? undefined : 'c1',
        );
        expect(now.leases.map(({ port }) => port)).to.deep.equal(version === 0 ? [] : [12_345]);
      }
    }
  }).timeout(300_000);

  it('G33 a registry of each form that ever was is opened, with all that it knew', () => {
    for (let version = 1; version <= MIGRATIONS.length; version += 1) {
      const now = found(killedAt(join(at.dir, 'old'), version, []));
      expect(now.accepted?.commit).to.equal('c1');
      expect(now.leases).to.have.length(1);
    }
    opened.splice(0);
  });
});

/** Writes of every kind, each a transaction of its own. */
function write(registry: Registry, at: number): void {
  const name = `s${at % 7}`;
  switch (at % 8) {
    case 0:
      must(
        registry.lease([{ service: name, component: 'late', route: `r${at}`, slot: 'a', port: 20_000 + at }]),
      );
      return;
    case 1:
      must(
        registry.recordApplied({ ...APPLIED, service: service(name, [component('web')]), digest: `n${at}` }),
      );
      return;
    case 2:
      must(registry.recordTrial({ ...TRIAL, service: name, digest: `t${at}` }));
      return;
    case 3:
      must(registry.accept(`c${at}`, at, [{ service: name, file: 'f', oid: `o${at}`, commit: `c${at}` }]));
      return;
    case 4:
      must(registry.recordImage({ reference: `x:v${at}.0.0`, imageId: `sha256:${at}`, built: false }, at));
      return;
    case 5:
      must(registry.check());
      must(registry.recordFailure({ service: name, digest: 'd', lastAt: at, why: 'w'.repeat(at * 20) }));
      return;
    case 6:
      must(
        registry.putRoutes(name, [
          { hostname: `h${at}.example.net`, port: 443, service: name, component: 'web', route: '' },
        ]),
      );
      return;
    default:
      must(registry.forgetService(name));
  }
}

/**
 * What a power loss leaves of a write that was not synced yet: of all sectors in which the files differ some are new and some
 * are old, in any combination; and a file may have its old length.
 */
function torn(before: Files, after: Files, below: (limit: number) => number): Files {
  return new Map(
    [...after].map(([suffix, now]) => {
      const old = before.get(suffix) ?? Buffer.alloc(0);
      const share = below(5);
      const bytes = Buffer.alloc(now.length);
      old.copy(bytes);
      for (let sector = 0; sector < now.length; sector += SECTOR)
        if (below(4) < share) now.copy(bytes, sector, sector, sector + SECTOR);
      return [suffix, bytes];
    }),
  );
}

function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % limit;
  };
}

/** The files of a registry of an old form, of whose migration these statements were done when it was killed. */
function killedAt(dir: string, version: number, done: readonly string[]): Files {
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir);
  const path = join(dir, 'old.db');
  const db = new Database(path);
  try {
    db.pragma('journal_mode = WAL');
    // So that what is not committed reaches the disk at once.
    db.pragma('cache_size = 1');
    migrate(db, MIGRATIONS.slice(0, version));
    if (version > 0) {
      db.exec(`INSERT INTO meta VALUES ('accepted', '{"commit":"c1","at":1}')`);
      db.exec(`INSERT INTO leases VALUES ('web', 'web', '', 'a', 12345)`);
    }
    db.exec('BEGIN IMMEDIATE');
    for (const statement of done) db.exec(statement);
    return new Map(
      ['', '-wal']
        .filter((suffix) => existsSync(path + suffix))
        .map((suffix) => [suffix, readFileSync(path + suffix)]),
    );
  } finally {
    db.close();
  }
}

/** A trigger has a semicolon within it. */
function statementsOf(sql: string): string[] {
  return (sql.match(/\s*CREATE TRIGGER[\s\S]*?\bEND;?|[^;]+;?/g) ?? [])
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '' && statement !== ';');
}
