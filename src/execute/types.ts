import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Outcome } from '../base/outcome.ts';
import type { EnvValues, ImageRef } from '../definitions/types.ts';
import type { WantedRecord } from '../node/dns/dns.ts';
import type { BuildOrder } from '../node/images/types.ts';
import type { ContainerSpec, ObservedRoute } from '../node/types.ts';
import type { AppliedFrom, RouteKey, Step } from '../plan/types.ts';
import type { Lanes } from './lanes.ts';
import type {
  Applied,
  CommitRecord,
  DnsRecord,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  OrphanRecord,
  Printed,
  RouteRecord,
  StepRecord,
  Trial,
} from '../registry/types.ts';

/** What became of one step. */
export interface StepResult {
  readonly step: Step;
  readonly outcome: Outcome<unknown>;
  readonly startedAt: number;
  readonly endedAt: number;
}

/** The writing half of the node, as far as steps need it. Each call ends within its own deadline and may be made twice. */
export interface NodeWriter {
  readonly engine: {
    createNetwork(name: string): Promise<Outcome<undefined>>;
    removeNetwork(name: string): Promise<Outcome<undefined>>;
    create(
      spec: ContainerSpec,
      specDigest: string,
      name: string,
      env: ReadonlyMap<string, string>,
    ): Promise<Outcome<{ id: string }>>;
    start(from: string, name: string, specDigest: string): Promise<Outcome<{ id: string }>>;
    rename(id: string, renameTo: string): Promise<Outcome<undefined>>;
    retire(id: string, renameTo: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
    takeOver(id: string, renameTo: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
    giveBack(id: string, renameTo: string): Promise<Outcome<undefined>>;
    stop(id: string, stopTimeoutS: number): Promise<Outcome<undefined>>;
    remove(id: string, stopTimeoutS: number, name?: string): Promise<Outcome<undefined>>;
    logs(id: string, options: { readonly tail: number }): Promise<Outcome<string[]>>;
  };
  readonly images: {
    startPull(image: ImageRef): Outcome<undefined>;
    startBuild(order: BuildOrder): Outcome<undefined>;
    startPush(image: ImageRef): Outcome<undefined>;
    /** Ends a build or pull; nothing to end is as good. */
    cancel(reference: string): Outcome<undefined>;
    /** Gone is as good; a reference that names another image by now stays. */
    remove(reference: string, imageId: string): Promise<Outcome<undefined>>;
  };
  readonly builder: {
    prune(keepBytes: number): Promise<Outcome<undefined>>;
  };
  readonly proxy: {
    put(routes: readonly ObservedRoute[]): Promise<Outcome<undefined>>;
    remove(routes: readonly RouteKey[]): Promise<Outcome<undefined>>;
  };
  readonly dns: {
    put(service: string, records: readonly WantedRecord[]): Promise<Outcome<undefined>>;
    remove(service: string, records: readonly WantedRecord[]): Promise<Outcome<undefined>>;
  };
  readonly certificates: {
    issue(hostname: string, service: string, isDefault: boolean): Promise<Outcome<undefined>>;
    /** What was issued here for this host name; anything else in the file stays. */
    remove(hostname: string, name: string): Promise<Outcome<undefined>>;
  };
}

/** The writing half of the registry: promises, and the journal with intent before act. */
export interface RegistryWriter {
  lease(leases: readonly Lease[]): Outcome<undefined>;
  releaseLeases(leases: readonly Lease[]): Outcome<undefined>;
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): Outcome<undefined>;
  imageRemoved(reference: string): Outcome<undefined>;
  putRoutes(service: string, routes: readonly RouteRecord[]): Outcome<undefined>;
  removeRoutes(service: string, keys: readonly { hostname: string; port: number }[]): Outcome<undefined>;
  putRecords(records: readonly DnsRecord[]): Outcome<undefined>;
  removeRecords(records: readonly DnsRecord[]): Outcome<undefined>;
  recordApplied(applied: Applied): Outcome<undefined>;
  recordOrphan(orphan: OrphanRecord): Outcome<undefined>;
  forgetService(service: string): Outcome<undefined>;
  recordFailure(failure: Omit<FailureRecord, 'count'>): Outcome<undefined>;
  clearFailure(service: string): Outcome<undefined>;
  recordTrial(trial: Trial): Outcome<undefined>;
  recordPrinted(service: string, digest: string, printed: readonly Printed[]): Outcome<undefined>;
  recordFlap(flap: FlapRecord): Outcome<undefined>;
  beginPass(pass: {
    trigger: string;
    commit: string;
    startedAt: number;
    about?: CommitRecord;
  }): Outcome<number>;
  /** Key of the plan that was stored last. */
  planKey(): string | undefined;
  storePlan(
    pass: number,
    plan: { version: string; key: string; inputs: unknown; plan: unknown },
  ): Outcome<undefined>;
  endPass(pass: number, endedAt: number): Outcome<undefined>;
  intend(
    pass: number,
    step: Pick<StepRecord, 'service' | 'kind' | 'subject' | 'because' | 'startedAt' | 'before'>,
  ): Outcome<number>;
  conclude(
    step: number,
    result: {
      result: NonNullable<StepRecord['result']>;
      message?: string;
      after?: unknown;
      endedAt: number;
    },
  ): Outcome<undefined>;
}

export interface Tools {
  readonly node: NodeWriter;
  readonly registry: RegistryWriter;
  /** Of the definitions in force. */
  readonly values: EnvValues;
  /** Of a definition that was applied before and is not in force: read again from the blob it came from. */
  readonly valuesOf: (from: AppliedFrom) => Promise<Outcome<EnvValues>>;
  readonly clock: Clock;
  readonly log: Log;
  /** How many services are worked on at once. */
  readonly parallel: number;
  /** Absent: a pass waits for all its steps. */
  readonly lanes?: Lanes;
}
