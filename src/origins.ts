import type { Log } from './base/log.ts';
import type { Desired } from './definitions/types.ts';
import type { AcceptedFile, CommitRecord, NodeFileRecord, Promised, Told } from './registry/types.ts';
import type { Source } from './source/source.ts';
import type { Commit } from './source/types.ts';

/** What came of a commit, each part with the commit that is to answer for it. */
interface Traced {
  readonly desired: Desired;
  readonly nodeFile?: NodeFileRecord;
  readonly told: Told;
}

interface Rooms {
  readonly source: Pick<Source, 'origins' | 'commits'>;
  readonly registry: {
    promised(): Pick<Promised, 'files' | 'nodeFile'>;
    untold(oids: readonly string[]): string[];
  };
  readonly log: Log;
}

/** A subject of a commit is a line of words; one of a megabyte is cut. */
const MAX_WORDS = 300;

/**
 * Several commits may come with one pull: whose commit a change is, is told by the path of its file, not by the newest of them.
 * What is found out is kept with the journal, so that it can be told when the repository has it no longer. A history that cannot
 * be read changes nothing but these names: the newest commit stands for what came with it then.
 */
export async function traced(
  { source, registry, log }: Rooms,
  desired: Desired,
  nodeFile: NodeFileRecord | undefined,
): Promise<Traced> {
  const head = desired.commit;
  const fresh = (entry: { commit: string; heldBack?: boolean }): boolean =>
    entry.commit === head.oid && entry.heldBack !== true;
  const inForce = [...desired.services, ...(desired.edges ?? [])];
  const gone = newlyGone(desired, registry.promised().files);
  const changed = [...inForce, ...(nodeFile === undefined ? [] : [nodeFile])].filter(fresh);
  const paths = [...new Set([...changed, ...gone].map(({ file }) => file))];
  const found = await source.origins(head.oid, paths);
  if (found.kind !== 'ok')
    log.warn(
      { commit: head.oid, why: found.why },
      'who changed which definition cannot be read: the newest commit is named for all that came with it',
    );
  const origins: ReadonlyMap<string, Commit> = found.kind === 'ok' ? found.value : new Map();
  const own = <T extends { file: string; commit: string; heldBack?: boolean }>(entry: T): T =>
    fresh(entry) ? { ...entry, commit: origins.get(entry.file)?.oid ?? entry.commit } : entry;
  const services = desired.services.map(own);
  const edges = desired.edges?.map(own);
  const goneIn = gone.map(({ service, file, commit }): [string, string] => {
    const oid = origins.get(file)?.oid;
    // Its file is as it was: something else made it go.
    return [service, oid === undefined || oid === commit ? head.oid : oid];
  });
  const about = new Map([head, ...origins.values()].map((commit) => [commit.oid, commit]));
  const named = [...services, ...(edges ?? [])].map(({ commit }) => commit);
  const missing = registry.untold([...new Set(named)].filter((oid) => !about.has(oid)));
  for (const commit of await source.commits(missing)) about.set(commit.oid, commit);
  return {
    desired: { ...desired, services, ...(edges === undefined ? {} : { edges }) },
    ...(nodeFile === undefined ? {} : { nodeFile: own(nodeFile) }),
    told: { gone: new Map(goneIn), commits: [...about.values()].map(recordOf) },
  };
}

/** What the history tells of a commit: who, when, and the first line of why. */
export function recordOf({ oid, author, at, message }: Commit): CommitRecord {
  return { oid, author: cut(author), at, message: cut(message.split('\n')[0] ?? '') };
}

function cut(words: string): string {
  return words.length > MAX_WORDS ? `${words.slice(0, MAX_WORDS)}…` : words;
}

/** Accepted once, not wanted any more, and not known since when. */
function newlyGone({ services, edges }: Desired, files: readonly AcceptedFile[]): readonly AcceptedFile[] {
  const wanted = new Set([...services, ...(edges ?? [])].map(({ service }) => service.name));
  return files.filter(({ service, goneIn }) => goneIn === undefined && !wanted.has(service));
}
