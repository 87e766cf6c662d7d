import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readObject } from 'isomorphic-git';
import { GitFault, isReadFault } from './faults.ts';
import { openPacks, type Packs } from './packs.ts';
import { openSizes } from './size.ts';
import { isOid, parseCommit, parseTag, parseTree, type CommitInfo, type TreeEntry } from './objects.ts';

type ObjectType = 'commit' | 'tree' | 'blob' | 'tag';

/** Reads the objects of one git directory. Every object is checked against its id. Throws `GitFault`. */
export interface GitReader {
  readonly gitdir: string;
  commit(oid: string): Promise<CommitInfo>;
  tree(oid: string): Promise<readonly TreeEntry[]>;
  blob(oid: string, maxBytes: number): Promise<Uint8Array>;
  /** Bytes of a blob without reading it, where its store tells. */
  blobSize(oid: string): Promise<number | undefined>;
  /** Of many at once; those whose store does not tell are left out. */
  blobSizes(oids: Iterable<string>): Promise<ReadonlyMap<string, number>>;
  /** Is this object here? Says nothing about whether it can be read. */
  has(oid: string): Promise<boolean>;
  /** The commit behind a commit or an annotated tag. */
  peel(oid: string): Promise<string>;
  /** The bytes of an annotated tag. */
  tagObject(oid: string): Promise<Uint8Array>;
  /** Commits whose parents were never sent. */
  shallow(): Promise<ReadonlySet<string>>;
  /** Lets go of packs and indexes held in memory. */
  release(): void;
}

export function openReader(gitdir: string): GitReader {
  let cache = {};
  let packs = openPacks(gitdir);
  let sizes = openSizes(gitdir, packs);
  const trees = new Map<string, readonly TreeEntry[]>();
  const release = (): void => {
    cache = {};
    packs = openPacks(gitdir);
    sizes = openSizes(gitdir, packs);
  };
  const raw = (oid: string, type: ObjectType): Promise<Uint8Array> =>
    // `git gc` moves objects from one file to another while we look: look again, with nothing remembered.
    again(release, () => readChecked({ gitdir, cache, packs }, oid, type));

  return {
    gitdir,
    release,
    async commit(oid) {
      const parsed = parseCommit(oid, await raw(oid, 'commit'));
      if (parsed === undefined) throw damaged(oid, 'is not a readable commit');
      return parsed;
    },
    async tree(oid) {
      const remembered = trees.get(oid);
      if (remembered !== undefined) return remembered;
      const parsed = parseTree(await raw(oid, 'tree'));
      if (parsed === undefined) throw damaged(oid, 'is not a readable tree');
      if (trees.size >= MAX_TREES) trees.clear();
      trees.set(oid, parsed);
      return parsed;
    },
    async blob(oid, maxBytes) {
      const size = await sizes.size(oid);
      if (size !== undefined && size > maxBytes) throw tooLarge(oid, size, maxBytes);
      const bytes = await raw(oid, 'blob');
      if (bytes.length > maxBytes) throw tooLarge(oid, bytes.length, maxBytes);
      return ownBytes(bytes);
    },
    blobSize: (oid) => sizes.size(oid),
    blobSizes: (oids) => sizes.sizes(oids),
    async has(oid) {
      if (await sizes.has(oid)) return true;
      // `git gc` may have run since the indexes were read.
      release();
      return sizes.has(oid);
    },
    async peel(oid) {
      let current = oid;
      // A tag of a tag of a tag is legal; a chain without end is not.
      for (let depth = 0; depth < 10; depth += 1) {
        const type = await again(release, () => typeOf({ gitdir, cache, packs }, current));
        if (type === 'commit') return current;
        const tag = type === 'tag' ? parseTag(await raw(current, 'tag')) : undefined;
        if (tag === undefined) break;
        current = tag.object;
      }
      throw new GitFault('blocked', `the tag ${oid} does not point to a commit`, 'Tag a commit.');
    },
    tagObject: async (oid) => ownBytes(await raw(oid, 'tag')),
    async shallow() {
      const text = await readFile(join(gitdir, 'shallow'), 'utf8').catch(() => '');
      return new Set(text.split('\n').filter(isOid));
    },
  };
}

const MAX_TREES = 5_000;
const READ_ATTEMPTS = 3;
const MAX_SPARE_BYTES = 1_024;

async function again<T>(release: () => void, read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await read();
    } catch (error) {
      if (attempt >= READ_ATTEMPTS || !isReadFault(error)) throw error;
      release();
      await delay(10 * attempt);
    }
  }
}

interface Store {
  readonly gitdir: string;
  /** Of isomorphic-git. */
  readonly cache: object;
  readonly packs: Packs;
}

async function readChecked(store: Store, oid: string, type: ObjectType): Promise<Uint8Array> {
  const packed = await store.packs.read(oid);
  if (packed?.type === type && idOf(packed) === oid) return packed.bytes;
  const found = await readRaw(store, oid);
  if (found.type !== type) throw damaged(oid, `is a ${found.type}, not a ${type}`);
  if (idOf(found) !== oid) throw damaged(oid, 'has other bytes than its id says');
  return found.bytes;
}

function idOf({ type, bytes }: { readonly type: string; readonly bytes: Uint8Array }): string {
  return createHash('sha1').update(`${type} ${bytes.length}\0`).update(bytes).digest('hex');
}

/** Not a view into a larger buffer, which would be kept with it. */
function ownBytes(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > bytes.length + MAX_SPARE_BYTES
    ? new Uint8Array(bytes)
    : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

async function typeOf(store: Store, oid: string): Promise<string> {
  return ((await store.packs.read(oid)) ?? (await readRaw(store, oid))).type;
}

async function readRaw({ gitdir, cache }: Store, oid: string): Promise<{ type: string; bytes: Uint8Array }> {
  let found;
  try {
    // Deprecated as "overly complicated"; it alone gives the raw bytes, which are checked and parsed by us.
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    found = await readObject({ fs, gitdir, cache, oid, format: 'content' });
  } catch (error) {
    if (!isReadFault(error)) throw error;
    throw damaged(oid, 'is missing or damaged');
  }
  if (found.format !== 'content' || !(found.object instanceof Uint8Array))
    throw damaged(oid, 'is not readable');
  return { type: found.type, bytes: found.object };
}

function damaged(oid: string, what: string): GitFault {
  return new GitFault('damaged', `object ${oid} ${what}`);
}

function tooLarge(oid: string, size: number, maxBytes: number): GitFault {
  return new GitFault('blocked', `blob ${oid} has ${size} bytes, more than the limit of ${maxBytes}`);
}
