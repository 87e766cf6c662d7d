import { posix } from 'node:path';
import { canonicalJson } from '../../base/json.ts';
import type { ContainerInput } from './request.ts';
import { networksOf } from './request.ts';
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
    ...unless(spec.cmd === undefined || same(seen.Config.Cmd ?? [], spec.cmd), 'command'),
    ...unless((seen.HostConfig.RestartPolicy?.Name ?? '') === spec.restart, 'restart policy'),
    ...unless(hasLogLimits(input, seen, kind), 'log limits'),
    ...unless(
      (seen.HostConfig.SecurityOpt ?? []).some((option) => option.startsWith('no-new-privileges')),
      'no-new-privileges',
    ),
    ...unless(seen.HostConfig.Privileged !== true, 'privileged'),
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
