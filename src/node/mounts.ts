import { lstat } from 'node:fs/promises';
import { isAbsolute, normalize } from 'node:path';
import { withDeadline } from '../base/deadline.ts';
import { messageOf } from '../base/outcome.ts';
import type { MountState } from './types.ts';

const LOOK_TIMEOUT_MS = 5_000;

/**
 * What stands at each bind source, by source. Every part of a path is looked at without following links, so that a
 * link cannot lead a mount somewhere else. Only looks: nothing is ever created here (L04, L24).
 */
export async function observeMounts(
  sources: readonly string[],
  timeoutMs = LOOK_TIMEOUT_MS,
): Promise<Record<string, MountState>> {
  const entries = await Promise.all(
    [...new Set(sources)].sort().map(async (source): Promise<[string, MountState]> => {
      try {
        return [source, await withDeadline(`lstat ${source}`, timeoutMs, () => stateOf(source))];
      } catch (error) {
        return [source, { kind: 'unknown', why: `${source} cannot be looked at: ${messageOf(error)}` }];
      }
    }),
  );
  return Object.fromEntries(entries);
}

async function stateOf(source: string): Promise<MountState> {
  if (!isAbsolute(source)) return unfit(`${source} is not an absolute path`);
  if (source.includes('\0')) return unfit(`${JSON.stringify(source)} has a zero byte`);
  if (source.split('/').includes('..')) return unfit(`${source} has a part ".."`);
  const parts = normalize(source)
    .split('/')
    .filter((part) => part !== '');
  for (let count = 0; count <= parts.length; count += 1) {
    const path = `/${parts.slice(0, count).join('/')}`;
    const isLast = count === parts.length;
    try {
      const stat = await lstat(path);
      if (stat.isSymbolicLink()) return unfit(`${path} is a symbolic link`);
      if (!stat.isDirectory() && (!isLast || source.endsWith('/'))) {
        return unfit(`${path} is not a directory`);
      }
      if (isLast && !stat.isDirectory() && !stat.isFile() && !stat.isSocket()) {
        return unfit(`${path} is a device or a pipe`);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { kind: 'missing' };
      throw error;
    }
  }
  return { kind: 'present' };
}

function unfit(why: string): MountState {
  return { kind: 'unfit', why };
}
