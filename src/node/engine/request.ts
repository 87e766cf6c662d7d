import { constants } from 'node:os';
import { canonicalJson } from '../../base/json.ts';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import { LABELS, type ContainerSpec, type PublishedPort } from '../types.ts';

/** Everything one container is made of, with the values. Lives as short as the call that needs it. */
export interface ContainerInput {
  readonly name: string;
  readonly spec: ContainerSpec;
  readonly labels: Readonly<Record<string, string>>;
  /** In the order of the definition, then what the agent adds. */
  readonly env: ReadonlyMap<string, string>;
}

/** Puts specification and values together; blocked when a value is missing. */
export function containerInput(
  name: string,
  spec: ContainerSpec,
  specDigest: string,
  values: ReadonlyMap<string, string>,
): Outcome<ContainerInput> {
  const env = new Map<string, string>();
  for (const { name: variable } of spec.env) {
    const value = values.get(variable);
    if (value === undefined) {
      return blocked(
        `container ${name}: the environment variable ${variable} has no value`,
        'Its definition changed between planning and doing: the next pass plans again.',
      );
    }
    env.set(variable, value);
  }
  for (const { name: variable, value } of spec.agentEnv) env.set(variable, value);
  const labels = labelsOf(spec, specDigest);
  return ok({ name, spec, labels, env });
}

/** Identity of a container, and what a lost registry is rebuilt from (house rule 8). */
export function labelsOf(spec: ContainerSpec, specDigest: string): Readonly<Record<string, string>> {
  return {
    ...Object.fromEntries((spec.labels ?? []).map(({ name, value }) => [name, value])),
    [LABELS.owner]: spec.owner,
    [LABELS.service]: spec.service,
    [LABELS.component]: spec.component,
    [LABELS.spec]: specDigest,
    [LABELS.ports]: canonicalJson(spec.leases),
    [LABELS.format]: '1',
  };
}

/**
 * What is run, as the command lines of both engines can say it: an entrypoint of one string, the rest of it before the
 * command. So what `mc-gitops render` prints makes the same container.
 */
export function commandOf(spec: ContainerSpec): { entrypoint?: readonly string[]; cmd?: readonly string[] } {
  const { entrypoint, cmd } = spec;
  const [program, ...rest] = entrypoint ?? [];
  if (program === undefined) return cmd === undefined ? {} : { cmd };
  return { entrypoint: [program], cmd: [...rest, ...(cmd ?? [])] };
}

/** The names of the networks to join; a network `none` is the absence of networks. */
export function networksOf(spec: ContainerSpec): ContainerSpec['networks'] {
  return spec.networks.filter(({ name }) => name !== 'none');
}

/** Body of `POST /containers/create` (Docker Engine API 1.41). The bind sources are in `Mounts`: `Binds` would create them (L24). */
export function dockerRequest({ spec, labels, env }: ContainerInput): object {
  const first = networksOf(spec)[0];
  const { entrypoint, cmd } = commandOf(spec);
  const { memoryBytes, cpus, pids, shmBytes } = spec.resources ?? {};
  return {
    Image: spec.image,
    Labels: labels,
    Env: [...env].map(([name, value]) => `${name}=${value}`),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(cmd === undefined ? {} : { Cmd: cmd }),
    ...(spec.stopSignal === undefined ? {} : { StopSignal: spec.stopSignal }),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ExposedPorts: Object.fromEntries(spec.publish.map((port) => [portKey(port), {}])),
    HostConfig: {
      Mounts: spec.mounts.map((mount) =>
        mount.kind === 'bind'
          ? {
              Type: 'bind',
              Source: mount.source,
              Target: mount.target,
              ReadOnly: mount.readOnly,
              BindOptions: { Propagation: 'rprivate' },
            }
          : { Type: 'volume', Source: mount.volume, Target: mount.target, ReadOnly: mount.readOnly },
      ),
      PortBindings: portBindings(spec.publish),
      NetworkMode: first?.name ?? 'none',
      RestartPolicy: { Name: spec.restart },
      LogConfig: {
        Type: 'json-file',
        Config: { 'max-size': spec.logMaxSize, 'max-file': String(spec.logMaxFiles) },
      },
      SecurityOpt: ['no-new-privileges'],
      ...(memoryBytes === undefined ? {} : { Memory: memoryBytes }),
      ...(cpus === undefined ? {} : { NanoCpus: nanoCpus(cpus) }),
      ...(pids === undefined ? {} : { PidsLimit: pids }),
      ...(shmBytes === undefined ? {} : { ShmSize: shmBytes }),
      Init: false,
      Privileged: false,
      AutoRemove: false,
    },
    ...(first === undefined
      ? {}
      : { NetworkingConfig: { EndpointsConfig: { [first.name]: { Aliases: first.aliases } } } }),
  };
}

/**
 * Body of `POST /libpod/containers/create` (Podman 4.0 and later). Not the compatible call: that one creates a missing
 * bind source silently. `k8s-file` knows a size and no number of files: Podman truncates one file.
 */
export function podmanRequest({ name, spec, labels, env }: ContainerInput): object {
  const networks = networksOf(spec);
  const { entrypoint, cmd } = commandOf(spec);
  const { shmBytes } = spec.resources ?? {};
  return {
    name,
    image: spec.image,
    labels,
    env: Object.fromEntries(env),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(cmd === undefined ? {} : { command: cmd }),
    ...(spec.stopSignal === undefined ? {} : { stop_signal: signalNumber(spec.stopSignal) }),
    ...podmanLimits(spec),
    ...(shmBytes === undefined ? {} : { shm_size: shmBytes }),
    ...(spec.user === undefined ? {} : { user: spec.user }),
    mounts: spec.mounts.flatMap((mount) =>
      mount.kind === 'bind'
        ? [
            {
              type: 'bind',
              source: mount.source,
              destination: mount.target,
              options: [mount.readOnly ? 'ro' : 'rw', 'rbind', 'rprivate'],
            },
          ]
        : [],
    ),
    volumes: spec.mounts.flatMap((mount) =>
      mount.kind === 'volume'
        ? [{ name: mount.volume, dest: mount.target, options: [mount.readOnly ? 'ro' : 'rw'] }]
        : [],
    ),
    portmappings: spec.publish.map((port) => ({
      host_ip: port.ip,
      host_port: port.host,
      container_port: port.container,
      protocol: port.protocol,
    })),
    netns: { nsmode: networks.length === 0 ? 'none' : 'bridge' },
    ...(networks.length === 0
      ? {}
      : { networks: Object.fromEntries(networks.map((net) => [net.name, { aliases: net.aliases }])) }),
    restart_policy: spec.restart,
    log_configuration: { driver: 'k8s-file', size: sizeInBytes(spec.logMaxSize) },
    no_new_privileges: true,
    init: false,
    privileged: false,
    remove: false,
    // What Podman would add by itself and Docker does not: proxies of the host, a systemd mode guessed from the command.
    httpproxy: false,
    env_host: false,
    systemd: 'false',
  };
}

const CPU_PERIOD_US = 100_000;

/** As Podman's own command line fills them in: swap as much again as memory, processors as a share of a period. */
function podmanLimits(spec: ContainerSpec): object {
  const { memoryBytes, cpus, pids } = spec.resources ?? {};
  const limits = {
    ...(memoryBytes === undefined ? {} : { memory: { limit: memoryBytes, swap: memoryBytes * 2 } }),
    ...(cpus === undefined
      ? {}
      : { cpu: { period: CPU_PERIOD_US, quota: Math.round(cpus * CPU_PERIOD_US) } }),
    ...(pids === undefined ? {} : { pids: { limit: pids } }),
  };
  return Object.keys(limits).length === 0 ? {} : { resource_limits: limits };
}

export function nanoCpus(cpus: number): number {
  return Math.round(cpus * 1e9);
}

/** Podman's own call takes the number. Of the real-time signals the first is 34 to a program of any C library. */
export function signalNumber(name: string): number {
  const [, offset = '0'] = /^SIGRTMIN(?:\+(\d+))?$/.exec(name) ?? [];
  return (constants.signals as Readonly<Partial<Record<string, number>>>)[name] ?? 34 + Number(offset);
}

/** `80/tcp`, as both engines key their port tables. */
function portKey(port: Pick<PublishedPort, 'container' | 'protocol'>): string {
  return `${port.container}/${port.protocol}`;
}

/** `10m` → 10 000 000: both engines count log sizes in powers of 1000. */
export function sizeInBytes(size: string): number {
  const [, digits = '', unit = ''] = /^(\d+)\s*([kmg]?)b?$/i.exec(size.trim()) ?? [];
  if (digits === '') throw new Error(`log size ${size} is not a number with k, m or g`);
  return Number(digits) * 1000 ** ['', 'k', 'm', 'g'].indexOf(unit.toLowerCase());
}

function portBindings(publish: readonly PublishedPort[]): Record<string, object[]> {
  const bindings: Record<string, object[]> = {};
  for (const port of publish) {
    (bindings[portKey(port)] ??= []).push({ HostIp: port.ip, HostPort: String(port.host) });
  }
  return bindings;
}
