import { redact } from '../base/secret.ts';
import { visible as escaped } from '../base/visible.ts';
import type { Issue } from '../definitions/types.ts';
import type { Because, PassRecord, PatchOperation, StepRecord } from '../registry/types.ts';

const MAX_CHARACTERS = 4_000;

/**
 * A copy in which every text can be shown: control characters, and those that turn the direction of text, are visible as
 * escapes (G53). Applied once to the whole view, so that page, API and command line are safe by construction.
 */
export function visibleAll<T>(value: T): T {
  return mapStrings(value, visible) as T;
}

/** The same of one text; one that is far too long is cut, and says so. */
export function visible(text: string): string {
  const cut =
    text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}… (${text.length} characters)` : text;
  return escaped(cut);
}

/** Free text of errors, with registered secrets masked. */
export function clean<T extends { readonly why: string; readonly hint?: string }>(entry: T): T {
  return {
    ...entry,
    why: redact(entry.why),
    ...(entry.hint === undefined ? {} : { hint: redact(entry.hint) }),
  };
}

export function issueShown(issue: Issue): Issue {
  return { ...issue, message: redact(issue.message), hint: redact(issue.hint) };
}

/** The reason of a step without what its patch says of environment variables but their names (GHSA-3v3m-wc6v-x4x3). */
export function reasonOf(because: Because): Because {
  const { summary, patch, by } = because;
  return {
    summary: redact(summary),
    ...(by === undefined ? {} : { by }),
    ...(because.commit === undefined ? {} : { commit: because.commit }),
    ...(because.file === undefined ? {} : { file: because.file }),
    ...(patch === undefined ? {} : { patch: patch.map(withoutEnv) }),
  };
}

/** Steps that begin a job and end at once: what becomes of it is seen by the passes after. */
const BEGINNERS: readonly string[] = ['build-image', 'pull-image', 'push-image'];

/** A build that was begun is not a build that went well, and an order at a CA is not a certificate. */
export function resultShown({
  kind,
  result,
  after,
}: Pick<StepRecord, 'kind' | 'result' | 'after'>): StepRecord['result'] {
  const isOrder =
    after !== null && typeof after === 'object' && 'state' in after && after.state === 'ordered';
  return result === 'ok' && (BEGINNERS.includes(kind) || isOrder) ? 'begun' : result;
}

function stepShown(step: StepRecord): StepRecord {
  const result = resultShown(step);
  return {
    ...step,
    ...(result === undefined ? {} : { result }),
    because: reasonOf(step.because),
    ...(step.message === undefined ? {} : { message: redact(step.message) }),
    ...(step.before === undefined ? {} : { before: mapStrings(step.before, redact) }),
    ...(step.after === undefined ? {} : { after: mapStrings(step.after, redact) }),
  };
}

export function passShown(pass: PassRecord): PassRecord {
  return { ...pass, steps: pass.steps.map(stepShown) };
}

/** The journal has keyed hashes of values; whoever reads the page has no business with them either. */
function withoutEnv({ op, path, value }: PatchOperation): PatchOperation {
  if (value === undefined || /\/env\//.test(path)) return { op, path };
  return { op, path, value: path.endsWith('/env') ? namesOf(value) : namesIn(value) };
}

function namesIn(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(namesIn);
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, key === 'env' ? namesOf(part) : namesIn(part)]),
  );
}

/** Of `{ NAME: hash }` and of `[{ name, hash }]`. */
function namesOf(env: unknown): string[] {
  if (env === null || typeof env !== 'object') return [];
  if (!Array.isArray(env)) return Object.keys(env);
  return env.flatMap((entry: unknown) =>
    entry !== null && typeof entry === 'object' && 'name' in entry ? [String(entry.name)] : [],
  );
}

function mapStrings(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((part) => mapStrings(part, change));
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [change(key), mapStrings(part, change)]),
  );
}
