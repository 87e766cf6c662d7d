import type { Mount } from '../definitions/types.ts';
import type { ContainerSpec } from '../node/types.ts';

/** One word of a command: as it is, or text that the shell itself expands. */
export type Word = string | { readonly raw: string };

/** One command. Each group of words is a line of its own: a flag with its value, for example. */
export interface Command {
  /** Not run when this one succeeds. */
  readonly unless?: readonly Word[];
  readonly groups: readonly (readonly Word[])[];
}

export interface RenderOptions {
  readonly engine: 'docker' | 'podman';
  /** Labels of the container, as the engine adapter would set them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Values of the definition's variables, by name. */
  readonly values: ReadonlyMap<string, Word>;
}

/** What has to be there before the container: its networks and the volumes of the engine, made as the agent makes them. `label`: whose they are. */
export function prepareCommands(
  spec: ContainerSpec,
  { engine, label }: Pick<RenderOptions, 'engine'> & { readonly label: string },
): Command[] {
  const owner = option('--label', [label]);
  const made = (kind: 'network' | 'volume', name: string, ...more: readonly Word[][]): Command => ({
    unless: [engine, kind, 'inspect', name],
    groups: [[engine, kind, 'create'], ...more, ...owner, [name]],
  });
  return [
    ...networksOf(spec).map(({ name }) => made('network', name, ['--driver', 'bridge'])),
    ...spec.mounts.flatMap((mount) => (mount.kind === 'volume' ? [made('volume', mount.volume)] : [])),
  ];
}

/**
 * The commands that make and start this container as the engine adapter does: what a person types when nothing else is
 * left (L01). A missing bind source is refused, as the agent refuses it (L24). Docker before API 1.44 joins one network at
 * the creation, so that a container of several networks takes three steps there.
 */
export function runCommands(spec: ContainerSpec, options: RenderOptions): Command[] {
  const { engine } = options;
  const networks = networksOf(spec);
  const isSplit = engine === 'docker' && networks.length > 1;
  const groups: Word[][] = [
    isSplit ? [engine, 'create'] : [engine, 'run', '--detach'],
    ['--name', spec.name],
    ...option(
      '--label',
      Object.entries(options.labels).map(([name, value]) => `${name}=${value}`),
    ),
    ...option(
      '--env',
      spec.env.map(({ name }) => prefixed(`${name}=`, options.values.get(name) ?? '')),
    ),
    ...option(
      '--env',
      spec.agentEnv.map(({ name, value }) => `${name}=${value}`),
    ),
    ...spec.mounts.map((mount) => mountOf(mount, engine)),
    ...option(
      '--publish',
      spec.publish.map((port) => `${bracketed(port.ip)}:${port.host}:${port.container}/${port.protocol}`),
    ),
    ...entrypointOf(spec, engine),
    ...option('--stop-signal', spec.stopSignal === undefined ? [] : [spec.stopSignal]),
    ...limits(spec),
    ...option('--user', spec.user === undefined ? [] : [spec.user]),
    ['--restart', spec.restart],
    ...(engine === 'podman' ? podmanNetworks(networks) : dockerNetwork(networks[0])),
    ...logOptions(spec, engine),
    ['--security-opt', 'no-new-privileges'],
    ['--init=false'],
    // What Podman's command line would add by itself and the agent does not ask for.
    ...(engine === 'podman' ? [['--http-proxy=false'], ['--systemd=false']] : []),
    [spec.image, ...(spec.entrypoint?.slice(1) ?? []), ...(spec.cmd ?? [])],
  ];
  if (!isSplit) return [{ groups }];
  const connects = networks.slice(1).map(({ name, aliases }): Command => ({
    groups: [[engine, 'network', 'connect', ...option('--alias', aliases).flat(), name, spec.name]],
  }));
  return [{ groups }, ...connects, { groups: [[engine, 'start', spec.name]] }];
}

/** A command for a POSIX shell: whatever is no plain word stands in single quotes, one group a line. */
export function shellText({ unless, groups }: Command): string {
  const text = groups.map(line).join(' \\\n  ');
  return unless === undefined ? text : `${line(unless)} > /dev/null 2>&1 || ${text}`;
}

function line(words: readonly Word[]): string {
  return words.map((word) => (typeof word === 'string' ? quoted(word) : word.raw)).join(' ');
}

export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function prefixed(prefix: string, word: Word): Word {
  return typeof word === 'string' ? `${prefix}${word}` : { raw: `${quoted(prefix)}${word.raw}` };
}

function option(flag: string, values: readonly Word[]): Word[][] {
  return values.map((value) => [flag, value]);
}

function networksOf(spec: ContainerSpec): ContainerSpec['networks'] {
  return spec.networks.filter(({ name }) => name !== 'none');
}

function dockerNetwork(first: ContainerSpec['networks'][number] | undefined): Word[][] {
  return [['--network', first?.name ?? 'none'], ...option('--network-alias', first?.aliases ?? [])];
}

function podmanNetworks(networks: ContainerSpec['networks']): Word[][] {
  if (networks.length === 0) return [['--network', 'none']];
  const named = networks.map(
    ({ name, aliases }) => `${name}:${aliases.map((alias) => `alias=${alias}`).join(',')}`,
  );
  return option('--network', named);
}

function limits({ resources = {} }: ContainerSpec): Word[][] {
  const { memoryBytes, cpus, pids, shmBytes } = resources;
  const flag = (name: string, value: number | undefined): Word[][] =>
    option(name, value === undefined ? [] : [String(value)]);
  return [
    ...flag('--memory', memoryBytes),
    ...flag('--cpus', cpus),
    ...flag('--pids-limit', pids),
    ...flag('--shm-size', shmBytes),
  ];
}

/** Podman takes JSON, and so any program whatever its name looks like. */
function entrypointOf({ entrypoint }: ContainerSpec, engine: RenderOptions['engine']): Word[][] {
  const [program] = entrypoint ?? [];
  if (program === undefined) return [];
  return [['--entrypoint', engine === 'podman' ? JSON.stringify([program]) : program]];
}

function bracketed(ip: string): string {
  return ip.includes(':') ? `[${ip}]` : ip;
}

/** Docker's `--volume` would make a missing directory; Podman's refuses it, and its `--mount` knows no comma in a path. */
function mountOf(mount: Mount, engine: RenderOptions['engine']): Word[] {
  const source = mount.kind === 'bind' ? mount.source : mount.volume;
  if (engine === 'podman') {
    const how = [mount.readOnly ? 'ro' : 'rw', ...(mount.kind === 'bind' ? ['rbind', 'rprivate'] : [])];
    return ['--volume', `${source}:${mount.target}:${how.join(',')}`];
  }
  const fields = [
    `type=${mount.kind}`,
    `source=${source}`,
    `target=${mount.target}`,
    ...(mount.readOnly ? ['readonly'] : []),
    ...(mount.kind === 'bind' ? ['bind-propagation=rprivate'] : []),
  ];
  return ['--mount', fields.map(csvField).join(',')];
}

/** RFC 4180, as Docker reads it. */
function csvField(text: string): string {
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function logOptions(spec: ContainerSpec, engine: RenderOptions['engine']): Word[][] {
  const size = ['--log-opt', `max-size=${spec.logMaxSize}`];
  return engine === 'docker'
    ? [['--log-driver', 'json-file'], size, ['--log-opt', `max-file=${spec.logMaxFiles}`]]
    : [['--log-driver', 'k8s-file'], size];
}
