import { stat } from 'node:fs/promises';
import { retry } from '../../base/outcome.ts';
import type { Api } from './api.ts';
import { Refusal, isMissing } from './failure.ts';

/** What the engine's things take on its disk, in bytes. */
export interface EngineDisk {
  readonly imagesBytes: number;
  /** Of BuildKit, what several things share counted once; absent where the engine does not tell (Podman keeps it as images). */
  readonly cacheBytes?: number;
  /** Of all containers, foreign ones too; absent where no log is a file that this process can see. */
  readonly logsBytes?: number;
}

/** The engine walks its whole store to answer, volumes included. */
const PATIENCE_MS = 300_000;
const PARALLEL = 8;
/** `max-file` of Docker's log driver: what was rotated away lies beside the log under a number. */
const MAX_ROTATED = 100;

export async function readDisk(api: Api, kind: 'docker' | 'podman'): Promise<EngineDisk> {
  const usage = await api.call<Usage | null>('measure its disk', 'GET', '/system/df', {
    extraMs: PATIENCE_MS,
  });
  // Something unreadable is not "nothing": what takes no room needs no tidying up.
  if (usage === null || typeof usage !== 'object' || Array.isArray(usage)) throw unreadable();
  const logsBytes = await readLogs(api);
  const cache = (usage.BuildCache ?? []).filter(({ Shared }) => Shared !== true);
  return {
    imagesBytes: kind === 'docker' ? (usage.LayersSize ?? 0) : taggedBytes(usage),
    ...(kind === 'docker' ? { cacheBytes: cache.reduce((sum, { Size = 0 }) => sum + Size, 0) } : {}),
    ...(logsBytes === undefined ? {} : { logsBytes }),
  };
}

/** Takes away what BuildKit remembers and nothing uses, the oldest first, until `keepBytes` are left. Podman has no such call. */
export async function pruneBuildCache(api: Api, kind: 'docker' | 'podman', keepBytes: number): Promise<void> {
  if (kind === 'podman') return;
  await api.call('prune the cache of the builder', 'POST', '/build/prune', {
    query: { all: true, 'keep-storage': keepBytes },
  });
}

function unreadable(): Refusal {
  return new Refusal({ ...retry('the engine says nothing that can be read of its disk'), cause: 'outside' });
}

interface Usage {
  readonly LayersSize?: number;
  readonly Images?:
    readonly { readonly Size?: number; readonly RepoTags?: readonly string[] | null }[] | null;
  readonly BuildCache?: readonly { readonly Size?: number; readonly Shared?: boolean }[] | null;
}

/** Podman tells no sum of the layers: of images with a name, each for itself, so that what they share counts more than once. */
function taggedBytes({ Images }: Usage): number {
  const tagged = (Images ?? []).filter(({ RepoTags }) => (RepoTags ?? []).some((tag) => tag !== '<none>'));
  return tagged.reduce((sum, { Size = 0 }) => sum + Size, 0);
}

async function readLogs(api: Api): Promise<number | undefined> {
  const listed = await api.call<{ Id: string }[]>('list containers', 'GET', '/containers/json', {
    query: { all: true },
  });
  if (!Array.isArray(listed)) throw unreadable();
  const sizes: (number | undefined)[] = [];
  for (let at = 0; at < listed.length; at += PARALLEL)
    sizes.push(...(await Promise.all(listed.slice(at, at + PARALLEL).map(({ Id }) => logBytes(api, Id)))));
  const known = sizes.filter((size) => size !== undefined);
  return listed.length > 0 && known.length === 0 ? undefined : known.reduce((sum, size) => sum + size, 0);
}

async function logBytes(api: Api, id: string): Promise<number | undefined> {
  try {
    const { LogPath = '', HostConfig } = await api.call<Inspected>(
      'inspect a container',
      'GET',
      `/containers/${id}/json`,
    );
    const path = LogPath === '' ? (HostConfig?.LogConfig?.Path ?? '') : LogPath;
    if (!path.startsWith('/')) return undefined;
    let bytes = await sizeOf(path);
    for (let number = 1; bytes !== undefined && number < MAX_ROTATED; number += 1) {
      const rotated = (await sizeOf(`${path}.${number}`)) ?? (await sizeOf(`${path}.${number}.gz`));
      if (rotated === undefined) return bytes;
      bytes += rotated;
    }
    return bytes;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

interface Inspected {
  readonly LogPath?: string;
  readonly HostConfig?: { readonly LogConfig?: { readonly Path?: string } | null } | null;
}

function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}
