import { rmSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { tablesOn } from '../../../src/registry/tables.ts';
import { scratch } from './registry.kit.ts';

describe('what was read of the registry', () => {
  let directory: string;
  let db: Database.Database;
  let other: Database.Database;

  beforeEach(() => {
    directory = scratch();
    const path = join(directory, 'registry.db');
    db = new Database(path);
    db.pragma('journal_mode = WAL');
    db.exec('CREATE TABLE leases (port INTEGER) STRICT; CREATE TABLE trials (service TEXT) STRICT;');
    other = new Database(path);
  });

  afterEach(() => {
    db.close();
    other.close();
    rmSync(directory, { recursive: true });
  });

  it('is the same object until its own table is written', () => {
    const { tables, leases, trials } = reading();
    const [before, others] = [leases(), trials()];
    tables.write('leases', 'INSERT INTO leases VALUES (?)').run(10_000);
    expect(leases()).to.deep.equal([{ port: 10_000 }]);
    expect(leases()).to.not.equal(before);
    expect(trials()).to.equal(others);
  });

  it('is read again when another connection wrote', () => {
    const { tables, leases } = reading();
    const before = leases();
    tables.look();
    expect(leases()).to.equal(before);
    other.prepare('INSERT INTO leases VALUES (10001)').run();
    tables.look();
    expect(leases()).to.deep.equal([{ port: 10_001 }]);
  });

  it('has nothing of a write that was rolled back', () => {
    const { tables, leases } = reading();
    const write = tables.write('leases', 'INSERT INTO leases VALUES (?)');
    expect(leases()).to.deep.equal([]);
    expect(() =>
      db.transaction(() => {
        write.run(10_002);
        expect(leases(), 'as its own transaction sees it').to.deep.equal([{ port: 10_002 }]);
        throw new Error('the disk is full');
      })(),
    ).to.throw('the disk is full');
    expect(leases()).to.deep.equal([]);
    tables.settle();
    expect(leases()).to.equal(leases());
  });

  function reading(): {
    tables: ReturnType<typeof tablesOn>;
    leases: () => unknown[];
    trials: () => unknown[];
  } {
    const tables = tablesOn(db);
    tables.look();
    const leases = db.prepare('SELECT port FROM leases');
    const trials = db.prepare('SELECT service FROM trials');
    return {
      tables,
      leases: tables.read('leases', () => leases.all()),
      trials: tables.read('trials', () => trials.all()),
    };
  }
});
