import pLimit from 'p-limit';
import type { Log } from '../../base/log.ts';
import { blocked, messageOf, ok, type Failure, type Outcome } from '../../base/outcome.ts';
import type { Issue } from '../../definitions/types.ts';
import { keepNewest } from './newest.ts';
import { openSource, type SourceRequest } from './source.ts';
import type { BuildOrder, LintDockerfile, Sources, TagTree, WantedImage } from './types.ts';
import { noDockerfile, plainPath } from './tree.ts';

/** What the rules for Dockerfiles say of the images of the definitions, judged in the tree of the tag. */
export interface Lints {
  /** For a build: findings are remembered, and an error among them is why nothing is built (L18). The value: the Dockerfile. */
  judge(order: BuildOrder, tree: TagTree): Promise<Outcome<{ readonly text: string }>>;
  /** Of an image that is here already, found out once beside the passes; empty until then. */
  of(wanted: WantedImage): readonly Issue[];
  stop(): Promise<void>;
}

interface LintsOptions {
  readonly lint: LintDockerfile;
  /** Absent: nothing is built here. */
  readonly sources: Sources | undefined;
  readonly log: Log;
  /** There are findings that were not told yet. */
  readonly onNews: () => void;
}

const KEPT = 2_000;
const MAX_BYTES = 256 * 1024;

export function openLints({ lint, sources, log, onNews }: LintsOptions): Lints {
  const found = new Map<string, readonly Issue[]>();
  const limit = pLimit(1);
  const running = new Set<Promise<unknown>>();
  const stopping = new AbortController();

  const look = async (order: BuildOrder, from: Sources): Promise<void> => {
    if (stopping.signal.aborted) return;
    const { path, dockerfile, image } = order;
    const tree = await openSource(
      { path, tag: image.tag, dockerfile, reference: image.reference },
      from,
      dockerfile,
    );
    // An image that was pulled needs no source here: then there is nothing to judge.
    const judged = tree.kind === 'ok' ? await lintTree(order, tree.value, lint) : tree;
    const issues = judged.kind === 'ok' && 'issues' in judged.value ? judged.value.issues : [];
    keepNewest(found, keyOf(order), issues, KEPT);
    if (issues.length > 0) onNews();
  };

  return {
    judge: async (order, tree) => {
      const judged = await lintTree(order, tree, lint);
      if (judged.kind !== 'ok') return judged;
      if (!('issues' in judged.value)) return judged.value;
      const { issues } = judged.value;
      keepNewest(found, keyOf(order), issues, KEPT);
      const refused = refusal(issues);
      return refused.kind === 'ok' ? ok({ text: judged.value.text }) : refused;
    },
    of: ({ image, recipe }) => {
      if (recipe === undefined) return [];
      const order: BuildOrder = { image, ...recipe };
      const known = found.get(keyOf(order));
      if (known !== undefined) return known;
      // What is here already is not worth a request.
      if (sources?.isLocal !== true) return [];
      keepNewest(found, keyOf(order), [], KEPT);
      const looking = limit(look, order, sources)
        .catch((error: unknown) => log.error({ reference: image.reference, why: messageOf(error) }, 'lint'))
        .finally(() => running.delete(looking));
      running.add(looking);
      return [];
    },
    stop: async () => {
      stopping.abort();
      await Promise.allSettled(running);
    },
  };
}

/** Opens the tag's tree and judges its Dockerfile, for who has no build to make; a failure in place of it: there is none to judge. */
export async function lintSource(
  request: SourceRequest,
  about: { readonly service: string; readonly silenced: readonly string[] },
  tools: { readonly sources: Sources; readonly lint: LintDockerfile },
): Promise<Outcome<Linted | Failure>> {
  const tree = await openSource(request, tools.sources, request.dockerfile);
  return tree.kind === 'ok' ? lintTree({ ...request, ...about }, tree.value, tools.lint) : tree;
}

interface Linted {
  /** How the findings call the file: `<path>@<tag>:<Dockerfile>`. */
  readonly file: string;
  readonly text: string;
  readonly issues: readonly Issue[];
}

async function lintTree(
  order: Pick<BuildOrder, 'path' | 'dockerfile' | 'service' | 'silenced'>,
  tree: TagTree,
  lint: LintDockerfile,
): Promise<Outcome<Linted | Failure>> {
  const { path, dockerfile, service, silenced = [] } = order;
  const plain = plainPath(dockerfile);
  const entry = tree.files.find((file) => file.path === plain);
  const what = `git tag ${tree.tag} of ${path}`;
  if (plain === undefined || entry === undefined) return ok(noDockerfile(what, dockerfile));
  // The engine would follow it, and nobody would have judged what it builds from.
  if (entry.mode === '120000')
    return ok(
      blocked(
        `Dockerfile ${dockerfile} of ${what} is a symbolic link`,
        'Make it a plain file, or name the file that it leads to in [build.images]; then tag a new version.',
      ),
    );
  const file = `${path}@${tree.tag}:${plain}`;
  const content = await tree.readBlob(entry.oid, MAX_BYTES);
  if (content.kind !== 'ok') return { ...content, why: `${file}: ${content.why}` };
  const text = Buffer.from(content.value).toString('utf8');
  return ok({ file, text, issues: lint(text, { file, service, silenced }) });
}

/** The first error with its line, and how many there are besides. */
function refusal(issues: readonly Issue[]): Outcome<undefined> {
  const [first, ...others] = issues.filter(({ severity }) => severity === 'error');
  if (first === undefined) return ok();
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  return blocked(
    `${first.file}:${first.line}: ${first.message} [${first.rule}]${more}`,
    `${first.hint} Then tag a new version; or silence the rule in the definition: [[silence]] with rule and reason.`,
  );
}

function keyOf({ image, path, dockerfile, service, silenced = [] }: BuildOrder): string {
  return JSON.stringify([image.reference, path, dockerfile, service, ...silenced]);
}
