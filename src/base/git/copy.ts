import { GitFault, isReadFault } from './faults.ts';
import type { GitReader } from './reader.ts';
import type { FetchWish, GitRemote } from './remote.ts';
import {
  adopt,
  discard,
  listPacks,
  newGeneration,
  openGeneration,
  readMark,
  removeLeftovers,
  writeMark,
  type Generation,
} from './store.ts';
import { proveWhole } from './walk.ts';

/** isomorphic-git adds a pack with each fetch and never tidies up; reading slows down with their number. */
const DEFAULT_MAX_PACKS = 50;

/** Keeps the copy of one remote: brings commits, proves them, makes the copy anew when it is damaged. */
export interface CopyKeeper {
  reader(): Promise<GitReader>;
  isEmpty(): Promise<boolean>;
  /** Makes sure that `oid`, to which the wished ref points, is here whole. Tells what the ref points to by now. */
  bring(
    wish: FetchWish,
    oid: string,
    keep: string | undefined,
    signal: AbortSignal,
  ): Promise<{ oid: string; fetched: boolean }>;
  /** What our own record of a ref says, for example `tags/v1.0.0`. */
  mark(name: string): Promise<string | undefined>;
  suspect(): void;
  release(): void;
}

interface CopyState {
  readonly dir: string;
  readonly remote: GitRemote;
  opened: Promise<Generation | undefined> | undefined;
  damaged: boolean;
  /** Commits that were read with all of their folders since this copy is in use. */
  readonly proved: Set<string>;
  /** Number of packs above which the copy is made anew. */
  readonly maxPacks: number;
  /** Raised when tidying was in vain, so that it is not tried at every poll. */
  packsAllowed: number;
}

export function copyKeeper(dir: string, remote: GitRemote, maxPacks = DEFAULT_MAX_PACKS): CopyKeeper {
  const state: CopyState = {
    dir,
    remote,
    opened: undefined,
    damaged: false,
    proved: new Set(),
    maxPacks,
    packsAllowed: maxPacks,
  };
  return {
    async reader() {
      const generation = await current(state);
      if (generation === undefined) throw new GitFault('retry', 'nothing has been fetched yet');
      return generation.reader;
    },
    isEmpty: async () => (await current(state)) === undefined,
    bring: (wish, oid, keep, signal) => bring(state, wish, oid, keep, signal),
    async mark(name) {
      const generation = await current(state);
      return generation === undefined ? undefined : readMark(generation.gitdir, name);
    },
    suspect: () => {
      state.damaged = true;
      state.proved.clear();
    },
    release: () =>
      void state.opened?.then(
        (generation) => generation?.reader.release(),
        () => undefined,
      ),
  };
}

async function bring(
  state: CopyState,
  wish: FetchWish,
  oid: string,
  keep: string | undefined,
  signal: AbortSignal,
): Promise<{ oid: string; fetched: boolean }> {
  const old = await current(state);
  if (old === undefined || state.damaged) return { oid: await anew(state, wish, signal), fetched: true };
  try {
    if (state.proved.has(oid) || (await isWhole(old, oid))) {
      state.proved.add(oid);
      return { oid, fetched: false };
    }
    const packs = (await listPacks(old.gitdir)).length;
    if (packs > state.packsAllowed) {
      const tidied = await tidy(state, old, wish, keep, signal);
      if (tidied !== undefined) return { oid: tidied, fetched: true };
      state.packsAllowed = packs + state.maxPacks;
    }
    const fetched = await fetchProved(state.remote, old, wish, signal);
    state.proved.add(fetched);
    return { oid: fetched, fetched: true };
  } catch (error) {
    // Either what came is broken, or what is here: a new copy from the beginning tells which (G25, G29).
    if (!isReadFault(error) || signal.aborted) throw error;
    return { oid: await anew(state, wish, signal), fetched: true };
  }
}

async function current(state: CopyState): Promise<Generation | undefined> {
  state.opened ??= openGeneration(state.dir);
  try {
    return await state.opened;
  } catch (error) {
    state.opened = undefined;
    throw error;
  }
}

/** A new copy beside the old one, which stays in use until the new one is whole (L30). */
async function anew(state: CopyState, wish: FetchWish, signal: AbortSignal): Promise<string> {
  const made = await newGeneration(state.dir);
  try {
    const oid = await fetchProved(state.remote, made, wish, signal);
    await use(state, made, oid);
    return oid;
  } catch (error) {
    await discard(made);
    throw error;
  }
}

/** As `anew`, but the old copy stays when it alone has the commit that is to be kept (after a force-push). */
async function tidy(
  state: CopyState,
  old: Generation,
  wish: FetchWish,
  keep: string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const made = await newGeneration(state.dir);
  try {
    const oid = await fetchProved(state.remote, made, wish, signal);
    const loses = keep !== undefined && (await old.reader.has(keep)) && !(await made.reader.has(keep));
    if (loses) {
      await discard(made);
      return undefined;
    }
    await use(state, made, oid);
    return oid;
  } catch (error) {
    await discard(made);
    throw error;
  }
}

async function use(state: CopyState, generation: Generation, oid: string): Promise<void> {
  await adopt(state.dir, generation);
  state.opened = Promise.resolve(generation);
  state.damaged = false;
  state.packsAllowed = state.maxPacks;
  state.proved.clear();
  state.proved.add(oid);
}

const HAVE = 'mc/have';

/** Fetches, and believes it only when the commit and all of its folders can be read. Leaves nothing of a broken one. */
async function fetchProved(
  remote: GitRemote,
  generation: Generation,
  wish: FetchWish,
  signal: AbortSignal,
): Promise<string> {
  const { gitdir, reader } = generation;
  const before = await listPacks(gitdir);
  await removeLeftovers(gitdir, before);
  try {
    const have = await readMark(gitdir, HAVE);
    const usable = have !== undefined && (await reader.has(have)) ? { have } : {};
    const oid = await remote.fetch(gitdir, { ...usable, ...wish }, signal);
    reader.release();
    const commit = await reader.peel(oid);
    await proveWhole(reader, commit);
    await writeMark(gitdir, HAVE, commit);
    if (wish.ref.startsWith('refs/tags/')) await writeMark(gitdir, wish.ref.slice('refs/'.length), oid);
    return oid;
  } catch (error) {
    reader.release();
    await removeLeftovers(gitdir, before);
    throw error;
  }
}

async function isWhole({ reader }: Generation, oid: string): Promise<boolean> {
  if (!(await reader.has(oid))) return false;
  // What is here but cannot be read is damage.
  await proveWhole(reader, await reader.peel(oid));
  return true;
}
