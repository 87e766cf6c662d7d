import { open, type FileHandle } from 'node:fs/promises';
import { constants, inflateSync } from 'node:zlib';

/** One pack file (git's `Documentation/gitformat-pack.txt`, version 2), read a window at a time. */
export interface Pack {
  /** Its index, as it is. */
  readonly index: Buffer;
  /** Where the entry at `offset` ends. */
  endOf(offset: number): Promise<number>;
  /** Up to `length` bytes: less at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>;
  /** The first bytes of many entries, by their offset. */
  heads(offsets: readonly number[]): Promise<ReadonlyMap<number, Buffer>>;
}

export interface Entry {
  readonly type: 'commit' | 'tree' | 'blob' | 'tag' | 'delta';
  /** Of its content: of the delta itself, where it is one. */
  readonly size: number;
  /** Where its deflated content is in the pack. */
  readonly start: number;
  readonly end: number;
  /** Of a delta, one of both. */
  readonly baseOffset?: number;
  readonly baseOid?: string;
}

/** Enough for what stands before the content, and for the beginning of a delta. */
export const HEAD_BYTES = 256;
/** What stands side by side in a pack is mostly wanted one after the other. */
const WINDOW_BYTES = 256 * 1024;
const WINDOWS = 16;
const HEADS_BYTES = 64 * 1024;
/** So few are taken from the windows, where they are read from next. */
const FEW = 64;
const TRAILER_BYTES = 20;
const TYPES: Readonly<Record<number, Entry['type']>> = { 1: 'commit', 2: 'tree', 3: 'blob', 4: 'tag' };
const OFS_DELTA = 6;
const REF_DELTA = 7;

export function openPack(path: string, index: Buffer): Pack {
  const windows = new Map<number, Promise<Buffer>>();
  let ends: Promise<Float64Array> | undefined;
  const withFile = async <T>(work: (file: FileHandle) => Promise<T>): Promise<T> => {
    const file = await open(path, 'r');
    return work(file).finally(() => file.close());
  };
  const windowAt = (start: number): Promise<Buffer> => {
    const window = windows.get(start) ?? withFile((file) => readAt(file, start, WINDOW_BYTES));
    windows.delete(start);
    windows.set(start, window);
    window.catch(() => windows.delete(start));
    const [oldest] = windows.keys();
    if (windows.size > WINDOWS && oldest !== undefined) windows.delete(oldest);
    return window;
  };
  const read = async (offset: number, length: number): Promise<Buffer> => {
    if (length > WINDOW_BYTES) return withFile((file) => readAt(file, offset, length));
    const start = offset - (offset % WINDOW_BYTES);
    const first = (await windowAt(start)).subarray(offset - start, offset - start + length);
    if (offset + length <= start + WINDOW_BYTES) return first;
    const second = await windowAt(start + WINDOW_BYTES);
    return Buffer.concat([first, second.subarray(0, length - first.length)]);
  };
  return {
    index,
    endOf: async (offset) => {
      ends ??= withFile(async (file) => endsOf(index, (await file.stat()).size - TRAILER_BYTES));
      ends.catch(() => (ends = undefined));
      return firstAfter(await ends, offset);
    },
    read,
    heads: async (offsets) => {
      const heads = new Map<number, Buffer>();
      if (offsets.length < FEW) {
        for (const offset of offsets) heads.set(offset, await read(offset, HEAD_BYTES));
        return heads;
      }
      return withFile(async (file) => {
        let start = 0;
        let bytes: Buffer = Buffer.alloc(0);
        for (const offset of [...offsets].sort((a, b) => a - b)) {
          if (offset + HEAD_BYTES > start + bytes.length) {
            start = offset;
            bytes = await readAt(file, offset, HEADS_BYTES);
          }
          // A copy: a view would keep the whole of what was read.
          heads.set(offset, Buffer.from(bytes.subarray(offset - start, offset - start + HEAD_BYTES)));
        }
        return heads;
      });
    },
  };
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/** Where the object is in the pack, by its index (version 2); undefined where it is not in it. */
export function packOffset(index: Buffer, oid: string): number | undefined {
  if (!isVersion2(index)) return undefined;
  const first = Number.parseInt(oid.slice(0, 2), 16);
  const wanted = Buffer.from(oid, 'hex');
  let low = fanout(index, first - 1);
  let high = fanout(index, first);
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = IDS + middle * 20;
    const order = wanted.compare(index, at, at + 20);
    if (order === 0) return offsetAt(index, middle, fanout(index, 255));
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return undefined;
}

const IDS = 8 + 1024;

function isVersion2(index: Buffer): boolean {
  return index.readUInt32BE(0) === 0xff744f63 && index.readUInt32BE(4) === 2;
}

function fanout(index: Buffer, byte: number): number {
  return byte < 0 ? 0 : index.readUInt32BE(8 + byte * 4);
}

function offsetAt(index: Buffer, position: number, total: number): number {
  const offsets = IDS + total * 24;
  const offset = index.readUInt32BE(offsets + position * 4);
  if (offset < 0x80000000) return offset;
  return Number(index.readBigUInt64BE(offsets + total * 4 + (offset - 0x80000000) * 8));
}

/** Where entries begin, and where the last one ends: an entry ends where the next one begins. */
function endsOf(index: Buffer, end: number): Float64Array {
  const total = fanout(index, 255);
  const starts = new Float64Array(total + 1);
  for (let position = 0; position < total; position += 1) starts[position] = offsetAt(index, position, total);
  starts[total] = end;
  return starts.sort();
}

function firstAfter(sorted: Float64Array, offset: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  const found = sorted[low];
  if (found === undefined) throw new RangeError('an object lies beyond its pack');
  return found;
}

/** What stands before the content of an entry; undefined for a kind that is not known. Throws where it is cut off. */
export function entryOf(head: Buffer, offset: number, end: number): Entry | undefined {
  const byte = (at: number): number => head.readUInt8(at);
  const kind = (byte(0) >> 4) & 7;
  let at = 0;
  let size = byte(0) & 15;
  for (let factor = 16; (byte(at) & 0x80) !== 0; factor *= 128) {
    at += 1;
    size += (byte(at) & 0x7f) * factor;
  }
  at += 1;
  const type = TYPES[kind];
  if (type !== undefined) return { type, size, start: offset + at, end };
  if (kind === REF_DELTA) {
    const baseOid = head.toString('hex', at, at + 20);
    return { type: 'delta', size, start: offset + at + 20, end, baseOid };
  }
  if (kind !== OFS_DELTA) return undefined;
  let back = byte(at) & 0x7f;
  while ((byte(at) & 0x80) !== 0) {
    at += 1;
    back = (back + 1) * 128 + (byte(at) & 0x7f);
  }
  return { type: 'delta', size, start: offset + at + 1, end, baseOffset: offset - back };
}

/** The first bytes of a deflated stream, of which only the beginning is at hand. */
export function inflateStart(bytes: Uint8Array): Buffer {
  // 128 to 256 bytes inflate to 256 KiB at most (1 : 1032).
  return inflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: 1 << 20 });
}
