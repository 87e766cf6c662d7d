import { posix } from 'node:path';
import { canonicalJson } from '../../base/json.ts';
import { commandOf, nanoCpus, networksOf, signalNumber, type ContainerInput } from './request.ts';
import {
  imageIdOf,
  nameOf,
  publishedOf,
  sortedPorts,
  type InspectedMount,
  type Inspection,
} from './inspect.ts';

/**
 * What a container that was just made has otherwise than it was ordered: one short phrase each, with names and never
 * with a value of an environment variable. Empty: as ordered.
 */
export function differences(
  input: ContainerInput,
  imageId: string,
  seen: Inspection,
  kind: 'docker' | 'podman',
): string[] {
  const { spec } = input;
  const labels = seen.Config.Labels ?? {};
  const { entrypoint, cmd } = commandOf(spec);
  return [
    ...unless(nameOf(seen.Name) === input.name, 'name'),
    ...unless(imageIdOf(seen.Image) === imageId, 'image'),
    ...Object.entries(input.labels).flatMap(([name, value]) =>
      unless(labels[name] === value, `label ${name}`),
    ),
    ...envDifferences(input.env, seen.Config.Env ?? []),
    ...spec.mounts.flatMap((mount) =>
      unless(
        (seen.Mounts ?? []).some((one) => sameMount(mount, one)),
        `mount at ${mount.target}`,
      ),
    ),
    ...unless(same(publishedOf(seen), sortedPorts(spec.publish)), 'published ports'),
    ...networkDifferences(input, seen),
    ...unless(spec.user === undefined || seen.Config.User === spec.user, 'user'),
    ...unless(entrypoint === undefined || same([seen.Config.Entrypoint].flat(), entrypoint), 'entrypoint'),
    ...unless(cmd === undefined || same(seen.Config.Cmd ?? [], cmd), 'command'),
    ...unless(
      spec.stopSignal === undefined || isSignal(seen.Config.StopSignal, spec.stopSignal),
      'stop signal',
    ),
    ...limitDifferences(input, seen),
    ...unless((seen.HostConfig.RestartPolicy?.Name ?? '') === spec.restart, 'restart policy'),
    ...unless(hasLogLimits(input, seen, kind), 'log limits'),
    ...unless(
      (seen.HostConfig.SecurityOpt ?? []).some((option) => option.startsWith('no-new-privileges')),
      'no-new-privileges',
    ),
    ...unless(seen.HostConfig.Privileged !== true, 'privileged'),
  ];
}

function isSignal(seen: string | number | null | undefined, wanted: string): boolean {
  return seen === wanted || Number(seen) === signalNumber(wanted);
}

/** An engine that may not limit (no cgroup of its own, a kernel without swap accounting) says so only here. */
function limitDifferences({ spec }: ContainerInput, { HostConfig: host }: Inspection): string[] {
  const { memoryBytes, cpus, pids, shmBytes } = spec.resources ?? {};
  const share = host.CpuPeriod ? ((host.CpuQuota ?? 0) / host.CpuPeriod) * 1e9 : 0;
  return [
    ...unless(memoryBytes === undefined || host.Memory === memoryBytes, 'memory limit'),
    ...unless(
      cpus === undefined || [host.NanoCpus, Math.round(share)].includes(nanoCpus(cpus)),
      'processor limit',
    ),
    ...unless(pids === undefined || host.PidsLimit === pids, 'process limit'),
    ...unless(shmBytes === undefined || host.ShmSize === shmBytes, 'size of /dev/shm'),
  ];
}

function envDifferences(wanted: ReadonlyMap<string, string>, seen: readonly string[]): string[] {
  const values = new Map(
    seen.map((entry) => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)] as const;
    }),
  );
  return [...wanted].flatMap(([name, value]) => unless(values.get(name) === value, `variable ${name}`));
}

function networkDifferences(input: ContainerInput, seen: Inspection): string[] {
  const joined = seen.NetworkSettings?.Networks ?? {};
  const wanted = networksOf(input.spec);
  if (wanted.length === 0) return unless(seen.HostConfig.NetworkMode === 'none', 'network (none)');
  return wanted.flatMap(({ name, aliases }) => {
    const network = joined[name];
    if (network === undefined) return [`network ${name}`];
    const names = [...(network.Aliases ?? []), ...(network.DNSNames ?? [])];
    return aliases.flatMap((alias) => unless(names.includes(alias), `alias ${alias} on ${name}`));
  });
}

function sameMount(wanted: ContainerInput['spec']['mounts'][number], seen: InspectedMount): boolean {
  const place = clean(seen.Destination) === clean(wanted.target) && (seen.RW ?? true) === !wanted.readOnly;
  return wanted.kind === 'bind'
    ? place && seen.Type === 'bind' && clean(seen.Source) === clean(wanted.source)
    : place && seen.Type === 'volume' && seen.Name === wanted.volume;
}

function hasLogLimits({ spec }: ContainerInput, seen: Inspection, kind: 'docker' | 'podman'): boolean {
  const log = seen.HostConfig.LogConfig;
  if (kind === 'podman') return log?.Type === 'k8s-file' && !['', '0B', undefined].includes(log.Size);
  return (
    log?.Type === 'json-file' &&
    log.Config?.['max-size'] === spec.logMaxSize &&
    log.Config['max-file'] === String(spec.logMaxFiles)
  );
}

function unless(holds: boolean, phrase: string): string[] {
  return holds ? [] : [phrase];
}

function same(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/** Engines clean paths before they show them. */
function clean(path: string | undefined): string {
  return posix.normalize(path ?? '').replace(/(?<=.)\/$/, '');
}
