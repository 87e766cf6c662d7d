import Database from 'better-sqlite3';
import { MIGRATIONS } from './migrations.ts';
import { brokenSeals } from './seal.ts';

export class NewerError extends Error {}
export class ForeignError extends Error {}
export class DamageError extends Error {}

/** Throws when the file is not as this program left it, or not this program's at all; before anything is written to it. */
export function demandSound(db: Database.Database): void {
  // Not the quick one: it does not compare an index with its table, and a read by a damaged index fails in the midst of a pass.
  const check = db.pragma('integrity_check(1)', { simple: true });
  if (check !== 'ok') throw new DamageError(String(check));
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > MIGRATIONS.length) return;
  const there = structureOf(db);
  const wanted = wantedOf(version);
  if (there.size > 0 && [...there.keys()].every((name) => !wantedOf(MIGRATIONS.length).has(name)))
    throw new ForeignError('it is a database of another program');
  const odd = [...new Set([...there.keys(), ...wanted.keys()])].find(
    (name) => there.get(name) !== wanted.get(name),
  );
  if (odd !== undefined) throw new DamageError(`${odd} is not as form ${version} of a registry has it`);
  if (version !== MIGRATIONS.length) return;
  const broken = brokenSeals(db);
  if (broken.length > 0)
    throw new DamageError(`the content of ${broken.join(', ')} is not what the agent wrote`);
}

/** Brings the schema up to date, each version whole or not at all. */
export function migrate(db: Database.Database, migrations: readonly string[] = MIGRATIONS): void {
  const version = db.pragma('user_version', { simple: true }) as number;
  if (version > migrations.length) {
    throw new NewerError(
      `it was written by a newer version (${version}; this one knows ${migrations.length})`,
    );
  }
  for (const [index, statements] of migrations.entries()) {
    if (index < version) continue;
    db.transaction(() => {
      db.exec(statements);
      db.pragma(`user_version = ${index + 1}`);
    }).immediate();
  }
}

const wantedBy = new Map<number, ReadonlyMap<string, string>>();

function wantedOf(version: number): ReadonlyMap<string, string> {
  const known = wantedBy.get(version);
  if (known !== undefined) return known;
  const db = new Database(':memory:');
  try {
    migrate(db, MIGRATIONS.slice(0, version));
    const structure = structureOf(db);
    wantedBy.set(version, structure);
    return structure;
  } finally {
    db.close();
  }
}

/** Names and columns, not the statements: SQLite may word those in another way one day. */
function structureOf(db: Database.Database): ReadonlyMap<string, string> {
  const columns = db.prepare<[string], unknown[]>(
    'SELECT name, type, "notnull", pk FROM pragma_table_info(?)',
  );
  return new Map(
    db
      .prepare<[], { readonly name: string; readonly type: string }>(
        "SELECT name, type FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'",
      )
      .all()
      .map(({ name, type }) => [name, `${type} ${JSON.stringify(columns.raw().all(name))}`]),
  );
}
