import { blocked } from '../../base/outcome.ts';
import { redact } from '../../base/secret.ts';
import { jsonLines } from './events.ts';
import { EngineError, Refusal, brief } from './failure.ts';

/** A line that was printed, and which step of how many is under way, as far as that is known. */
export type OnProgress = (line: string, step?: { readonly at: number; readonly of: number }) => void;

export const LONGEST_LINE = 500;
const KEPT_LINES = 12;

interface Item {
  readonly stream?: unknown;
  readonly status?: unknown;
  readonly id?: unknown;
  readonly progress?: unknown;
  readonly error?: unknown;
  readonly errorDetail?: { readonly message?: unknown } | null;
  readonly aux?: unknown;
}

export interface ProgressEnd {
  readonly aux: Readonly<Partial<Record<string, string>>>;
  readonly digest: string | undefined;
}

/**
 * Reads a progress report to its end. The status was sent before the work: a failure is an item like the others.
 * `onReport`: what BuildKit sends beside the lines.
 */
export async function follow(
  answer: NodeJS.ReadableStream,
  what: string,
  onProgress: OnProgress,
  openReport?: (onProgress: OnProgress) => { take(report: string): void },
): Promise<ProgressEnd> {
  const aux: Record<string, string> = {};
  const last: string[] = [];
  const tell: OnProgress = (line, step) => {
    last.push(line);
    if (last.length > KEPT_LINES) last.shift();
    onProgress(line, step);
  };
  const report = openReport?.((line, step) => tell(redact(line).slice(0, LONGEST_LINE), step));
  let digest: string | undefined;
  for await (const item of jsonLines(answer)) {
    const one = (item ?? {}) as Item;
    const failed = text(one.errorDetail?.message) || text(one.error);
    if (failed !== '') throw progressFailure(what, failed, last);
    if (typeof one.aux === 'string') report?.take(one.aux);
    else Object.assign(aux, textsIn(one.aux));
    for (const line of linesOf(one)) {
      digest = /\bdigest: (sha256:[0-9a-f]{64})/i.exec(line)?.[1] ?? digest;
      if (text(one.progress) === '') tell(line, stepIn(line));
      else onProgress(line);
    }
  }
  return { aux, digest };
}

/** `Step 3/9 : RUN …` of Docker, `STEP 3/9: RUN …` and `[2/2] STEP 3/9: …` of Podman. */
function stepIn(line: string): { at: number; of: number } | undefined {
  const found = /^(?:\[\d+\/\d+\] )?step (\d+)\/(\d+) ?:/i.exec(line);
  return found === null ? undefined : { at: Number(found[1]), of: Number(found[2]) };
}

function textsIn(aux: unknown): Record<string, string> {
  const entries = Object.entries((aux ?? {}) as Record<string, unknown>);
  return Object.fromEntries(
    entries.flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])),
  );
}

function linesOf(item: Item): string[] {
  const status = [text(item.id), text(item.status), text(item.progress)].filter((part) => part !== '');
  return [text(item.stream), text(item.status) === '' ? '' : status.join(' ')]
    .flatMap((part) => part.split('\n'))
    .map((line) => redact(line.trimEnd()).slice(0, LONGEST_LINE))
    .filter((line) => line !== '');
}

function progressFailure(what: string, message: string, last: readonly string[]): Error {
  if (!what.startsWith('build')) return new EngineError(500, message);
  const log = last.length === 0 ? '' : `; its last lines: ${last.join(' | ')}`;
  return new Refusal(
    blocked(
      `${what} failed: ${brief(message)}${log}`,
      NO_BASE.test(message)
        ? 'A base image cannot be had: see that FROM names one that is there, and that [registries] has the account for its host. It is tried again by itself.'
        : 'Mend the Dockerfile or the source and tag a new version; the same tag is tried again later.',
    ),
  );
}

const NO_BASE =
  /failed to (resolve source metadata|create LLB definition|do request)|pull access denied|manifest (unknown|for .* not found)|initializing source docker:|load metadata for/i;

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
