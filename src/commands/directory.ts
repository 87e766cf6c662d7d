import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { LIMITS } from '../definitions/shape.ts';
import type { DefinitionFile, RefusedFile } from '../source/types.ts';

export interface Directory {
  /** Sorted by path. */
  readonly files: readonly DefinitionFile[];
  readonly refused: readonly RefusedFile[];
}

/** Folders below each other; deeper ones are refused, so that no tree holds the walk. */
const MAX_FOLDERS_DEEP = 32;

/** The definitions of a directory on disk, as the agent would read them from git: links are told and never followed. */
export async function readDirectory(dir: string): Promise<Outcome<Directory>> {
  const files: DefinitionFile[] = [];
  const refused: RefusedFile[] = [];
  try {
    const top = await lstatOrMissing(dir);
    if (top?.isDirectory() !== true) {
      return blocked(`${dir} is no directory`, 'Name the directory of a definitions repository.');
    }
    const parts = ['services', 'nodes', 'removals.toml'];
    const found = await Promise.all(
      parts.map(async (part) => (await lstatOrMissing(join(dir, part))) !== undefined),
    );
    if (!found.includes(true)) {
      return blocked(
        `${dir} has no definitions`,
        'It needs services/<service>.toml; definitions-example/ shows one.',
      );
    }
    for (const [at, part] of parts.entries()) {
      if (found[at] === true) await walk(dir, part, 0, files, refused);
    }
  } catch (error) {
    return blocked(`${dir} cannot be read: ${messageOf(error)}`, 'Look at its owner and mode.');
  }
  const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);
  return ok({ files: files.sort(byPath), refused: refused.sort(byPath) });
}

async function walk(
  dir: string,
  path: string,
  depth: number,
  files: DefinitionFile[],
  refused: RefusedFile[],
): Promise<void> {
  const full = join(dir, path);
  const stat = await lstat(full);
  if (stat.isDirectory()) {
    if (depth > MAX_FOLDERS_DEEP) {
      refused.push({ path, why: `folders are nested more than ${MAX_FOLDERS_DEEP} deep` });
      return;
    }
    for (const name of (await readdir(full)).sort()) {
      // Files of a node lie directly in nodes/.
      if (path !== 'nodes' || !(await lstat(join(full, name))).isDirectory()) {
        await walk(dir, `${path}/${name}`, depth + 1, files, refused);
      }
    }
    return;
  }
  if (stat.isSymbolicLink())
    refused.push({ path, why: 'it is a symbolic link; definitions are plain files' });
  else if (!path.endsWith('.toml')) return;
  else if (!stat.isFile()) refused.push({ path, why: 'it is no plain file' });
  else if (stat.size > LIMITS.fileBytes) {
    refused.push({ path, why: `it has ${stat.size} bytes, more than the limit of ${LIMITS.fileBytes}` });
  } else files.push(fileOf(path, await readPlain(full)));
}

async function readPlain(path: string): Promise<Uint8Array> {
  // Between the look and the open it may have become a link.
  const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

async function lstatOrMissing(path: string): Promise<Awaited<ReturnType<typeof lstat>> | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

/** With the id that git would give the blob. */
function fileOf(path: string, bytes: Uint8Array): DefinitionFile {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  return { path, oid, bytes };
}
