import type { Secret } from '../secret.ts';

export interface RemoteRef {
  readonly name: string;
  readonly oid: string;
  /** The commit behind an annotated tag. */
  readonly peeled?: string;
  /** What a symbolic ref such as HEAD names. */
  readonly target?: string;
}

/** What is needed to speak with a remote; asked for anew at each exchange, so that a renewed token is taken. */
export interface GitAccess {
  readonly user?: string;
  readonly token?: Secret;
  /** Certificate authorities, PEM. */
  readonly ca?: string;
}

export interface FetchWish {
  /** Full name, for example `refs/heads/main`. */
  readonly ref: string;
  /** A commit that we have whole. */
  readonly have?: string;
  readonly depth?: number;
}

/** The two things one can ask a remote. Both throw `GitFault`, `HttpError` or `DeadlineError`. */
export interface GitRemote {
  /** The ref of exactly this name, or all of them. One request, once the server is known. */
  refs(name: string | undefined, signal: AbortSignal): Promise<readonly RemoteRef[]>;
  /** Brings a ref's objects into a git directory and tells its id. */
  fetch(gitdir: string, wish: FetchWish, signal: AbortSignal): Promise<string>;
}
