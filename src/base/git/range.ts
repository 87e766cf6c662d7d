import { GitFault } from './faults.ts';
import type { CommitInfo } from './objects.ts';
import type { GitReader } from './reader.ts';

const MAX_COMMITS = 100_000;
const PARALLEL = 32;

/**
 * The commits that `commit` has in its history and `before` has not, newest first: what `git rev-list before..commit`
 * tells, merges and the branches that they brought among them. By the graph alone: the clocks of committers prove nothing.
 */
export async function commitsSince(reader: GitReader, commit: string, before: string): Promise<CommitInfo[]> {
  const fresh = await walk(reader, commit, before);
  // Whoever is behind `before` is followed down to a root: without one, nothing of its history was met.
  const old = fresh.metRoot ? (await walk(reader, before, undefined)).found : new Map<string, CommitInfo>();
  return [...fresh.found.values()]
    .filter(({ oid }) => oid !== before && !old.has(oid))
    .sort((a, b) => b.time - a.time);
}

async function walk(
  reader: GitReader,
  from: string,
  stop: string | undefined,
): Promise<{ found: Map<string, CommitInfo>; metRoot: boolean }> {
  const shallow = await reader.shallow();
  const found = new Map<string, CommitInfo>();
  const seen = new Set([from]);
  let metRoot = false;
  let level = [from];
  while (level.length > 0) {
    const next: string[] = [];
    for (let at = 0; at < level.length; at += PARALLEL) {
      const inside = level.slice(at, at + PARALLEL).filter((oid) => oid !== stop);
      const commits = await Promise.all(inside.map((oid) => reader.commit(oid)));
      for (const info of commits) {
        found.set(info.oid, info);
        const parents = shallow.has(info.oid) ? [] : info.parents;
        if (parents.length === 0) metRoot = true;
        for (const parent of parents) {
          if (seen.has(parent)) continue;
          seen.add(parent);
          next.push(parent);
        }
      }
    }
    if (seen.size > MAX_COMMITS)
      throw new GitFault('blocked', `there are more than ${MAX_COMMITS} commits after the accepted one`);
    level = next;
  }
  return { found, metRoot };
}
