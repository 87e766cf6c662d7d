import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { openMirror, type GitMirror, type MirrorSettings } from '../../base/git/mirror.ts';
import { ok } from '../../base/outcome.ts';
import { MAX_ENTRIES, tagDate } from './gittree.ts';
import type { Sources, TagTree } from './types.ts';

export interface RemoteSettings extends Pick<
  MirrorSettings,
  'access' | 'sshKeyFile' | 'knownHostsFile' | 'deadlineMs' | 'maxPackBytes'
> {
  /** Address of a source repository, with `{path}` for the `path` of its definition. */
  readonly template: string;
  /** Folder of the mirrors. */
  readonly dir: string;
}

/** Source repositories of a git server, mirrored with the code that mirrors the definitions: only tags are fetched. */
export function remoteSources(settings: RemoteSettings): Sources {
  const { template, dir, ...access } = settings;
  const mirrors = new Map<string, GitMirror>();
  const mirrorOf = (path: string): GitMirror => {
    const known = mirrors.get(path);
    if (known !== undefined) return known;
    const url = urlOf(template, path);
    const name = createHash('sha256').update(url).digest('hex').slice(0, 16);
    const mirror = openMirror({ ...access, url, dir: join(dir, name) });
    mirrors.set(path, mirror);
    return mirror;
  };
  return {
    isLocal: false,
    shown: (path) => mirrorOf(path).shown,
    open: async (path, tag, only = '') => {
      const mirror = mirrorOf(path);
      const found = await mirror.resolveTag(tag);
      if (found.kind !== 'ok') return { ...found, why: `which cannot be read: ${found.why}` };
      if (found.value === undefined) return ok(undefined);
      const { commit, tag: oid } = found.value;
      const [info, files, object] = await Promise.all([
        mirror.commitInfo(commit),
        mirror.readTree(commit, only, { maxEntries: MAX_ENTRIES }),
        oid === commit ? ok(undefined) : mirror.readTag(oid),
      ]);
      if (info.kind !== 'ok') return info;
      if (files.kind !== 'ok') return files;
      if (object.kind !== 'ok') return object;
      const tree: TagTree = {
        tag,
        commit,
        taggedAt: tagDate(object.value) ?? info.value.time,
        files: files.value,
        sizesOf: (oids) => mirror.blobSizes(oids),
        readBlob: (blob, maxBytes) => mirror.readBlob(blob, maxBytes),
        ...(object.value === undefined ? {} : { object: object.value }),
      };
      return ok(tree);
    },
  };
}

/** Each part of the path is escaped: it can reach no other place of the server than below the template. */
export function urlOf(template: string, path: string): string {
  const isUrl = /^(https?|ssh):\/\//.test(template);
  const parts = path.split('/').map((part) => (isUrl ? encodeURIComponent(part) : part));
  return template.replaceAll('{path}', parts.join('/'));
}
