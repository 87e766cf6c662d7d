import { failureOf } from '../../base/git/faults.ts';
import { findGitDir, readLocalRef } from '../../base/git/local.ts';
import { openReader } from '../../base/git/reader.ts';
import { walkTree } from '../../base/git/walk.ts';
import { ok } from '../../base/outcome.ts';
import type { OpenTag } from './types.ts';

/** A tree is listed up to here; what `.dockerignore` leaves of it is held to the limit of the settings. */
const MAX_ENTRIES = 500_000;

/** Reads the tag's objects from the repository in `directory`. Its work tree, index and branches are not looked at (L19). */
export const openGitTag: OpenTag = async (directory, tag) => {
  try {
    const gitdir = await findGitDir(directory);
    const oid = await readLocalRef(gitdir, `refs/tags/${tag}`);
    if (oid === undefined) return ok(undefined);
    const reader = openReader(gitdir);
    const commit = await reader.peel(oid);
    const [{ time }, files] = await Promise.all([
      reader.commit(commit),
      walkTree(reader, commit, '', { maxEntries: MAX_ENTRIES }),
    ]);
    return ok({
      tag,
      commit,
      taggedAt: time,
      files,
      readBlob: async (blob, maxBytes) => {
        try {
          return ok(await reader.blob(blob, maxBytes));
        } catch (error) {
          return failureOf(error, directory);
        }
      },
    });
  } catch (error) {
    return failureOf(error, directory);
  }
};
