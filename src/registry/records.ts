import type Database from 'better-sqlite3';
import type { Tables } from './tables.ts';
import type { DnsRecord, Promised } from './types.ts';

export interface Records {
  put(record: DnsRecord): void;
  remove(record: DnsRecord): void;
  read(): Pick<Promised, 'records'>;
}

/** What we put into DNS, by host name; its caller holds the transaction. */
export function recordsOn(db: Database.Database, tables: Tables): Records {
  const put = tables.write(
    'records',
    `INSERT INTO records (hostname, service, addresses) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET service = excluded.service, addresses = excluded.addresses`,
  );
  const drop = tables.write('records', 'DELETE FROM records WHERE hostname = ? AND service = ?');
  const all = db.prepare<[], RecordRow>('SELECT * FROM records ORDER BY hostname');
  return {
    put: ({ hostname, service, addresses }) => void put.run(hostname, service, JSON.stringify(addresses)),
    remove: ({ hostname, service }) => void drop.run(hostname, service),
    read: tables.read('records', () => {
      const rows = all.all();
      // Absent when there are none: the state of a node that manages no records is as it was.
      if (rows.length === 0) return {};
      return { records: rows.map((row) => ({ ...row, addresses: JSON.parse(row.addresses) as string[] })) };
    }),
  };
}

interface RecordRow {
  readonly hostname: string;
  readonly service: string;
  readonly addresses: string;
}
