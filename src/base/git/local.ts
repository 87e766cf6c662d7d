import fs from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expandOid as expand, getConfig, resolveRef } from 'isomorphic-git';
import { GitFault } from './faults.ts';
import { isOid } from './objects.ts';

const MAX_LOOKS = 5;

/** The git directory of a bare repository, a work tree, or a linked work tree. Throws `GitFault`. */
export async function findGitDir(path: string): Promise<string> {
  if (!(await exists(path)))
    throw new GitFault('retry', 'the folder does not exist', 'Look at the path; is the disk mounted?');
  const dotGit = join(path, '.git');
  const inside = await readFile(dotGit, 'utf8').catch(() => undefined);
  const linked = /^gitdir: (.+)$/m.exec(inside ?? '')?.[1];
  const candidates = [linked === undefined ? dotGit : resolve(path, linked), path];
  for (const candidate of candidates) {
    if (await exists(join(candidate, 'HEAD'))) {
      const gitdir = await commonDir(candidate);
      if (await exists(join(gitdir, 'objects'))) return checkFormat(await realpath(gitdir));
    }
  }
  throw new GitFault(
    'blocked',
    'there is no git repository in this folder',
    'Look at the path; `git init --bare` makes one.',
  );
}

/**
 * Reads `HEAD` or a branch or tag by its full name; undefined when there is none. `git gc` and pushes may run at the same time:
 * between the reading of packed-refs and of the loose file, `git pack-refs` may have moved a ref from one to the other, so that
 * it seems to be gone, or where it was long ago. What two looks agree on is believed.
 */
export async function readLocalRef(gitdir: string, name: string): Promise<string | undefined> {
  const look = (): Promise<string | undefined> =>
    resolveRef({ fs, gitdir, ref: name }).then(
      (oid) => (isOid(oid) ? oid : undefined),
      () => undefined,
    );
  let seen = await look();
  for (let attempt = 1; attempt <= MAX_LOOKS; attempt += 1) {
    const again = await look();
    if (again === seen && (seen !== undefined || attempt >= 3)) return seen;
    seen = again;
    await delay(10 * attempt);
  }
  return seen;
}

/** The whole id that the beginning of one stands for; undefined when there is none, or more than one. */
export async function expandOid(gitdir: string, start: string): Promise<string | undefined> {
  if (!/^[0-9a-f]{4,40}$/.test(start)) return undefined;
  return expand({ fs, gitdir, oid: start }).catch(() => undefined);
}

/** What HEAD names, for example `refs/heads/main`; undefined when it is detached. */
export async function readLocalHead(gitdir: string): Promise<string | undefined> {
  const text = await readFile(join(gitdir, 'HEAD'), 'utf8').catch(() => '');
  return /^ref: (refs\/heads\/\S+)\s*$/.exec(text)?.[1];
}

async function commonDir(gitdir: string): Promise<string> {
  const common = await readFile(join(gitdir, 'commondir'), 'utf8').catch(() => undefined);
  return common === undefined ? gitdir : resolve(gitdir, common.trim());
}

/** What isomorphic-git cannot read is said, instead of showing as a missing object. */
async function checkFormat(gitdir: string): Promise<string> {
  const setting = async (path: string): Promise<string> =>
    String((await getConfig({ fs, gitdir, path })) ?? '');
  if ((await setting('extensions.objectformat')).toLowerCase() === 'sha256') {
    throw new GitFault(
      'blocked',
      'the repository uses SHA-256 object ids, which are not supported',
      'Use a repository with SHA-1 ids.',
    );
  }
  if ((await setting('extensions.refstorage')).toLowerCase() === 'reftable') {
    throw new GitFault(
      'blocked',
      'the repository keeps its refs as reftable, which is not supported',
      'Run `git refs migrate --ref-format=files`.',
    );
  }
  if (await exists(join(gitdir, 'objects', 'info', 'alternates'))) {
    throw new GitFault(
      'blocked',
      'the repository borrows objects from another one (alternates), which is not supported',
      'Run `git repack -a -d` and remove objects/info/alternates.',
    );
  }
  return gitdir;
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
