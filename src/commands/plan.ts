import { ok, type Failure, type Outcome } from '../base/outcome.ts';
import { visibleAll } from '../report/shown.ts';
import { withoutPending, type Preview } from '../report/preview.ts';
import { formatPreview, markdownPreview } from '../report/previewtext.ts';
import { foreseeBetween } from './between.ts';
import { readDirectory } from './directory.ts';
import { fail } from './fail.ts';
import { foresee } from './foresee.ts';
import { findRepository } from './repository.ts';
import { exitCodeOf, lastGood, readState } from './state.ts';

export interface PlanOptions {
  readonly state?: string;
  readonly base?: string;
  readonly node?: string;
  readonly format: 'text' | 'json' | 'markdown';
}

const USAGE: Failure['kind'] = 'blocked';

/**
 * `mc-gitops plan [DIR]`: what a node would do with these definitions, by its state or from another revision on. Exit code
 * 1 on errors in them, 2 when it was called wrongly, 3 when the agent does not answer.
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
    json: () => JSON.stringify(options.state === undefined ? shown : shown[0], null, 2),
  };
  process.stdout.write(`${text[options.format]()}\n`);
  if (shown.some(({ issues }) => issues.some((issue) => issue.severity === 'error'))) process.exitCode = 1;
}

async function previewsOf(dir: string, options: PlanOptions): Promise<Outcome<Preview[]>> {
  const { state, base } = options;
  if (state !== undefined) return byState(dir, state, options);
  if (base !== undefined) return byBase(dir, base, options.node);
  return {
    kind: USAGE,
    why: 'a plan needs something to start from',
    hint: "Name --state FILE|URL (what a node's agent serves at /api/v1/state), or --base REF (a revision of the repository).",
  };
}

async function byState(
  dir: string,
  from: string,
  { base, node }: Pick<PlanOptions, 'base' | 'node'>,
): Promise<Outcome<Preview[]>> {
  const state = await readState(from);
  if (state.kind !== 'ok') return state;
  if (node !== undefined && node !== state.value.node) {
    const why = `the state is of the node ${state.value.node}, and --node asks for ${node}`;
    return { kind: USAGE, why, hint: 'Name the state of that node, or leave --node out.' };
  }
  const directory = await readDirectory(dir, state.value.root);
  if (directory.kind !== 'ok') return directory;
  const before = await lastGood(dir, state.value);
  const repository = await findRepository(dir);
  const commits = repository.kind === 'ok' ? await repository.value.since(state.value.commit) : [];
  const preview = await foresee(state.value, directory.value, before.found, commits);
  if (preview.kind !== 'ok' || base === undefined)
    return preview.kind === 'ok' ? ok([preview.value]) : preview;
  if (repository.kind !== 'ok') return repository;
  const old = await repository.value.revision(base, state.value.root);
  if (old.kind !== 'ok') return old;
  // What the node would do anyway is not what the change does.
  const anyway = await foresee(state.value, old.value, before.found);
  return anyway.kind === 'ok' ? ok([withoutPending(preview.value, anyway.value)]) : anyway;
}

async function byBase(dir: string, base: string, node: string | undefined): Promise<Outcome<Preview[]>> {
  const repository = await findRepository(dir);
  if (repository.kind !== 'ok') return repository;
  const { folder } = repository.value;
  const old = await repository.value.revision(base, folder);
  if (old.kind !== 'ok') return old;
  const directory = await readDirectory(dir, folder);
  if (directory.kind !== 'ok') return directory;
  return foreseeBetween(old.value, directory.value, folder, node);
}
