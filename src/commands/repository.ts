import { dirname, relative, resolve, sep } from 'node:path';
import { expandOid, findGitDir, readLocalRef } from '../base/git/local.ts';
import type { CommitInfo } from '../base/git/objects.ts';
import { openReader, type GitReader } from '../base/git/reader.ts';
import { systemClock } from '../base/clock.ts';
import { makeLog } from '../base/log.ts';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { LIMITS } from '../definitions/shape.ts';
import { openSource } from '../source/source.ts';
import type { SourceFiles } from '../source/types.ts';

/** The git repository that a directory belongs to. */
export interface Repository {
  readonly gitdir: string;
  /** The directory inside the repository; empty for its root. */
  readonly folder: string;
  /** Bytes of a blob; undefined where the repository does not have it. */
  blob(oid: string): Promise<Uint8Array | undefined>;
  /** The definitions of a revision (branch, tag, id, `HEAD~1`), read as the agent reads them; `root`: their folder in the repository. */
  revision(name: string, root: string): Promise<Outcome<SourceFiles>>;
  /** The commits of HEAD that are not in the history of `from`, newest first; none where that cannot be told. */
  since(from: string): Promise<CommitInfo[]>;
}

/** Looks for the repository in the directory and above it. Blocked when there is none that can be read. */
export async function findRepository(dir: string): Promise<Outcome<Repository>> {
  const start = resolve(dir);
  let reason = `${dir} belongs to no git repository`;
  for (let top = start; ; top = dirname(top)) {
    try {
      return ok(openRepository(top, await findGitDir(top), relative(top, start).split(sep).join('/')));
    } catch (error) {
      if (top === start) reason = `${dir}: ${messageOf(error)}`;
    }
    if (top === dirname(top)) break;
  }
  return blocked(reason, 'Name a directory of a git repository.');
}

function openRepository(top: string, gitdir: string, folder: string): Repository {
  const reader = openReader(gitdir);
  return {
    gitdir,
    folder,
    blob: (oid) => reader.blob(oid, LIMITS.fileBytes).catch(() => undefined),
    since: (from) => commitsSince(gitdir, from).catch(() => []),
    async revision(name, root) {
      const found = await commitOf(gitdir, name);
      if (found === undefined) {
        return blocked(
          `the repository has no revision ${name}`,
          'Name a branch, a tag or a commit that is here; in CI, fetch the whole history (fetch-depth: 0).',
        );
      }
      const source = openSource(
        {
          urls: [top],
          path: root,
          deadlineMs: 60_000,
          maxFiles: LIMITS.files,
          maxFileBytes: LIMITS.fileBytes,
          maxTotalBytes: LIMITS.totalBytes,
          // A repository given by path is read in place: nothing is written.
          dataDir: gitdir,
        },
        makeLog('silent'),
        systemClock,
      );
      return source.files(found);
    },
  };
}

const MAX_COMMITS = 1_000;

async function commitsSince(gitdir: string, from: string): Promise<CommitInfo[]> {
  const reader = openReader(gitdir);
  const head = await readLocalRef(gitdir, 'HEAD');
  if (head === undefined || !(await reader.has(from))) return [];
  const old = await historyOf(reader, from);
  return historyOf(reader, head, new Set(old.map(({ oid }) => oid)));
}

/** Breadth first, as far as the history is here. */
async function historyOf(
  reader: GitReader,
  start: string,
  known: ReadonlySet<string> = new Set(),
): Promise<CommitInfo[]> {
  const found = new Map<string, CommitInfo>();
  const open = [start];
  for (let oid = open.shift(); oid !== undefined && found.size < MAX_COMMITS; oid = open.shift()) {
    if (known.has(oid) || found.has(oid)) continue;
    const commit = await reader.commit(oid).catch(() => undefined);
    if (commit === undefined) continue;
    found.set(oid, commit);
    open.push(...commit.parents);
  }
  return [...found.values()];
}

/** The commit that a revision names. Steps back: `~`, `~2`, `^`, one after the other. */
async function commitOf(gitdir: string, name: string): Promise<string | undefined> {
  const [, base = '', back = ''] = /^(.*?)((?:~\d*|\^)*)$/.exec(name) ?? [];
  const oid = (await readLocalRef(gitdir, base)) ?? (await expandOid(gitdir, base));
  if (oid === undefined) return undefined;
  const reader = openReader(gitdir);
  try {
    let current = await reader.peel(oid);
    for (const step of back.match(/~\d*|\^/g) ?? []) {
      for (let count = step === '^' ? 1 : Number(step.slice(1) || '1'); count > 0; count -= 1) {
        const parent = (await reader.commit(current)).parents[0];
        if (parent === undefined) return undefined;
        current = parent;
      }
    }
    return current;
  } catch {
    return undefined;
  }
}
