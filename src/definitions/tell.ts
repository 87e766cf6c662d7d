import { shownPath } from './findings.ts';
import { shownLines } from './mask.ts';
import type { Issue } from './types.ts';

export interface TellOptions {
  /** Colours for a terminal. */
  readonly color: boolean;
  /** Put before every file name: the directory that was asked for. */
  readonly prefix: string;
}

/**
 * Issues for people: place, what, the source line with a caret, how to mend. `textOf`: bytes of a definition, in which values of
 * variables are covered, or lines that may be shown as they are.
 */
export function tellText(
  issues: readonly Issue[],
  textOf: ReadonlyMap<string, Uint8Array | readonly string[]>,
  { color, prefix }: TellOptions,
): string {
  const lines = new Map<string, readonly string[]>();
  const paint = (code: number, text: string): string => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
  return issues
    .map((issue) => {
      const text = textOf.get(issue.file) ?? [];
      const known = lines.get(issue.file) ?? (text instanceof Uint8Array ? shownLines(text) : text);
      lines.set(issue.file, known);
      const severity = issue.severity === 'error' ? paint(31, 'error') : paint(33, 'warning');
      const where = `${shownPath(prefix + issue.file)}:${issue.line}:${issue.column}`;
      const head = `${paint(1, where)}: ${severity}: ${issue.message} [${issue.rule}]`;
      return [head, ...excerpt(known[issue.line - 1], issue), `  ${issue.hint}`, ''].join('\n');
    })
    .join('\n');
}

/** Longest part of a source line that is shown. */
const MAX_SHOWN = 160;

function excerpt(line: string | undefined, { line: number, column }: Issue): string[] {
  if (line === undefined || line.trim() === '') return [];
  const start = Math.max(0, column - MAX_SHOWN);
  const shown = line.slice(start, start + MAX_SHOWN * 2);
  const before = blankOf(line.slice(start, column - 1));
  const gutter = String(number);
  return [`  ${gutter} | ${shown}`, `  ${' '.repeat(gutter.length)} | ${before}^`];
}

/** Blanks as wide as the text, so that what stands below it in a terminal is below it: tabs stay, CJK and emoji take two. */
function blankOf(text: string): string {
  return text
    .replaceAll(/\p{M}/gu, '')
    .replaceAll(WIDE, '  ')
    .replaceAll(/[^\t ]/gu, ' ');
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/gu;

/** An array of `{ file, line, column, path, rule, severity, message, hint }`. */
export function tellJson(issues: readonly Issue[]): string {
  const shown = issues.map(({ file, line, column, path, rule, severity, message, hint }) => ({
    file,
    line,
    column,
    path,
    rule,
    severity,
    message,
    hint,
  }));
  return `${JSON.stringify(shown, null, 2)}\n`;
}

/**
 * Workflow commands of GitHub, Gitea and Forgejo Actions: each becomes an annotation in the pull request; of the run as a whole
 * where it is about a file of another repository (`<source>@<tag>:<Dockerfile>`).
 */
export function tellGithub(issues: readonly Issue[], prefix: string): string {
  return issues
    .map((issue) => {
      if (/@[^/]*:/.test(issue.file)) {
        const text = `${issue.file}:${issue.line}:${issue.column}: ${issue.message}. ${issue.hint}`;
        return `::${issue.severity} title=${property(issue.rule)}::${data(text)}\n`;
      }
      const properties = [
        `file=${property(prefix + issue.file)}`,
        `line=${issue.line}`,
        `col=${issue.column}`,
        `title=${property(issue.rule)}`,
      ];
      return `::${issue.severity} ${properties.join(',')}::${data(`${issue.message}. ${issue.hint}`)}\n`;
    })
    .join('');
}

function data(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
