import type { Commit } from '../source/types.ts';

/** A finding in the definitions: where exactly, what, and how to mend it. Lines and columns are 1-based. */
export interface Issue {
  /** Stable id of the rule, for example `image/semver-tag`. */
  readonly rule: string;
  readonly severity: 'error' | 'warning';
  /** Path inside the repository. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The key, for example `components[0].image`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly hint: string;
  /** The service that is held back by it, where it is known. */
  readonly service?: string;
}

/** `[host[:port]/]repository:tag[@sha256:…]`, taken apart once. */
export interface ImageRef {
  /** Exactly as the definition has it. */
  readonly reference: string;
  /** Registry host with port; absent for an image without a host, which stays local. */
  readonly host?: string;
  /** Without the host, for example `mc/myservice`. */
  readonly repository: string;
  readonly tag: string;
  /** `sha256:…` when the reference is pinned to a digest. */
  readonly digest?: string;
}

/** An environment variable without its value: values are split off before `plan` (house rule 11). */
export interface EnvHash {
  readonly name: string;
  readonly hash: string;
}

export type Mount =
  | { readonly kind: 'bind'; readonly source: string; readonly target: string; readonly readOnly: boolean }
  | { readonly kind: 'volume'; readonly volume: string; readonly target: string; readonly readOnly: boolean };

export interface Route {
  /** Empty for the single unnamed route. */
  readonly name: string;
  /** External port: a listener of the proxy. */
  readonly port: number;
  readonly mode: 'l4' | 'l7';
  /** Lower case, default filled in. */
  readonly hostname: string;
  /** The port on which the image listens by itself; absent: it listens on `$PORT…`. */
  readonly containerPort?: number;
  /** The service speaks TLS behind an l7 route. */
  readonly backendTls: boolean;
  /** Other nodes that serve it as well, sorted: its name then leads to them, and not to its own node. Absent: none. */
  readonly edge?: readonly string[];
}

/** A fixed port: `[ip:]host:container[/tcp|udp]`. */
export interface FixedPort {
  readonly ip?: string;
  readonly host: number;
  readonly container: number;
  readonly protocol: 'tcp' | 'udp';
}

export interface Component {
  readonly name: string;
  /** Container name: `<service>-<component>`, or `<service>` when equal (L12). */
  readonly container: string;
  readonly image: ImageRef;
  /** Dockerfile path inside the source repository, when `[build.images]` names this component's repository. */
  readonly dockerfile?: string;
  /** Sorted by name. */
  readonly env: readonly EnvHash[];
  /** Sorted by target. */
  readonly mounts: readonly Mount[];
  readonly cmd?: readonly string[];
  readonly network: string;
  readonly user?: string;
  /** As the engine is told: `always` is already `unless-stopped`. */
  readonly restart: 'no' | 'on-failure' | 'unless-stopped';
  readonly routes: readonly Route[];
  readonly ports: readonly FixedPort[];
  /** Components of this service that must be ready before this one is started. */
  readonly after?: readonly string[];
  /** With it the image's own command does not hold. */
  readonly entrypoint?: readonly string[];
  /** For example `SIGINT`; absent: the image's. */
  readonly stopSignal?: string;
  /** Sorted by name. */
  readonly labels?: readonly { readonly name: string; readonly value: string }[];
  /** Name of an unmarked container that counts as predecessor, once. */
  readonly replaces?: string;
  readonly health?: Health;
  readonly resources?: Resources;
}

/**
 * How a component shows that it is well, before and after it is ready. It takes the place of the check that the route or
 * port it asks has by itself.
 */
export interface Health {
  readonly type: 'http' | 'tls' | 'tcp' | 'exec';
  /** Name of the route that is asked; absent: the first, or the only one. */
  readonly route?: string;
  /** A port inside the container, for components without a route. */
  readonly port?: number;
  /** `http`: request path. */
  readonly path?: string;
  /** `http`: status codes that count as well, both inclusive. */
  readonly expect?: readonly [number, number];
  /** `exec`: run inside the container; exit code 0 is well. */
  readonly command?: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** So many failures in a row make it unwell. */
  readonly retries: number;
  /** Failures so soon after the start do not count. */
  readonly startPeriodMs: number;
  readonly onFailure: 'restart' | 'report';
}

/** Limits of one container; absent: none. */
export interface Resources {
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly pids?: number;
  readonly shmBytes?: number;
}

/** When changes may happen: from each time of the cron expression, for so long. */
export interface Window {
  readonly cron: string;
  readonly forMs: number;
  /** IANA name, for example `Europe/Berlin`. */
  readonly timezone: string;
}

/** `[deploy]` of a service. What is absent is as the node's settings have it. */
export interface Deploy {
  readonly strategy?: 'recreate' | 'blue-green';
  /** How long a changed version may take to be proved. */
  readonly timeoutMs?: number;
  readonly stableForMs?: number;
  readonly stopTimeoutS?: number;
  /** `never`: a version that is not proved stays; for services that a person must unseal. */
  readonly return?: 'previous' | 'never';
  /** `manual`: no restart for drift that is only cosmetic. */
  readonly restart?: 'auto' | 'manual';
  readonly window?: Window;
}

/**
 * One service with every default filled in. Fields of our own are absent where the file does not have them, so that a new
 * field changes no digest of a definition that does not use it.
 */
export interface Service {
  readonly name: string;
  readonly node: string;
  readonly active: boolean;
  /** Source directory relative to the workspace. */
  readonly path: string;
  /** In the order of the file. */
  readonly components: readonly Component[];
  /** Leave everything as it is, only observe. */
  readonly paused?: true;
  /** When the file goes, leave the containers as orphans. */
  readonly prune?: false;
  /**
   * Services of this node that must be ready first: delays starts and changes, never what runs. The rules hold that
   * each exists and that there is no ring; while last good states are in force a name may be missing all the same.
   */
  readonly after?: readonly string[];
  /** At least 1. Raised to have the containers made anew, and a held-back version tried again. */
  readonly generation?: number;
  readonly deploy?: Deploy;
  /** Rules that the file silences, with the reason it gives. */
  readonly silenced?: readonly { readonly rule: string; readonly reason: string }[];
}

/** A service of this node that is in force, with where it comes from. */
export interface DesiredService {
  readonly service: Service;
  readonly file: string;
  /** Git object id of the blob that is in force. */
  readonly oid: string;
  /** Digest of `service`: a service is touched only if this changed (L37). */
  readonly digest: string;
  /** Commit that brought the blob in force; the one it was first seen with, where that is not known. */
  readonly commit: string;
  /** True when the file of the newest commit is bad and its last good state is in force. */
  readonly heldBack: boolean;
  /** Of the last proved version, when it is in force again: the newer one that gave way to it. */
  readonly insteadOf?: DesiredService;
}

/** A service that is active and has volumes on another node, or was so when it was last seen there. */
export interface Elsewhere {
  readonly service: string;
  readonly node: string;
}

/** Routes of a service of another node that this node serves as well: it is their edge, and has none of the containers. */
export interface EdgeService {
  readonly service: {
    /** `<service>@<home>`: no service can be called so. */
    readonly name: string;
    /** Those with routes for this node, with these routes only. */
    readonly components: readonly { readonly name: string; readonly routes: readonly Route[] }[];
  };
  /** The node that runs it. */
  readonly home: string;
  /** Where the home node is reached: the first address of its file. Absent: it names none. */
  readonly address?: string;
  readonly active: boolean;
  readonly paused?: true;
  /** Why nothing of it may be changed for now: what is known of its node may be wrong. */
  readonly held?: string;
  readonly file: string;
  readonly oid: string;
  readonly commit: string;
  /** Of what an edge needs alone: a new version of the service changes nothing here. */
  readonly digest: string;
  readonly heldBack: boolean;
}

export interface Desired {
  readonly node: string;
  readonly commit: Commit;
  /** Of this node, valid, in force; sorted by name. */
  readonly services: readonly DesiredService[];
  /** Names of services whose file is bad and that have no good state to fall back on. */
  readonly refused: readonly string[];
  /** True while any file that may belong to this node is bad: removals wait. */
  readonly unreadable: boolean;
  /** Names in `removals.toml`: services that may go. */
  readonly removals: readonly string[];
  /** Sorted by file, line, column. */
  readonly issues: readonly Issue[];
  /** By image reference: the other node that builds it for this one too. Absent: none. */
  readonly builtElsewhere?: Readonly<Record<string, string>>;
  /** Of other nodes, served here too; sorted by name. Absent: none. */
  readonly edges?: readonly EdgeService[];
  /** No definition of any node is in force. Absent: there is one. */
  readonly isEmpty?: true;
  /** `<service>@<node>` of other nodes' files that are bad and have no good state: whether this node is their edge is not known. Absent: none. */
  readonly edgesUnread?: readonly string[];
}

/** Environment values by `<service>/<component>`, then by variable name. Never reaches `plan`, journal or view. */
export type EnvValues = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What a service gets when neither its file nor its node's file says otherwise. */
export interface Defaults {
  readonly network: string;
  readonly user?: string;
  readonly restart: 'no' | 'on-failure' | 'unless-stopped' | 'always';
  /** Default host name of a route: `<service>.<hostnameSuffix>`. */
  readonly hostnameSuffix: string;
}

/** What definitions may ask for on a node: the node's own settings, never from git. */
export interface Policy {
  /** `pinned`: any tag will do beside a digest. Absent: a tag is a semantic version. */
  readonly images?: 'pinned';
  /** Image hosts, `host[:port]`, as the settings list registries; absent: they list none, and no host is ever asked. */
  readonly imageHosts?: readonly string[];
  /** Bind sources: the path itself and what lies below it; `{service}` is the service's name. */
  readonly mounts: readonly string[];
  readonly networks: readonly string[];
  /** Fixed host ports: `53` or `1024-65535`. */
  readonly ports: readonly string[];
  /** Domains of host names, besides the default suffix. */
  readonly hostnames: readonly string[];
  /** Ports on which the proxy listens; absent: what the node's file says. */
  readonly listeners?: readonly number[];
  /** The same with their addresses, where they have one: no fixed port takes them. Absent: every address. */
  readonly bound?: readonly { readonly ip?: string; readonly port: number }[];
}

/** A node as `nodes/<node>.toml` has it, the defaults of the settings filled in. */
export interface NodeDefinition {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Ports on which the proxy listens, where the file tells them. */
  readonly listeners?: readonly number[];
  readonly defaults: Defaults;
  /** Keys of those defaults that its file sets, as it names them; absent: none. */
  readonly own?: readonly string[];
  /** `observe`: plan and show, touch nothing. Absent: `converge`. */
  readonly mode?: 'observe';
  /** Changes of any service of this node happen in one of these only; absent: at any time. */
  readonly windows?: readonly Window[];
}
