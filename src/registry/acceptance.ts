import type Database from 'better-sqlite3';
import type { Elsewhere } from '../definitions/types.ts';
import type { Side } from './sidefile.ts';
import type { Tables } from './tables.ts';
import type {
  Accepted,
  AcceptedFile,
  EngineIdentity,
  NodeFileRecord,
  OrphanRecord,
  Promised,
} from './types.ts';

/** What was accepted, and what neither git nor the labels of containers tell again: the part that the file beside keeps. */
export type AcceptedFacts = Side & Pick<Promised, 'fresh' | 'lostAt'>;

export interface Acceptance {
  read(): AcceptedFacts;
  accept(
    commit: string,
    at: number,
    files: readonly AcceptedFile[],
    nodeFile?: NodeFileRecord,
    named?: readonly string[],
    elsewhere?: readonly Elsewhere[],
    gone?: ReadonlyMap<string, string>,
  ): void;
  recordEngine(engine: EngineIdentity): void;
  recordOrphan(orphan: OrphanRecord): void;
  /** The registry is new: what the file beside it knew, where there is one, is taken over. */
  begin(side: Side | undefined): void;
  /** What the node shows was taken up. */
  rebuilt(lostAt: string | undefined): void;
}

export function acceptanceOn(db: Database.Database, tables: Tables): Acceptance {
  const read = reader(db, tables);
  const meta = tables.write(
    'meta',
    'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
  );
  const drop = tables.write('meta', 'DELETE FROM meta WHERE key = ?');
  const file = tables.write(
    'accepted_files',
    `INSERT INTO accepted_files (service, file, oid, "commit", prune, gone_in)
     VALUES (@service, @file, @oid, @commit, @prune, @goneIn)
     ON CONFLICT DO UPDATE SET file = excluded.file, oid = excluded.oid, "commit" = excluded."commit", prune = excluded.prune,
       gone_in = excluded.gone_in`,
  );
  const goneFile = tables.write('accepted_files', 'UPDATE accepted_files SET gone_in = ? WHERE service = ?');
  const orphan = tables.write(
    'orphans',
    'INSERT INTO orphans (service, "commit", seen_at) VALUES (@service, @commit, @seenAt) ON CONFLICT DO NOTHING',
  );
  const dropOrphan = tables.write('orphans', 'DELETE FROM orphans WHERE service = ?');
  const put = (key: string, value: unknown): void => {
    if (value !== undefined) meta.run(key, JSON.stringify(value));
  };
  const putFile = (entry: AcceptedFile): void => {
    file.run({ ...entry, prune: entry.prune === false ? 0 : 1, goneIn: entry.goneIn ?? null });
  };
  const once = (work: () => void): void => db.transaction(work).immediate();
  return {
    read,
    accept: (commit, at, files, nodeFile, named = [], elsewhere = [], gone = new Map()) =>
      once(() => {
        const before = read();
        // A pass over an unchanged node writes nothing (house rule 6).
        if (before.accepted?.commit !== commit) put('accepted', { commit, at } satisfies Accepted);
        if (before.lostAt !== undefined && before.lostAt !== commit) drop.run('lost_at');
        if (named.join() !== (before.named ?? []).join()) put('named', named);
        if (JSON.stringify(elsewhere) !== JSON.stringify(before.elsewhere ?? [])) put('elsewhere', elsewhere);
        if (nodeFile !== undefined && nodeFile.oid !== before.nodeFile?.oid) put('node_file', nodeFile);
        const known = new Map(before.files.map((entry) => [entry.service, entry]));
        const orphaned = new Set(before.orphans?.map((entry) => entry.service));
        for (const entry of files) {
          const old = known.get(entry.service);
          const isSame = old?.oid === entry.oid && old.file === entry.file && old.prune === entry.prune;
          if (!isSame || old.goneIn !== undefined) putFile(entry);
          if (orphaned.has(entry.service)) dropOrphan.run(entry.service);
        }
        for (const [service, commitOf] of gone)
          if (known.has(service) && known.get(service)?.goneIn !== commitOf) goneFile.run(commitOf, service);
      }),
    recordEngine: (engine) => put('engine', engine),
    recordOrphan: (entry) => {
      orphan.run(entry);
    },
    begin: (side) =>
      once(() => {
        put('fresh', { kept: side !== undefined });
        put('accepted', side?.accepted);
        put('engine', side?.engine);
        put('named', side?.named);
        put('node_file', side?.nodeFile);
        put('elsewhere', side?.elsewhere);
        side?.files.forEach(putFile);
        for (const entry of side?.orphans ?? []) orphan.run(entry);
      }),
    rebuilt: (lostAt) => {
      drop.run('fresh');
      put('lost_at', lostAt);
    },
  };
}

interface FileRow extends Omit<AcceptedFile, 'prune' | 'goneIn'> {
  readonly prune: number;
  readonly goneIn: string | null;
}

function reader(db: Database.Database, tables: Tables): () => AcceptedFacts {
  const meta = db.prepare<[string], { value: string }>('SELECT value FROM meta WHERE key = ?');
  const files = db.prepare<[], FileRow>(
    'SELECT service, file, oid, "commit", prune, gone_in AS goneIn FROM accepted_files ORDER BY service',
  );
  const orphans = db.prepare<[], OrphanRecord>(
    'SELECT service, "commit", seen_at AS seenAt FROM orphans ORDER BY service',
  );
  const stored = <T>(name: string, key: string): Record<string, T> => {
    const row = meta.get(key);
    return row === undefined ? {} : { [name]: JSON.parse(row.value) as T };
  };
  const words = tables.read('meta', () => ({
    ...stored<NodeFileRecord>('nodeFile', 'node_file'),
    ...stored<Accepted>('accepted', 'accepted'),
    ...stored<EngineIdentity>('engine', 'engine'),
    ...stored<readonly string[]>('named', 'named'),
    ...stored<readonly Elsewhere[]>('elsewhere', 'elsewhere'),
    ...stored<{ kept: boolean }>('fresh', 'fresh'),
    ...stored<string>('lostAt', 'lost_at'),
  }));
  const taken = tables.read('orphans', () => orphans.all());
  const accepted = tables.read('accepted_files', () =>
    files.all().map(({ prune, goneIn, ...rest }) => ({
      ...rest,
      ...(prune === 0 ? { prune: false as const } : {}),
      ...(goneIn === null ? {} : { goneIn }),
    })),
  );
  return () => {
    const left = taken();
    return { ...words(), ...(left.length === 0 ? {} : { orphans: left }), files: accepted() };
  };
}
