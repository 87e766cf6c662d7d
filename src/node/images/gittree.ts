import { openMirror } from '../../base/git/mirror.ts';
import { ok } from '../../base/outcome.ts';
import type { OpenTag } from './types.ts';

/** A tree is listed up to here; what `.dockerignore` leaves of it is held to the limit of the settings. */
const MAX_ENTRIES = 500_000;

/** Reads the tag's objects from the repository in `directory`. Its work tree, index and branches are not looked at (L19). */
export const openGitTag: OpenTag = async (directory, tag) => {
  // A repository on the local disk is read where it is: no folder, no exchange, no pack to fetch.
  const repository = openMirror({ dir: directory, url: directory, deadlineMs: 60_000, maxPackBytes: 0 });
  const found = await repository.resolveTag(tag);
  if (found.kind !== 'ok' || found.value === undefined) return found.kind === 'ok' ? ok(undefined) : found;
  const { commit } = found.value;
  const info = await repository.commitInfo(commit);
  if (info.kind !== 'ok') return info;
  const files = await repository.readTree(commit, '', { maxEntries: MAX_ENTRIES });
  if (files.kind !== 'ok') return files;
  return ok({
    tag,
    commit,
    taggedAt: info.value.time,
    files: files.value,
    readBlob: (oid, maxBytes) => repository.readBlob(oid, maxBytes),
  });
};
