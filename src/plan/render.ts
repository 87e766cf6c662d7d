import type { ContainerSpec } from '../node/types.ts';

export interface RenderOptions {
  readonly engine: 'docker' | 'podman';
  /** Labels of the container, as the engine adapter would set them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Values of environment variables; a name without one is passed through from the shell that runs the command. */
  readonly values: ReadonlyMap<string, string>;
}

/** The engine commands that make this container, as argument arrays: what a person types when nothing else is left (L01). */
export function renderCommands(spec: ContainerSpec, options: RenderOptions): string[][] {
  const { engine } = options;
  const [first, ...further] = spec.networks;
  const networks = spec.networks.map(({ name }) => [engine, 'network', 'create', name]);
  const create = [
    engine,
    'create',
    ...option('--name', [spec.name]),
    ...option(
      '--label',
      Object.entries(options.labels).map(([name, value]) => `${name}=${value}`),
    ),
    ...option(
      '--env',
      spec.env.map(({ name }) => withValue(name, options.values.get(name))),
    ),
    ...option(
      '--env',
      spec.agentEnv.map(({ name, value }) => `${name}=${value}`),
    ),
    ...option('--mount', spec.mounts.map(mountOf)),
    ...option(
      '--publish',
      spec.publish.map((port) => `${bracketed(port.ip)}:${port.host}:${port.container}/${port.protocol}`),
    ),
    ...option('--entrypoint', spec.entrypoint?.slice(0, 1) ?? []),
    ...option('--stop-signal', spec.stopSignal === undefined ? [] : [spec.stopSignal]),
    ...limits(spec),
    ...option('--user', spec.user === undefined ? [] : [spec.user]),
    ...option('--restart', [spec.restart]),
    ...option('--network', [first?.name ?? 'none']),
    ...option('--network-alias', first?.aliases ?? []),
    ...option('--log-driver', [engine === 'docker' ? 'json-file' : 'k8s-file']),
    ...option('--log-opt', logOptions(spec, engine)),
    ...option('--security-opt', ['no-new-privileges']),
    spec.image,
    ...(spec.entrypoint?.slice(1) ?? []),
    ...(spec.cmd ?? []),
  ];
  const connects = further.map(({ name, aliases }) => [
    engine,
    'network',
    'connect',
    ...option('--alias', aliases),
    name,
    spec.name,
  ]);
  return [...networks, create, ...connects, [engine, 'start', spec.name]];
}

/** One command as a line for a POSIX shell: every argument that needs it in single quotes. */
export function shellLine(command: readonly string[]): string {
  return command
    .map((argument) =>
      /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", String.raw`'\''`)}'`,
    )
    .join(' ');
}

function option(flag: string, values: readonly string[]): string[] {
  return values.flatMap((value) => [flag, value]);
}

function limits({ resources = {} }: ContainerSpec): string[] {
  const { memoryBytes, cpus, pids, shmBytes } = resources;
  const flag = (name: string, value: number | undefined): string[] =>
    option(name, value === undefined ? [] : [String(value)]);
  return [
    ...flag('--memory', memoryBytes),
    ...flag('--cpus', cpus),
    ...flag('--pids-limit', pids),
    ...flag('--shm-size', shmBytes),
  ];
}

function withValue(name: string, value: string | undefined): string {
  return value === undefined ? name : `${name}=${value}`;
}

function bracketed(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}

function mountOf(mount: ContainerSpec['mounts'][number]): string {
  const source = mount.kind === 'bind' ? mount.source : mount.volume;
  return `type=${mount.kind},source=${source},target=${mount.target}${mount.readOnly ? ',readonly' : ''}`;
}

function logOptions(spec: ContainerSpec, engine: 'docker' | 'podman'): string[] {
  const size = `max-size=${spec.logMaxSize}`;
  return engine === 'docker' ? [size, `max-file=${spec.logMaxFiles}`] : [size];
}
