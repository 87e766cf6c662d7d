import type Database from 'better-sqlite3';
import type { Service } from '../definitions/types.ts';
import type { AcceptedFacts, Acceptance } from './acceptance.ts';
import type { Applied, FailureRecord, ImageRecord, Lease, Promised, Rebuilt, RouteRecord } from './types.ts';

/** What was promised: accepted, applied, leased, routed. Plain statements; every write is one transaction. */
export interface Promises {
  promised(): Promised;
  lease(leases: readonly Lease[]): void;
  releaseLeases(leases: readonly Lease[]): void;
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): void;
  putRoutes(service: string, routes: readonly RouteRecord[]): void;
  removeRoutes(service: string, keys: readonly { readonly hostname: string; readonly port: number }[]): void;
  recordApplied(applied: Applied): void;
  forgetService(service: string): void;
  recordFailure(failure: Omit<FailureRecord, 'count'>): void;
  clearFailure(service: string): void;
  rebuild(rebuilt: Rebuilt): void;
}

export function promisesOn(db: Database.Database, acceptance: Acceptance): Promises {
  const read = readers(db);
  const lease = db.prepare(
    `INSERT INTO leases (service, component, route, slot, port) VALUES (@service, @component, @route, @slot, @port)
     ON CONFLICT (service, component, route, slot) DO UPDATE SET port = excluded.port`,
  );
  const release = db.prepare(
    'DELETE FROM leases WHERE service = @service AND component = @component AND route = @route AND slot = @slot AND port = @port',
  );
  const image = db.prepare(
    `INSERT INTO images (reference, image_id, manifest_digest, first_seen_at, built) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET image_id = excluded.image_id, manifest_digest = excluded.manifest_digest`,
  );
  const route = db.prepare(
    `INSERT INTO routes (hostname, port, service, component, route) VALUES (@hostname, @port, @service, @component, @route)
     ON CONFLICT DO UPDATE SET service = excluded.service, component = excluded.component, route = excluded.route`,
  );
  const dropRoute = db.prepare('DELETE FROM routes WHERE service = ? AND hostname = ? AND port = ?');
  const applied = db.prepare(
    `INSERT INTO applied (service, definition, state, file, oid, digest, "commit", applied_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET definition = excluded.definition, state = excluded.state, file = excluded.file,
       oid = excluded.oid, digest = excluded.digest, "commit" = excluded."commit", applied_at = excluded.applied_at`,
  );
  const failure = db.prepare(
    `INSERT INTO failures (service, digest, count, last_at, why, hint) VALUES (@service, @digest, 1, @lastAt, @why, @hint)
     ON CONFLICT DO UPDATE SET count = CASE WHEN digest = excluded.digest THEN count + 1 ELSE 1 END,
       digest = excluded.digest, last_at = excluded.last_at, why = excluded.why, hint = excluded.hint`,
  );
  const clear = db.prepare('DELETE FROM failures WHERE service = ?');
  const forget = ['applied', 'leases', 'routes', 'failures', 'accepted_files', 'orphans'].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE service = ?`),
  );
  const once = (work: () => void): void => db.transaction(work).immediate();
  const all = <T>(items: readonly T[], work: (item: T) => unknown): void =>
    once(() => items.forEach((item) => void work(item)));

  const promises: Promises = {
    promised: () => db.transaction(() => ({ ...acceptance.read(), ...read() })).deferred(),
    lease: (leases) => all(leases, (entry) => lease.run(entry)),
    releaseLeases: (leases) => all(leases, (entry) => release.run(entry)),
    recordImage: (entry, at) =>
      void image.run(entry.reference, entry.imageId, entry.manifestDigest ?? null, at, entry.built ? 1 : 0),
    putRoutes: (_service, routes) => all(routes, (entry) => route.run(entry)),
    removeRoutes: (service, keys) => all(keys, (key) => dropRoute.run(service, key.hostname, key.port)),
    recordApplied: (entry) =>
      void applied.run(
        entry.service.name,
        JSON.stringify(entry.service),
        entry.state,
        entry.file,
        entry.oid,
        entry.digest,
        entry.commit,
        entry.appliedAt,
      ),
    forgetService: (service) => all(forget, (statement) => statement.run(service)),
    recordFailure: (entry) => void failure.run({ ...entry, hint: entry.hint ?? null }),
    clearFailure: (service) => void clear.run(service),
    rebuild: (rebuilt) =>
      once(() => {
        rebuilt.applied.forEach((entry) => promises.recordApplied(entry));
        promises.lease(rebuilt.leases);
        for (const entry of rebuilt.routes) route.run(entry);
        acceptance.rebuilt(rebuilt.lostAt);
      }),
  };
  return promises;
}

interface AppliedRow {
  readonly definition: string;
  readonly state: 'running' | 'stopped';
  readonly file: string;
  readonly oid: string;
  readonly digest: string;
  readonly commit: string;
  readonly applied_at: number;
}

interface ImageRow {
  readonly reference: string;
  readonly image_id: string;
  readonly manifest_digest: string | null;
  readonly first_seen_at: number;
  readonly built: number;
}

interface FailureRow {
  readonly service: string;
  readonly digest: string;
  readonly count: number;
  readonly last_at: number;
  readonly why: string;
  readonly hint: string | null;
}

function readers(db: Database.Database): () => Omit<Promised, keyof AcceptedFacts> {
  const applied = db.prepare<[], AppliedRow>('SELECT * FROM applied ORDER BY service');
  const leases = db.prepare<[], Lease>('SELECT * FROM leases ORDER BY service, component, route, slot');
  const routes = db.prepare<[], RouteRecord>(
    'SELECT * FROM routes ORDER BY service, component, route, hostname, port',
  );
  const images = db.prepare<[], ImageRow>('SELECT * FROM images ORDER BY reference');
  const failures = db.prepare<[], FailureRow>('SELECT * FROM failures ORDER BY service');
  return () => {
    return {
      applied: applied.all().map(({ definition, applied_at, state, file, oid, digest, commit }) => ({
        service: JSON.parse(definition) as Service,
        state,
        file,
        oid,
        digest,
        commit,
        appliedAt: applied_at,
      })),
      leases: leases.all(),
      routes: routes.all(),
      images: images.all().map(({ reference, image_id, manifest_digest, first_seen_at, built }) => ({
        reference,
        imageId: image_id,
        ...(manifest_digest === null ? {} : { manifestDigest: manifest_digest }),
        firstSeenAt: first_seen_at,
        built: built === 1,
      })),
      failures: failures.all().map(({ last_at, hint, ...rest }) => ({
        ...rest,
        lastAt: last_at,
        ...(hint === null ? {} : { hint }),
      })),
    };
  };
}
