import { shortCheck } from '../base/check.ts';
import type { Mount } from '../definitions/types.ts';
import type { ContainerParts, ContainerSpec, ObservedContainer } from '../node/types.ts';

const MAX_NAMED = 20;
/** What a rootless engine calls its own way out. */
const OF_PODMAN: readonly string[] = ['slirp4netns', 'pasta'];

/**
 * In what a container that was started by hand differs from the one that takes its place: what would be lost, and what would
 * be otherwise. Of variables the names only. Undefined where nothing is known to differ.
 */
export function takeOverDifferences(spec: ContainerSpec, old: ObservedContainer): string | undefined {
  const { parts } = old;
  const lost = [...(parts === undefined ? [] : lostMounts(spec, parts)), ...lostPorts(spec, old)];
  const other = old.image === spec.image ? [] : [`image ${old.image} (then ${spec.image})`];
  if (parts !== undefined) {
    const variables = variablesOf(spec, parts);
    lost.push(...lostNetworks(spec, parts), ...parts.rights, ...lostLimits(spec, parts), ...variables.lost);
    other.push(...otherMounts(spec, parts), ...otherWords(spec, parts), ...variables.other);
  }
  const told = [
    ...(lost.length === 0 ? [] : [`what its successor will not have: ${listed(lost)}`]),
    ...(other.length === 0 ? [] : [`otherwise than its successor: ${listed(other)}`]),
  ];
  return told.length === 0 ? undefined : `${old.name} has ${told.join('; ')}`;
}

function listed(words: readonly string[]): string {
  const more = words.length > MAX_NAMED ? ` and ${words.length - MAX_NAMED} more` : '';
  return `${words.slice(0, MAX_NAMED).join(', ')}${more}`;
}

function lostMounts({ mounts }: ContainerSpec, parts: ContainerParts): string[] {
  return parts.mounts
    .filter(({ target }) => mounts.every((mount) => clean(mount.target) !== clean(target)))
    .map((mount) => `mount ${mount.target} (${sourceOf(mount)})`);
}

function otherMounts({ mounts }: ContainerSpec, parts: ContainerParts): string[] {
  return parts.mounts.flatMap((mount) => {
    const wanted = mounts.find(({ target }) => clean(target) === clean(mount.target));
    if (wanted === undefined || sourceOf(wanted) === sourceOf(mount)) return [];
    return [`mount ${mount.target} (${sourceOf(mount)}, then ${sourceOf(wanted)})`];
  });
}

function sourceOf(mount: Mount): string {
  const access = mount.readOnly ? ' read-only' : '';
  if (mount.kind === 'bind') return `${clean(mount.source)}${access}`;
  return `${/^[0-9a-f]{64}$/.test(mount.volume) ? 'an anonymous volume' : `volume ${mount.volume}`}${access}`;
}

/** As the engines show paths. */
function clean(path: string): string {
  return path.replaceAll(/\/+/g, '/').replace(/(?<=.)\/$/, '');
}

function lostPorts({ publish }: ContainerSpec, old: ObservedContainer): string[] {
  const told = (port: ObservedContainer['publish'][number]): string =>
    `${port.ip}:${port.host}:${port.container}/${port.protocol}`;
  const kept = publish.map(told);
  // The engines list a port on all addresses once more for IPv6.
  const seen = old.publish.map((port) => told(port.ip === '::' ? { ...port, ip: '0.0.0.0' } : port));
  return [...new Set(seen)].filter((port) => !kept.includes(port)).map((port) => `published port ${port}`);
}

function lostNetworks({ networks }: ContainerSpec, parts: ContainerParts): string[] {
  return Object.keys(parts.networks)
    .filter((name) => !OF_PODMAN.includes(name) && networks.every((wanted) => wanted.name !== name))
    .map((name) => `network ${name}`);
}

function lostLimits({ resources = {} }: ContainerSpec, { resources: seen }: ContainerParts): string[] {
  return [
    ...(seen.memoryBytes !== undefined && resources.memoryBytes === undefined ? ['its memory limit'] : []),
    ...(seen.cpus !== undefined && resources.cpus === undefined ? ['its processor limit'] : []),
  ];
}

function otherWords(spec: ContainerSpec, parts: ContainerParts): string[] {
  const [program, ...rest] = spec.entrypoint ?? [];
  const command = program === undefined ? spec.cmd : [...rest, ...(spec.cmd ?? [])];
  const isSame = (seen: ContainerParts['user'], wanted: unknown): boolean =>
    wanted === undefined ? seen.given !== false : seen.check === shortCheck(wanted);
  return [
    ...(isSame(parts.user, spec.user) ? [] : ['user']),
    ...(parts.restart === spec.restart ? [] : [`restart policy ${parts.restart} (then ${spec.restart})`]),
    ...(isSame(parts.entrypoint, program) ? [] : ['entrypoint']),
    ...(isSame(parts.cmd, command) ? [] : ['command']),
  ];
}

function variablesOf(
  { env, agentEnv }: ContainerSpec,
  parts: ContainerParts,
): { readonly lost: readonly string[]; readonly other: readonly string[] } {
  const ofAgent = new Map(agentEnv.map(({ name, value }) => [name, value]));
  const wanted = new Map(env.map(({ name, hash }) => [name, hash]));
  // Before its first lease nobody knows which port the agent will name.
  const isOfAgent = (name: string): boolean => ofAgent.has(name) || /^PORT(_|$)/.test(name);
  const own = Object.entries(parts.env).filter(([name]) => parts.given?.includes(name) !== true);
  return {
    lost: own.filter(([name]) => !wanted.has(name) && !isOfAgent(name)).map(([name]) => `variable ${name}`),
    other: own
      .filter(([name, hash]) =>
        wanted.has(name)
          ? wanted.get(name) !== hash
          : isOfAgent(name) && ofAgent.get(name) !== parts.agentEnv[name],
      )
      .map(([name]) => `variable ${name}`),
  };
}
