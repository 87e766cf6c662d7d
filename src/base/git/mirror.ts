import { join } from 'node:path';
import { withDeadline } from '../deadline.ts';
import { ok, blocked, type Outcome } from '../outcome.ts';
import { isRefName, parseGitAddress, type GitAddress } from './address.ts';
import { failureOf, GitFault, isReadFault } from './faults.ts';
import { copyKeeper, type CopyKeeper } from './copy.ts';
import { findGitDir, readLocalHead, readLocalRef } from './local.ts';
import type { CommitInfo } from './objects.ts';
import { openReader, type GitReader } from './reader.ts';
import type { GitAccess, GitRemote } from './remote.ts';
import { httpRemote } from './remotehttp.ts';
import { sshRemote } from './remotessh.ts';
import { originsOf } from './origin.ts';
import { commitsSince } from './range.ts';
import { isInHistory, proveWhole, walkTree, type GitFile, type TreeLimits } from './walk.ts';

export interface MirrorSettings {
  /** Folder of this mirror alone; made when missing. Not used for a repository on the local disk. */
  readonly dir: string;
  readonly url: string;
  /** Without `refs/heads/`. Absent: what the remote's HEAD names. */
  readonly branch?: string;
  /** Asked at each exchange over http(s). May throw a `GitFault`. */
  readonly access?: () => Promise<GitAccess>;
  readonly sshKeyFile?: string;
  readonly knownHostsFile?: string;
  /** For one whole exchange, a first clone included. */
  readonly deadlineMs: number;
  readonly maxPackBytes: number;
  /** Number of packs above which the copy is made anew; default 50. */
  readonly maxPacks?: number;
}

interface GitHead {
  readonly oid: string;
  /** For example `refs/heads/main`; `HEAD` when the remote's HEAD is detached. */
  readonly ref: string;
  /** False: nothing new, one request was made. */
  readonly fetched: boolean;
}

interface GitTag {
  readonly commit: string;
  /** The tag object, or the commit for a lightweight tag: what tells that a tag was moved. */
  readonly tag: string;
  /** False: the remote could not be asked, this is what it said before. */
  readonly fresh: boolean;
}

/** A repository that is read without a work tree. All methods may be called at the same time. */
export interface GitMirror {
  /** The address without user info and query. */
  readonly shown: string;
  /** Asks for the branch's head and brings it here, whole. `keep`: a commit that must not get lost by tidying up. */
  update(keep?: string): Promise<Outcome<GitHead>>;
  commitInfo(oid: string): Promise<Outcome<CommitInfo>>;
  readTree(commit: string, prefix: string, limits: TreeLimits): Promise<Outcome<GitFile[]>>;
  readBlob(oid: string, maxBytes: number): Promise<Outcome<Uint8Array>>;
  blobSize(oid: string): Promise<number | undefined>;
  /** Of many at once; those whose store does not tell are left out. */
  blobSizes(oids: Iterable<string>): Promise<ReadonlyMap<string, number>>;
  /** Is this object here? Does not ask the remote. */
  has(oid: string): Promise<boolean>;
  /** Is `ancestor` in the history of `commit`, or the same commit? */
  isDescendant(commit: string, ancestor: string): Promise<Outcome<boolean>>;
  /** The commits that `commit` has in its history and `before` has not, newest first, `commit` among them. */
  commitsSince(commit: string, before: string): Promise<Outcome<CommitInfo[]>>;
  /** For each path the commit that gave it what it has in `commit`, or took it away; those that are not found are left out. */
  originsOf(commit: string, paths: readonly string[]): Promise<Outcome<ReadonlyMap<string, CommitInfo>>>;
  /** Asks for one tag and brings its commit here; undefined when there is none. */
  resolveTag(name: string): Promise<Outcome<GitTag | undefined>>;
  /** The bytes of an annotated tag that was resolved before. */
  readTag(oid: string): Promise<Outcome<Uint8Array>>;
  /** Files whose change means a new head: only for a repository on the local disk. */
  watchPaths(): Promise<string[]>;
  /** Lets go of the memory that packs and indexes take. */
  release(): void;
}

/**
 * A mirror of a repository: over http(s) and ssh a bare copy in `dir`, which is a cache and heals by being made anew;
 * on the local disk the repository itself. Nothing is touched before the first call.
 */
export function openMirror(settings: MirrorSettings): GitMirror {
  const address = parseGitAddress(settings.url);
  if (address === undefined || (settings.branch !== undefined && !isRefName(settings.branch))) {
    return brokenMirror(address === undefined ? 'the url' : 'the branch name');
  }
  const backend =
    address.kind === 'local' ? localBackend(address.path, settings) : remoteBackend(address, settings);
  return mirrorOf(address.shown, backend, settings);
}

/** What differs between a repository on this disk and a copy of a remote one. All throw. */
interface Backend {
  reader(): Promise<GitReader>;
  update(keep: string | undefined, signal: AbortSignal): Promise<GitHead>;
  tag(name: string, signal: AbortSignal): Promise<GitTag | undefined>;
  watchPaths(): Promise<string[]>;
  /** Something that should be here could not be read. */
  suspect(): void;
  release(): void;
}

function mirrorOf(shown: string, backend: Backend, settings: MirrorSettings): GitMirror {
  const { deadlineMs } = settings;
  let queue: Promise<unknown> = Promise.resolve();
  const door = async <T>(work: () => Promise<T>): Promise<Outcome<T>> => {
    try {
      return ok(await work());
    } catch (error) {
      if (isReadFault(error)) backend.suspect();
      return failureOf(error, shown);
    }
  };
  /** One exchange at a time: two fetches into one directory would clean up after each other. */
  const exchange = <T>(work: (signal: AbortSignal) => Promise<T>): Promise<Outcome<T>> => {
    const turn = queue.then(() => door(() => withDeadline('the git server', deadlineMs, work)));
    queue = turn;
    return turn;
  };
  return {
    shown,
    update: (keep) => exchange((signal) => backend.update(keep, signal)),
    commitInfo: (oid) => door(async () => (await backend.reader()).commit(oid)),
    readTree: (commit, prefix, limits) =>
      door(async () => walkTree(await backend.reader(), commit, prefix, limits)),
    readBlob: (oid, maxBytes) => door(async () => (await backend.reader()).blob(oid, maxBytes)),
    blobSizes: async (oids) =>
      backend.reader().then(
        (reader) => reader.blobSizes(oids),
        () => new Map<string, number>(),
      ),
    blobSize: async (oid) =>
      backend.reader().then(
        (reader) => reader.blobSize(oid),
        () => undefined,
      ),
    has: async (oid) =>
      backend.reader().then(
        (reader) => reader.has(oid),
        () => false,
      ),
    isDescendant: (commit, ancestor) =>
      door(async () => isInHistory(await backend.reader(), commit, ancestor)),
    commitsSince: (commit, before) => door(async () => commitsSince(await backend.reader(), commit, before)),
    originsOf: (commit, paths) => door(async () => originsOf(await backend.reader(), commit, paths)),
    resolveTag: (name) =>
      exchange((signal) => {
        if (!isRefName(name))
          throw new GitFault('blocked', `${JSON.stringify(name)} is not the name of a tag`);
        return backend.tag(name, signal);
      }),
    readTag: (oid) => door(async () => (await backend.reader()).tagObject(oid)),
    watchPaths: () => backend.watchPaths().catch(() => []),
    release: () => backend.release(),
  };
}

function remoteBackend(address: Exclude<GitAddress, { kind: 'local' }>, settings: MirrorSettings): Backend {
  const remote = remoteOf(address, settings);
  const copy: CopyKeeper = copyKeeper(settings.dir, remote, settings.maxPacks);
  return {
    reader: () => copy.reader(),
    suspect: () => copy.suspect(),
    release: () => copy.release(),
    watchPaths: async () => [],
    async update(keep, signal) {
      const head = await remoteHead(remote, settings.branch, signal);
      return { ...(await copy.bring({ ref: head.ref }, head.oid, keep, signal)), ref: head.ref };
    },
    async tag(name, signal) {
      const ref = `refs/tags/${name}`;
      const found = await remote.refs(ref, signal).catch(async (error: unknown) => {
        const before = await copy.mark(`tags/${name}`);
        if (before === undefined) throw error;
        return before;
      });
      if (typeof found === 'string') {
        return { tag: found, commit: await (await copy.reader()).peel(found), fresh: false };
      }
      const wanted = found[0];
      if (wanted === undefined) return undefined;
      // A build needs the tree of its tag, not the history: the first one comes alone, later ones on top of it.
      const depth = (await copy.isEmpty()) ? { depth: 1 } : {};
      const { oid } = await copy.bring({ ref, ...depth }, wanted.oid, undefined, signal);
      return { tag: oid, commit: await (await copy.reader()).peel(oid), fresh: true };
    },
  };
}

function remoteOf(address: Exclude<GitAddress, { kind: 'local' }>, settings: MirrorSettings): GitRemote {
  const { maxPackBytes, deadlineMs, sshKeyFile, knownHostsFile } = settings;
  if (address.kind === 'http') {
    return httpRemote({ address, deadlineMs, maxPackBytes, access: settings.access ?? (async () => ({})) });
  }
  return sshRemote({
    address,
    maxPackBytes,
    ...(sshKeyFile === undefined ? {} : { sshKeyFile }),
    ...(knownHostsFile === undefined ? {} : { knownHostsFile }),
  });
}

async function remoteHead(
  remote: GitRemote,
  branch: string | undefined,
  signal: AbortSignal,
): Promise<{ ref: string; oid: string }> {
  const name = branch === undefined ? 'HEAD' : `refs/heads/${branch}`;
  const [found] = await remote.refs(name, signal);
  if (found !== undefined) return { ref: found.target ?? found.name, oid: found.oid };
  throw noHead(branch, (await remote.refs(undefined, signal)).length === 0);
}

function localBackend(path: string, settings: MirrorSettings): Backend {
  let reader: GitReader | undefined;
  const proved = new Set<string>();
  const open = async (): Promise<GitReader> => {
    const gitdir = await findGitDir(path);
    if (reader?.gitdir !== gitdir) reader = openReader(gitdir);
    return reader;
  };
  const headRef = async (gitdir: string): Promise<string> =>
    settings.branch === undefined
      ? ((await readLocalHead(gitdir)) ?? 'HEAD')
      : `refs/heads/${settings.branch}`;
  return {
    reader: open,
    suspect: () => {
      reader = undefined;
      proved.clear();
    },
    release: () => reader?.release(),
    async watchPaths() {
      const { gitdir } = await open();
      const names = ['HEAD', 'packed-refs', 'refs/heads', await headRef(gitdir)];
      return [...new Set(names)].map((name) => join(gitdir, name));
    },
    async update() {
      const current = await open();
      const ref = await headRef(current.gitdir);
      const oid = await readLocalRef(current.gitdir, ref);
      if (oid === undefined) throw noHead(settings.branch, false);
      const fetched = !proved.has(oid);
      if (fetched) await proveWhole(current, oid);
      proved.add(oid);
      return { oid, ref, fetched };
    },
    async tag(name) {
      const current = await open();
      const tag = await readLocalRef(current.gitdir, `refs/tags/${name}`);
      return tag === undefined ? undefined : { tag, commit: await current.peel(tag), fresh: true };
    },
  };
}

function noHead(branch: string | undefined, empty: boolean): GitFault {
  if (empty) return new GitFault('blocked', 'the repository is empty', 'Push a first commit.');
  if (branch === undefined) {
    return new GitFault(
      'blocked',
      'HEAD names a branch that does not exist',
      'Push it, or set the branch in the settings.',
    );
  }
  return new GitFault(
    'blocked',
    `there is no branch ${JSON.stringify(branch)}`,
    'Push it, or correct the branch in the settings.',
  );
}

function brokenMirror(what: string): GitMirror {
  const refused = blocked(
    `${what} of a git repository in the settings is not one that can be used`,
    'Use https://, http://, ssh://, user@host:path, file:// or an absolute path, and a plain branch name.',
  );
  const refuse = async (): Promise<typeof refused> => refused;
  return {
    shown: '(a url that cannot be used)',
    update: refuse,
    commitInfo: refuse,
    readTree: refuse,
    readBlob: refuse,
    isDescendant: refuse,
    commitsSince: refuse,
    originsOf: refuse,
    resolveTag: refuse,
    readTag: refuse,
    blobSize: async () => undefined,
    blobSizes: async () => new Map<string, number>(),
    has: async () => false,
    watchPaths: async () => [],
    release: () => undefined,
  };
}
