import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isOid } from './objects.ts';
import { inflateStart } from './packfile.ts';
import type { Packs } from './packs.ts';

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
 */
export function openSizes(gitdir: string, packs: Packs): SizeReader {
  const remembered = new Map<string, number>();
  const sizes = async (oids: Iterable<string>): Promise<ReadonlyMap<string, number>> => {
    const wanted = [...oids].filter(isOid);
    try {
      for (const [oid, size] of await packs.sizes(wanted)) remembered.set(oid, size);
      for (const oid of wanted) {
        const size = remembered.has(oid) ? undefined : await looseSize(gitdir, oid);
        if (size !== undefined) remembered.set(oid, size);
      }
    } catch {
      // Whatever is wrong here is found and named when the object itself is read.
    }
    return remembered;
  };
  return {
    async has(oid) {
      if (!isOid(oid)) return false;
      try {
        const loose = await stat(loosePath(gitdir, oid)).catch(() => undefined);
        return loose !== undefined || (await packs.has(oid));
      } catch {
        return false;
      }
    },
    size: async (oid) => remembered.get(oid) ?? (await sizes([oid])).get(oid),
    sizes,
  };
}

function loosePath(gitdir: string, oid: string): string {
  return join(gitdir, 'objects', oid.slice(0, 2), oid.slice(2));
}

async function looseSize(gitdir: string, oid: string): Promise<number | undefined> {
  const file = await open(loosePath(gitdir, oid), 'r').catch(() => undefined);
  if (file === undefined) return undefined;
  const head = Buffer.alloc(128);
  const { bytesRead } = await file.read(head, 0, head.length, 0).finally(() => file.close());
  const start = inflateStart(head.subarray(0, bytesRead));
  const size = /^blob (\d+)\0/.exec(start.toString('latin1', 0, 32))?.[1];
  return size === undefined ? undefined : Number(size);
}
