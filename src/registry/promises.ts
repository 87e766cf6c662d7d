import type Database from 'better-sqlite3';
import type { Cause } from '../base/outcome.ts';
import type { Service } from '../definitions/types.ts';
import type { AcceptedFacts, Acceptance } from './acceptance.ts';
import { flapsOn } from './flaps.ts';
import { recordsOn } from './records.ts';
import type { Tables } from './tables.ts';
import type {
  Applied,
  DnsRecord,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  Promised,
  Rebuilt,
  RouteRecord,
  Trial,
} from './types.ts';

/** What was promised: accepted, applied, leased, routed. Plain statements; every write is one transaction. */
export interface Promises {
  promised(): Promised;
  lease(leases: readonly Lease[]): void;
  releaseLeases(leases: readonly Lease[]): void;
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): void;
  /** It is not on the engine any more; what its tag means stays recorded (L19). */
  imageRemoved(reference: string): void;
  putRoutes(service: string, routes: readonly RouteRecord[]): void;
  putRecords(records: readonly DnsRecord[]): void;
  removeRecords(records: readonly DnsRecord[]): void;
  removeRoutes(service: string, keys: readonly { readonly hostname: string; readonly port: number }[]): void;
  recordApplied(applied: Applied): void;
  forgetService(service: string): void;
  recordFailure(failure: Omit<FailureRecord, 'count'>): void;
  clearFailure(service: string): void;
  recordFlap(flap: FlapRecord): void;
  rebuild(rebuilt: Rebuilt): void;
  recordTrial(trial: Trial): void;
  /**
   * The time in which no agent looked does not count: what is being tried has its whole time again. A few times only: an
   * agent that ends in a loop must not keep a version in its trial for ever.
   */
  resumeTrials(now: number): void;
  /** The wall clock was set by so much: every trial keeps the time that it has left. */
  moveTrials(byMs: number): void;
}

/** Tables of which nothing is left once a service is forgotten. */
const OF_A_SERVICE = [
  'applied',
  'leases',
  'routes',
  'records',
  'failures',
  'trials',
  'accepted_files',
  'orphans',
  'flaps',
];

export function promisesOn(db: Database.Database, tables: Tables, acceptance: Acceptance): Promises {
  const read = readers(db, tables);
  const flaps = flapsOn(db, tables);
  const dns = recordsOn(db, tables);
  const { lease, release } = leasesOn(tables);
  const imageGone = tables.write('images', 'UPDATE images SET removed = 1 WHERE reference = ?');
  const { putRoute, dropRoute } = routesOn(tables);
  const applied = tables.write(
    'applied',
    `INSERT INTO applied (service, definition, state, file, oid, digest, "commit", applied_at, slots) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET definition = excluded.definition, state = excluded.state, file = excluded.file,
       oid = excluded.oid, digest = excluded.digest, "commit" = excluded."commit", applied_at = excluded.applied_at,
       slots = excluded.slots`,
  );
  const failures = failuresOn(tables);
  const trials = trialsOn(tables);
  const forget = OF_A_SERVICE.map((table) => tables.write(table, `DELETE FROM ${table} WHERE service = ?`));
  const once = (work: () => void): void => db.transaction(work).immediate();
  const all = <T>(items: readonly T[], work: (item: T) => unknown): void =>
    once(() => items.forEach((item) => void work(item)));

  const reading = db.transaction(() => {
    tables.look();
    return { ...acceptance.read(), ...read(), ...dns.read(), ...flaps.read() };
  });
  const promises: Promises = {
    promised: () => {
      tables.settle();
      return reading.deferred();
    },
    lease: (leases) => all(leases, (entry) => lease.run(entry)),
    releaseLeases: (leases) => all(leases, (entry) => release.run(entry)),
    recordImage: imageWriter(tables),
    imageRemoved: (reference) => void imageGone.run(reference),
    putRoutes: (_service, routes) => all(routes, (entry) => putRoute(entry)),
    putRecords: (records) => all(records, (entry) => dns.put(entry)),
    removeRecords: (records) => all(records, (entry) => dns.remove(entry)),
    removeRoutes: (service, keys) => all(keys, (key) => dropRoute.run(service, key.hostname, key.port)),
    recordApplied: (entry) =>
      once(() => {
        applied.run(
          entry.service.name,
          JSON.stringify(entry.service),
          entry.state,
          entry.file,
          entry.oid,
          entry.digest,
          entry.commit,
          entry.appliedAt,
          entry.slotB === undefined ? null : JSON.stringify(entry.slotB),
        );
        trials.end(entry.service.name);
      }),
    forgetService: (service) => all(forget, (statement) => statement.run(service)),
    recordFailure: (entry) => failures.put(entry),
    clearFailure: (service) => failures.end(service),
    recordFlap: (flap) => flaps.record(flap),
    recordTrial: (entry) =>
      once(() => {
        trials.put(entry);
        // What begins now has its own waits, short ones first.
        failures.end(entry.service);
      }),
    resumeTrials: (now) => trials.resume(now),
    moveTrials: (byMs) => trials.move(byMs),
    rebuild: (rebuilt) =>
      once(() => {
        rebuilt.applied.forEach((entry) => promises.recordApplied(entry));
        promises.lease(rebuilt.leases);
        for (const entry of rebuilt.routes) putRoute(entry);
        acceptance.rebuilt(rebuilt.lostAt);
      }),
  };
  return promises;
}

function leasesOn(tables: Tables): Record<'lease' | 'release', ReturnType<Tables['write']>> {
  const lease = tables.write(
    'leases',
    `INSERT INTO leases (service, component, route, slot, port) VALUES (@service, @component, @route, @slot, @port)
     ON CONFLICT (service, component, route, slot) DO UPDATE SET port = excluded.port`,
  );
  const release = tables.write(
    'leases',
    'DELETE FROM leases WHERE service = @service AND component = @component AND route = @route AND slot = @slot AND port = @port',
  );
  return { lease, release };
}

interface RouteWriter {
  readonly putRoute: (entry: RouteRecord) => unknown;
  readonly dropRoute: ReturnType<Tables['write']>;
}

function routesOn(tables: Tables): RouteWriter {
  const route = tables.write(
    'routes',
    `INSERT INTO routes (hostname, port, service, component, route, put_at, written)
     VALUES (@hostname, @port, @service, @component, @route, @putAt, @written)
     ON CONFLICT DO UPDATE SET service = excluded.service, component = excluded.component, route = excluded.route,
       put_at = COALESCE(excluded.put_at, put_at), written = COALESCE(excluded.written, written)`,
  );
  const putRoute = (entry: RouteRecord): unknown =>
    route.run({ ...entry, putAt: entry.putAt ?? null, written: entry.written ?? null });
  const dropRoute = tables.write(
    'routes',
    'DELETE FROM routes WHERE service = ? AND hostname = ? AND port = ?',
  );
  return { putRoute, dropRoute };
}

function imageWriter(tables: Tables): Promises['recordImage'] {
  const write = tables.write(
    'images',
    `INSERT INTO images (reference, image_id, manifest_digest, first_seen_at, built, revision)
     VALUES (@reference, @imageId, @manifestDigest, @at, @built, @revision)
     ON CONFLICT DO UPDATE SET image_id = excluded.image_id, manifest_digest = excluded.manifest_digest,
       built = excluded.built, revision = excluded.revision, removed = 0`,
  );
  return ({ reference, imageId, manifestDigest = null, built, revision = null }, at) =>
    void write.run({ reference, imageId, manifestDigest, at, built: built ? 1 : 0, revision });
}

interface Failures {
  put(failure: Omit<FailureRecord, 'count'>): void;
  end(service: string): void;
}

function failuresOn(tables: Tables): Failures {
  const put = tables.write(
    'failures',
    `INSERT INTO failures (service, digest, count, last_at, why, hint, cause)
     VALUES (@service, @digest, 1, @lastAt, @why, @hint, @cause)
     ON CONFLICT DO UPDATE SET count = CASE WHEN digest = excluded.digest THEN count + 1 ELSE 1 END,
       digest = excluded.digest, last_at = excluded.last_at, why = excluded.why, hint = excluded.hint,
       cause = excluded.cause`,
  );
  const end = tables.write('failures', 'DELETE FROM failures WHERE service = ?');
  return {
    put: (failure) => void put.run({ ...failure, hint: failure.hint ?? null, cause: failure.cause ?? null }),
    end: (service) => void end.run(service),
  };
}

const MOST_RESUMES = 2;

interface Trials {
  put(trial: Trial): void;
  end(service: string): void;
  resume(now: number): void;
  move(byMs: number): void;
}

function trialsOn(tables: Tables): Trials {
  const put = tables.write(
    'trials',
    `INSERT INTO trials (service, digest, phase, since, tries, cause, why, file, "commit")
     VALUES (@service, @digest, @phase, @since, @tries, @cause, @why, @file, @commit)
     ON CONFLICT DO UPDATE SET resumes = 0, digest = excluded.digest, phase = excluded.phase, since = excluded.since,
       tries = excluded.tries, cause = excluded.cause, why = excluded.why, file = excluded.file, "commit" = excluded."commit",
       printed = CASE WHEN digest = excluded.digest THEN printed END`,
  );
  const end = tables.write('trials', 'DELETE FROM trials WHERE service = ?');
  const resume = tables.write(
    'trials',
    `UPDATE trials SET since = ?, resumes = resumes + 1 WHERE phase IN ('trying', 'returning') AND resumes < ${MOST_RESUMES}`,
  );
  const move = tables.write('trials', 'UPDATE trials SET since = since + ?');
  return {
    move: (byMs) => void move.run(byMs),
    put: (trial) => void put.run({ ...trial, why: trial.why ?? null, cause: trial.cause ?? null }),
    end: (service) => void end.run(service),
    resume: (now) => void resume.run(now),
  };
}

interface AppliedRow {
  readonly definition: string;
  readonly state: 'running' | 'stopped';
  readonly file: string;
  readonly oid: string;
  readonly digest: string;
  readonly commit: string;
  readonly applied_at: number;
  readonly slots: string | null;
}

interface ImageRow {
  readonly reference: string;
  readonly image_id: string;
  readonly manifest_digest: string | null;
  readonly first_seen_at: number;
  readonly built: number;
  readonly revision: string | null;
  readonly removed: number;
}

interface FailureRow {
  readonly service: string;
  readonly digest: string;
  readonly count: number;
  readonly last_at: number;
  readonly why: string;
  readonly hint: string | null;
  readonly cause: Cause | null;
}

type RouteRow = Omit<RouteRecord, 'putAt' | 'written'> & {
  readonly put_at: number | null;
  readonly written: string | null;
};

type TrialRow = Omit<Trial, 'cause' | 'why'> & { readonly cause: Cause | null; readonly why: string | null };

function readers(db: Database.Database, tables: Tables): () => Omit<Promised, keyof AcceptedFacts> {
  const applied = db.prepare<[], AppliedRow>('SELECT * FROM applied ORDER BY service');
  const leases = db.prepare<[], Lease>('SELECT * FROM leases ORDER BY service, component, route, slot');
  const routes = db.prepare<[], RouteRow>(
    'SELECT * FROM routes ORDER BY service, component, route, hostname, port',
  );
  const images = db.prepare<[], ImageRow>('SELECT * FROM images ORDER BY reference');
  const failures = db.prepare<[], FailureRow>('SELECT * FROM failures ORDER BY service');
  const trials = db.prepare<[], TrialRow>(
    'SELECT service, digest, phase, since, tries, cause, why, file, "commit" FROM trials ORDER BY service',
  );
  let services = new Map<string, Service>();
  /** A definition that was read before is the same object. */
  const serviceOf = (definition: string): Service =>
    services.get(definition) ?? (JSON.parse(definition) as Service);
  const appliedNow = tables.read('applied', () => {
    const rows = applied.all().map((row) => ({ ...row, service: serviceOf(row.definition) }));
    services = new Map(rows.map(({ definition, service }) => [definition, service]));
    return rows.map(({ service, applied_at, state, file, oid, digest, commit, slots }) => ({
      service,
      state,
      file,
      oid,
      digest,
      commit,
      appliedAt: applied_at,
      ...(slots === null ? {} : { slotB: JSON.parse(slots) as string[] }),
    }));
  });
  const leasesNow = tables.read('leases', () => leases.all());
  const routesNow = tables.read('routes', () =>
    routes.all().map(({ put_at, written, ...rest }) => ({
      ...rest,
      ...(put_at === null ? {} : { putAt: put_at }),
      ...(written === null ? {} : { written }),
    })),
  );
  const imagesNow = tables.read('images', () => images.all().map(imageOf));
  const failuresNow = tables.read('failures', () =>
    failures.all().map(({ last_at, hint, cause, ...rest }) => ({
      ...rest,
      lastAt: last_at,
      ...(hint === null ? {} : { hint }),
      ...(cause === null ? {} : { cause }),
    })),
  );
  const trialsNow = tables.read('trials', () =>
    trials.all().map(({ cause, why, ...rest }) => ({
      ...rest,
      ...(cause === null ? {} : { cause }),
      ...(why === null ? {} : { why }),
    })),
  );
  return () => ({
    applied: appliedNow(),
    leases: leasesNow(),
    routes: routesNow(),
    images: imagesNow(),
    failures: failuresNow(),
    trials: trialsNow(),
  });
}

function imageOf({ image_id, manifest_digest, first_seen_at, ...row }: ImageRow): ImageRecord {
  return {
    reference: row.reference,
    imageId: image_id,
    ...(manifest_digest === null ? {} : { manifestDigest: manifest_digest }),
    firstSeenAt: first_seen_at,
    built: row.built === 1,
    ...(row.revision === null ? {} : { revision: row.revision }),
    ...(row.removed === 0 ? {} : { removed: true as const }),
  };
}
