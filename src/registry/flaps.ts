import type Database from 'better-sqlite3';
import type { Tables } from './tables.ts';
import type { FlapRecord } from './types.ts';

/** Which containers were stopped to rest because they exited too often. */
export interface Flaps {
  /** Empty while there is none: an input of `plan` like the rest. */
  read(): { readonly flaps?: readonly FlapRecord[] };
  record(flap: FlapRecord): void;
}

interface FlapRow extends Omit<FlapRecord, 'heldAt'> {
  readonly held_at: number;
}

export function flapsOn(db: Database.Database, tables: Tables): Flaps {
  const all = db.prepare<[], FlapRow>('SELECT * FROM flaps ORDER BY service, component');
  const put = tables.write(
    'flaps',
    `INSERT INTO flaps (service, component, spec, count, held_at, why)
     VALUES (@service, @component, @spec, @count, @heldAt, @why)
     ON CONFLICT DO UPDATE SET spec = excluded.spec, count = excluded.count, held_at = excluded.held_at,
       why = excluded.why`,
  );
  return {
    read: tables.read('flaps', () => {
      const flaps = all.all().map(({ held_at: heldAt, ...rest }): FlapRecord => ({ ...rest, heldAt }));
      return flaps.length === 0 ? {} : { flaps };
    }),
    record: (flap) => void put.run(flap),
  };
}
