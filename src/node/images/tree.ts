import { posix } from 'node:path';
import { blocked, ok, type Failure, type Outcome } from '../../base/outcome.ts';
import type { TagTree, TreeFile } from './types.ts';

const NAMED = 5;
const LONGEST_LINK_BYTES = 4_096;
const LFS = Buffer.from('version https://git-lfs.github.com/spec/');

/**
 * Judges what is to be sent by its kinds and names, before anything is sent. The value: targets of the symbolic links by path.
 */
export async function checkTree(
  tree: TagTree,
  files: readonly TreeFile[],
  limits: { readonly what: string; readonly maxFiles: number },
): Promise<Outcome<ReadonlyMap<string, string>>> {
  const { what, maxFiles } = limits;
  if (files.length > maxFiles) {
    return blocked(
      `${what} has ${files.length} files, more than ${maxFiles}`,
      'List what the build does not need in .dockerignore, or raise [build] max_context_files in the settings.',
    );
  }
  const odd = files.filter(({ path, unsafe }) => unsafe !== undefined || plainPath(path) !== path);
  if (odd.length > 0) {
    return blocked(
      `${what} has files that cannot be used: ${named(odd)} (${odd[0]?.unsafe ?? 'the name is odd'})`,
      'Rename them and tag a new version.',
    );
  }
  const modules = files.filter(({ mode }) => mode === '160000');
  if (modules.length > 0) {
    return blocked(
      `${what} has submodules, whose files are not in it: ${named(modules)} [source/submodule]`,
      'Put their files into the repository (vendor them), or list them in .dockerignore.',
    );
  }
  const links = new Map<string, string>();
  const leaving: TreeFile[] = [];
  for (const file of files) {
    if (file.mode !== '120000') continue;
    const content = await tree.readBlob(file.oid, LONGEST_LINK_BYTES);
    if (content.kind !== 'ok') return { ...content, why: `${file.path} of ${what}: ${content.why}` };
    const target = Buffer.from(content.value).toString('utf8');
    links.set(file.path, target);
    if (leavesTree(file.path, target)) leaving.push(file);
  }
  if (leaving.length > 0) {
    return blocked(
      `${what} has symbolic links that leave it: ${named(leaving)} [source/symlink]`,
      'Make them relative to a file of the repository, or list them in .dockerignore.',
    );
  }
  return ok(links);
}

/** Why there is nothing to build with. `what` names repository and tag. */
export function noDockerfile(what: string, dockerfile: string): Failure {
  if (plainPath(dockerfile) === undefined) {
    return blocked(
      `Dockerfile ${dockerfile} of ${what} lies outside of the repository`,
      'Name it relative to the root of the repository.',
    );
  }
  return blocked(
    `${what} has no Dockerfile ${dockerfile}`,
    `Commit it and tag a new version; a changed work tree is not looked at.`,
  );
}

/** The path without `./` and doubled slashes; `undefined` when it leaves the tree or is none. */
export function plainPath(path: string): string | undefined {
  if (path === '' || path.includes('\0') || posix.isAbsolute(path) || path.endsWith('/')) return undefined;
  const plain = posix.normalize(path);
  return plain === '.' || plain === '..' || plain.startsWith('../') ? undefined : plain;
}

export function isLfsPointer(content: Uint8Array): boolean {
  return (
    content.length < 1_024 &&
    Buffer.from(content.buffer, content.byteOffset, content.length).indexOf(LFS) === 0
  );
}

function leavesTree(path: string, target: string): boolean {
  if (target === '' || target.includes('\0')) return true;
  if (posix.isAbsolute(target)) return true;
  const at = posix.normalize(posix.join(posix.dirname(path), target));
  return at === '..' || at.startsWith('../');
}

function named(files: readonly TreeFile[]): string {
  const names = files.slice(0, NAMED).map(({ path }) => JSON.stringify(path));
  const more = files.length > NAMED ? ` and ${files.length - NAMED} more` : '';
  return `${names.join(', ')}${more}`;
}
