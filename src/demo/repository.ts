import { run } from './process.ts';

/** A file of a commit: its text, or bytes, or what else git can hold; undefined removes the path. */
type Content =
  | string
  | Uint8Array
  | { readonly mode: '100644' | '100755' | '120000'; readonly text: string }
  | { readonly mode: '160000'; readonly commit: string }
  | undefined;

interface CommitOptions {
  /** Without `refs/heads/`; `main` when not given. */
  readonly branch?: string;
  readonly message?: string;
  /** Parent commit; the branch's head when not given. `null` starts a history of its own (a force-push). */
  readonly parent?: string | null;
  /** Begin with no file instead of the parent's files. */
  readonly fresh?: boolean;
}

/** A bare repository that is written to by git's plumbing: no work tree, none of the machine's git settings. */
export interface Repository {
  readonly path: string;
  /** Adds a commit to a branch and resolves with its id. */
  commit(files: Readonly<Record<string, Content>>, options?: CommitOptions): Promise<string>;
  /** Sets an annotated tag (moves it when it is there), by default at the head of main. */
  tag(name: string, at?: string): Promise<void>;
  /** Moves a branch to any commit, also backwards. */
  setBranch(branch: string, commit: string): Promise<void>;
  deleteBranch(branch: string): Promise<void>;
  /** The commit of a branch, tag or other revision; undefined when there is none. */
  resolve(revision: string): Promise<string | undefined>;
  /** Pushes refspecs to a remote as a person would: `main`, `v1.0.0`, `+main`, `:main`. */
  push(url: string, ...refspecs: string[]): Promise<void>;
  /** Any other git command in this repository; resolves with what it prints. */
  git(...args: string[]): Promise<string>;
}

/** Makes an empty bare repository with branch `main`, that may be pushed to over http. */
export async function makeRepository(path: string): Promise<Repository> {
  await git(['init', '--quiet', '--bare', '--initial-branch=main', path]);
  const inside = (...args: string[]): Promise<string> => git(['-C', path, ...args]);
  await inside('config', 'http.receivepack', 'true');
  // A server of a forge sends any commit that is asked for; a shallow or pinned fetch needs that.
  await inside('config', 'uploadpack.allowAnySHA1InWant', 'true');
  return {
    path,
    git: inside,
    commit: async (files, options = {}) => {
      const { branch = 'main' } = options;
      const parent = options.parent === undefined ? await resolve(inside, branch) : options.parent;
      await git(
        ['-C', path, 'fast-import', '--quiet', '--force', '--date-format=now'],
        commitStream(files, branch, options.message ?? 'Change', parent ?? undefined, options.fresh ?? false),
      );
      return inside('rev-parse', `refs/heads/${branch}`);
    },
    tag: async (name, at = 'refs/heads/main') => {
      await inside('tag', '--force', '-a', '-m', name, name, at);
    },
    setBranch: async (branch, commit) => {
      await inside('update-ref', `refs/heads/${branch}`, commit);
    },
    deleteBranch: async (branch) => {
      await inside('update-ref', '-d', `refs/heads/${branch}`);
    },
    resolve: (revision) => resolve(inside, revision),
    push: async (url, ...refspecs) => {
      await inside('push', '--quiet', url, ...refspecs);
    },
  };
}

/** Runs git with a fixed identity and without the machine's or the user's settings and questions. */
export async function git(args: readonly string[], input?: string | Uint8Array): Promise<string> {
  const { stdout } = await run('git', args, {
    env: {
      PATH: process.env['PATH'],
      HOME: '/nonexistent',
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_TERMINAL_PROMPT: '0',
      GIT_AUTHOR_NAME: 'Ada Example',
      GIT_AUTHOR_EMAIL: 'ada@example.org',
      GIT_COMMITTER_NAME: 'Ada Example',
      GIT_COMMITTER_EMAIL: 'ada@example.org',
    },
    ...(input === undefined ? {} : { input }),
  });
  return stdout.trim();
}

async function resolve(
  inside: (...args: string[]) => Promise<string>,
  revision: string,
): Promise<string | undefined> {
  return inside('rev-parse', '--verify', '--quiet', `${revision}^{commit}`).catch(() => undefined);
}

/** One commit in the language of git fast-import. */
function commitStream(
  files: Readonly<Record<string, Content>>,
  branch: string,
  message: string,
  parent: string | undefined,
  fresh: boolean,
): Buffer {
  const parts: (string | Uint8Array)[] = [];
  // Without a reset, a commit with no parent given would go on from the branch's head.
  parts.push(`reset refs/heads/${branch}\n`, parent === undefined ? '\n' : `from ${parent}\n\n`);
  parts.push(`commit refs/heads/${branch}\ncommitter Ada Example <ada@example.org> now\n`, ...data(message));
  if (parent !== undefined) parts.push(`from ${parent}\n`);
  if (fresh) parts.push('deleteall\n');
  for (const [path, content] of Object.entries(files)) parts.push(...change(path, content));
  return Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}

function change(path: string, content: Content): (string | Uint8Array)[] {
  const name = JSON.stringify(path);
  if (content === undefined) return [`D ${name}\n`];
  if (typeof content === 'string' || content instanceof Uint8Array) {
    return [`M 100644 inline ${name}\n`, ...data(content)];
  }
  if (content.mode === '160000') return [`M 160000 ${content.commit} ${name}\n`];
  return [`M ${content.mode} inline ${name}\n`, ...data(content.text)];
}

function data(content: string | Uint8Array): (string | Uint8Array)[] {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  return [`data ${bytes.length}\n`, bytes, '\n'];
}
