import type Database from 'better-sqlite3';
import type { Seals } from './seal.ts';

/** Statements of tables whose content is remembered until one of them, or another connection, writes. */
export interface Tables {
  /** A statement that writes a table: what was read of it counts no more. */
  write(table: string, sql: string): Pick<Database.Statement, 'run'>;
  /** `work`, done again only when its table may have changed. What it gave is shared: it is never changed. */
  read<T>(table: string, work: () => T): () => T;
  /** Asked before a transaction begins: the ones before it have ended. */
  settle(): void;
  /** What other connections wrote counts from here on. Asked before reading, in the same transaction. */
  look(): void;
}

/**
 * A pass reads everything several times, and little of it changes from one pass to the next. The same objects are given again,
 * so that whatever the planner remembers of them holds on too. What a transaction wrote is remembered only
 * once that ended: it may be rolled back.
 */
export function tablesOn(db: Database.Database, seals?: Pick<Seals, 'break'>): Tables {
  const others = db.prepare<[], { readonly version: number }>(
    'SELECT data_version AS version FROM pragma_data_version',
  );
  const written = new Map<string, number>();
  const unsettled = new Set<string>();
  let epoch = 0;
  let seen: number | undefined;
  return {
    write: (table, sql) => {
      const statement = db.prepare(sql);
      return {
        run: (...values: unknown[]) => {
          seals?.break(table);
          written.set(table, (written.get(table) ?? 0) + 1);
          if (db.inTransaction) unsettled.add(table);
          return statement.run(...values);
        },
      };
    },
    read: (table, work) => {
      let last: { readonly at: string; readonly value: ReturnType<typeof work> } | undefined;
      return () => {
        if (unsettled.has(table)) return work();
        const at = `${epoch} ${written.get(table) ?? 0}`;
        if (last?.at === at) return last.value;
        const value = work();
        last = { at, value };
        return value;
      };
    },
    settle: () => {
      if (!db.inTransaction) unsettled.clear();
    },
    look: () => {
      const version = others.get()?.version;
      if (version !== seen) epoch += 1;
      seen = version;
    },
  };
}
