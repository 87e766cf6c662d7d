import { digestOf } from '../../src/base/json.ts';
import { blocked, ok, type Outcome } from '../../src/base/outcome.ts';
import type { RegistryWriter } from '../../src/execute/types.ts';
import type {
  AcceptedFile,
  Applied,
  DnsRecord,
  EngineIdentity,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  OrphanRecord,
  Printed,
  Promised,
  RouteRecord,
  Trial,
} from '../../src/registry/types.ts';

/** A registry that lives in memory; its journal is one of lines for tests to read. */
export class Ledger implements RegistryWriter {
  applied: Applied[] = [];
  leases: Lease[] = [];
  routes: RouteRecord[] = [];
  records: ImageRecord[] = [];
  dnsRecords: DnsRecord[] = [];
  files: AcceptedFile[] = [];
  failures: FailureRecord[] = [];
  flaps: FlapRecord[] = [];
  orphans: OrphanRecord[] = [];
  trials: Trial[] = [];
  printed: Record<string, { readonly digest: string; readonly lines: readonly Printed[] }> = {};
  engine: EngineIdentity | undefined;
  named: string[] = [];
  /** The registry was made anew; `kept`: the file beside it was there. */
  fresh: Promised['fresh'];
  lostAt: string | undefined;
  /** Step kinds with their subject, in the order in which they were begun. */
  journal: string[] = [];
  /** A step kind (`start`, `retire`, `put-routes`) in the middle of which the agent dies, once. */
  cutInside: string | undefined;

  promised(): Promised {
    const {
      applied,
      leases,
      routes,
      records,
      files,
      failures,
      trials,
      orphans,
      engine,
      named,
      fresh,
      lostAt,
    } = this;
    return {
      applied,
      leases,
      routes,
      images: records,
      files,
      failures,
      trials,
      ...(this.dnsRecords.length === 0 ? {} : { records: this.dnsRecords }),
      ...(orphans.length === 0 ? {} : { orphans }),
      ...(this.flaps.length === 0 ? {} : { flaps: this.flaps }),
      ...(engine === undefined ? {} : { engine }),
      ...(named.length === 0 ? {} : { named }),
      ...(fresh === undefined ? {} : { fresh }),
      ...(lostAt === undefined ? {} : { lostAt }),
    };
  }
  lease(leases: readonly Lease[]): Outcome<undefined> {
    const slot = (l: Lease): string => [l.service, l.component, l.route, l.slot].join('/');
    const rest = this.leases.filter((old) => !leases.some((l) => slot(l) === slot(old)));
    if (rest.some((old) => leases.some((l) => l.port === old.port)))
      return blocked('UNIQUE constraint failed: leases.port');
    this.leases = [...rest, ...leases];
    return ok();
  }
  releaseLeases(leases: readonly Lease[]): Outcome<undefined> {
    this.leases = this.leases.filter((old) => !leases.some((l) => digestOf(l) === digestOf(old)));
    return ok();
  }
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): Outcome<undefined> {
    this.records = [
      ...this.records.filter((r) => r.reference !== image.reference),
      { ...image, firstSeenAt: at },
    ];
    return ok();
  }
  imageRemoved(reference: string): Outcome<undefined> {
    this.records = this.records.map((record) =>
      record.reference === reference ? { ...record, removed: true as const } : record,
    );
    return ok();
  }
  putRoutes(_service: string, routes: readonly RouteRecord[]): Outcome<undefined> {
    const same = (a: RouteRecord, b: RouteRecord): boolean => a.hostname === b.hostname && a.port === b.port;
    const merged = routes.map((route) => {
      const old = this.routes.find((one) => same(one, route));
      const putAt = route.putAt ?? old?.putAt;
      const written = route.written ?? old?.written;
      return {
        ...route,
        ...(putAt === undefined ? {} : { putAt }),
        ...(written === undefined ? {} : { written }),
      };
    });
    this.routes = [...this.routes.filter((old) => !routes.some((r) => same(old, r))), ...merged];
    this.cutHere('put-routes');
    return ok();
  }
  removeRoutes(service: string, keys: readonly { hostname: string; port: number }[]): Outcome<undefined> {
    this.routes = this.routes.filter(
      (r) => r.service !== service || !keys.some((k) => k.hostname === r.hostname && k.port === r.port),
    );
    return ok();
  }
  putRecords(records: readonly DnsRecord[]): Outcome<undefined> {
    this.removeRecords(records);
    this.dnsRecords = [...this.dnsRecords, ...records];
    this.cutHere('put-records');
    return ok();
  }
  removeRecords(records: readonly DnsRecord[]): Outcome<undefined> {
    this.dnsRecords = this.dnsRecords.filter((old) => !records.some((r) => r.hostname === old.hostname));
    return ok();
  }
  recordApplied(applied: Applied): Outcome<undefined> {
    this.journal.push(`applied ${applied.service.name} ${applied.state}`);
    this.applied = [...this.applied.filter((a) => a.service.name !== applied.service.name), applied];
    this.trials = this.trials.filter((trial) => trial.service !== applied.service.name);
    return ok();
  }
  recordOrphan(orphan: OrphanRecord): Outcome<undefined> {
    this.journal.push(`orphan ${orphan.service}`);
    this.orphans = [...this.orphans.filter((old) => old.service !== orphan.service), orphan];
    return ok();
  }
  forgetService(service: string): Outcome<undefined> {
    this.journal.push(`forget ${service}`);
    this.applied = this.applied.filter((a) => a.service.name !== service);
    this.leases = this.leases.filter((l) => l.service !== service);
    this.routes = this.routes.filter((r) => r.service !== service);
    this.dnsRecords = this.dnsRecords.filter((r) => r.service !== service);
    this.files = this.files.filter((f) => f.service !== service);
    this.orphans = this.orphans.filter((o) => o.service !== service);
    this.failures = this.failures.filter((f) => f.service !== service);
    this.trials = this.trials.filter((trial) => trial.service !== service);
    this.flaps = this.flaps.filter((f) => f.service !== service);
    return ok();
  }
  recordTrial(trial: Trial): Outcome<undefined> {
    this.journal.push(`${trial.phase} ${trial.service}`);
    this.trials = [...this.trials.filter((old) => old.service !== trial.service), trial];
    this.failures = this.failures.filter((f) => f.service !== trial.service);
    return ok();
  }
  recordPrinted(service: string, digest: string, lines: readonly Printed[]): Outcome<undefined> {
    this.printed[service] = { digest, lines };
    return ok();
  }
  recordFailure(failure: Omit<FailureRecord, 'count'>): Outcome<undefined> {
    const before = this.failures.find((f) => f.service === failure.service && f.digest === failure.digest);
    this.failures = [
      ...this.failures.filter((f) => f.service !== failure.service),
      { ...failure, count: (before?.count ?? 0) + 1 },
    ];
    return ok();
  }
  recordFlap(flap: FlapRecord): Outcome<undefined> {
    this.flaps = [
      ...this.flaps.filter((f) => f.service !== flap.service || f.component !== flap.component),
      flap,
    ];
    return ok();
  }
  clearFailure(service: string): Outcome<undefined> {
    this.failures = this.failures.filter((f) => f.service !== service);
    return ok();
  }
  beginPass(): Outcome<number> {
    return ok(1);
  }
  endPass(): Outcome<undefined> {
    return ok();
  }
  planKey(): string | undefined {
    return undefined;
  }
  storePlan(): Outcome<undefined> {
    return ok();
  }
  intend(): Outcome<number> {
    return ok(1);
  }
  conclude(): Outcome<undefined> {
    return ok();
  }

  /** The agent dies in the middle of this kind of step, once. */
  cutHere(kind: string): void {
    if (this.cutInside !== kind) return;
    this.cutInside = undefined;
    throw new Error(`cut inside ${kind}`);
  }
}
