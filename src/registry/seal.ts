import { createHash } from 'node:crypto';
import type Database from 'better-sqlite3';

/** What the planner goes by. A changed byte of the journal leads to no act. */
const SEALED = [
  ...['meta', 'accepted_files', 'applied', 'leases', 'routes', 'images', 'failures', 'trials'],
  ...['orphans', 'flaps', 'records'],
];

/**
 * SQLite notices a page whose structure is damaged, not a byte that changed within a value: another port, another digest. So the
 * content of each table has its digest beside it, from the beginning of the next pass on (G31).
 */
export interface Seals {
  /** Asked before a table is written, in the same transaction. */
  break(table: string): void;
  /** Seals what was written since. */
  set(): void;
}

export function sealsOn(db: Database.Database): Seals {
  const sealed = new Set(db.prepare<[], string>('SELECT name FROM seals').pluck().all());
  const drop = db.prepare('DELETE FROM seals WHERE name = ?');
  const put = db.prepare('INSERT OR REPLACE INTO seals (name, digest) VALUES (?, ?)');
  return {
    break: (table) => {
      // What is rolled back is sealed as it was; that it is not known here costs one digest.
      if (sealed.delete(table)) drop.run(table);
    },
    set: () => {
      const open = SEALED.filter((table) => !sealed.has(table));
      if (open.length === 0) return;
      db.transaction(() => open.forEach((table) => put.run(table, digestOf(db, table)))).immediate();
      open.forEach((table) => sealed.add(table));
    },
  };
}

/** The tables that are not as they were sealed. */
export function brokenSeals(db: Database.Database): readonly string[] {
  return db
    .prepare<[], { readonly name: string; readonly digest: string }>('SELECT name, digest FROM seals')
    .all()
    .filter(({ name, digest }) => !SEALED.includes(name) || digestOf(db, name) !== digest)
    .map(({ name }) => name);
}

function digestOf(db: Database.Database, table: string): string {
  const hash = createHash('sha256');
  const all = db.prepare<[], unknown[]>(`SELECT * FROM ${table}`).raw();
  const order = all.columns().map((_, index) => index + 1);
  const rows = db.prepare<[], unknown[]>(`SELECT * FROM ${table} ORDER BY ${order.join()}`).raw();
  for (const row of rows.iterate()) hash.update(`${JSON.stringify(row)}\n`);
  return hash.digest('hex').slice(0, 32);
}
