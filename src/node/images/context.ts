import { Readable } from 'node:stream';
import dockerignore from '@balena/dockerignore';
import { pack, type Pack } from 'tar-stream';
import { blocked, bug, ok, type Failure, type Outcome } from '../../base/outcome.ts';
import type { TagTree, TreeFile } from './types.ts';
import { checkTree, isLfsPointer, noDockerfile, plainPath } from './tree.ts';

export interface ContextLimits {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** A build context that is made while it is read. */
export interface BuildContext {
  /** A tar archive; the same tree always gives the same bytes. */
  readonly stream: Readable;
  readonly dockerfile: string;
  readonly files: number;
  /** Aborted when the tree turns out to be unfit while it is sent; `fault` then says why. */
  readonly unfit: AbortSignal;
  fault(): Failure | undefined;
  /** Bytes of files so far. */
  bytes(): number;
  /** Ends it early; resolves when nothing is read any more. */
  close(): Promise<void>;
}

/**
 * The tree of a tag as a tar stream, from git objects and never from a work tree (L19): sorted, owned by 0:0, every
 * time the tag's own, `.dockerignore` (or `<Dockerfile>.dockerignore`) honoured. One file is in memory at a time.
 * The tag's time and not 0, as some formats know no time before 1980 (zip) and fail on it.
 * @param what names repository and tag, for messages.
 */
export async function prepareContext(
  tree: TagTree,
  options: { readonly what: string; readonly dockerfile: string } & ContextLimits,
): Promise<Outcome<BuildContext>> {
  const dockerfile = plainPath(options.dockerfile);
  const byPath = new Map(tree.files.map((file) => [file.path, file]));
  if (dockerfile === undefined || !byPath.has(dockerfile))
    return noDockerfile(options.what, options.dockerfile);
  const selected = await select(tree, byPath, dockerfile);
  if (selected.kind !== 'ok')
    return { ...selected, why: `.dockerignore of ${options.what}: ${selected.why}` };
  const checked = await checkTree(tree, selected.value.files, options);
  if (checked.kind !== 'ok') return checked;
  const oversized = await tooLarge(tree, selected.value.files, options);
  if (oversized !== undefined) return oversized;
  return ok(stream(tree, selected.value, checked.value, { ...options, dockerfile }));
}

/** What is too much as a whole is refused before a byte of it is read or sent. */
async function tooLarge(
  tree: TagTree,
  files: readonly TreeFile[],
  limits: { readonly what: string } & ContextLimits,
): Promise<Failure | undefined> {
  const sizes = await tree.sizesOf?.(files.map(({ oid }) => oid));
  if (sizes === undefined) return undefined;
  let bytes = 0;
  for (const file of files) {
    bytes += sizes.get(file.oid) ?? 0;
    if (bytes > limits.maxBytes) return tooMuch(file, limits);
  }
  return pointerAmong(tree, files, sizes, limits.what);
}

const POINTER_BYTES = 1_024;
const MAX_ATTRIBUTES_BYTES = 1024 * 1024;

/**
 * Where a tree says that it uses Git LFS, its pointers are found before anything is sent: Podman keeps what it got of a context that is
 * cut off. Any other is found while it is sent.
 */
async function pointerAmong(
  tree: TagTree,
  files: readonly TreeFile[],
  sizes: ReadonlyMap<string, number>,
  what: string,
): Promise<Failure | undefined> {
  let usesLfs = false;
  for (const { path, oid } of tree.files) {
    if (usesLfs || !/(?:^|\/)\.gitattributes$/.test(path)) continue;
    const content = await tree.readBlob(oid, MAX_ATTRIBUTES_BYTES);
    usesLfs = content.kind === 'ok' && Buffer.from(content.value).includes('filter=lfs');
  }
  if (!usesLfs) return undefined;
  for (const file of files) {
    if ((sizes.get(file.oid) ?? POINTER_BYTES) >= POINTER_BYTES) continue;
    const content = await tree.readBlob(file.oid, POINTER_BYTES);
    // What cannot be read is told when it is sent.
    if (content.kind === 'ok' && isLfsPointer(content.value)) return lfsPointer(file, what);
  }
  return undefined;
}

const MAX_IGNORE_BYTES = 1024 * 1024;

interface Selection {
  readonly files: readonly TreeFile[];
  /** Without a trailing slash. */
  readonly directories: readonly string[];
}

async function select(
  tree: TagTree,
  byPath: ReadonlyMap<string, TreeFile>,
  dockerfile: string,
): Promise<Outcome<Selection>> {
  const own = byPath.get(`${dockerfile}.dockerignore`);
  const ignoreFile = own ?? byPath.get('.dockerignore');
  // Docker tells upper from lower case, this library by default does not.
  const rules = dockerignore.default({ ignorecase: false });
  if (ignoreFile !== undefined) {
    const content = await tree.readBlob(ignoreFile.oid, MAX_IGNORE_BYTES);
    if (content.kind !== 'ok') return content;
    rules.add(
      Buffer.from(content.value)
        .toString('utf8')
        .replace(/^\uFEFF/, ''),
    );
  }
  // The engine reads both, however they are listed; a general list that was overruled must not be applied by it.
  const always = new Set([dockerfile, ...(ignoreFile === undefined ? [] : [ignoreFile.path])]);
  const files: TreeFile[] = [];
  const directories = new Set<string>();
  for (const file of tree.files) {
    const overruled = own !== undefined && file.path === '.dockerignore';
    const kept = always.has(file.path) || (!overruled && !rules.ignores(file.path));
    if (kept) files.push(file);
    for (const parent of parentsOf(file.path)) {
      if (!directories.has(parent) && (kept || !rules.ignores(parent))) directories.add(parent);
    }
  }
  return ok({ files, directories: [...directories].sort(compare) });
}

function parentsOf(path: string): string[] {
  const parents: string[] = [];
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) parents.push(path.slice(0, at));
  return parents;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function stream(
  tree: TagTree,
  selected: Selection,
  links: ReadonlyMap<string, string>,
  options: { readonly what: string; readonly dockerfile: string } & ContextLimits,
): BuildContext {
  const archive = pack();
  const unfit = new AbortController();
  let fault: Failure | undefined;
  let bytes = 0;
  const read = async (file: TreeFile): Promise<Outcome<Uint8Array>> => {
    const content = await tree.readBlob(file.oid, options.maxBytes - bytes);
    if (content.kind !== 'ok') return content.kind === 'blocked' ? tooMuch(file, options) : content;
    bytes += content.value.length;
    return isLfsPointer(content.value) ? lfsPointer(file, options.what) : content;
  };
  const written = writeAll(archive, tree, selected, links, read).catch((error: unknown) => bug(error));
  // An archive that was closed by its reader is no fault of the tree.
  let closing = false;
  const ended = written.then((outcome) => {
    if (outcome === undefined || closing || archive.destroyed) return;
    fault = outcome;
    unfit.abort(new Error(outcome.why));
    archive.destroy();
  });
  const readable = Readable.from(inPieces(archive), { objectMode: false });
  // Who ends it early knows why; nobody else listens.
  for (const one of [archive, readable]) one.on('error', () => undefined);
  return {
    stream: readable,
    dockerfile: options.dockerfile,
    files: selected.files.length,
    unfit: unfit.signal,
    fault: () => fault,
    bytes: () => bytes,
    close: async () => {
      closing = true;
      readable.destroy();
      archive.destroy();
      await ended;
    },
  };
}

/** An archive of small files comes in three bits a file: each would be a write of its own to the engine. */
async function* inPieces(archive: Pack): AsyncGenerator<Buffer> {
  let bits: Buffer[] = [];
  let length = 0;
  for await (const bit of archive as AsyncIterable<Buffer>) {
    bits.push(bit);
    length += bit.length;
    if (length < PIECE_BYTES) continue;
    yield Buffer.concat(bits, length);
    bits = [];
    length = 0;
  }
  if (length > 0) yield Buffer.concat(bits, length);
}

const PIECE_BYTES = 64 * 1024;

function tooMuch(file: TreeFile, { what, maxBytes }: { what: string } & ContextLimits): Failure {
  return blocked(
    `the files of ${what} have more than ${maxBytes} bytes together (at ${file.path})`,
    'List what the build does not need in .dockerignore, or raise [build] max_context_mib in the settings.',
  );
}

function lfsPointer(file: TreeFile, what: string): Failure {
  return blocked(
    `${file.path} of ${what} is a pointer to Git LFS, whose content is not in the repository [source/lfs]`,
    'Commit the file itself, or list it in .dockerignore if the build does not need it.',
  );
}

/** Resolves with the first failure, or with undefined when all is written. Rejects when the archive is destroyed. */
async function writeAll(
  archive: Pack,
  tree: TagTree,
  { files, directories }: Selection,
  links: ReadonlyMap<string, string>,
  read: (file: TreeFile) => Promise<Outcome<Uint8Array>>,
): Promise<Failure | undefined> {
  const common = { uid: 0, gid: 0, uname: '', gname: '', mtime: new Date(tree.taggedAt) };
  for (const name of directories) {
    await write(archive, { ...common, name: `${name}/`, type: 'directory', mode: 0o755 });
  }
  for (const file of files) {
    const linkname = links.get(file.path);
    if (linkname !== undefined) {
      await write(archive, { ...common, name: file.path, type: 'symlink', mode: 0o777, linkname });
      continue;
    }
    const content = await read(file);
    if (content.kind !== 'ok') return content;
    const mode = file.mode === '100755' ? 0o755 : 0o644;
    await write(archive, { ...common, name: file.path, type: 'file', mode }, view(content.value));
  }
  archive.finalize();
  return undefined;
}

/** The same bytes, not a copy of them. */
function view({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}

/** Resolves when the entry is taken by the reader: the backpressure that keeps memory flat. */
function write(archive: Pack, header: Parameters<Pack['entry']>[0], content?: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error | null): void => (error ? reject(error) : resolve());
    if (content === undefined) archive.entry(header, done);
    else archive.entry(header, content, done);
  });
}
