import { statfs } from 'node:fs/promises';
import { retry, type Failure } from '../../base/outcome.ts';

const MIB = 1024 * 1024;
const LOOK_AGAIN_MS = 60_000;

/** Bytes that are free for this process below `path`; undefined where that cannot be told (an engine on another machine). */
export async function freeBytes(path: string): Promise<number | undefined> {
  try {
    const { bavail, bsize } = await statfs(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** A full disk stops everything that runs on it: a build does not begin near one. Undefined: there is room. */
export async function shortage(
  path: string,
  minFreeBytes: number,
  free: (path: string) => Promise<number | undefined> = freeBytes,
): Promise<Failure | undefined> {
  const there = await free(path);
  if (there === undefined || there >= minFreeBytes) return undefined;
  return retry(
    `the disk of the engine (${path}) has ${Math.floor(there / MIB)} MiB free, and a build begins with at least ${Math.floor(minFreeBytes / MIB)} MiB [disk/shortage]`,
    'Free some space: what runs is not touched. [build] min_free_mib in the settings is the limit.',
    LOOK_AGAIN_MS,
  );
}
