/** A commit of the definitions repository, as the journal and the reasons of steps name it. */
export interface Commit {
  /** 40 hex digits. */
  readonly oid: string;
  /** Author's name. */
  readonly author: string;
  readonly email: string;
  /** Committer's time, milliseconds since the epoch. */
  readonly at: number;
  /** The whole message: trailers such as `Remove-Services:` are read from it. */
  readonly message: string;
  readonly parents: readonly string[];
}

/** One file of definitions: a blob, never a file of a work tree. */
export interface DefinitionFile {
  /** Path inside the repository, with the settings' `path` in front, `/` between the parts. */
  readonly path: string;
  /** Blob id, 40 hex digits: equal ids are equal bytes. */
  readonly oid: string;
  readonly bytes: Uint8Array;
}

/** An entry that was not read, and why: a symbolic link, a submodule, an unsafe name, too large. */
export interface RefusedFile {
  readonly path: string;
  readonly why: string;
  /** What it breaks, where that is not that definitions are plain files. */
  readonly rule?: 'file/size';
}

/** The definitions of one commit, sorted by path (by code unit). */
export interface SourceFiles {
  readonly commit: Commit;
  readonly files: readonly DefinitionFile[];
  readonly refused: readonly RefusedFile[];
}

/** What a poll found: always a commit that may be used, i.e. one that was fetched whole and descends from the accepted one. */
export interface SourceState {
  readonly commit: Commit;
  /** Differs from the commit that was accepted. */
  readonly changed: boolean;
  /** Which of the urls answered, without user info and query. */
  readonly url: string;
  readonly reachable: true;
}

/** Whether the remote answers. `since`, `lastContactAt`: wall clock, milliseconds. */
export interface SourceHealth {
  readonly reachable: boolean;
  /** Unreachable since. */
  readonly since?: number;
  readonly why?: string;
  readonly lastContactAt?: number;
}

export interface SourceSettings {
  /** `https://`, `http://`, `ssh://`, `user@host:path`, `file://` or an absolute path; later ones are fallbacks. */
  readonly urls: readonly string[];
  /** Absent: the remote's HEAD. */
  readonly branch?: string;
  /** Folder of the definitions inside the repository; empty for its root. */
  readonly path: string;
  /** File with `token` or `user:password` on its first line. */
  readonly tokenFile?: string;
  /** User name that goes with a bare token; default `git`. */
  readonly user?: string;
  /** PEM file with the certificate authorities to trust instead of the system's. */
  readonly caCert?: string;
  readonly sshKeyFile?: string;
  readonly knownHostsFile?: string;
  /** For one whole exchange with the remote, clone included. */
  readonly deadlineMs: number;
  readonly maxFiles: number;
  readonly maxFileBytes: number;
  readonly maxTotalBytes: number;
  /** Cap of one received pack; default 256 MiB. */
  readonly maxPackBytes?: number;
  /** Mirrors live below it. Created when missing. */
  readonly dataDir: string;
}
