import { GitFault } from './faults.ts';
import type { TreeEntry } from './objects.ts';
import type { GitReader } from './reader.ts';

/** One entry of a commit, usually no folder. Symbolic links (`120000`) and submodules (`160000`) are told, never followed. */
export interface GitFile {
  /** From the root of the repository. */
  readonly path: string;
  readonly mode: string;
  readonly oid: string;
  /** Why this entry must not be used, where it must not. */
  readonly unsafe?: string;
}

export interface TreeLimits {
  readonly maxEntries: number;
  /** False: only this folder, with the folders in it (`040000`) told but not entered. Default true. */
  readonly deep?: boolean;
}

const MAX_DEPTH = 32;
const PARALLEL = 32;

/**
 * The files below `prefix` (a folder; empty for the root), sorted by path. Nothing when it is missing; where a part
 * of `prefix` is no folder, that part alone.
 */
export async function walkTree(
  reader: GitReader,
  commit: string,
  prefix: string,
  limits: TreeLimits,
): Promise<GitFile[]> {
  const files: GitFile[] = [];
  const { tree } = await reader.commit(commit);
  const start = await enter(reader, tree, prefix);
  if (start === undefined) return [];
  if (start.file !== undefined) return [start.file];

  let level: { path: string; oid: string }[] = [{ path: prefix, oid: start.oid }];
  for (let depth = 0; level.length > 0; depth += 1) {
    const entries = await readLevel(reader, level, limits.deep === false ? Infinity : limits.maxEntries);
    const folders = entries.filter(({ entry }) => entry.mode === '040000' && entry.unsafe === undefined);
    const others = entries.filter(({ entry }) => entry.mode !== '040000' || entry.unsafe !== undefined);
    for (const { path, entry } of others) files.push(fileOf(path, entry));
    if (limits.deep === false) {
      for (const { path, entry } of folders) files.push(fileOf(path, entry));
      break;
    }
    if (files.length > limits.maxEntries) throw tooMany(limits.maxEntries);
    if (depth >= MAX_DEPTH) {
      for (const { path, entry } of folders) {
        files.push({
          ...fileOf(path, entry),
          unsafe: `the folder is nested deeper than ${MAX_DEPTH} levels`,
        });
      }
      break;
    }
    level = folders.map(({ path, entry }) => ({ path, oid: entry.oid }));
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** Reads a commit and all of its folders: throws where one is missing. Returns the number of folders. */
export async function proveWhole(reader: GitReader, commit: string): Promise<number> {
  const { tree } = await reader.commit(commit);
  const seen = new Set([tree]);
  let level = [{ path: '', oid: tree }];
  while (level.length > 0) {
    const entries = await readLevel(reader, level, Infinity);
    level = [];
    for (const { path, entry } of entries) {
      if (entry.mode !== '040000' || seen.has(entry.oid)) continue;
      seen.add(entry.oid);
      level.push({ path, oid: entry.oid });
    }
  }
  return seen.size;
}

/** Is `ancestor` in the history of `commit`, or the same? Breadth first; the cost of a no is the whole history. */
export async function isInHistory(reader: GitReader, commit: string, ancestor: string): Promise<boolean> {
  const shallow = await reader.shallow();
  const seen = new Set([commit]);
  let level = [commit];
  while (level.length > 0) {
    if (seen.has(ancestor)) return true;
    const inside = level.filter((oid) => !shallow.has(oid));
    level = [];
    for (let at = 0; at < inside.length; at += PARALLEL) {
      const commits = await Promise.all(inside.slice(at, at + PARALLEL).map((oid) => reader.commit(oid)));
      for (const parent of commits.flatMap((found) => found.parents)) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        level.push(parent);
      }
    }
  }
  return false;
}

interface Placed {
  readonly path: string;
  readonly entry: TreeEntry;
}

async function readLevel(
  reader: GitReader,
  level: readonly { path: string; oid: string }[],
  maxEntries: number,
): Promise<Placed[]> {
  const placed: Placed[] = [];
  for (let at = 0; at < level.length; at += PARALLEL) {
    const part = level.slice(at, at + PARALLEL);
    const trees = await Promise.all(part.map(({ oid }) => reader.tree(oid)));
    part.forEach(({ path }, index) => {
      for (const entry of trees[index] ?? []) {
        placed.push({ path: path === '' ? entry.name : `${path}/${entry.name}`, entry });
      }
    });
    // A few small objects can stand for a million of paths, when folders hold the same folder again and again.
    if (placed.length > maxEntries) throw tooMany(maxEntries);
  }
  return placed;
}

function tooMany(limit: number): GitFault {
  return new GitFault(
    'blocked',
    `the commit has more than ${limit} files`,
    'Raise the limit, or move files away.',
  );
}

async function enter(
  reader: GitReader,
  root: string,
  prefix: string,
): Promise<{ oid: string; file?: GitFile } | undefined> {
  let oid = root;
  let path = '';
  for (const part of prefix.split('/').filter((name) => name !== '')) {
    const entry = (await reader.tree(oid)).find(({ name }) => name === part);
    if (entry === undefined) return undefined;
    path = path === '' ? part : `${path}/${part}`;
    if (entry.mode !== '040000') return { oid: entry.oid, file: fileOf(path, entry) };
    oid = entry.oid;
  }
  return { oid };
}

function fileOf(path: string, entry: TreeEntry): GitFile {
  const unsafe = entry.unsafe === undefined ? {} : { unsafe: entry.unsafe };
  return { path, mode: entry.mode, oid: entry.oid, ...unsafe };
}
