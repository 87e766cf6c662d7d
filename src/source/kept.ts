import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../base/files.ts';
import type { Log } from '../base/log.ts';
import { messageOf } from '../base/outcome.ts';
import { v } from '../base/shape.ts';
import type { SourceFiles } from './types.ts';

/** What is in force, apart from git: the definitions of the accepted commit, and the blobs that are somebody's last good state. */
export interface Kept {
  readonly definitions: SourceFiles;
  /** By blob id. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
}

const blob = v.strictObject({ oid: v.string(), base64: v.string() });
const schema = v.strictObject({
  format: v.literal(1),
  commit: v.strictObject({
    oid: v.string(),
    author: v.string(),
    email: v.string(),
    at: v.number(),
    message: v.string(),
    parents: v.array(v.string()),
  }),
  files: v.array(v.strictObject({ ...blob.entries, path: v.string() })),
  refused: v.array(v.strictObject({ path: v.string(), why: v.string() })),
  blobs: v.array(blob),
});

/**
 * Writes what is in force beside the mirrors (0600: definitions may hold what is secret). A repository given by path has no
 * mirror, and a mirror may be damaged while its remote is down: the node is healed from this all the same (L01, L02). A failure
 * is told and changes nothing.
 */
export async function writeKept(path: string, { definitions, blobs }: Kept, log: Log): Promise<void> {
  const { commit, files, refused } = definitions;
  const inFiles = new Set(files.map(({ oid }) => oid));
  const content = {
    format: 1,
    commit,
    files: files.map((file) => ({ path: file.path, oid: file.oid, base64: encoded(file.bytes) })),
    refused,
    blobs: [...blobs]
      .filter(([oid]) => !inFiles.has(oid))
      .map(([oid, bytes]) => ({ oid, base64: encoded(bytes) })),
  };
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFileAtomic(path, JSON.stringify(content));
  } catch (error) {
    log.warn(
      { path, why: messageOf(error), hint: 'Make room, or give the directory back to the agent.' },
      'the definitions in force could not be kept beside the mirrors',
    );
  }
}

/** What was kept; undefined when there is nothing, or when a byte of it is not what its id says. */
export async function readKept(path: string): Promise<Kept | undefined> {
  try {
    const read = v.parse(schema, JSON.parse(await readFile(path, 'utf8')));
    const files = read.files.map(({ path: name, ...one }) => ({
      path: name,
      oid: one.oid,
      bytes: proved(one),
    }));
    const blobs = [...files, ...read.blobs.map((one) => ({ oid: one.oid, bytes: proved(one) }))];
    return {
      definitions: { commit: read.commit, files, refused: read.refused },
      blobs: new Map(blobs.map(({ oid, bytes }) => [oid, bytes])),
    };
  } catch {
    return undefined;
  }
}

function encoded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

/** Throws when the bytes are not those of the id: git's own, the SHA-1 of a header and the content. */
function proved({ oid, base64 }: { oid: string; base64: string }): Uint8Array {
  const bytes = Buffer.from(base64, 'base64');
  const id = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  if (id !== oid) throw new Error(`the bytes of ${oid} are damaged`);
  return bytes;
}
