import { existsSync } from 'node:fs';
import { known, ok, type Outcome } from '../base/outcome.ts';
import type { LastGood } from '../definitions/resolve.ts';
import type { Observed } from '../node/types.ts';
import { simulate } from '../plan/simulate.ts';
import { readSafely } from '../reading.ts';
import type { Preview } from '../report/preview.ts';
import { acceptedFiles } from '../plan/accepted.ts';
import { STATE_FORMAT } from '../report/state.ts';
import { loadSettings, parseSettings, type Settings } from '../settings.ts';
import type { SourceFiles } from '../source/types.ts';
import { definitionOptions, planSettings } from '../wiring.ts';
import type { Directory } from './directory.ts';
import { factsOf, foresee, nodesByService, resolved, type About, type Standing } from './foresee.ts';
import { nodesOf, nodesWithFiles, unknownNode } from './nodes.ts';
import { resolveDirectory } from './validate.ts';

/**
 * What nodes would do on the way from one revision to another, where no state is known: each is taken to have settings by
 * default and to have carried out the first revision to its end. One preview a node that has anything in either.
 */
export async function foreseeBetween(
  base: SourceFiles,
  directory: Directory,
  root: string,
  { only, ...about }: Pick<About, 'commits' | 'now'> & { readonly only?: string } = {},
): Promise<Outcome<Preview[]>> {
  const old = await resolveDirectory(base, { root });
  if (old.kind !== 'ok') return old;
  const fresh = await resolveDirectory(directory, { root });
  if (fresh.kind !== 'ok') return fresh;
  // Which listeners a node has is not known: those that either revision asks for.
  const listenerPorts = [...old.value.desired.services, ...fresh.value.desired.services].flatMap(
    ({ service }) => service.components.flatMap(({ routes }) => routes.map(({ port }) => port)),
  );
  const known = nodesOf(old.value, fresh.value);
  const named = [...known, ...nodesWithFiles(base, directory)];
  if (only !== undefined && !named.includes(only)) return unknownNode(only, named);
  const change = { ...about, nodesBefore: nodesByService(old.value), knowsPorts: false };
  const previews: Preview[] = [];
  for (const node of only === undefined ? known : [only]) {
    const preview = await betweenOn(node, base, directory, { root, listenerPorts, change });
    if (preview.kind !== 'ok') return preview;
    previews.push(preview.value);
  }
  return ok(previews);
}

/** The node of each service of a revision. */
export async function nodesIn(files: SourceFiles, root: string): Promise<Outcome<Map<string, string>>> {
  const resolution = await resolveDirectory(files, { root });
  return resolution.kind === 'ok' ? ok(nodesByService(resolution.value)) : resolution;
}

async function betweenOn(
  node: string,
  base: SourceFiles,
  directory: Directory,
  {
    root,
    listenerPorts,
    change,
  }: { readonly root: string; readonly listenerPorts: readonly number[]; readonly change: About },
): Promise<Outcome<Preview>> {
  const settings = parseSettings(`node = "${node}"\n[source]\nurls = ["/nowhere"]\n`, 'the defaults', {});
  if (settings.kind !== 'ok') return settings;
  const empty = emptyNode(settings.value, base.commit.oid, root, listenerPorts);
  const { files, refused: refusedFiles } = base;
  const readable = await readSafely({ files, refusedFiles, lastGood: new Map() }, root);
  if (readable.kind !== 'ok') return readable;
  const before = resolved(empty, readable.value);
  const { promised, observed } = simulate(factsOf(empty, before.desired, before).facts).facts;
  const standing: Standing = {
    ...empty,
    promised: { ...promised, files: acceptedFiles(before.desired), elsewhere: before.elsewhere },
    observed,
  };
  const accepted = new Set(acceptedFiles(before.desired).map(({ file }) => file));
  const lastGood = new Map<string, LastGood>(
    files
      .filter(({ path }) => accepted.has(path) || path === before.nodeFile?.file)
      .map((file) => [file.path, { file, commit: base.commit.oid }]),
  );
  return foresee(standing, directory, lastGood, change);
}

/** A node where nothing runs yet, and everything that definitions may ask for is there. */
function emptyNode(
  settings: Settings,
  commit: string,
  root: string,
  listenerPorts: readonly number[],
): Standing {
  const { defaults } = definitionOptions(settings, () => '');
  return {
    format: STATE_FORMAT,
    node: settings.node,
    commit,
    settings: { ...planSettings(settings, 'none'), proxy: true, canBuild: true },
    defaults,
    root,
    promised: { applied: [], leases: [], routes: [], images: [], files: [], failures: [], trials: [] },
    observed: nothingRuns(listenerPorts),
  };
}

/** What would be seen of a node where nothing runs yet. */
export function nothingRuns(listenerPorts: readonly number[] = []): Observed {
  return {
    at: 0,
    engine: known({ kind: 'docker', version: '', id: '', storageRoot: '', containers: [], networks: [] }),
    images: {},
    pushes: {},
    ports: known({ listening: [], ephemeral: [32_768, 60_999] }),
    proxy: known({ listenerPorts: [...new Set(listenerPorts)], table: [], live: known([]) }),
    certificates: {},
    mounts: {},
    probes: {},
  };
}

/** On the operator's own machine there are no settings: then the defaults hold. */
export function settingsFor(path: string): Outcome<Settings> {
  return existsSync(path)
    ? loadSettings(path, process.env)
    : parseSettings('node = "node"\n[source]\nurls = ["/nowhere"]\n', 'the defaults', {});
}
