import type { ImageRef, Window } from '../definitions/types.ts';
import type { ContainerSpec, ObservedRoute } from '../node/types.ts';
import type {
  Applied,
  Because,
  DnsRecord,
  EngineIdentity,
  FlapRecord,
  Lease,
  OrphanRecord,
  RouteRecord,
  Trial,
} from '../registry/types.ts';

/** One thing to do. Steps of one service are a chain: taken in order, and the first that fails ends the chain of that service (L11). */
export type Step = StepHead & StepBody;

export interface StepHead {
  readonly service: string;
  /** What it acts on, for people: a container name, an image, a host name. */
  readonly subject: string;
  readonly because: Because;
  /** Of an edge, of which nothing is ever applied: when all its steps succeed, its failures are over. */
  readonly edge?: true;
  /**
   * It mends what somebody or something else changed; absent: a commit, the settings or this agent's own work is behind it. Who
   * plans it knows, whoever reads its result may see another world.
   */
  readonly repairs?: Repair;
}

export interface Repair {
  /** What became of the node, where more than this one service has suffered from it. */
  readonly cause?: string;
}

export type StepBody =
  | {
      readonly kind: 'record-image';
      readonly reference: string;
      readonly imageId: string;
      readonly manifestDigest?: string;
      /** The commit that it was built from; absent: it was not built here. */
      readonly revision?: string;
    }
  | { readonly kind: 'pull-image'; readonly image: ImageRef }
  | {
      readonly kind: 'build-image';
      readonly image: ImageRef;
      readonly dockerfile: string;
      readonly path: string;
      /** Rules for Dockerfiles that the definition silences. */
      readonly silenced?: readonly string[];
      /** The commit that it was built from before; absent: it was never built here. */
      readonly revision?: string;
    }
  /** Ends a build or pull that nobody waits for any more. */
  | { readonly kind: 'cancel-image'; readonly reference: string }
  | { readonly kind: 'push-image'; readonly image: ImageRef }
  /** Takes an old version away, when the reference still names this very image; what it meant stays recorded. */
  | { readonly kind: 'remove-image'; readonly reference: string; readonly imageId: string }
  /** Lets the builder forget what it has not used for longest, until so much is left. */
  | { readonly kind: 'prune-build-cache'; readonly keepBytes: number }
  | { readonly kind: 'create-network'; readonly name: string }
  | { readonly kind: 'remove-network'; readonly name: string }
  /** A lease of the same route and slot is replaced by it (a stolen port). */
  | { readonly kind: 'lease-ports'; readonly leases: readonly Lease[] }
  | { readonly kind: 'release-leases'; readonly leases: readonly Lease[] }
  /** `isOrder`: another CA is asked, and its answer comes later; else the node's own gives one at once. */
  | {
      readonly kind: 'issue-certificate';
      readonly hostname: string;
      readonly isDefault: boolean;
      readonly isOrder?: true;
    }
  /** Takes away `<name>.pem`, when it still is a certificate for this host name that was issued here. */
  | { readonly kind: 'remove-certificate'; readonly hostname: string; readonly name: string }
  /** Makes the container under `stagingName`, not started. */
  | {
      readonly kind: 'create-container';
      readonly spec: ContainerSpec;
      readonly specDigest: string;
      readonly stagingName: string;
      /** Absent: made for the definition in force. */
      readonly from?: AppliedFrom;
    }
  /** Gives a container (found by name) its final name, and starts it. */
  | {
      readonly kind: 'start-container';
      readonly from: string;
      readonly name: string;
      readonly specDigest: string;
    }
  /** Gives the predecessor another name; it goes on running until its connections have drained. */
  | {
      readonly kind: 'set-aside-container';
      readonly containerId: string;
      readonly renameTo: string;
    }
  /** Stops the predecessor and keeps it under another name until its successor is proved. */
  | {
      readonly kind: 'retire-container';
      readonly containerId: string;
      readonly renameTo: string;
      readonly stopTimeoutS: number;
    }
  /** Stops a container without any mark, named in `replaces`, and sets it aside: the only foreign thing that is touched (L27). */
  | {
      readonly kind: 'take-over-container';
      readonly containerId: string;
      readonly renameTo: string;
      readonly stopTimeoutS: number;
    }
  /** Gives it its own name back and starts it again. */
  | { readonly kind: 'give-back-container'; readonly containerId: string; readonly renameTo: string }
  /** Remembers why, and stops a container that exits again and again: it is started again after a rest. */
  | {
      readonly kind: 'rest-container';
      readonly containerId: string;
      readonly stopTimeoutS: number;
      readonly flap: FlapRecord;
    }
  | { readonly kind: 'stop-container'; readonly containerId: string; readonly stopTimeoutS: number }
  | { readonly kind: 'remove-container'; readonly containerId: string; readonly stopTimeoutS: number }
  | {
      readonly kind: 'put-routes';
      readonly routes: readonly ObservedRoute[];
      readonly records: readonly RouteRecord[];
    }
  /** Takes away routes that still carry this mark. */
  | { readonly kind: 'remove-routes'; readonly routes: readonly RouteKey[] }
  /** `since` is the moment in which it is recorded. `blamed`: what they printed last is kept with it. */
  | {
      readonly kind: 'record-trial';
      readonly trial: Omit<Trial, 'since'>;
      readonly blamed?: readonly Blamed[];
    }
  /** A and AAAA records with our mark, on every name server. */
  | {
      readonly kind: 'put-records';
      /** `before`: what the registry says that we put there last. */
      readonly records: readonly (DnsRecord & { readonly before: readonly string[] })[];
    }
  /** Takes away our own values and our mark. */
  | { readonly kind: 'remove-records'; readonly records: readonly DnsRecord[] }
  | { readonly kind: 'record-applied'; readonly applied: Applied }
  | { readonly kind: 'record-orphan'; readonly orphan: OrphanRecord }
  | { readonly kind: 'forget-service' };

/** A definition that was applied: its blob has the values of its environment variables. */
export interface AppliedFrom {
  readonly file: string;
  readonly oid: string;
  readonly commit: string;
}

/** A container because of which a version gives way. */
export interface Blamed {
  readonly component: string;
  readonly container: string;
  readonly containerId: string;
}

/** A route in the table, with the mark it must carry to be ours. */
export interface RouteKey {
  readonly listenerPort: number;
  readonly hostname: string;
  readonly mark?: string;
}

export type StepKind = StepBody['kind'];

/** Something expected that does not happen yet. */
export interface Waiting {
  readonly service: string;
  readonly component?: string;
  /** Short name of what is awaited: `image`, `ready`, `certificate`, `proxy`, `engine` … */
  readonly for: string;
  readonly why: string;
  readonly hint?: string;
  readonly since?: number;
  /** When it is looked at again at the latest. */
  readonly until?: number;
}

/** Something that will not be done unless a person acts. */
export interface Refused {
  readonly service: string;
  readonly why: string;
  readonly hint: string;
}

export interface Plan {
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
  /** When to look again even if nothing signals; absent: at the next timer. */
  readonly wakeAt?: number;
  /** The engine's identity, when it is to be written down before the first step. */
  readonly engine?: EngineIdentity;
}

/** The limits and names that `plan` needs from the settings: inputs like the rest. */
export interface PlanSettings {
  readonly node: string;
  /** `<node>/<instance>`. */
  readonly owner: string;
  /** Keys of defaults that the node's file sets, as it names them; absent: none. */
  readonly nodeDefaults?: readonly string[];
  readonly portRange: readonly [number, number];
  readonly publishIp: string;
  readonly logMaxSize: string;
  readonly logMaxFiles: number;
  /** How long a changed version may take to be proved, from the start of its containers. */
  readonly timeoutMs: number;
  readonly stableForMs: number;
  /** How long established connections of a predecessor are waited for, once its successor is proved. */
  readonly drainMs: number;
  readonly stopTimeoutS: number;
  /** Of the node's file: changes happen in one of these only; empty: at any time. */
  readonly windows: readonly Window[];
  readonly proxy: boolean;
  /** PEM file of the roots by which the proxies of home nodes are verified; absent (a state of an older agent): the system's. */
  readonly edgeCa?: string;
  /** What records of this node name, from `nodes/<node>.toml`; absent: none. */
  readonly addresses?: readonly string[];
  /** Default host name is `<service>.<suffix>`. */
  readonly hostnameSuffix: string;
  readonly certificates: 'files' | 'local' | 'acme';
  /** How the CA of driver `acme` has names proved. */
  readonly acmeChallenge?: 'http-01' | 'dns-01';
  readonly canBuild: boolean;
  /** Versions of a repository that are kept; absent: all. */
  readonly keepImages?: number;
  /** What the builder may remember on its disk; absent: as much as it likes. */
  readonly buildCacheBytes?: number;
  /** Hosts of the settings' registries; absent in states of older agents. */
  readonly registries?: readonly string[];
  /** Services that may go although the budget is spent: named by a commit trailer or `removals.toml`. */
  readonly removable: readonly string[];
  /** Services that are never stopped or removed, only replaced. */
  readonly protect: readonly string[];
  /** Share of the services that one change may stop or remove; one is always allowed. */
  readonly budgetShare: number;
  /** Absent: converge. `observe`, from the node's file: everything is planned and shown, nothing is touched. */
  readonly mode?: 'observe';
  /** The engine that is meant, where the settings name one. */
  readonly engineId?: string;
  /** Id of the key of the environment hashes; part of the spec's digest version. */
  readonly keyId: string;
  /** So many exits in the window, and a container rests. Absent (a state of an older agent): it never does. */
  readonly flapping?: { readonly exits: number; readonly windowMs: number };
}

/** What `observe` is asked to look at, derived purely from desired and promised. */
export interface Wanted {
  readonly images: readonly {
    readonly image: ImageRef;
    readonly build: boolean;
    /** What the tag meant when it was first seen here. */
    readonly recorded?: { readonly imageId: string; readonly manifestDigest?: string };
    readonly recipe?: {
      readonly dockerfile: string;
      readonly path: string;
      readonly service: string;
      readonly silenced?: readonly string[];
    };
  }[];
  readonly mounts: readonly string[];
  /** Names of containers started by hand whose place is to be taken: these are looked at more closely. Absent: none. */
  readonly replaced?: readonly string[];
  /** Host names whose DNS records are looked at. */
  readonly names: readonly string[];
  readonly certificates: readonly {
    readonly hostname: string;
    readonly service: string;
    readonly isDefault: boolean;
  }[];
}
