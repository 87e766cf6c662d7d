import { createHash } from 'node:crypto';
import { ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import type { Source } from '../../../src/source/source.ts';
import type { Commit, DefinitionFile, SourceFiles } from '../../../src/source/types.ts';
import type { VirtualTime } from './time.ts';

const HANG_MS = 120_000;

/** A definitions repository in memory. It outlives the agents that read it. */
export class Git {
  readonly #commits = new Map<string, SourceFiles>();
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #time: VirtualTime;
  #head: string | undefined;
  isDown = false;
  hangs = false;

  constructor(time: VirtualTime) {
    this.#time = time;
  }

  head(): string | undefined {
    return this.#head;
  }

  push(texts: Readonly<Record<string, string>>, message: string): string {
    const files = Object.entries(texts)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, text]): DefinitionFile => {
        const oid = sha1(text);
        // A blob that is there is the same in memory too: what did not change is not read again.
        const bytes = this.#blobs.get(oid) ?? Buffer.from(text);
        this.#blobs.set(oid, bytes);
        return { path, oid, bytes };
      });
    const parents = this.#head === undefined ? [] : [this.#head];
    const oid = sha1(JSON.stringify([parents, message, files.map(({ path, oid: blob }) => [path, blob])]));
    const commit: Commit = {
      oid,
      author: 'A',
      email: 'a@example.net',
      at: this.#time.wall(),
      message,
      parents,
    };
    this.#commits.set(oid, { commit, files, refused: [] });
    this.#head = oid;
    return oid;
  }

  /** As one agent sees it. What was fetched once can be read again without the remote. */
  source(isAlive: () => boolean): Source {
    const fetched = this.#fetched;
    return {
      poll: async (accepted) => {
        if (this.hangs) await this.#time.sleep(HANG_MS);
        if (!isAlive()) return new Promise(() => undefined);
        if (this.isDown || this.hangs) return retry('the repository does not answer');
        const found = this.#head === undefined ? undefined : this.#commits.get(this.#head);
        if (found === undefined) return retry('the repository has no commit');
        fetched.add(found.commit.oid);
        const changed = found.commit.oid !== accepted;
        return ok({ commit: found.commit, changed, url: 'memory', reachable: true });
      },
      files: async (commit): Promise<Outcome<SourceFiles>> => {
        const found = fetched.has(commit) ? this.#commits.get(commit) : undefined;
        return found === undefined ? retry(`commit ${commit} is not in the mirror`) : ok(found);
      },
      readFile: async (oid) => {
        const bytes = this.#blobs.get(oid);
        return bytes === undefined ? retry(`blob ${oid} is not in the mirror`) : ok(bytes);
      },
      keep: async () => undefined,
      range: async (commit, from) => {
        const range: Commit[] = [];
        for (let oid: string | undefined = commit; oid !== undefined && oid !== from;) {
          const found: Commit | undefined = this.#commits.get(oid)?.commit;
          if (found === undefined) return retry(`commit ${oid} is not in the mirror`);
          range.push(found);
          oid = found.parents[0];
        }
        return ok(range);
      },
      origins: async (commit, paths) => {
        const found = paths.flatMap((path): [string, Commit][] => {
          const origin = this.#originOf(commit, path);
          return origin === undefined ? [] : [[path, origin]];
        });
        return ok(new Map(found));
      },
      commits: async (oids) =>
        oids.flatMap((oid) => {
          const found = this.#commits.get(oid)?.commit;
          return found === undefined ? [] : [found];
        }),
      health: () => ({ reachable: !this.isDown }),
      watch: async () => ({ close: async () => undefined }),
    };
  }

  #originOf(commit: string, path: string): Commit | undefined {
    const oidIn = (one: string | undefined): string | undefined =>
      this.#commits.get(one ?? '')?.files.find((file) => file.path === path)?.oid;
    const wanted = oidIn(commit);
    for (let at = this.#commits.get(commit)?.commit; at !== undefined;) {
      const [parent] = at.parents;
      if (oidIn(parent) !== wanted) return at;
      at = parent === undefined ? undefined : this.#commits.get(parent)?.commit;
    }
    return undefined;
  }

  readonly #fetched = new Set<string>();
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex');
}
