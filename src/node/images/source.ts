import { realpath } from 'node:fs/promises';
import { isAbsolute, join, sep } from 'node:path';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import type { OpenTag, TagTree } from './types.ts';

export interface SourceRequest {
  readonly workspace: string;
  /** Of the definition: relative to the workspace. */
  readonly path: string;
  /** Tag of the image. */
  readonly tag: string;
  readonly dockerfile: string;
  /** For messages. */
  readonly reference: string;
}

/**
 * Opens the tree of the git tag that an image is built from (L19): the exact tag, else the same version with or
 * without the leading `v`. Every failure names repository, tag and Dockerfile.
 */
export async function openSource(request: SourceRequest, openTag: OpenTag): Promise<Outcome<TagTree>> {
  const { path, tag, dockerfile, reference } = request;
  const wanted = `image ${reference} is to be built from ${dockerfile} of git tag ${tag} of ${join(request.workspace, path)}`;
  const directory = await insideWorkspace(request, wanted);
  if (directory.kind !== 'ok') return directory;
  for (const candidate of [tag, tag.startsWith('v') ? tag.slice(1) : `v${tag}`]) {
    const tree = await openTag(directory.value, candidate);
    if (tree.kind !== 'ok') {
      return { ...tree, why: `${wanted}, which cannot be read: ${tree.why}` };
    }
    if (tree.value !== undefined) return ok(tree.value);
  }
  return blocked(
    `${wanted}, but there is no such tag`,
    `Tag the release (git tag -a ${tag}) and bring the tag into ${directory.value}.`,
  );
}

/** The real path must lie in the real workspace: a symbolic link out of it is no way out. */
async function insideWorkspace(request: SourceRequest, wanted: string): Promise<Outcome<string>> {
  const { workspace, path } = request;
  if (isAbsolute(path) || path.split('/').includes('..') || path.includes('\0')) {
    return blocked(
      `${wanted}, which leaves the workspace`,
      'Give path relative to the workspace, without "..".',
    );
  }
  let root: string;
  try {
    root = await realpath(workspace);
  } catch {
    return blocked(
      `${wanted}, but there is no workspace ${workspace}`,
      'Mend [build] workspace in the settings.',
    );
  }
  let directory: string;
  try {
    directory = await realpath(join(root, path));
  } catch {
    return blocked(
      `${wanted}, but there is no such repository`,
      `Clone the source repository to ${join(workspace, path)}.`,
    );
  }
  if (directory !== root && !directory.startsWith(root.endsWith(sep) ? root : root + sep)) {
    return blocked(
      `${wanted}, which is a link to ${directory}, outside of the workspace`,
      'Put the repository itself into the workspace.',
    );
  }
  return ok(directory);
}
