import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { inflate, inflateSync } from 'node:zlib';
import { promisify } from 'node:util';
import { isOid } from './objects.ts';
import { applyDelta, deltaResultSize } from './delta.ts';
import {
  entryOf,
  HEAD_BYTES,
  inflateStart,
  openPack,
  packOffset,
  type Entry,
  type Pack,
} from './packfile.ts';

interface PackedObject {
  readonly type: 'commit' | 'tree' | 'blob' | 'tag';
  readonly bytes: Uint8Array;
}

/** The packs of one git directory, of which a few windows are held in memory and never a whole one. */
export interface Packs {
  /**
   * Undefined where it is in no pack, or written in a way that is not read here: isomorphic-git reads it then, or says what
   * is wrong with it. Its bytes are still to be checked against its id.
   */
  read(oid: string): Promise<PackedObject | undefined>;
  /** Is an object of this id in a pack? */
  has(oid: string): Promise<boolean>;
  /** Sizes in bytes by id, of those that are in a pack. Nothing is inflated beyond its first bytes. */
  sizes(oids: Iterable<string>): Promise<Map<string, number>>;
}

/** git's own default is 50, its limit 4095. */
const LONGEST_CHAIN = 4_095;
/** Longer ones are inflated off the main thread. */
const SYNC_BYTES = 256 * 1024;
/** Of what stands side by side in a tree, many are deltas of the same object. */
const KEPT_BASES_BYTES = 16 * 1024 * 1024;
const inflated = promisify(inflate);

/**
 * Packs in format version 2 with indexes of version 2, which are held in memory. isomorphic-git holds every pack that it
 * reads from as a whole, and asks the disk three times for each object.
 */
export function openPacks(gitdir: string): Packs {
  const folder = join(gitdir, 'objects', 'pack');
  let opened: Promise<{ readonly packs: readonly Pack[]; readonly mtimeMs: number }> | undefined;
  const all = async (): Promise<readonly Pack[]> => {
    opened ??= openAll(folder);
    opened.catch(() => (opened = undefined));
    return (await opened).packs;
  };
  /** A fetch brings a pack, `git gc` moves everything into another one. */
  const isStale = async (): Promise<boolean> => {
    const { mtimeMs } = await stat(folder);
    return opened !== undefined && (await opened).mtimeMs !== mtimeMs;
  };
  const placeOf = async (oid: string): Promise<Place | undefined> => {
    if (!isOid(oid)) return undefined;
    const place = placeIn(await all(), oid);
    if (place !== undefined || !(await isStale())) return place;
    opened = undefined;
    return placeIn(await all(), oid);
  };
  const bases = keepBases();
  const readPlace = async (place: Place, depth: number): Promise<PackedObject | undefined> => {
    const entry = await entryAt(place);
    if (entry === undefined || depth > LONGEST_CHAIN) return undefined;
    const bytes = await contentOf(place.pack, entry);
    if (entry.type !== 'delta') return { type: entry.type, bytes };
    const below =
      entry.baseOffset === undefined
        ? await placeOf(entry.baseOid ?? '')
        : { pack: place.pack, offset: entry.baseOffset };
    if (below === undefined) return undefined;
    const base = bases.find(below) ?? (await readPlace(below, depth + 1));
    if (base === undefined) return undefined;
    bases.keep(below, base);
    return { type: base.type, bytes: applyDelta(base.bytes, bytes) };
  };
  return {
    has: async (oid) => (await placeOf(oid)) !== undefined,
    read: async (oid) => {
      try {
        const place = await placeOf(oid);
        return place === undefined ? undefined : await readPlace(place, 0);
      } catch {
        // Gone since the indexes were read, or damaged: the other reader finds out.
        opened = undefined;
        return undefined;
      }
    },
    sizes: async (oids) => {
      if (await isStale()) opened = undefined;
      const sizes = new Map<string, number>();
      let left = [...new Set(oids)].filter(isOid);
      for (const pack of await all()) {
        const found = left.flatMap((oid) => {
          const offset = packOffset(pack.index, oid);
          return offset === undefined ? [] : [{ oid, offset }];
        });
        const heads = await pack.heads(found.map(({ offset }) => offset));
        for (const { oid, offset } of found) {
          const size = sizeIn(heads.get(offset) ?? Buffer.alloc(0), offset);
          if (size !== undefined) sizes.set(oid, size);
        }
        left = left.filter((oid) => !sizes.has(oid));
      }
      return sizes;
    },
  };
}

interface Place {
  readonly pack: Pack;
  readonly offset: number;
}

async function openAll(folder: string): Promise<{ packs: Pack[]; mtimeMs: number }> {
  // The time first: what comes while we read is seen by the next look.
  const { mtimeMs } = await stat(folder);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.idx'));
  const packs = names.map(async (name) =>
    openPack(join(folder, name.replace(/idx$/, 'pack')), await readFile(join(folder, name))),
  );
  return { packs: await Promise.all(packs), mtimeMs };
}

function placeIn(packs: readonly Pack[], oid: string): Place | undefined {
  for (const pack of packs) {
    const offset = packOffset(pack.index, oid);
    if (offset !== undefined) return { pack, offset };
  }
  return undefined;
}

async function entryAt({ pack, offset }: Place): Promise<Entry | undefined> {
  const end = await pack.endOf(offset);
  const head = await pack.read(offset, Math.min(HEAD_BYTES, end - offset));
  return entryOf(head, offset, end);
}

async function contentOf(pack: Pack, { start, end, size }: Entry): Promise<Uint8Array> {
  const packed = await pack.read(start, end - start);
  // One byte more than it should have: one buffer is enough then, and what is longer is an error.
  const limits = { maxOutputLength: size + 1, chunkSize: Math.max(64, Math.min(size + 1, SYNC_BYTES)) };
  const bytes = size <= SYNC_BYTES ? inflateSync(packed, limits) : await inflated(packed, limits);
  if (bytes.length !== size) throw new RangeError('an object has another size than its pack says');
  return bytes;
}

/** What an entry says of the size of its object, from its first bytes. */
function sizeIn(head: Buffer, offset: number): number | undefined {
  const entry = entryOf(head, offset, Number.MAX_SAFE_INTEGER);
  if (entry?.type !== 'delta') return entry?.size;
  return deltaResultSize(inflateStart(head.subarray(entry.start - offset)));
}

function keepBases(): {
  find(place: Place): PackedObject | undefined;
  keep(place: Place, base: PackedObject): void;
} {
  let kept = new WeakMap<Pack, Map<number, PackedObject>>();
  let bytes = 0;
  return {
    find: ({ pack, offset }) => kept.get(pack)?.get(offset),
    keep: ({ pack, offset }, base) => {
      if (base.bytes.length > KEPT_BASES_BYTES / 4) return;
      if (bytes > KEPT_BASES_BYTES) {
        kept = new WeakMap();
        bytes = 0;
      }
      const ofPack = kept.get(pack) ?? new Map<number, PackedObject>();
      kept.set(pack, ofPack);
      if (!ofPack.has(offset)) bytes += base.bytes.length;
      ofPack.set(offset, base);
    },
  };
}
