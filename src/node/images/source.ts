import { realpath } from 'node:fs/promises';
import { isAbsolute, join, sep } from 'node:path';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import { openGitTag } from './gittree.ts';
import type { OpenTag, Sources, TagTree } from './types.ts';

export interface SourceRequest {
  /** Of the definition: relative to the workspace, or the `{path}` of the template. */
  readonly path: string;
  /** Tag of the image. */
  readonly tag: string;
  readonly dockerfile: string;
  /** For messages. */
  readonly reference: string;
}

/**
 * Opens the tree of the git tag that an image is built from (L19): the exact tag, else the same version with or
 * without the leading `v`. Every failure names repository, tag and Dockerfile. `only`: of the tree, this path alone.
 */
export async function openSource(
  request: SourceRequest,
  sources: Sources,
  only?: string,
): Promise<Outcome<TagTree>> {
  const { path, tag, dockerfile, reference } = request;
  const wanted = `image ${reference} is to be built from ${dockerfile} of git tag ${tag} of ${sources.shown(path)}`;
  if (leaves(path)) {
    return blocked(
      `${wanted}, which leaves the workspace`,
      'Give path relative to the workspace, without "..".',
    );
  }
  for (const candidate of [tag, tag.startsWith('v') ? tag.slice(1) : `v${tag}`]) {
    const tree = await sources.open(path, candidate, only);
    if (tree.kind !== 'ok') return { ...tree, why: `${wanted}, ${tree.why}` };
    if (tree.value !== undefined) return ok(tree.value);
  }
  return blocked(
    `${wanted}, but there is no such tag`,
    `Tag the release (git tag -a ${tag}) and bring the tag into ${sources.shown(path)}.`,
  );
}

/** Clones below one directory of the node. */
export function workspaceSources(workspace: string, openTag: OpenTag = openGitTag): Sources {
  return {
    isLocal: true,
    shown: (path) => join(workspace, path),
    open: async (path, tag, only) => {
      const directory = await insideWorkspace(workspace, path);
      if (directory.kind !== 'ok') return directory;
      const tree = await openTag(directory.value, tag, only);
      return tree.kind === 'ok' ? tree : { ...tree, why: `which cannot be read: ${tree.why}` };
    },
  };
}

function leaves(path: string): boolean {
  return isAbsolute(path) || path === '' || path.split('/').includes('..') || path.includes('\0');
}

/** The real path must lie in the real workspace: a symbolic link out of it is no way out. */
async function insideWorkspace(workspace: string, path: string): Promise<Outcome<string>> {
  let root: string;
  try {
    root = await realpath(workspace);
  } catch {
    return blocked(`but there is no workspace ${workspace}`, 'Mend [build] workspace in the settings.');
  }
  let directory: string;
  try {
    directory = await realpath(join(root, path));
  } catch {
    return blocked(
      'but there is no such repository',
      `Clone the source repository to ${join(workspace, path)}.`,
    );
  }
  if (directory !== root && !directory.startsWith(root.endsWith(sep) ? root : root + sep)) {
    return blocked(
      `which is a link to ${directory}, outside of the workspace`,
      'Put the repository itself into the workspace.',
    );
  }
  return ok(directory);
}
