import { posix } from 'node:path';
import { shortCheck } from '../../base/check.ts';
import type { Mount, Resources } from '../../definitions/types.ts';
import { LABEL_PREFIX, type ContainerParts, type SeenText } from '../types.ts';
import type { InspectedMount, Inspection } from './inspect.ts';

/** What an image gives to every container that is made of it. */
export interface ImageConfig {
  readonly Env?: readonly string[] | null;
  readonly User?: string | null;
  readonly Cmd?: readonly string[] | null;
  readonly Entrypoint?: readonly string[] | string | null;
}

/** What a container is made of, without a value of a variable. `image`: absent while it cannot be had. */
export function partsOf(
  seen: Inspection,
  image: ImageConfig | undefined,
  hash: (value: string) => string,
): ContainerParts {
  const { Config: config, HostConfig: host } = seen;
  const env = variables(config.Env);
  const given = image === undefined ? undefined : givenVariables(env, variables(image.Env), seen);
  const retries = host.RestartPolicy?.MaximumRetryCount ?? 0;
  const restart = host.RestartPolicy?.Name ?? '';
  return {
    env: Object.fromEntries([...env].map(([name, value]) => [name, hash(value)])),
    agentEnv: Object.fromEntries([...env].filter(([name, value]) => isOfAgent(name, value))),
    ...(given === undefined ? {} : { given }),
    mounts: (seen.Mounts ?? []).flatMap(mountOf).sort((a, b) => (a.target < b.target ? -1 : 1)),
    networks: networksOf(seen),
    labels: Object.fromEntries(
      Object.entries(config.Labels ?? {})
        .filter(([name]) => !name.startsWith(LABEL_PREFIX))
        .map(([name, value]) => [name, shortCheck(value)]),
    ),
    restart: `${restart === '' ? 'no' : restart}${retries > 0 ? `:${retries}` : ''}`,
    user: seenText(config.User ?? '', image === undefined ? undefined : (image.User ?? '')),
    // Podman before 5.0 joins the strings with spaces.
    entrypoint: seenText(
      joined(config.Entrypoint),
      image === undefined ? undefined : joined(image.Entrypoint),
    ),
    cmd: seenText(config.Cmd ?? [], image === undefined ? undefined : (image.Cmd ?? [])),
    resources: resourcesOf(seen),
    rights: rightsOf(seen),
  };
}

function joined(entrypoint: readonly string[] | string | null | undefined): string {
  return [entrypoint ?? []].flat().join(' ');
}

function seenText(value: unknown, ofImage: unknown): SeenText {
  const check = shortCheck(value);
  return ofImage === undefined ? { check } : { check, given: shortCheck(ofImage) === check };
}

function variables(env: readonly string[] | null | undefined): Map<string, string> {
  return new Map(
    (env ?? []).map((entry): [string, string] => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

/** What Podman (and, for PATH, Docker) gives to a container whose image does not have it. */
const OF_THE_ENGINE: Readonly<Record<string, (value: string, seen: Inspection) => boolean>> = {
  PATH: (value) => /^(\/usr)?(\/local)?\/s?bin(:(\/usr)?(\/local)?\/s?bin)*$/.test(value),
  container: (value) => value === 'podman' || value === 'oci',
  TERM: (value) => value === 'xterm',
  HOME: (value) => value.startsWith('/'),
  HOSTNAME: (value, seen) => seen.Id.startsWith(value) || value === seen.Config.Hostname,
};

function givenVariables(
  env: ReadonlyMap<string, string>,
  ofImage: ReadonlyMap<string, string>,
  seen: Inspection,
): string[] {
  return [...env]
    .filter(
      ([name, value]) =>
        ofImage.get(name) === value || (!ofImage.has(name) && OF_THE_ENGINE[name]?.(value, seen) === true),
    )
    .map(([name]) => name)
    .sort();
}

/** These names are the agent's alone; a value that somebody wrote there by hand in another form is not shown. */
function isOfAgent(name: string, value: string): boolean {
  return (
    (/^PORT(_|$)/.test(name) && /^\d{1,5}$/.test(value)) ||
    (name.startsWith('PEER_') && /^[a-z][a-z0-9-]{0,62}:\d{1,5}$/.test(value))
  );
}

/** With the anonymous ones: what somebody started by hand may have all its data in one. Sorted by target. */
export function allMounts({ Mounts }: Inspection): Mount[] {
  return (Mounts ?? []).map(anyMountOf).sort((a, b) => (a.target < b.target ? -1 : 1));
}

function anyMountOf({
  Type: type,
  Name: name = '',
  Source: source,
  Destination,
  RW = true,
}: InspectedMount): Mount {
  const target = clean(Destination);
  if (type !== 'volume') return { kind: 'bind', source: clean(source), target, readOnly: !RW };
  return { kind: 'volume', volume: name, target, readOnly: !RW };
}

/** An anonymous one is the image's own `VOLUME`, which nobody ordered. */
function mountOf(seen: InspectedMount): Mount[] {
  const mount = anyMountOf(seen);
  return mount.kind === 'volume' && /^[0-9a-f]{64}$/.test(mount.volume) ? [] : [mount];
}

function networksOf(seen: Inspection): ContainerParts['networks'] {
  return Object.fromEntries(
    Object.entries(seen.NetworkSettings?.Networks ?? {})
      .filter(([name]) => name !== 'none')
      .map(([name, network]) => [
        name,
        [...new Set([...(network.Aliases ?? []), ...(network.DNSNames ?? [])])].filter(
          (alias) => !seen.Id.startsWith(alias),
        ),
      ]),
  );
}

function resourcesOf({ HostConfig: host }: Inspection): Resources {
  const share = host.CpuPeriod ? (host.CpuQuota ?? 0) / host.CpuPeriod : 0;
  const cpus = host.NanoCpus ? host.NanoCpus / 1e9 : Math.max(0, share);
  const limit = (value: number | null | undefined): boolean =>
    value !== null && value !== undefined && value > 0;
  return {
    ...(limit(host.Memory) ? { memoryBytes: host.Memory ?? 0 } : {}),
    ...(cpus > 0 ? { cpus } : {}),
    ...(limit(host.PidsLimit) ? { pids: host.PidsLimit ?? 0 } : {}),
    ...(limit(host.ShmSize) ? { shmBytes: host.ShmSize ?? 0 } : {}),
  };
}

function rightsOf({ HostConfig: host }: Inspection): string[] {
  const isHost = (mode: string | null | undefined): boolean => mode === 'host';
  return [
    ...(host.Privileged === true ? ['privileged'] : []),
    ...(host.CapAdd ?? []),
    ...(host.Devices ?? []).map(({ PathInContainer: path = '' }) => `device ${path}`),
    ...(isHost(host.NetworkMode) ? ['host network'] : []),
    ...(isHost(host.PidMode) ? ['host pid'] : []),
    ...(isHost(host.IpcMode) ? ['host ipc'] : []),
  ];
}

/** Engines clean paths before they show them. */
function clean(path: string | undefined): string {
  return posix.normalize(path ?? '').replace(/(?<=.)\/$/, '');
}
