import { indexToml, placeOf, type TomlIndex, type TomlPath } from '../base/tomlindex.ts';
import { RULES, type RuleId } from './rules.ts';
import type { Issue } from './types.ts';

/** A broken rule at a key path; it becomes an `Issue` with line and column only when it is told. */
export interface Finding {
  readonly rule: RuleId;
  readonly path: TomlPath;
  /** What of the path is wrong: the key itself, or its value. */
  readonly at: 'key' | 'value';
  /** What is wrong, in one sentence that never has the value of a variable. */
  readonly message: string;
  /** Instead of the rule's own. */
  readonly hint?: string;
  /** Offset in the text, where there is no path to look up: syntax, encoding. */
  readonly offset?: number;
}

/** More findings of one file are not told: nobody reads them, and a hostile file would fill the journal. */
export const MAX_FINDINGS = 50;

export function finding(rule: RuleId, path: TomlPath, message: string, hint?: string): Finding {
  return { rule, path, at: 'value', message, ...(hint === undefined ? {} : { hint }) };
}

export function keyFinding(rule: RuleId, path: TomlPath, message: string, hint?: string): Finding {
  return { ...finding(rule, path, message, hint), at: 'key' };
}

export function isError(found: { readonly rule: RuleId }): boolean {
  return RULES[found.rule].severity === 'error';
}

/** Gives the findings of one file their places in its text. `service` is the one that they hold back. */
export function locate(
  file: string,
  text: string,
  findings: readonly Finding[],
  service: string | undefined,
): Issue[] {
  let index: TomlIndex | undefined;
  const issues = findings.slice(0, MAX_FINDINGS).map((found): Issue => {
    index ??= found.offset === undefined ? indexToml(text) : undefined;
    return issueOf(file, found, placeOf(text, found.offset ?? offsetOf(index, found)), service);
  });
  if (findings.length <= MAX_FINDINGS) return issues;
  const message = `there are ${findings.length} findings in this file, and ${MAX_FINDINGS} are told`;
  return [...issues, issueOf(file, finding('file/findings', [], message), { line: 1, column: 1 }, service)];
}

/** The place of a path; of its nearest parent where the path is not in the text (a missing key). */
function offsetOf(index: TomlIndex | undefined, found: Finding): number {
  for (let length = found.path.length; length > 0; length -= 1) {
    const span = index?.find(found.path.slice(0, length));
    if (span === undefined) continue;
    return found.at === 'value' && length === found.path.length ? span.value : span.key;
  }
  return 0;
}

export function issueOf(
  file: string,
  found: Finding,
  place: { readonly line: number; readonly column: number },
  service: string | undefined,
): Issue {
  return {
    rule: found.rule,
    severity: RULES[found.rule].severity,
    file,
    line: place.line,
    column: place.column,
    path: formatPath(found.path),
    message: found.message,
    hint: found.hint ?? RULES[found.rule].hint,
    ...(service === undefined ? {} : { service }),
  };
}

/** `components[0].image`; keys that are not bare are quoted, a long path is cut. */
export function formatPath(path: TomlPath): string {
  const shown = path.slice(0, 12).map((part, index) => {
    if (typeof part === 'number') return `[${part}]`;
    const key = /^[A-Za-z0-9_-]{1,64}$/.test(part) ? part : quote(part);
    return index === 0 ? key : `.${key}`;
  });
  return shown.join('') + (path.length > 12 ? '…' : '');
}

const MAX_QUOTED = 80;

/** Text of a definition inside a message: on one line, short, and without characters that would change how it is shown (G53). */
export function quote(text: string): string {
  const short = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
  return JSON.stringify(short).replaceAll(
    // Controls, line separators, directions and zero-width characters.
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A path of the repository in a message: as it is, or quoted when a person could be misled by it. */
export function shownPath(path: string): string {
  return /^[\x21-\x7e]{1,200}$/.test(path) ? path : quote(path);
}

/** Orders by file, line and column, then by rule: the same findings always come in the same order. */
export function byPlace(a: Issue, b: Issue): number {
  return (
    order(a.file, b.file) ||
    a.line - b.line ||
    a.column - b.column ||
    order(a.rule, b.rule) ||
    order(a.message, b.message)
  );
}

export function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
