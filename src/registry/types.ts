import type { Cause } from '../base/outcome.ts';
import type { Elsewhere, Service } from '../definitions/types.ts';

/** A host port promised to a route. It survives redeploys and restarts (L06). */
export interface Lease {
  readonly service: string;
  readonly component: string;
  /** Route name; empty for the unnamed route. */
  readonly route: string;
  readonly slot: 'a' | 'b';
  readonly port: number;
}

/** What was last brought into line completely and proved: applied, not desired and not observed (L13). */
export interface Applied {
  readonly service: Service;
  readonly state: 'running' | 'stopped';
  readonly file: string;
  readonly oid: string;
  readonly digest: string;
  readonly commit: string;
  /** Milliseconds since the epoch. */
  readonly appliedAt: number;
  /** Names of the components whose containers have the ports of slot b; absent: all are in slot a. */
  readonly slotB?: readonly string[];
}

/**
 * A version that is not applied yet, or that gave way: from the start of its containers until it is proved, or until
 * git changes the service.
 *
 * - `trying`: its containers were started at `since`, and have to be proved in time.
 * - `returning`: it was not, and the last proved version is being put back since then.
 * - `held back`: the last proved version is proved again; this one is not tried any more.
 * - `outside`: the last proved version did not become ready either, or the cause is known to lie outside the
 *   definition: this one is tried again later.
 */
export interface Trial {
  readonly service: string;
  /** Digest of the desired service: another one is a version of its own. */
  readonly digest: string;
  readonly phase: 'trying' | 'returning' | 'held back' | 'outside';
  /** When the phase began, milliseconds since the epoch. */
  readonly since: number;
  /** How often it gave way without being held back, for growing waits. */
  readonly tries: number;
  readonly cause?: Cause;
  /** Why it gave way. */
  readonly why?: string;
  readonly file: string;
  readonly commit: string;
}

/** The last lines of a container because of which a version gave way; masked. They go with the trial. */
export interface Printed {
  readonly component: string;
  readonly container: string;
  /** When they were read, milliseconds since the epoch. */
  readonly at: number;
  /** Oldest first. */
  readonly lines: readonly string[];
}

/** A route of ours in the proxy. */
export interface RouteRecord {
  readonly service: string;
  readonly component: string;
  readonly route: string;
  readonly hostname: string;
  readonly port: number;
  /** When it was written to the proxy last, milliseconds since the epoch; absent: by an older agent, or never. */
  readonly putAt?: number;
  /** Digest of the route as it was written there; absent: by an older agent, or taken up from the proxy. */
  readonly written?: string;
}

/** Records of ours in DNS: what was put there, A and AAAA. */
export interface DnsRecord {
  readonly service: string;
  readonly hostname: string;
  readonly addresses: readonly string[];
}

/** What a tag meant when it was first seen here: image id and manifest digest apart (an image never pushed has no digest). */
export interface ImageRecord {
  readonly reference: string;
  readonly imageId: string;
  readonly manifestDigest?: string;
  readonly firstSeenAt: number;
  /** True when this agent built it. */
  readonly built: boolean;
  /** The commit that it was built from: a rebuild of it may have another id. */
  readonly revision?: string;
  /** It was removed from the engine since; what its tag means stays so. */
  readonly removed?: true;
}

export interface Accepted {
  readonly commit: string;
  readonly at: number;
}

/** The last good file of a service (its blob can be read again from the mirror). */
export interface AcceptedFile {
  readonly service: string;
  readonly file: string;
  readonly oid: string;
  readonly commit: string;
  /** When this file goes, its containers stay as orphans; absent: they are removed. */
  readonly prune?: false;
  /** No definition asks for it any more since this commit. Absent: one does, or that is not known. */
  readonly goneIn?: string;
}

/** Ours by label, of a service that neither git nor the registry knew: taken in, and removed by a later commit at the earliest. */
export interface OrphanRecord {
  readonly service: string;
  /** The commit in force when it was taken in: nothing of it is removed under this one. */
  readonly commit: string;
  readonly seenAt: number;
}

/** Which engine the containers were made in, and where it keeps them (L05). */
export interface EngineIdentity {
  readonly id: string;
  readonly storageRoot: string;
}

/** Failures of a service in a row, for growing waits. A changed definition (another digest) begins anew. */
export interface FailureRecord {
  readonly service: string;
  /** Digest of the desired service at that time. */
  readonly digest: string;
  readonly count: number;
  readonly lastAt: number;
  readonly why: string;
  readonly hint?: string;
  readonly cause?: Cause;
}

/** Everything the registry says that `plan` needs. Sorted, so that the same registry gives the same bytes. */
export interface Promised {
  readonly accepted?: Accepted;
  readonly applied: readonly Applied[];
  readonly leases: readonly Lease[];
  readonly routes: readonly RouteRecord[];
  /** Absent: none. */
  readonly records?: readonly DnsRecord[];
  readonly images: readonly ImageRecord[];
  /** Last good file of every service that was ever accepted here and is not forgotten yet. */
  readonly files: readonly AcceptedFile[];
  readonly failures: readonly FailureRecord[];
  /** At most one a service. */
  readonly trials: readonly Trial[];
  /** Absent: none. */
  readonly flaps?: readonly FlapRecord[];
  /** Last good `nodes/<node>.toml`. */
  readonly nodeFile?: NodeFileRecord;
  /** Absent where there are none; so are the next ones. */
  readonly orphans?: readonly OrphanRecord[];
  readonly engine?: EngineIdentity;
  /** Services that a trailer `Remove-Services:` of a commit named, until they are gone or wanted again. */
  readonly named?: readonly string[];
  /** Of the accepted commit: active services with volumes on other nodes. Absent: none. */
  readonly elsewhere?: readonly Elsewhere[];
  /** The registry was made anew, and nothing was taken up from the node yet. `kept`: its side file was there. */
  readonly fresh?: { readonly kept: boolean };
  /** Lost together with its side file: until a commit after this one, what runs is neither changed nor removed. */
  readonly lostAt?: string;
}

/** What a lost registry is rebuilt with, in one transaction, before anything is planned. */
export interface Rebuilt {
  readonly applied: readonly Applied[];
  readonly leases: readonly Lease[];
  readonly routes: readonly RouteRecord[];
  readonly lostAt?: string;
}

export interface NodeFileRecord {
  readonly file: string;
  readonly oid: string;
  readonly commit: string;
}

/** One step as it is journalled. `before`/`after` and `because` are JSON; no values of environment variables. */
export interface StepRecord {
  readonly id: number;
  readonly pass: number;
  readonly service: string;
  readonly kind: string;
  readonly subject: string;
  readonly because: Because;
  readonly startedAt: number;
  /** Absent while the step is under way, or when the agent died in it. */
  readonly endedAt?: number;
  /** `begun` is only shown, never written: the step was to begin a job, which may still fail. */
  readonly result?: 'ok' | 'begun' | 'retry' | 'wait' | 'blocked' | 'bug' | 'interrupted';
  readonly message?: string;
  /** What stood there when the step was begun, as far as it was seen. */
  readonly before?: unknown;
  /** What stands there now; only of a step that succeeded. */
  readonly after?: unknown;
  /** The commit that `because` names, as far as it is known; read only. */
  readonly about?: CommitRecord;
}

/** Why a step is taken: one sentence, the commit and file it comes from, and what changed as a JSON Patch (RFC 6902). */
export interface Because {
  readonly summary: string;
  /** No commit is behind it, but the settings (or another version) of the agent, or the agent itself. */
  readonly by?: 'settings' | 'agent';
  readonly commit?: string;
  readonly file?: string;
  readonly patch?: readonly PatchOperation[];
}

export interface PatchOperation {
  readonly op: 'add' | 'remove' | 'replace';
  readonly path: string;
  readonly value?: unknown;
}

/** A container that exited too often and was stopped to rest. Another spec is another try. */
export interface FlapRecord {
  readonly service: string;
  readonly component: string;
  /** The container's spec label. */
  readonly spec: string;
  /** Rests in a row. */
  readonly count: number;
  /** Milliseconds since the epoch. */
  readonly heldAt: number;
  readonly why: string;
}

/** A commit as the history of a service names it. */
export interface CommitRecord {
  readonly oid: string;
  readonly author: string;
  /** Committer's time, milliseconds since the epoch. */
  readonly at: number;
  /** First line. */
  readonly message: string;
}

/** What was found out about the commits of a pull. */
export interface Told {
  /** Services that are wanted no more, each with the commit that took its definition away. */
  readonly gone: ReadonlyMap<string, string>;
  readonly commits: readonly CommitRecord[];
}

/** The inputs and the plan of a pass as they were: names and keyed hashes only. The planner knows their form. */
export interface StoredPlan {
  readonly pass: number;
  /** Of the program that made it: another one may rightly decide otherwise. */
  readonly version: string;
  readonly inputs: unknown;
  readonly plan: unknown;
}

export interface PassRecord {
  readonly id: number;
  readonly startedAt: number;
  readonly endedAt?: number;
  readonly commit: string;
  readonly author?: string;
  /** First line of the commit's message. */
  readonly message?: string;
  /** The stored plan can be had, to be replayed. */
  readonly replay?: true;
  /** What made the agent look, for example `git`, `engine event`, `timer`. */
  readonly trigger: string;
  readonly steps: readonly StepRecord[];
}

/** Something that a person was or will be told of, until its cause clears. */
export interface NoticeRecord {
  readonly id: number;
  /** The same cause is told once until it clears. */
  readonly cause: string;
  readonly kind: string;
  readonly service?: string;
  readonly text: string;
  readonly hint?: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly clearedAt?: number;
  readonly deliveries: readonly DeliveryRecord[];
}

export interface DeliveryRecord {
  /** `webhook`, `ntfy` or `command`. */
  readonly channel: string;
  readonly tries: number;
  /** The next try; absent when it was delivered or given up. */
  readonly nextAt?: number;
  readonly doneAt?: number;
  /** What the last try failed with. */
  readonly error?: string;
}
