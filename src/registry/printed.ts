import type Database from 'better-sqlite3';
import type { Tables } from './tables.ts';
import type { Printed } from './types.ts';

/** What the containers of a version printed last that gave way: it stands beside its trial, and nothing goes by it. */
export interface PrintedLines {
  /** In the place of what was kept before; nothing when the trial of this digest is not there. */
  record(service: string, digest: string, printed: readonly Printed[]): void;
  /** By service; those without any are left out. */
  read(): ReadonlyMap<string, readonly Printed[]>;
}

export function printedOn(db: Database.Database, tables: Tables): PrintedLines {
  const put = tables.write('trials', 'UPDATE trials SET printed = ? WHERE service = ? AND digest = ?');
  const all = db.prepare<[], { readonly service: string; readonly printed: string }>(
    'SELECT service, printed FROM trials WHERE printed IS NOT NULL ORDER BY service',
  );
  return {
    record: (service, digest, printed) =>
      void put.run(printed.length === 0 ? null : JSON.stringify(printed), service, digest),
    read: () =>
      new Map(all.all().map(({ service, printed }) => [service, JSON.parse(printed) as readonly Printed[]])),
  };
}
