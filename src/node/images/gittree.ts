import { failureOf } from '../../base/git/faults.ts';
import { findGitDir, readLocalRef } from '../../base/git/local.ts';
import { openReader, type GitReader } from '../../base/git/reader.ts';
import { walkTree } from '../../base/git/walk.ts';
import { ok, type Outcome } from '../../base/outcome.ts';
import type { OpenTag, TagTree } from './types.ts';

/** A tree is listed up to here; what `.dockerignore` leaves of it is held to the limit of the settings. */
export const MAX_ENTRIES = 500_000;

/**
 * Reads the tag's objects from the repository in `directory`. Its work tree, index and branches are not looked at (L19).
 * The reader and not the mirror of `base/git`: the mirror looks for the repository anew at each blob, which takes
 * several times as long as the blob.
 */
export const openGitTag: OpenTag = (directory, tag, only) =>
  door(directory, async () => {
    const gitdir = await findGitDir(directory);
    const oid = await readLocalRef(gitdir, `refs/tags/${tag}`);
    return oid === undefined ? undefined : treeAt(openReader(gitdir), directory, tag, oid, only);
  });

async function treeAt(
  reader: GitReader,
  directory: string,
  tag: string,
  oid: string,
  only = '',
): Promise<TagTree> {
  const commit = await reader.peel(oid);
  const { time } = await reader.commit(commit);
  const object = oid === commit ? undefined : await reader.tagObject(oid);
  return {
    tag,
    commit,
    taggedAt: tagDate(object) ?? time,
    files: await walkTree(reader, commit, only, { maxEntries: MAX_ENTRIES }),
    ...(object === undefined ? {} : { object }),
    sizesOf: (oids) => reader.blobSizes(oids),
    readBlob: (blob, maxBytes) => door(directory, () => reader.blob(blob, maxBytes)),
  };
}

/** When an annotated tag was made, milliseconds since the epoch. */
export function tagDate(object: Uint8Array | undefined): number | undefined {
  const headers =
    Buffer.from(object ?? [])
      .toString('latin1')
      .split('\n\n', 1)[0] ?? '';
  const seconds = /^tagger .*> (\d{1,12}) [+-]\d{4}$/m.exec(headers)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

async function door<T>(directory: string, work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await work());
  } catch (error) {
    return failureOf(error, directory);
  }
}
