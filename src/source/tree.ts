import { blocked, ok, type Outcome } from '../base/outcome.ts';
import type { GitMirror } from '../base/git/mirror.ts';
import type { GitFile } from '../base/git/walk.ts';
import type { DefinitionFile, RefusedFile, SourceSettings } from './types.ts';

type Limits = Pick<SourceSettings, 'path' | 'maxFiles' | 'maxFileBytes' | 'maxTotalBytes'>;

export interface DefinitionTree {
  readonly files: readonly DefinitionFile[];
  readonly refused: readonly RefusedFile[];
}

/** Blobs by id: a new commit reads only what it changed. */
export type BlobMemory = ReadonlyMap<string, Uint8Array>;

const PARALLEL = 16;

/** The definitions of a commit: `.toml` files at any depth of `services/`, those in `nodes/`, and `removals.toml`. Follows nothing. */
export async function readDefinitions(
  mirror: GitMirror,
  commit: string,
  limits: Limits,
  memory: BlobMemory,
): Promise<Outcome<DefinitionTree>> {
  const listed = await listDefinitions(mirror, commit, limits);
  if (listed.kind !== 'ok') return listed;
  const refused: RefusedFile[] = [];
  const wanted: GitFile[] = [];
  for (const file of listed.value) {
    const why = refusal(file);
    if (why === undefined) wanted.push(file);
    else refused.push({ path: file.path, why });
  }
  if (wanted.length > limits.maxFiles) {
    return tooMuch(`there are ${wanted.length} definition files, more than the limit of ${limits.maxFiles}`);
  }
  const read = await readBlobs(mirror, wanted, limits, memory, refused);
  if (read.kind !== 'ok') return read;
  return ok({ files: read.value, refused: refused.sort(byPath) });
}

async function listDefinitions(
  mirror: GitMirror,
  commit: string,
  limits: Limits,
): Promise<Outcome<GitFile[]>> {
  const root = limits.path
    .split('/')
    .filter((part) => part !== '')
    .join('/');
  const at = (name: string): string => (root === '' ? name : `${root}/${name}`);
  // Twice as many as may be definitions: other files beside them are allowed, a flood is not.
  const maxEntries = limits.maxFiles * 2;
  const top = await mirror.readTree(commit, root, { maxEntries, deep: false });
  if (top.kind !== 'ok') return top;
  if (root !== '' && top.value.length === 0) return ok([missingFolder(root)]);
  if (root !== '' && top.value[0]?.path === root) return ok([{ ...top.value[0], unsafe: NOT_A_FOLDER }]);

  const services = await mirror.readTree(commit, at('services'), { maxEntries });
  if (services.kind !== 'ok') return services;
  const nodes = await mirror.readTree(commit, at('nodes'), { maxEntries, deep: false });
  if (nodes.kind !== 'ok') return nodes;
  const removals = top.value.filter(({ path }) => path === at('removals.toml'));
  const inNodes = nodes.value.filter(({ mode }) => mode !== FOLDER);
  return ok([...inNodes, ...removals, ...services.value].filter(isOurs).sort(byPath));
}

const FOLDER = '040000';
const NOT_A_FOLDER = 'the settings name this as the folder of definitions, but it is no folder';

/** Told as a refused entry, so that "the folder was renamed" is not taken for "all services may go" (L31). */
function missingFolder(path: string): GitFile {
  const unsafe = 'the settings name this folder, but the commit does not have it';
  return { path, mode: FOLDER, oid: '', unsafe };
}

/** What is a definition, or pretends to be one. Other plain files (a README) are nobody's business. */
function isOurs(file: GitFile): boolean {
  return file.path.endsWith('.toml') || !isPlain(file) || file.unsafe !== undefined;
}

function refusal(file: GitFile): string | undefined {
  if (file.unsafe !== undefined) return file.unsafe;
  if (file.mode === '120000') return 'it is a symbolic link; definitions are plain files';
  if (file.mode === '160000') return 'it is a submodule; definitions are plain files of this repository';
  return isPlain(file) ? undefined : `it has the unknown mode ${file.mode}`;
}

function isPlain(file: GitFile): boolean {
  return file.mode === '100644' || file.mode === '100755' || file.mode === '100664';
}

/** Reads in the order of the paths, some at a time; adds what is too large to `refused`. */
async function readBlobs(
  mirror: GitMirror,
  wanted: readonly GitFile[],
  limits: Limits,
  memory: BlobMemory,
  refused: RefusedFile[],
): Promise<Outcome<DefinitionFile[]>> {
  const files: DefinitionFile[] = [];
  let total = 0;
  for (let at = 0; at < wanted.length; at += PARALLEL) {
    const part = await Promise.all(
      wanted
        .slice(at, at + PARALLEL)
        .map(async ({ path, oid }) => ({ path, oid, read: await readOne(mirror, oid, limits, memory) })),
    );
    for (const { path, oid, read } of part) {
      if (typeof read === 'number') {
        refused.push({
          path,
          why: `it has ${read} bytes, more than the limit of ${limits.maxFileBytes}`,
          rule: 'file/size',
        });
      } else if (read.kind !== 'ok') return read;
      else {
        total += read.value.length;
        files.push({ path, oid, bytes: read.value });
      }
    }
    if (total > limits.maxTotalBytes) {
      return tooMuch(`the definition files have more than ${limits.maxTotalBytes} bytes together`);
    }
  }
  return ok(files);
}

async function readOne(
  mirror: GitMirror,
  oid: string,
  limits: Limits,
  memory: BlobMemory,
): Promise<Outcome<Uint8Array> | number> {
  const remembered = memory.get(oid);
  if (remembered !== undefined) return ok(remembered);
  const size = await mirror.blobSize(oid);
  if (size !== undefined && size > limits.maxFileBytes) return size;
  const read = await mirror.readBlob(oid, limits.maxTotalBytes);
  return read.kind === 'ok' && read.value.length > limits.maxFileBytes ? read.value.length : read;
}

function tooMuch(what: string): Outcome<never> {
  return blocked(
    what,
    'The last accepted commit stays in force. Raise the limit in the settings, or commit less.',
  );
}

function byPath(a: { readonly path: string }, b: { readonly path: string }): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
