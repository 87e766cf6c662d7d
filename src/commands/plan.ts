import { systemClock } from '../base/clock.ts';
import { ok, type Failure, type Outcome } from '../base/outcome.ts';
import type { NodeState } from '../report/state.ts';
import { withoutPending, type Preview } from '../report/preview.ts';
import { formatPreview, markdownPreview } from '../report/previewtext.ts';
import { visibleAll } from '../report/shown.ts';
import { foreseeBetween, nodesIn } from './between.ts';
import { readDirectory } from './directory.ts';
import { fail } from './fail.ts';
import { foresee, type About } from './foresee.ts';
import { findRepository, type Repository } from './repository.ts';
import { exitCodeOf, lastGood, readState } from './state.ts';

export interface PlanOptions {
  /** One a node. */
  readonly state?: readonly string[];
  readonly base?: string;
  readonly node?: string;
  readonly format: 'text' | 'json' | 'markdown';
}

const USAGE: Failure['kind'] = 'blocked';

/**
 * `mc-gitops plan [DIR]`: what nodes would do with these definitions, by their states or from another revision on. Exit
 * code 0 when all of it can be done, 1 when something is refused or a definition has an error, 2 when it was called
 * wrongly, 3 when an agent does not answer.
 */
export async function runPlan(dir: string, options: PlanOptions): Promise<void> {
  const previews = await previewsOf(dir, options);
  if (previews.kind !== 'ok') {
    fail(previews, exitCodeOf(previews));
    return;
  }
  const shown = previews.value.map(visibleAll);
  const text = {
    text: () => shown.map(formatPreview).join('\n\n'),
    markdown: () => markdownPreview(shown),
    // One node was asked for by its state: one answer.
    json: () => JSON.stringify(options.state?.length === 1 ? shown[0] : shown, null, 2),
  };
  process.stdout.write(`${text[options.format]()}\n`);
  if (!shown.every(isDoable)) process.exitCode = 1;
}

/** What the node refuses without the change too is no fault of the change. */
function isDoable({ issues, services }: Preview): boolean {
  return (
    issues.every(({ severity }) => severity !== 'error') &&
    services.every(({ refused, pending }) => refused.length === 0 || pending === true)
  );
}

async function previewsOf(dir: string, options: PlanOptions): Promise<Outcome<Preview[]>> {
  const { state = [], base } = options;
  if (state.length > 0) return byStates(dir, state, options);
  if (base !== undefined) return byBase(dir, base, options.node);
  return {
    kind: USAGE,
    why: 'a plan needs something to start from',
    hint: "Name --state FILE|URL (what a node's agent serves at /api/v1/state), or --base REF (a revision of the repository).",
  };
}

async function byStates(
  dir: string,
  from: readonly string[],
  { base, node }: Pick<PlanOptions, 'base' | 'node'>,
): Promise<Outcome<Preview[]>> {
  const states: NodeState[] = [];
  for (const one of from) {
    const state = await readState(one);
    if (state.kind !== 'ok') return state;
    if (node !== undefined && node !== state.value.node) {
      const why = `the state is of the node ${state.value.node}, and --node asks for ${node}`;
      return { kind: USAGE, why, hint: 'Name the state of that node, or leave --node out.' };
    }
    if (states.some((other) => other.node === state.value.node)) {
      const why = `two of the states are of the node ${state.value.node}`;
      return { kind: USAGE, why, hint: 'Name --state once a node.' };
    }
    states.push(state.value);
  }
  const previews: Preview[] = [];
  for (const state of states) {
    const preview = await byState(dir, state, base);
    if (preview.kind !== 'ok') return preview;
    previews.push(preview.value);
  }
  return ok(previews);
}

async function byState(dir: string, state: NodeState, base: string | undefined): Promise<Outcome<Preview>> {
  const directory = await readDirectory(dir, state.root);
  if (directory.kind !== 'ok') return directory;
  const before = await lastGood(dir, state);
  const repository = await findRepository(dir);
  const about: About = {
    now: systemClock.now(),
    ...(repository.kind === 'ok' ? await historyOf(repository.value, state) : {}),
  };
  const preview = await foresee(state, directory.value, before.found, about);
  if (preview.kind !== 'ok' || base === undefined) return preview;
  if (repository.kind !== 'ok') return repository;
  const old = await repository.value.revision(base, state.root);
  if (old.kind !== 'ok') return old;
  // What the node would do anyway is not what the change does.
  const anyway = await foresee(state, old.value, before.found, { now: systemClock.now() });
  return anyway.kind === 'ok' ? ok(withoutPending(preview.value, anyway.value)) : anyway;
}

/** What the repository tells of the way from the node's commit to the definitions, as far as it has that commit. */
async function historyOf(repository: Repository, { commit, root }: NodeState): Promise<About> {
  const commits = await repository.since(commit);
  const was = await repository.revision(commit, root);
  if (was.kind !== 'ok') return { commits };
  const nodes = await nodesIn(was.value, root);
  return { commits, ...(nodes.kind === 'ok' ? { nodesBefore: nodes.value } : {}) };
}

async function byBase(dir: string, base: string, node: string | undefined): Promise<Outcome<Preview[]>> {
  const repository = await findRepository(dir);
  if (repository.kind !== 'ok') return repository;
  const { folder } = repository.value;
  const old = await repository.value.revision(base, folder);
  if (old.kind !== 'ok') return old;
  const directory = await readDirectory(dir, folder);
  if (directory.kind !== 'ok') return directory;
  const commits = await repository.value.since(old.value.commit.oid);
  const about = { commits, now: systemClock.now(), ...(node === undefined ? {} : { only: node }) };
  return foreseeBetween(old.value, directory.value, folder, about);
}
