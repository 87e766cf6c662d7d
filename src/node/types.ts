import type { Known } from '../base/outcome.ts';
import type { CertificateState } from './certs/types.ts';
import type { RecordMark } from './dns/types.ts';
import type { EnvHash, Issue, Mount, Resources } from '../definitions/types.ts';
import type { ImageState, PushState, StrayWork } from './images/state.ts';

/** Labels of our containers (house rule 8): identity is in them and never parsed out of a name. */
export const LABEL_PREFIX = 'net.metacircular.gitops.';
export const LABELS = {
  owner: `${LABEL_PREFIX}owner`,
  service: `${LABEL_PREFIX}service`,
  component: `${LABEL_PREFIX}component`,
  spec: `${LABEL_PREFIX}spec`,
  ports: `${LABEL_PREFIX}ports`,
  format: `${LABEL_PREFIX}format`,
} as const;

export interface PublishedPort {
  readonly ip: string;
  readonly host: number;
  readonly container: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface NetworkAttachment {
  readonly name: string;
  /** Names under which the container is found on that network. */
  readonly aliases: readonly string[];
}

/**
 * Everything a container is made of, without the values of environment variables: what differs here makes a new
 * container. The digest of it is the `spec` label.
 */
export interface ContainerSpec {
  readonly owner: string;
  readonly service: string;
  readonly component: string;
  /** Final container name. */
  readonly name: string;
  readonly image: string;
  /** From the definition: names and keyed hashes; `execute` fetches the values. */
  readonly env: readonly EnvHash[];
  /** Made by the agent (`PORT…`, `PEER_…`): not secret. Sorted by name. */
  readonly agentEnv: readonly { readonly name: string; readonly value: string }[];
  readonly mounts: readonly Mount[];
  readonly cmd?: readonly string[];
  /** The first is the one the container is created on; empty: no network. */
  readonly networks: readonly NetworkAttachment[];
  readonly user?: string;
  readonly restart: 'no' | 'on-failure' | 'unless-stopped';
  readonly publish: readonly PublishedPort[];
  /** Route name → leased host port: the `ports` label, from which a lost registry is rebuilt. */
  readonly leases: Readonly<Record<string, number>>;
  readonly logMaxSize: string;
  readonly logMaxFiles: number;
  /** With it the image's own command does not hold. */
  readonly entrypoint?: readonly string[];
  readonly stopSignal?: string;
  /** Of the definition, sorted by name; never one of ours. */
  readonly labels?: readonly { readonly name: string; readonly value: string }[];
  readonly resources?: Resources;
  /** Tells the engine nothing: another number is another container. */
  readonly generation?: number;
}

/** What our labels say, read once by the engine adapter. */
export interface Identity {
  readonly owner: string;
  readonly service: string;
  readonly component: string;
  readonly spec: string;
  /** Route name → leased host port. */
  readonly leases: Readonly<Record<string, number>>;
  readonly format: string;
}

/** A container as the engine shows it. Without `identity` it is foreign, and listed for its name and ports only. */
export interface ObservedContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  readonly state: 'created' | 'running' | 'restarting' | 'exited' | 'paused' | 'dead' | 'removing';
  /** Milliseconds since the epoch; absent when it never started. */
  readonly startedAt?: number;
  /** When it ended last, milliseconds since the epoch; absent while it runs. */
  readonly finishedAt?: number;
  readonly exitCode?: number;
  /** With which it ended before the engine started it again; absent where that was not heard of. */
  readonly lastExitCode?: number;
  /** What the engine says of the last failed start, for example that a port is taken. */
  readonly startError?: string;
  readonly restartCount: number;
  /** Host process id, while it runs. */
  readonly pid?: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly identity?: Identity;
  readonly publish: readonly PublishedPort[];
  /** Of ours, and of one whose place is to be taken; absent in states of older agents. */
  readonly parts?: ContainerParts;
  /** Why the engine does not tell more of it than its list; absent where it does. */
  readonly unseen?: string;
}

/**
 * What a container of ours is really made of, to be compared with what was ordered. Values of variables are keyed hashes; of
 * other texts that somebody may have written by hand there is a check of 16 bits, which gives away no secret (G10).
 */
export interface ContainerParts {
  /** Keyed hash of each variable, by name. */
  readonly env: Readonly<Record<string, string>>;
  /** Values of `PORT…` and `PEER_…`, where they have the form that the agent gives them. */
  readonly agentEnv: Readonly<Record<string, string>>;
  /** Variables that are as the image or the engine gives them; absent while the image is not known. */
  readonly given?: readonly string[];
  /** Sorted by target. */
  readonly mounts: readonly Mount[];
  /** Names under which it is found, by network. */
  readonly networks: Readonly<Record<string, readonly string[]>>;
  /** Check of each label that is not one of ours, by name. */
  readonly labels: Readonly<Record<string, string>>;
  /** The engine's word, with its limit of tries: `on-failure:3`. */
  readonly restart: string;
  readonly user: SeenText;
  readonly entrypoint: SeenText;
  readonly cmd: SeenText;
  readonly resources: Resources;
  /** What it may do beyond what any container of ours may: `privileged`, `CAP_NET_ADMIN`, `host pid` … */
  readonly rights: readonly string[];
}

/** `given`: as the image has it; absent while the image is not known. */
export interface SeenText {
  readonly check: string;
  readonly given?: boolean;
}

export interface EngineFacts {
  /** `docker` or `podman`. */
  readonly kind: 'docker' | 'podman';
  readonly version: string;
  /** Identity of the engine's store: id and storage root (L05). */
  readonly id: string;
  readonly storageRoot: string;
  /** As images name it: `amd64`, `arm64`; absent where the engine does not say. */
  readonly architecture?: string;
  /** All containers, foreign ones too, sorted by name. */
  readonly containers: readonly ObservedContainer[];
  readonly networks: readonly string[];
}

export interface PortFacts {
  /** Listening sockets of the host: TCP LISTEN and bound UDP. */
  readonly listening: readonly {
    readonly ip: string;
    readonly port: number;
    readonly protocol: 'tcp' | 'udp';
  }[];
  /** The kernel's ephemeral range, both inclusive. */
  readonly ephemeral: readonly [number, number];
}

/** One route as it stands in the proxy's table. */
export interface ObservedRoute {
  readonly listenerPort: number;
  readonly hostname: string;
  /** `host:port`. */
  readonly backend: string;
  readonly mode: 'l4' | 'l7';
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly backendTls: boolean;
  /** Of an edge: PEM file of the roots by which the backend is verified, by the host name of the route. */
  readonly backendCa?: string;
  /** `<owner>/<service>/<component>/<route>` when it carries our mark; absent: foreign. */
  readonly mark?: string;
}

export interface ProxyFacts {
  /** External ports the proxy listens on (by its settings). */
  readonly listenerPorts: readonly number[];
  /** What is written. */
  readonly table: readonly ObservedRoute[];
  /** What is being served, when the proxy could be asked. */
  readonly live: Known<readonly ObservedRoute[]>;
  /** Connections and requests under way by backend (`host:port`), when the proxy tells them: one that is not here has none. */
  readonly connections?: Readonly<Record<string, number>>;
  /** Routes that are written, and why the proxy cannot serve them as written. */
  readonly faults?: readonly {
    readonly listenerPort: number;
    readonly hostname: string;
    readonly why: string;
  }[];
  /**
   * Routes that are to be put again although they stand in the table: their certificate has changed since the proxy took it up, or
   * `why`, when it is something else.
   */
  readonly stale?: readonly {
    readonly listenerPort: number;
    readonly hostname: string;
    readonly why?: string;
  }[];
}

/** What came of a TLS handshake by host name through the proxy. */
export type Handshake =
  | {
      readonly kind: 'ok';
      readonly fingerprint256: string;
      readonly notAfter: number;
      /** The names that it is for, when the host name is none of them: clients refuse it. */
      readonly otherNames?: string;
    }
  | {
      readonly kind: 'failed';
      readonly why: string;
      /** Of an edge: this node's own proxy is not to blame, but what is behind it. */
      readonly isHome?: true;
    };

/** What one name server has for a host name. */
export interface ServerRecord {
  /** A and AAAA, sorted. */
  readonly addresses: readonly string[];
  /** An alias, or texts where our mark would stand. */
  readonly foreign?: boolean;
  /** What the alias leads to. */
  readonly alias?: string;
  readonly mark?: RecordMark;
  /** Marks beside it, which is ours if there is one: each edge node of a service has its own. Absent: none. */
  readonly others?: readonly RecordMark[];
}

/** A host name inside our zones. */
export interface ZoneName {
  readonly zone: string;
  readonly servers: readonly { readonly server: string; readonly seen: Known<ServerRecord> }[];
  /** Why the last update failed, and when it may be tried again. */
  readonly failed?: { readonly why: string; readonly retryAt: number };
}

export type NameFacts =
  | ZoneName
  /** Outside our zones: what it resolves to. */
  | { readonly elsewhere: Known<readonly string[]> };

export interface DnsFacts {
  readonly driver: 'none' | 'rfc2136';
  readonly zones: readonly string[];
  /** By host name; only those asked for. */
  readonly names: Readonly<Record<string, NameFacts>>;
  /** By host name: others that carry our mark, as far as the zones could be searched. Absent: none. */
  readonly left?: Readonly<Record<string, ZoneName>>;
  /** What is wrong with the file of the key that updates are signed with. */
  readonly keyFault?: { readonly why: string; readonly hint: string };
  /** Why a zone cannot be searched for our marks. Absent: all can, or none was asked for yet. */
  readonly unsearched?: string;
}

/** How a container shows that it is ready. Never a bare connect (L17): an engine's forwarder accepts for nobody. */
export type ProbeCheck =
  /** TLS handshake with SNI on a published loopback port. */
  | {
      readonly kind: 'tls';
      readonly ip: string;
      readonly port: number;
      readonly hostname: string;
      readonly route: string;
    }
  /** Any HTTP status line, or a status within `expect` (both inclusive). */
  | {
      readonly kind: 'http';
      readonly ip: string;
      readonly port: number;
      readonly hostname: string;
      readonly tls: boolean;
      readonly route: string;
      /** Absent: `/`. */
      readonly path?: string;
      readonly expect?: readonly [number, number];
    }
  /** LISTEN (or bound UDP) in the container's own network namespace. */
  | {
      readonly kind: 'listen';
      readonly ip: string;
      /** 0: not published. */
      readonly port: number;
      readonly containerPort: number;
      readonly protocol: 'tcp' | 'udp';
    }
  /** A program inside the container that ends with 0. */
  | { readonly kind: 'exec'; readonly command: readonly string[] };

/** A check that its definition asks for: it takes part in becoming ready, and goes on afterwards. */
export interface ProbeHealth {
  readonly check: ProbeCheck;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** So many failures in a row make it unwell. */
  readonly retries: number;
  /** Failures so soon after the start do not count. */
  readonly startPeriodMs: number;
}

export interface ProbeTarget {
  readonly containerId: string;
  readonly startedAt: number;
  readonly pid?: number;
  /** Empty: running is enough. */
  readonly checks: readonly ProbeCheck[];
  readonly health?: ProbeHealth;
}

export type ProbeState =
  /** `last`: why the newest try failed, with what is listening where. */
  | { readonly kind: 'starting'; readonly since: number; readonly last?: string }
  | { readonly kind: 'ready'; readonly since: number }
  /**
   * It runs, and its health check fails: after it was ready, or for so long that it should have been. `times`: how often
   * in a row, also over restarts of this container; a long time of being ready ends the row.
   */
  | { readonly kind: 'unwell'; readonly since: number; readonly last: string; readonly times: number };

/** What a pass saw. Each part is known, or unknown with the reason. */
export interface Observed {
  readonly at: number;
  readonly engine: Known<EngineFacts>;
  /** By image reference; only references that were asked for. */
  readonly images: Readonly<Record<string, ImageState>>;
  readonly pushes: Readonly<Record<string, PushState>>;
  /** By image reference: builds and pulls under way that were not asked for. Absent: none. */
  readonly strayWork?: Readonly<Record<string, StrayWork>>;
  /** By image reference: what the rules say of the Dockerfiles of images that are built here; absent: nothing. */
  readonly findings?: Readonly<Record<string, readonly Issue[]>>;
  readonly ports: Known<PortFacts>;
  readonly proxy: Known<ProxyFacts>;
  /** By host name: those asked for, and what is left of others that were issued here. */
  readonly certificates: Readonly<Record<string, CertificateState>>;
  /** By `<host name>:<port>`, of our routes that are served; one that is not here is being tried. Absent: none is tried. */
  readonly handshakes?: Readonly<Record<string, Handshake>>;
  /** Absent: no DNS driver of this version looked. */
  readonly dns?: DnsFacts;
  /** By bind source: what stands there. */
  readonly mounts: Readonly<Record<string, MountState>>;
  /** By container id. */
  readonly probes: Readonly<Record<string, ProbeState>>;
  /** Absent until it was measured. */
  readonly disk?: DiskFacts;
  /** By container id: when the engine started it again, as far as this agent saw it. Absent: never. */
  readonly exits?: Readonly<Record<string, readonly number[]>>;
}

/** The disk of the engine; sizes in bytes. */
export interface DiskFacts {
  /** When it was measured. */
  readonly at: number;
  readonly imagesBytes: number;
  /** What the builder remembers; absent where the engine does not tell. */
  readonly cacheBytes?: number;
  /** Logs of all containers; absent where none can be seen. */
  readonly logsBytes?: number;
  /** Absent when the engine is on another machine. */
  readonly freeBytes?: number;
  /** With less no build begins. */
  readonly minFreeBytes: number;
}

export type MountState =
  | { readonly kind: 'present' }
  | { readonly kind: 'missing' }
  /** A symlink in some part, or a socket where a directory is wanted. */
  | { readonly kind: 'unfit'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };
