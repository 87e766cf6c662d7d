import type { CommitInfo, TreeEntry } from './objects.ts';
import type { GitReader } from './reader.ts';

/** So many commits are looked at: what nobody touched in them stays without an origin. */
const MAX_COMMITS = 500;
const FOLDER = '040000';

/** A commit that is to be looked at, and the paths that are there as they are in the one that was asked for. */
interface Open {
  readonly info: CommitInfo;
  readonly paths: Set<string>;
}

/**
 * For each path the commit that gave it what it has in `commit`, or that took it away: what `git log -1 -- path` tells. Paths
 * whose commit is too far away, behind what a shallow copy has, or that never were there, are left out.
 */
export async function originsOf(
  reader: GitReader,
  commit: string,
  paths: readonly string[],
): Promise<Map<string, CommitInfo>> {
  const origins = new Map<string, CommitInfo>();
  const shallow = await reader.shallow();
  const open = new Map<string, Open>();
  const seen = new Map<string, Set<string>>();
  const follow = async (oid: string, path: string): Promise<void> => {
    const before = seen.get(oid) ?? new Set();
    if (before.has(path)) return;
    seen.set(oid, before.add(path));
    const entry = open.get(oid) ?? { info: await reader.commit(oid), paths: new Set() };
    open.set(oid, { ...entry, paths: entry.paths.add(path) });
  };
  for (const path of paths) await follow(commit, path);
  for (let looked = 0; open.size > 0 && looked < MAX_COMMITS; looked += 1) {
    const { info, paths: here } = newest(open);
    open.delete(info.oid);
    // One that was found on another branch is searched for no more.
    const sought = [...here].filter((path) => !origins.has(path));
    // What is behind a commit whose parents were never sent is not known.
    if (sought.length === 0 || shallow.has(info.oid)) continue;
    const unchanged = new Set<string>();
    for (const parent of info.parents) {
      const { tree } = await reader.commit(parent);
      const changed = await changedPaths(reader, info.tree, tree, sought);
      for (const path of sought) {
        if (changed.has(path)) continue;
        unchanged.add(path);
        await follow(parent, path);
      }
    }
    const changed =
      info.parents.length > 0 ? new Set(sought) : await changedPaths(reader, info.tree, undefined, sought);
    for (const path of changed) if (!unchanged.has(path)) origins.set(path, info);
  }
  return origins;
}

/** By the committers' clocks, as git's own log goes; among equals the one that was met first. */
function newest(open: ReadonlyMap<string, Open>): Open {
  return [...open.values()].reduce((a, b) => (b.info.time > a.info.time ? b : a));
}

/** Those of `paths` that differ between two trees (undefined: an empty one). Folders that are the same are not read. */
async function changedPaths(
  reader: GitReader,
  a: string | undefined,
  b: string | undefined,
  paths: readonly string[],
): Promise<Set<string>> {
  const changed = new Set<string>();
  if (a === b) return changed;
  const [left, right] = [await entriesOf(reader, a), await entriesOf(reader, b)];
  const folders = new Map<string, string[]>();
  for (const path of paths) {
    const slash = path.indexOf('/');
    if (slash === -1) {
      const [one, other] = [left.get(path), right.get(path)];
      if (one?.oid !== other?.oid || one?.mode !== other?.mode) changed.add(path);
    } else {
      const name = path.slice(0, slash);
      folders.set(name, [...(folders.get(name) ?? []), path.slice(slash + 1)]);
    }
  }
  for (const [name, below] of folders) {
    const inside = await changedPaths(reader, folderOf(left.get(name)), folderOf(right.get(name)), below);
    for (const path of inside) changed.add(`${name}/${path}`);
  }
  return changed;
}

async function entriesOf(
  reader: GitReader,
  tree: string | undefined,
): Promise<ReadonlyMap<string, TreeEntry>> {
  return new Map(tree === undefined ? [] : (await reader.tree(tree)).map((entry) => [entry.name, entry]));
}

function folderOf(entry: TreeEntry | undefined): string | undefined {
  return entry?.mode === FOLDER ? entry.oid : undefined;
}
