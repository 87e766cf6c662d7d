import type { FixedPort, Issue } from '../definitions/types.ts';
import type { DiskFacts } from '../node/types.ts';
import type { Refused, Waiting } from '../plan/types.ts';
import type { Because, NoticeRecord, PassRecord, Printed, StepRecord } from '../registry/types.ts';

/** The one word for a service, derived at every look and never latched. */
export type ServiceState =
  | 'converged'
  | 'changing'
  | 'waiting'
  | 'degraded'
  /** A container exits again and again; it rests between the tries. */
  | 'flapping'
  /** The newest file is bad, or its version was not proved: the last good one is in force. */
  | 'held back'
  /** A version was not proved in time, and the last proved one is being put back. */
  | 'returning'
  | 'refused'
  | 'stopped'
  /** Looked at only, because its definition says so. */
  | 'paused'
  | 'removing'
  /** Ours by label, but neither git nor the registry knows the service. */
  | 'orphan'
  /** The engine could not be asked. */
  | 'unknown';

/** What a person or a program may see of the node. Names only: no value and no hash of an environment variable. */
export interface View {
  readonly node: string;
  readonly owner: string;
  readonly version: string;
  /** All times: milliseconds since the epoch. */
  readonly startedAt: number;
  /** When the node was looked at last; absent before the first pass ended. */
  readonly at?: number;
  /** Why there is nothing to converge to, for example that git was never reached. */
  readonly idle?: { readonly why: string; readonly hint?: string };
  readonly commit?: {
    readonly oid: string;
    readonly author: string;
    readonly at: number;
    /** First line. */
    readonly message: string;
  };
  readonly source: {
    readonly url: string;
    readonly reachable: boolean;
    readonly since?: number;
    readonly why?: string;
    readonly lastContactAt?: number;
  };
  readonly engine: { readonly kind: string; readonly version: string } | { readonly why: string };
  readonly proxy:
    | { readonly driver: 'none' }
    | {
        readonly driver: string;
        /** Routes that are written. */
        readonly routes: number;
        /** Routes that it serves; absent: it could not be asked. */
        readonly served?: number;
        readonly serving: boolean;
        readonly why?: string;
      };
  /** Absent before the first look. */
  readonly dns?: DnsView;
  /** What lies on the disk of the engine, in bytes; absent until it was measured. */
  readonly disk?: DiskFacts;
  /** The node at a glance: what it depends on, and whether it is as it should be. */
  readonly conditions: readonly Condition[];
  readonly services: readonly ServiceView[];
  readonly issues: readonly Issue[];
  readonly foreign: readonly { readonly name: string; readonly image: string; readonly state: string }[];
  /** What people were told: open ones, and the last that cleared. Newest first. */
  readonly notices: readonly NoticeRecord[];
  /** Newest first. */
  readonly passes: readonly PassRecord[];
}

interface DnsView {
  readonly driver: 'none' | 'rfc2136';
  readonly zones: readonly string[];
  /** Host names inside our zones. */
  readonly names: number;
  /** Why a name server could not be asked. */
  readonly why?: string;
  /** What is wrong with the file of the key that updates are signed with. */
  readonly keyFault?: { readonly why: string; readonly hint: string };
  /** Why an update was not taken that is tried again. */
  readonly failed?: string;
  /** Why a zone cannot be searched for records that nobody knows any more. */
  readonly unsearched?: string;
  /** Host names inside our zones under which somebody else has a record too. Absent: none. */
  readonly foreign?: readonly { readonly hostname: string; readonly why: string }[];
  /** Names that others manage, and that do not lead to this node. */
  readonly elsewhere: readonly { readonly hostname: string; readonly why: string }[];
}

export interface Condition {
  readonly name:
    | 'mode'
    | 'registry'
    | 'git'
    | 'definitions'
    | 'engine'
    | 'proxy'
    | 'certificates'
    | 'dns'
    | 'disk'
    | 'tidying'
    | 'services';
  readonly ok: boolean;
  /** One sentence for an operator. */
  readonly text: string;
  readonly hint?: string;
}

export interface ServiceView {
  readonly name: string;
  readonly file?: string;
  readonly state: ServiceState;
  /** The node that runs it, where this one only serves its routes; absent: this node's own service. */
  readonly edgeOf?: string;
  readonly desired?: {
    readonly active: boolean;
    readonly commit: string;
    readonly digest: string;
    readonly images: readonly string[];
    readonly heldBack: boolean;
    /** Rules that its file silences, with the reason. */
    readonly silenced?: readonly { readonly rule: string; readonly reason: string }[];
  };
  readonly applied?: {
    readonly state: 'running' | 'stopped';
    readonly commit: string;
    readonly digest: string;
    readonly images: readonly string[];
    readonly at: number;
  };
  readonly observed: readonly ContainerView[];
  /** Leased host ports. */
  readonly ports: readonly {
    readonly component: string;
    readonly route: string;
    readonly slot: 'a' | 'b';
    readonly port: number;
  }[];
  /** Ports that the definition fixes. */
  readonly fixedPorts: readonly (FixedPort & { readonly component: string })[];
  readonly routes: readonly RouteView[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
  /** Of its definition, and of the Dockerfiles of its images. */
  readonly issues: readonly Issue[];
  /** What is so beside its state; absent: nothing to tell. */
  readonly conditions?: readonly ServiceCondition[];
  /** The version that git wants while it is not proved, and after it gave way to the last proved one. */
  readonly trial?: {
    readonly phase: 'trying' | 'returning' | 'held back' | 'outside';
    readonly since: number;
    readonly tries: number;
    readonly commit: string;
    readonly why?: string;
    /** What its containers printed last, read before they were stopped; absent: nothing that could be read. */
    readonly printed?: readonly Printed[];
  };
  /** What builds print that are under way or failed: their last lines. */
  readonly builds?: readonly { readonly reference: string; readonly lines: readonly string[] }[];
  readonly lastReason?: Because & {
    /** Kind and subject, for example `start-container web`. */
    readonly step: string;
    readonly at: number;
    /** Absent while the step is under way. */
    readonly result?: NonNullable<StepRecord['result']>;
  };
  readonly lastError?: { readonly why: string; readonly hint?: string; readonly at: number };
}

/** One fact of a service that is so or not, with the reason as one word and as a sentence. */
export interface ServiceCondition {
  readonly type: 'ImagePushed';
  readonly status: 'True' | 'False';
  /** `Lost`: its registry had it once; `Moved`: it has something else under the tag by now. */
  readonly reason: 'Pushed' | 'Pushing' | 'Pending' | 'Lost' | 'Moved' | 'PushFailed';
  readonly message: string;
  readonly hint?: string;
  readonly since?: number;
  /** When it is tried again. */
  readonly until?: number;
}

export interface ContainerView {
  readonly name: string;
  readonly component: string;
  readonly image: string;
  readonly state: string;
  /** When it started, or ended when it does not run. */
  readonly since?: number;
  readonly restarts: number;
  /** Absent where readiness is not watched: a predecessor, or a container that does not run. */
  readonly ready?: boolean;
  /** Why it does not run or is not ready, as far as that is known. */
  readonly why?: string;
}

export interface RouteView {
  readonly component: string;
  /** Empty for the only, unnamed route. */
  readonly name: string;
  readonly hostname: string;
  readonly port: number;
  readonly mode: 'l4' | 'l7';
  /** Absent while the route is not in the table. */
  readonly backend?: string;
  /** Somebody else's route stands in its place, and ours waits; `owner` (`<node>/<instance>`): whose, if it has a mark. */
  readonly foreign?: { readonly backend: string; readonly owner?: string };
  readonly served: boolean;
  /** Other nodes that serve it as well; its name leads to them. */
  readonly edge?: readonly string[];
  /** Where a browser finds it: l7 only, made by us from host name and port. */
  readonly url?: string;
  /** End of the certificate's life, also of one that the service has of its own. */
  readonly notAfter?: number;
  /** From when on it is renewed by itself; absent: it is not ours. */
  readonly renewsAt?: number;
}

/** What one pass did for one service. */
export interface HistoryEntry {
  readonly pass: number;
  readonly service: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly trigger: string;
  /** Whose change it is; with `by` only the one in force. */
  readonly commit: string;
  /** No commit is behind it, but the settings (or another version) of the agent, or the agent itself. */
  readonly by?: NonNullable<Because['by']>;
  readonly author?: string;
  /** First line of the commit's message. */
  readonly message?: string;
  readonly file?: string;
  readonly why: string;
  /** What changed in the definition; absent when something else was the reason. */
  readonly patch?: NonNullable<Because['patch']>;
  readonly steps: readonly StepRecord[];
  /** From the first intent to the last result; absent while the first step is under way. */
  readonly tookMs?: number;
  /**
   * The worst of its steps. Where all went well: `gave way` when the version that it brought, or judged, was not proved;
   * `returned` when it put the last proved one back; `held back` when that was proved again.
   */
  readonly result: NonNullable<StepRecord['result']> | 'under way' | 'gave way' | 'returned' | 'held back';
}

/** The end of a container's log, or what the build of an image printed. */
export interface LogView {
  readonly service: string;
  readonly component: string;
  /** Absent: it is the log of a build. */
  readonly container?: string;
  readonly driver?: string;
  /** The image whose build printed it. */
  readonly build?: string;
  /** What whoever reads it should know besides. */
  readonly note?: string;
  /** Oldest first; control characters made visible, known secrets masked. */
  readonly lines: readonly string[];
  /** Why there is nothing, when there is nothing (L21). */
  readonly empty?: string;
}

/** Something that happened, as the event stream has it. */
export interface AgentEvent {
  /** Of this run of the agent, in order. */
  readonly id: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly kind: 'commit' | 'step' | 'waiting' | 'refused' | 'ended' | 'source' | 'notice';
  /** What has begun, has changed, or is over; absent for what happens once. */
  readonly phase?: 'begins' | 'changes' | 'ends';
  readonly services?: readonly string[];
  readonly text: string;
  readonly hint?: string;
  /** Of a step. */
  readonly result?: NonNullable<StepRecord['result']>;
}
