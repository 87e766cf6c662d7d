import { open, readdir, readFile, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { constants, inflateSync } from 'node:zlib';
import { isOid } from './objects.ts';

export interface SizeReader {
  /** Is an object of this id in the store? */
  has(oid: string): Promise<boolean>;
  /** The size of a blob. */
  size(oid: string): Promise<number | undefined>;
  /** Of many at once, each pack opened once; what is not told is not in it. Remembered for `size`. */
  sizes(oids: Iterable<string>): Promise<ReadonlyMap<string, number>>;
}

/**
 * The size of a blob without inflating it: a blob of some gigabytes of zeros is a pack of some megabytes,
 * and isomorphic-git would inflate it before anyone could ask. Undefined where it is not found or not told.
 * Formats: git's `Documentation/gitformat-pack.txt` (pack version 2, index version 2). Holds the indexes in memory.
 */
export function openSizes(gitdir: string): SizeReader {
  const folder = join(gitdir, 'objects', 'pack');
  let indexes: Promise<Map<string, Buffer>> | undefined;
  const all = (): Promise<Map<string, Buffer>> => {
    indexes ??= readIndexes(folder);
    indexes.catch(() => (indexes = undefined));
    return indexes;
  };
  const remembered = new Map<string, number>();
  const packed = async (oid: string): Promise<number | undefined> => {
    for (const [name, index] of await all()) {
      const offset = packOffset(index, oid);
      if (offset !== undefined) return entrySize(join(folder, name.replace(/idx$/, 'pack')), offset);
    }
    return undefined;
  };
  return {
    async has(oid) {
      if (!isOid(oid)) return false;
      try {
        const loose = await stat(loosePath(gitdir, oid)).catch(() => undefined);
        return (
          loose !== undefined ||
          [...(await all()).values()].some((index) => packOffset(index, oid) !== undefined)
        );
      } catch {
        return false;
      }
    },
    async size(oid) {
      if (!isOid(oid)) return undefined;
      const known = remembered.get(oid);
      if (known !== undefined) return known;
      try {
        return (await packed(oid)) ?? (await looseSize(gitdir, oid));
      } catch {
        // Whatever is wrong here is found and named when the object itself is read.
        return undefined;
      }
    },
    async sizes(oids) {
      const left = new Set([...oids].filter(isOid));
      try {
        for (const [name, index] of await all()) {
          const found = [...left].flatMap((oid) => {
            const offset = packOffset(index, oid);
            return offset === undefined ? [] : [{ oid, offset }];
          });
          if (found.length === 0) continue;
          const file = await open(join(folder, name.replace(/idx$/, 'pack')), 'r');
          try {
            for (const { oid, offset } of found) {
              const size = sizeIn(await readAt(file, offset, 256));
              if (size !== undefined) remembered.set(oid, size);
              left.delete(oid);
            }
          } finally {
            await file.close();
          }
        }
        for (const oid of left) {
          const size = await looseSize(gitdir, oid);
          if (size !== undefined) remembered.set(oid, size);
        }
      } catch {
        // Found and named when the object itself is read.
      }
      return remembered;
    },
  };
}

async function readIndexes(folder: string): Promise<Map<string, Buffer>> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.idx'));
  return new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  );
}

function loosePath(gitdir: string, oid: string): string {
  return join(gitdir, 'objects', oid.slice(0, 2), oid.slice(2));
}

async function looseSize(gitdir: string, oid: string): Promise<number | undefined> {
  const file = await open(loosePath(gitdir, oid), 'r').catch(() => undefined);
  if (file === undefined) return undefined;
  const start = inflateStart(await readAt(file, 0, 128).finally(() => file.close()));
  const size = /^blob (\d+)\0/.exec(start.toString('latin1', 0, 32))?.[1];
  return size === undefined ? undefined : Number(size);
}

function packOffset(index: Buffer, oid: string): number | undefined {
  if (index.readUInt32BE(0) !== 0xff744f63 || index.readUInt32BE(4) !== 2) return undefined;
  const fanout = (byte: number): number => (byte < 0 ? 0 : index.readUInt32BE(8 + byte * 4));
  const first = Number.parseInt(oid.slice(0, 2), 16);
  const wanted = Buffer.from(oid, 'hex');
  const ids = 8 + 1024;
  let low = fanout(first - 1);
  let high = fanout(first);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = wanted.compare(index, ids + middle * 20, ids + middle * 20 + 20);
    if (order === 0) return offsetAt(index, middle, fanout(255));
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return undefined;
}

function offsetAt(index: Buffer, position: number, total: number): number {
  const offsets = 8 + 1024 + total * 24;
  const offset = index.readUInt32BE(offsets + position * 4);
  if (offset < 0x80000000) return offset;
  return Number(index.readBigUInt64BE(offsets + total * 4 + (offset - 0x80000000) * 8));
}

async function entrySize(packPath: string, offset: number): Promise<number | undefined> {
  const file = await open(packPath, 'r');
  return sizeIn(await readAt(file, offset, 256).finally(() => file.close()));
}

/** What the beginning of an entry of a pack says of its size. */
function sizeIn(bytes: Buffer): number | undefined {
  const type = ((bytes[0] ?? 0) >> 4) & 7;
  let at = 0;
  let size = (bytes[0] ?? 0) & 15;
  for (let factor = 16; ((bytes[at] ?? 0) & 0x80) !== 0; factor *= 128) {
    at += 1;
    size += ((bytes[at] ?? 0) & 0x7f) * factor;
  }
  at += 1;
  if (type !== OFS_DELTA && type !== REF_DELTA) return size;
  if (type === REF_DELTA) at += 20;
  else {
    while (((bytes[at] ?? 0) & 0x80) !== 0) at += 1;
    at += 1;
  }
  // A delta begins with the size of its base and the size of its result.
  const delta = inflateStart(bytes.subarray(at));
  const base = varint(delta, 0);
  return varint(delta, base.next).value;
}

const OFS_DELTA = 6;
const REF_DELTA = 7;

function varint(bytes: Uint8Array, start: number): { value: number; next: number } {
  let value = 0;
  let at = start;
  for (let factor = 1; ; factor *= 128, at += 1) {
    const byte = bytes[at];
    if (byte === undefined) throw new RangeError('a number runs over the end');
    value += (byte & 0x7f) * factor;
    if ((byte & 0x80) === 0) return { value, next: at + 1 };
  }
}

/** The first bytes of a deflated stream, of which only the beginning is at hand. */
function inflateStart(bytes: Uint8Array): Buffer {
  // 128 to 256 bytes inflate to 256 KiB at most (1 : 1032).
  return inflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 1 << 20 });
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
