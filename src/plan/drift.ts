import { shortCheck } from '../base/check.ts';
import type { Mount, Resources } from '../definitions/types.ts';
import type {
  ContainerParts,
  ContainerSpec,
  ObservedContainer,
  PublishedPort,
  SeenText,
} from '../node/types.ts';

/** Something of a container that is otherwise than it was ordered, although its `spec` label says that it is not. */
export interface Drift {
  /** One short phrase: names, and never the value of a variable. */
  readonly what: string;
  /** The program that git describes runs all the same, where git wants it, on its data. */
  readonly isCosmetic: boolean;
}

/**
 * What somebody changed of a container that keeps our labels: one that was made again by hand, or updated, or joined to
 * another network. Nothing is said of what the engine fills in by itself, nor while the parts of the container are not known.
 */
export function driftOf(
  spec: ContainerSpec,
  container: ObservedContainer,
  engine: 'docker' | 'podman',
): readonly Drift[] {
  const { parts } = container;
  if (parts === undefined) return [];
  return [
    ...grave(imageDrift(spec.image, container.image)),
    ...grave(portDrift(spec.publish, container.publish)),
    ...grave(mountDrift(spec.mounts, parts.mounts)),
    ...grave(envDrift(spec, parts)),
    ...grave(commandDrift(spec, parts)),
    ...grave(unless(parts.rights.length === 0, `has more rights: ${parts.rights.join(', ')}`)),
    ...grave(networkDrift(spec, parts)),
    ...cosmetic(labelDrift(spec, container, parts)),
    ...cosmetic(limitDrift(spec.resources ?? {}, parts.resources, engine)),
    ...cosmetic(
      unless(parts.restart === spec.restart, `restart policy is ${parts.restart} instead of ${spec.restart}`),
    ),
  ];
}

/** The engines write names out in full, each in its way; with a digest that alone counts. */
function imageDrift(wanted: string, seen: string): string[] {
  const [, digest] = wanted.split('@');
  const isSame =
    digest === undefined
      ? plainName(seen) === plainName(wanted)
      : !seen.includes('@') || seen.endsWith(digest);
  return unless(isSame, `image is ${seen} instead of ${wanted}`);
}

function plainName(reference: string): string {
  return reference.replace(/^(localhost|docker\.io\/library|docker\.io)\//, '');
}

function portDrift(wanted: readonly PublishedPort[], seen: readonly PublishedPort[]): string[] {
  const told = (ports: readonly PublishedPort[]): string =>
    ports
      .map(({ ip, host, container, protocol }) => `${ip}:${host}:${container}/${protocol}`)
      .sort()
      .join(', ');
  return unless(
    told(wanted) === told(seen),
    `published ports are ${told(seen) || 'none'} instead of ${told(wanted) || 'none'}`,
  );
}

function mountDrift(wanted: readonly Mount[], seen: readonly Mount[]): string[] {
  return changes(
    new Map(wanted.map((mount) => [clean(mount.target), mountText(mount)])),
    new Map(seen.map((mount) => [clean(mount.target), mountText(mount)])),
    (target) => `mount at ${target}`,
  );
}

function mountText(mount: Mount): string {
  const source = mount.kind === 'bind' ? clean(mount.source) : mount.volume;
  return `${mount.kind} ${source} ${mount.readOnly ? 'ro' : 'rw'}`;
}

/** As the engines show paths. */
function clean(path: string): string {
  return path.replaceAll(/\/+/g, '/').replace(/(?<=.)\/$/, '');
}

function envDrift({ env, agentEnv }: ContainerSpec, parts: ContainerParts): string[] {
  const given = new Set(parts.given ?? []);
  const ofAgent = new Map(agentEnv.map(({ name, value }) => [name, value]));
  const wanted = new Map(env.filter(({ name }) => !ofAgent.has(name)).map(({ name, hash }) => [name, hash]));
  const seen = Object.entries(parts.env).filter(
    ([name]) => !ofAgent.has(name) && (wanted.has(name) || (parts.given !== undefined && !given.has(name))),
  );
  const variable = (name: string): string => `variable ${name}`;
  const agentSeen = Object.keys(parts.env)
    .filter((name) => ofAgent.has(name))
    .map((name): [string, string] => [name, parts.agentEnv[name] ?? '']);
  return [...changes(wanted, new Map(seen), variable), ...changes(ofAgent, new Map(agentSeen), variable)];
}

/** What is run, as it is ordered: an entrypoint of one string, the rest of it before the command. */
function commandDrift({ entrypoint, cmd, user }: ContainerSpec, parts: ContainerParts): string[] {
  const [program, ...rest] = entrypoint ?? [];
  const command = program === undefined ? cmd : [...rest, ...(cmd ?? [])];
  return [
    ...unless(isText(parts.entrypoint, program), 'entrypoint was changed'),
    ...unless(isText(parts.cmd, command), 'command was changed'),
    ...unless(isText(parts.user, user), 'user was changed'),
  ];
}

function isText(seen: SeenText, wanted: unknown): boolean {
  return wanted === undefined ? seen.given !== false : seen.check === shortCheck(wanted);
}

function networkDrift({ networks }: ContainerSpec, parts: ContainerParts): string[] {
  const wanted = networks.filter(({ name }) => name !== 'none');
  const names = wanted.map(({ name }) => name);
  return [
    ...wanted.flatMap(({ name, aliases }) => {
      const seen = parts.networks[name];
      if (seen === undefined) return [`network ${name} is missing`];
      return aliases
        .filter((alias) => !seen.includes(alias))
        .map((alias) => `alias ${alias} on ${name} is missing`);
    }),
    ...Object.keys(parts.networks)
      .filter((name) => !names.includes(name) && !OF_PODMAN.includes(name))
      .map((name) => `network ${name} was added`),
  ];
}

/** What a rootless engine calls its own way out. */
const OF_PODMAN: readonly string[] = ['slirp4netns', 'pasta'];

function labelDrift(spec: ContainerSpec, { identity }: ObservedContainer, parts: ContainerParts): string[] {
  const label = (name: string): string => `label ${name}`;
  const wanted = new Map((spec.labels ?? []).map(({ name, value }) => [name, shortCheck(value)]));
  // Others may add labels of their own: image, builder, monitoring.
  const seen = new Map(Object.entries(parts.labels).filter(([name]) => wanted.has(name)));
  const leases = (all: Readonly<Record<string, number>>): Map<string, string> =>
    new Map(Object.entries(all).map(([route, port]) => [route, String(port)]));
  return [
    ...changes(wanted, seen, label),
    ...changes(leases(spec.leases), leases(identity?.leases ?? {}), () => 'label of the leased ports').slice(
      0,
      1,
    ),
    ...unless(identity?.format === '1', 'label of the format was changed'),
  ];
}

/** Podman limits processes by itself, and both engines have a /dev/shm that their settings may size. */
function limitDrift(wanted: Resources, seen: Resources, engine: 'docker' | 'podman'): string[] {
  const limit = (
    name: string,
    a: number | undefined,
    b: number | undefined,
    hasDefault: boolean,
  ): string[] => {
    if (a === undefined && (b === undefined || hasDefault)) return [];
    if (a === undefined) return [`${name} was added`];
    return b === undefined ? [`${name} is missing`] : unless(Math.abs(a - b) < 0.001, `${name} was changed`);
  };
  return [
    ...limit('memory limit', wanted.memoryBytes, seen.memoryBytes, false),
    ...limit('processor limit', wanted.cpus, seen.cpus, false),
    ...limit('process limit', wanted.pids, seen.pids, engine === 'podman'),
    ...limit('size of /dev/shm', wanted.shmBytes, seen.shmBytes, true),
  ];
}

function changes(
  wanted: ReadonlyMap<string, string>,
  seen: ReadonlyMap<string, string>,
  name: (key: string) => string,
): string[] {
  return [...new Set([...wanted.keys(), ...seen.keys()])].flatMap((key) => {
    const [before, now] = [wanted.get(key), seen.get(key)];
    if (before === now) return [];
    return [
      `${name(key)} ${before === undefined ? 'was added' : now === undefined ? 'is missing' : 'was changed'}`,
    ];
  });
}

function unless(holds: boolean, phrase: string): string[] {
  return holds ? [] : [phrase];
}

function grave(phrases: readonly string[]): Drift[] {
  return phrases.map((what) => ({ what, isCosmetic: false }));
}

function cosmetic(phrases: readonly string[]): Drift[] {
  return phrases.map((what) => ({ what, isCosmetic: true }));
}
