import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir, stat as follow } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { unsafeName } from '../base/git/objects.ts';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { LIMITS } from '../definitions/shape.ts';
import { looksMeant } from '../definitions/misplaced.ts';
import type { DefinitionFile, RefusedFile } from '../source/types.ts';

export interface Directory {
  /** Sorted by path. */
  readonly files: readonly DefinitionFile[];
  readonly refused: readonly RefusedFile[];
  /** Paths of files that nothing reads, as far as they may be meant as definitions. */
  readonly ignored?: readonly string[];
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
  const ignored: string[] = [];
  const folder = root
    .split('/')
    .filter((part) => part !== '')
    .join('/');
  try {
    // The directory is the operator's own argument: a link to it is followed, none inside it is.
    const isThere = (await lstatOrMissing(dir)) !== undefined;
    if (!isThere || !(await follow(dir)).isDirectory()) {
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
    const to = { base, prefix, files, refused, ignored, modules: await submodules(base) };
    for (const [at, part] of parts.entries()) {
      if (found[at] === true) await walk(to, part, 0);
    }
    await look(to, '', 0);
  } catch (error) {
    return blocked(`${dir} cannot be read: ${messageOf(error)}`, 'Look at its owner and mode.');
  }
  const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);
  return ok({ files: files.sort(byPath), refused: refused.sort(byPath), ignored: ignored.sort() });
}

interface Walk {
  readonly base: string;
  /** Put before every path. */
  readonly prefix: string;
  readonly files: DefinitionFile[];
  readonly refused: RefusedFile[];
  readonly ignored: string[];
  /** Folders that are submodules, whether or not they are filled; absolute. */
  readonly modules: ReadonlySet<string>;
}

async function walk(to: Walk, inside: string, depth: number): Promise<void> {
  const full = resolve(to.base, inside);
  const path = `${to.prefix}${inside}`;
  const stat = await lstat(full);
  const refuse = (why: string): void => void to.refused.push({ path, why });
  const unsafe = unsafeName(inside.slice(inside.lastIndexOf('/') + 1));
  if (unsafe !== undefined) {
    refuse(unsafe);
    return;
  }
  if (stat.isDirectory()) {
    if (to.modules.has(full) || (await lstatOrMissing(join(full, '.git'))) !== undefined) {
      refuse('it is a submodule; definitions are plain files of the repository itself');
      return;
    }
    if (depth > MAX_FOLDERS_DEEP) {
      refuse(`the folder is nested deeper than ${MAX_FOLDERS_DEEP} levels`);
      return;
    }
    for (const name of (await readdir(full)).sort()) {
      // Files of a node lie directly in nodes/.
      if (inside !== 'nodes' || !(await lstat(join(full, name))).isDirectory()) {
        await walk(to, `${inside}/${name}`, depth + 1);
      } else await look(to, `${inside}/${name}`, depth + 1);
    }
    return;
  }
  if (stat.isSymbolicLink()) refuse('it is a symbolic link; definitions are plain files');
  else if (!path.endsWith('.toml')) to.ignored.push(path);
  else if (!stat.isFile()) refuse('it is no plain file');
  else if (stat.size > LIMITS.fileBytes) {
    const why = `it has ${stat.size} bytes, more than the limit of ${LIMITS.fileBytes}`;
    to.refused.push({ path, why, rule: 'file/size' });
  } else to.files.push(fileOf(path, await readPlain(full)));
}

/** Folders and files of a beginner's slip are few: more of them are not looked at. */
const MAX_LOOKED_AT = 1_000;
const MAX_LOOKED_DEEP = 4;

/** Collects what nobody reads: of the top its files and the folders that are called nearly like ours. Follows nothing. */
async function look(to: Walk, inside: string, depth: number): Promise<void> {
  for (const entry of (await readdir(join(to.base, inside), { withFileTypes: true })).slice(
    0,
    MAX_LOOKED_AT,
  )) {
    const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
    if (entry.isFile() && path !== 'removals.toml') to.ignored.push(`${to.prefix}${path}`);
    if (!entry.isDirectory() || depth >= MAX_LOOKED_DEEP) continue;
    const isRead = path === 'services' || path === 'nodes';
    if (!isRead && (inside !== '' || looksMeant(entry.name))) await look(to, path, depth + 1);
  }
}

/** The submodules of the repository that a directory belongs to, as its `.gitmodules` names them. */
async function submodules(base: string): Promise<ReadonlySet<string>> {
  for (let top = resolve(base); ; top = dirname(top)) {
    if ((await lstatOrMissing(join(top, '.git'))) !== undefined) {
      const file = join(top, '.gitmodules');
      if ((await lstatOrMissing(file))?.isFile() !== true) return new Set();
      const text = Buffer.from(await readPlain(file)).toString('utf8');
      return new Set(
        [...text.matchAll(/^\s*path\s*=\s*(.+?)\s*$/gm)].map(([, path = '']) => join(top, path)),
      );
    }
    if (top === dirname(top)) return new Set();
  }
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
