import { LABEL_PREFIX, LABELS, type Identity, type ObservedContainer, type PublishedPort } from '../types.ts';
import { brief } from './failure.ts';
import { withoutWords, wordsIn } from './words.ts';

/** The part of `GET /containers/{id}/json` that is used; the engines leave out or null what they do not know. */
export interface Inspection {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly RestartCount?: number;
  readonly State: {
    readonly Status: string;
    readonly Running: boolean;
    readonly ExitCode?: number;
    readonly Error?: string;
    readonly StartedAt?: string;
    readonly FinishedAt?: string;
    readonly Pid?: number;
  };
  readonly Config: {
    readonly Image?: string;
    readonly Hostname?: string;
    readonly User?: string;
    readonly Env?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    /** Podman before 5.0 joins the strings with spaces. */
    readonly Entrypoint?: readonly string[] | string | null;
    /** Podman before 5.0 gives the number. */
    readonly StopSignal?: string | number | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  };
  readonly HostConfig: {
    readonly NetworkMode?: string;
    readonly Privileged?: boolean;
    readonly PortBindings?: PortTable | null;
    readonly RestartPolicy?: { readonly Name?: string; readonly MaximumRetryCount?: number };
    readonly CapAdd?: readonly string[] | null;
    readonly Devices?: readonly { readonly PathInContainer?: string }[] | null;
    readonly PidMode?: string | null;
    readonly IpcMode?: string | null;
    readonly SecurityOpt?: readonly string[] | null;
    readonly Memory?: number | null;
    readonly NanoCpus?: number | null;
    readonly CpuQuota?: number | null;
    readonly CpuPeriod?: number | null;
    readonly PidsLimit?: number | null;
    readonly ShmSize?: number | null;
    readonly LogConfig?: {
      readonly Type?: string;
      readonly Size?: string;
      readonly Config?: Readonly<Record<string, string>> | null;
    };
  };
  readonly Mounts?: readonly InspectedMount[] | null;
  readonly NetworkSettings?: {
    readonly Networks?: Readonly<
      Record<
        string,
        { readonly Aliases?: readonly string[] | null; readonly DNSNames?: readonly string[] | null }
      >
    > | null;
  };
}

export interface InspectedMount {
  readonly Type: string;
  readonly Name?: string;
  readonly Source?: string;
  readonly Destination: string;
  readonly RW?: boolean;
}

type PortTable = Readonly<
  Record<string, readonly { readonly HostIp?: string; readonly HostPort?: string }[] | null>
>;

/** One line of `GET /containers/json`. */
export interface Listed {
  readonly Id: string;
  readonly Names?: readonly string[] | null;
  readonly Image?: string;
  readonly ImageID?: string;
  readonly State?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
  /** In words: `Up 5 minutes`, `Exited (0) 3 hours ago`. */
  readonly Status?: string;
  readonly Ports?:
    | readonly {
        readonly IP?: string;
        readonly PrivatePort?: number;
        readonly PublicPort?: number;
        readonly Type?: string;
      }[]
    | null;
}

/** A container of ours, from its inspection. */
export function observedFromInspection(seen: Inspection): ObservedContainer {
  const state = stateOf(seen.State.Status);
  const startedAt = Date.parse(seen.State.StartedAt ?? '');
  const finishedAt = Date.parse(seen.State.FinishedAt ?? '');
  const { Error: said = '' } = seen.State;
  const startError = said === '' ? '' : brief(withoutWords(said, wordsIn(seen.Config)));
  const pid = seen.State.Pid ?? 0;
  const ended = state === 'exited' || state === 'dead' || state === 'restarting';
  return {
    id: seen.Id,
    name: nameOf(seen.Name),
    image: seen.Config.Image ?? '',
    imageId: imageIdOf(seen.Image),
    state,
    // Year 1 stands for "never".
    ...(startedAt > 0 ? { startedAt } : {}),
    ...(!seen.State.Running && finishedAt > 0 ? { finishedAt } : {}),
    ...(startError === '' ? {} : { startError }),
    ...(ended && seen.State.ExitCode !== undefined ? { exitCode: seen.State.ExitCode } : {}),
    restartCount: seen.RestartCount ?? 0,
    ...(seen.State.Running && pid > 0 ? { pid } : {}),
    ...labelsAndIdentity(seen.Config.Labels),
    publish: publishedOf(seen),
  };
}

/** A foreign container: only what the list says of it. */
export function observedFromList(listed: Listed): ObservedContainer {
  const publish = (listed.Ports ?? []).flatMap(({ IP, PrivatePort, PublicPort, Type }) =>
    PrivatePort === undefined || PublicPort === undefined || PublicPort === 0
      ? []
      : [port(IP, PublicPort, PrivatePort, Type)],
  );
  return {
    id: listed.Id,
    name: listedName(listed),
    image: listed.Image ?? '',
    imageId: imageIdOf(listed.ImageID ?? ''),
    state: stateOf(listed.State ?? ''),
    restartCount: 0,
    ...labelsAndIdentity(listed.Labels),
    publish: sortedPorts(publish),
  };
}

/** Ports as they were asked for: they stand there for a stopped container too. */
export function publishedOf(seen: Inspection): PublishedPort[] {
  const publish = Object.entries(seen.HostConfig.PortBindings ?? {}).flatMap(([key, bindings]) => {
    const [container = '0', protocol] = key.split('/');
    return (bindings ?? []).map(({ HostIp, HostPort }) =>
      port(HostIp, Number(HostPort ?? 0), Number(container), protocol),
    );
  });
  return sortedPorts(publish);
}

export function listedName(listed: Listed): string {
  return nameOf(listed.Names?.[0] ?? '');
}

export function nameOf(raw: string): string {
  return raw.startsWith('/') ? raw.slice(1) : raw;
}

/** Podman's own calls leave the algorithm out. */
export function imageIdOf(raw: string): string {
  return /^[0-9a-f]{64}$/.test(raw) ? `sha256:${raw}` : raw;
}

export function sortedPorts(publish: readonly PublishedPort[]): PublishedPort[] {
  const key = (one: PublishedPort): string =>
    `${one.protocol} ${one.ip} ${String(one.host).padStart(5, '0')}`;
  return [...publish].sort((a, b) =>
    key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.container - b.container,
  );
}

function port(ip: string | undefined, host: number, container: number, protocol = 'tcp'): PublishedPort {
  return {
    ip: ip === undefined || ip === '' ? '0.0.0.0' : ip,
    host,
    container,
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
  };
}

/** Labels of other tools can hold secrets (a proxy's password hashes): they are not taken in at all. */
function labelsAndIdentity(
  all: Readonly<Record<string, string>> | null | undefined,
): Pick<ObservedContainer, 'labels' | 'identity'> {
  const labels = Object.fromEntries(
    Object.entries(all ?? {})
      .filter(([name]) => name.startsWith(LABEL_PREFIX))
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  const identity = identityOf(labels);
  return identity === undefined ? { labels } : { labels, identity };
}

/** What our labels say, of whichever owner; undefined when the container has none of them, or not all. */
function identityOf(labels: Readonly<Record<string, string>>): Identity | undefined {
  const { [LABELS.owner]: owner, [LABELS.service]: service, [LABELS.component]: component } = labels;
  const { [LABELS.spec]: spec, [LABELS.format]: format } = labels;
  if (owner === undefined || service === undefined || component === undefined) return undefined;
  if (spec === undefined || format === undefined) return undefined;
  return { owner, service, component, spec, leases: leasesIn(labels[LABELS.ports] ?? ''), format };
}

/** A label that somebody wrote by hand is no reason to fail: what is no port there is left out. */
function leasesIn(label: string): Record<string, number> {
  let value: unknown;
  try {
    value = JSON.parse(label);
  } catch {
    return {};
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return {};
  const isPort = (entry: [string, unknown]): entry is [string, number] =>
    Number.isInteger(entry[1]) && Number(entry[1]) > 0 && Number(entry[1]) < 65_536;
  return Object.fromEntries(Object.entries(value).filter(isPort));
}

const STATES: Readonly<Record<string, ObservedContainer['state']>> = {
  created: 'created',
  configured: 'created',
  initialized: 'created',
  running: 'running',
  stopping: 'running',
  restarting: 'restarting',
  exited: 'exited',
  stopped: 'exited',
  paused: 'paused',
  removing: 'removing',
  dead: 'dead',
};

/** Docker's and Podman's words for a state; an unknown word counts as dead, so that nothing relies on it. */
function stateOf(status: string): ObservedContainer['state'] {
  return STATES[status.toLowerCase()] ?? 'dead';
}
