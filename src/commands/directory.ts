import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { unsafeName } from '../base/git/objects.ts';
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

/**
 * The definitions of a directory on disk, as the agent would read them from git: links are told and never followed.
 * `root` is the folder of the definitions inside the repository, by the node's settings: `dir` is the repository or that
 * folder, and the paths have it in front either way.
 */
export async function readDirectory(dir: string, root = ''): Promise<Outcome<Directory>> {
  const files: DefinitionFile[] = [];
  const refused: RefusedFile[] = [];
  const folder = root
    .split('/')
    .filter((part) => part !== '')
    .join('/');
  try {
    const top = await lstatOrMissing(dir);
    if (top?.isDirectory() !== true) {
      return blocked(`${dir} is no directory`, 'Name the directory of a definitions repository.');
    }
    const inner = folder === '' ? undefined : await lstatOrMissing(join(dir, folder));
    const base = inner?.isDirectory() === true ? join(dir, folder) : dir;
    const parts = ['services', 'nodes', 'removals.toml'];
    const found = await Promise.all(
      parts.map(async (part) => (await lstatOrMissing(join(base, part))) !== undefined),
    );
    if (!found.includes(true)) {
      return blocked(
        `${base} has no definitions`,
        'It needs services/<service>.toml; definitions-example/ shows one.',
      );
    }
    const prefix = folder === '' ? '' : `${folder}/`;
    for (const [at, part] of parts.entries()) {
      if (found[at] === true) await walk({ base, prefix, files, refused }, part, 0);
    }
  } catch (error) {
    return blocked(`${dir} cannot be read: ${messageOf(error)}`, 'Look at its owner and mode.');
  }
  const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);
  return ok({ files: files.sort(byPath), refused: refused.sort(byPath) });
}

interface Walk {
  readonly base: string;
  /** Put before every path. */
  readonly prefix: string;
  readonly files: DefinitionFile[];
  readonly refused: RefusedFile[];
}

async function walk(to: Walk, inside: string, depth: number): Promise<void> {
  const full = join(to.base, inside);
  const path = `${to.prefix}${inside}`;
  const stat = await lstat(full);
  const refuse = (why: string): void => void to.refused.push({ path, why });
  const unsafe = unsafeName(inside.slice(inside.lastIndexOf('/') + 1));
  if (unsafe !== undefined) {
    refuse(unsafe);
    return;
  }
  if (stat.isDirectory()) {
    if (depth > MAX_FOLDERS_DEEP) {
      refuse(`the folder is nested deeper than ${MAX_FOLDERS_DEEP} levels`);
      return;
    }
    for (const name of (await readdir(full)).sort()) {
      // Files of a node lie directly in nodes/.
      if (inside !== 'nodes' || !(await lstat(join(full, name))).isDirectory()) {
        await walk(to, `${inside}/${name}`, depth + 1);
      }
    }
    return;
  }
  if (stat.isSymbolicLink()) refuse('it is a symbolic link; definitions are plain files');
  else if (!path.endsWith('.toml')) return;
  else if (!stat.isFile()) refuse('it is no plain file');
  else if (stat.size > LIMITS.fileBytes) {
    refuse(`it has ${stat.size} bytes, more than the limit of ${LIMITS.fileBytes}`);
  } else to.files.push(fileOf(path, await readPlain(full)));
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
