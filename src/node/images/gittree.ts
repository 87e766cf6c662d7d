import { failureOf } from '../../base/git/faults.ts';
import { findGitDir, readLocalRef } from '../../base/git/local.ts';
import { openReader, type GitReader } from '../../base/git/reader.ts';
import { walkTree } from '../../base/git/walk.ts';
import { ok, type Outcome } from '../../base/outcome.ts';
import type { OpenTag, TagTree } from './types.ts';

/** A tree is listed up to here; what `.dockerignore` leaves of it is held to the limit of the settings. */
const MAX_ENTRIES = 500_000;

/**
 * Reads the tag's objects from the repository in `directory`. Its work tree, index and branches are not looked at (L19).
 * The reader and not the mirror of `base/git`: the mirror looks for the repository anew at each blob, which takes
 * several times as long as the blob.
 */
export const openGitTag: OpenTag = (directory, tag) =>
  door(directory, async () => {
    const gitdir = await findGitDir(directory);
    const oid = await readLocalRef(gitdir, `refs/tags/${tag}`);
    return oid === undefined ? undefined : treeAt(openReader(gitdir), directory, tag, oid);
  });

async function treeAt(reader: GitReader, directory: string, tag: string, oid: string): Promise<TagTree> {
  const commit = await reader.peel(oid);
  const { time } = await reader.commit(commit);
  return {
    tag,
    commit,
    taggedAt: time,
    files: await walkTree(reader, commit, '', { maxEntries: MAX_ENTRIES }),
    readBlob: (blob, maxBytes) => door(directory, () => reader.blob(blob, maxBytes)),
  };
}

async function door<T>(directory: string, work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return ok(await work());
  } catch (error) {
    return failureOf(error, directory);
  }
}
