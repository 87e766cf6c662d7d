import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { openMirror, type GitMirror } from '../base/git/mirror.ts';
import type { CommitInfo } from '../base/git/objects.ts';
import type { Log } from '../base/log.ts';
import { ok, retry, type Failure, type Outcome } from '../base/outcome.ts';
import { watchFiles } from '../base/watch.ts';
import { accessFrom } from './credentials.ts';
import { readKept, writeKept } from './kept.ts';
import { readDefinitions } from './tree.ts';
import { mayFollow } from './trust.ts';
import type { Commit, SourceFiles, SourceHealth, SourceSettings, SourceState } from './types.ts';

/** Git, seen as a list of commits that may be believed and blobs that may be read. */
export interface Source {
  /**
   * Asks the urls in turn for the branch's head; one request when there is no news. `accepted` is the commit in force:
   * a head without it in its history is `blocked`. Any failure means: no change, the accepted commit stays in force.
   */
  poll(accepted?: string): Promise<Outcome<SourceState>>;
  /** The definitions of a commit that was polled before, also before a restart. Does not ask the remote (L02). */
  files(commit: string): Promise<Outcome<SourceFiles>>;
  /**
   * All commits that came with `commit` after `accepted`, newest first: merges, and what they brought, with their whole
   * messages. Does not ask the remote.
   */
  range(commit: string, accepted: string): Promise<Outcome<Commit[]>>;
  /**
   * For each path the commit that gave it what it has in `commit`, or that took it away. Those that are not found within a bound,
   * or in what was fetched, are left out. Does not ask the remote.
   */
  origins(commit: string, paths: readonly string[]): Promise<Outcome<ReadonlyMap<string, Commit>>>;
  /** These commits, as far as they are here. Does not ask the remote. */
  commits(oids: readonly string[]): Promise<Commit[]>;
  /** One blob by its id, for a file's last good state. Does not ask the remote. */
  readFile(oid: string): Promise<Outcome<Uint8Array>>;
  /**
   * Keeps what is in force apart from git: the definitions of this commit, and these blobs. `files` and `readFile` give them
   * also when repository and mirror are gone. Never fails: that it could not be kept is told on the log.
   */
  keep(commit: string, oids: readonly string[]): Promise<void>;
  health(): SourceHealth;
  /** Calls when a repository on the local disk may have a new head: only "look now". Does nothing for remote ones. */
  watch(onSignal: () => void): Promise<{ close(): Promise<void> }>;
}

const DEFAULT_MAX_PACK_BYTES = 256 * 1024 * 1024;
/** Definitions of the newest commits, so that a pass over an unchanged node reads nothing. */
const REMEMBERED_COMMITS = 2;

/** Opens the source. Touches nothing before the first call; never throws. */
export function openSource(settings: SourceSettings, log: Log, clock: Clock): Source {
  const access = accessFrom(settings, log);
  const mirrors = settings.urls.map((url) => openMirror(mirrorSettings(url, settings, access)));
  const memory = new Map<string, SourceFiles>();
  const keptPath = join(settings.dataDir, 'in-force.json');
  let health: SourceHealth = { reachable: true };

  let last: Verdict | undefined;

  /** What was found out about the same two commits before holds: a no-op poll reads no object. */
  const judge = async (
    mirror: GitMirror,
    head: string,
    accepted: string | undefined,
    others: readonly GitMirror[],
  ): Promise<Outcome<SourceState>> => {
    if (last?.mirror === mirror && last.head === head && last.accepted === accepted) return last.state;
    const state = await stateOf(mirror, head, accepted, others);
    mirror.release();
    last = state.kind === 'ok' || state.kind === 'blocked' ? { mirror, head, accepted, state } : undefined;
    return state;
  };
  const ask = async (accepted: string | undefined): Promise<Outcome<SourceState>> => {
    const failures: Failure[] = [];
    for (const [index, mirror] of mirrors.entries()) {
      const head = await mirror.update(accepted);
      if (head.kind === 'ok') {
        const state = await judge(mirror, head.value.oid, accepted, mirrors.slice(0, index));
        health = { reachable: true, lastContactAt: clock.now() };
        return state;
      }
      failures.push(head);
    }
    const failure = together(failures);
    health = { ...health, reachable: false, since: health.since ?? clock.now(), why: failure.why };
    return failure;
  };

  const readFile = async (oid: string): Promise<Outcome<Uint8Array>> => {
    const read = await readBlob(mirrors, oid, settings.maxFileBytes, blobsOf(memory));
    const kept = read.kind === 'ok' ? undefined : (await readKept(keptPath))?.blobs.get(oid);
    return kept === undefined ? read : ok(kept);
  };

  return {
    poll: ask,
    async files(commit) {
      const remembered = memory.get(commit);
      if (remembered !== undefined) return ok(remembered);
      const read = await readCommit(mirrors, commit, settings, blobsOf(memory));
      const kept = read.kind === 'ok' ? undefined : (await readKept(keptPath))?.definitions;
      const files = read.kind === 'ok' ? read.value : kept?.commit.oid === commit ? kept : undefined;
      if (files === undefined) return read;
      memory.set(commit, files);
      for (const old of memory.keys()) if (memory.size > REMEMBERED_COMMITS) memory.delete(old);
      return ok(files);
    },
    readFile,
    async keep(commit, oids) {
      const definitions = memory.get(commit);
      const before = await readKept(keptPath);
      const isKept = before?.definitions.commit.oid === commit && oids.every((oid) => before.blobs.has(oid));
      if (definitions === undefined || isKept) return;
      const blobs = new Map<string, Uint8Array>();
      for (const oid of oids) {
        const read = await readFile(oid);
        if (read.kind === 'ok') blobs.set(oid, read.value);
      }
      await writeKept(keptPath, { definitions, blobs }, log);
    },
    range: (commit, accepted) => readRange(mirrors, commit, accepted),
    origins: (commit, paths) => readOrigins(mirrors, commit, paths),
    commits: (oids) => readCommits(mirrors, oids),
    health: () => health,
    watch: (onSignal) => watchMirrors(mirrors, onSignal, log),
  };
}

interface Verdict {
  readonly mirror: GitMirror;
  readonly head: string;
  readonly accepted: string | undefined;
  readonly state: Outcome<SourceState>;
}

function mirrorSettings(
  url: string,
  settings: SourceSettings,
  access: ReturnType<typeof accessFrom>,
): Parameters<typeof openMirror>[0] {
  const { branch, sshKeyFile, knownHostsFile, deadlineMs, dataDir, maxPackBytes } = settings;
  const name = createHash('sha256').update(url).digest('hex').slice(0, 16);
  return {
    url,
    dir: join(dataDir, 'mirrors', name),
    access,
    deadlineMs,
    maxPackBytes: maxPackBytes ?? DEFAULT_MAX_PACK_BYTES,
    ...(branch === undefined ? {} : { branch }),
    ...(sshKeyFile === undefined ? {} : { sshKeyFile }),
    ...(knownHostsFile === undefined ? {} : { knownHostsFile }),
  };
}

async function stateOf(
  mirror: GitMirror,
  head: string,
  accepted: string | undefined,
  others: readonly GitMirror[],
): Promise<Outcome<SourceState>> {
  const trusted = await mayFollow(mirror, head, accepted, others);
  if (trusted.kind !== 'ok') return trusted;
  const info = await mirror.commitInfo(head);
  if (info.kind !== 'ok') return info;
  return ok({ commit: commitOf(info.value), changed: head !== accepted, url: mirror.shown, reachable: true });
}

function together(failures: readonly Failure[]): Failure {
  const [first] = failures;
  if (first === undefined) return retry('the settings name no source', 'Set [source] urls.');
  // As long as one of them may come back by itself, nobody has to act.
  const kind = failures.find((failure) => failure.kind === 'retry') ?? first;
  return { ...first, kind: kind.kind, why: failures.map((failure) => failure.why).join('; ') };
}

async function readCommit(
  mirrors: readonly GitMirror[],
  oid: string,
  settings: SourceSettings,
  blobs: ReadonlyMap<string, Uint8Array>,
): Promise<Outcome<SourceFiles>> {
  let failure = retry(
    `commit ${oid} is in none of the mirrors`,
    'It is fetched as soon as a source answers.',
  );
  for (const mirror of mirrors) {
    if (!(await mirror.has(oid))) continue;
    const info = await mirror.commitInfo(oid);
    const tree = info.kind === 'ok' ? await readDefinitions(mirror, oid, settings, blobs) : info;
    mirror.release();
    if (info.kind === 'ok' && tree.kind === 'ok') return ok({ commit: commitOf(info.value), ...tree.value });
    if (tree.kind !== 'ok') failure = tree;
  }
  return failure;
}

async function readRange(
  mirrors: readonly GitMirror[],
  commit: string,
  accepted: string,
): Promise<Outcome<Commit[]>> {
  let failure = retry(
    `commits ${accepted.slice(0, 12)}..${commit.slice(0, 12)} are in none of the mirrors`,
    'They are fetched as soon as a source answers.',
  );
  for (const mirror of mirrors) {
    if (!(await mirror.has(commit)) || !(await mirror.has(accepted))) continue;
    const found = await mirror.commitsSince(commit, accepted);
    mirror.release();
    if (found.kind === 'ok') return ok(found.value.map(commitOf));
    failure = found;
  }
  return failure;
}

async function readOrigins(
  mirrors: readonly GitMirror[],
  commit: string,
  paths: readonly string[],
): Promise<Outcome<ReadonlyMap<string, Commit>>> {
  if (paths.length === 0) return ok(new Map());
  let failure = retry(
    `commit ${commit.slice(0, 12)} is in none of the mirrors`,
    'It is fetched as soon as a source answers.',
  );
  for (const mirror of mirrors) {
    if (!(await mirror.has(commit))) continue;
    const found = await mirror.originsOf(commit, paths);
    mirror.release();
    if (found.kind === 'ok')
      return ok(new Map([...found.value].map(([path, info]) => [path, commitOf(info)])));
    failure = found;
  }
  return failure;
}

async function readCommits(mirrors: readonly GitMirror[], oids: readonly string[]): Promise<Commit[]> {
  const found: Commit[] = [];
  for (const oid of oids) {
    for (const mirror of mirrors) {
      const info = (await mirror.has(oid)) ? await mirror.commitInfo(oid) : undefined;
      if (info?.kind !== 'ok') continue;
      found.push(commitOf(info.value));
      break;
    }
  }
  for (const mirror of mirrors) mirror.release();
  return found;
}

async function readBlob(
  mirrors: readonly GitMirror[],
  oid: string,
  maxBytes: number,
  blobs: ReadonlyMap<string, Uint8Array>,
): Promise<Outcome<Uint8Array>> {
  const remembered = blobs.get(oid);
  if (remembered !== undefined) return ok(remembered);
  let failure = retry(`blob ${oid} is in none of the mirrors`, 'It is fetched as soon as a source answers.');
  for (const mirror of mirrors) {
    if (!(await mirror.has(oid))) continue;
    const read = await mirror.readBlob(oid, maxBytes);
    if (read.kind === 'ok') return read;
    failure = read;
  }
  return failure;
}

async function watchMirrors(
  mirrors: readonly GitMirror[],
  onSignal: () => void,
  log: Log,
): Promise<{ close(): Promise<void> }> {
  const paths = (await Promise.all(mirrors.map((mirror) => mirror.watchPaths()))).flat();
  if (paths.length === 0) return { close: async () => undefined };
  return watchFiles(paths, onSignal, {
    onError: (error) => log.warn({ err: error }, 'watching the local repository fails; polling goes on'),
  });
}

function blobsOf(memory: ReadonlyMap<string, SourceFiles>): Map<string, Uint8Array> {
  const blobs = new Map<string, Uint8Array>();
  for (const { files } of memory.values()) for (const { oid, bytes } of files) blobs.set(oid, bytes);
  return blobs;
}

function commitOf(info: CommitInfo): Commit {
  const { oid, author, email, time, message, parents } = info;
  return { oid, author, email, at: time, message, parents };
}
