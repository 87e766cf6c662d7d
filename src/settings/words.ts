import { placeOf, type TomlIndex } from '../base/tomlindex.ts';
import type { v } from '../base/shape.ts';
import { nearest } from '../base/suggest.ts';

type Issue = v.BaseIssue<unknown>;
type Path = readonly (string | number)[];

/** Where the findings are: the text of the file, and which keys the environment has set instead. */
export interface Ground {
  readonly file: string;
  readonly content: string;
  readonly index: TomlIndex;
  /** Variables by the path of their key, `section.key`. */
  readonly variables: ReadonlyMap<string, string>;
  /** The keys of a table by its path; empty: the root. */
  readonly keysOf: (path: string) => readonly string[];
}

const MAX_VALUE = 60;

/** Where, what and what to do of each finding of the schema, in the order of the file. */
export function findingsOf(issues: readonly Issue[], ground: Ground): string[] {
  const found = issues.map((issue) => {
    const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
    return { place: placeIn(path, ground), words: `${nameOf(path)}: ${wordsOf(issue, path, ground)}` };
  });
  return found
    .sort((a, b) => a.place.line - b.place.line || a.place.column - b.place.column)
    .map(({ place, words }) => `${place.text}: ${words}`);
}

/** `file:line:column` of a key, of its table where the key is not there, or the variable that has set it. */
export function placeIn(path: Path, ground: Ground): { line: number; column: number; text: string } {
  const variable = ground.variables.get(path.slice(0, 2).join('.'));
  if (variable !== undefined) return { line: 0, column: 0, text: variable };
  for (let length = path.length; length > 0; length -= 1) {
    const span = ground.index.find(path.slice(0, length));
    if (span === undefined) continue;
    const { line, column } = placeOf(ground.content, span.key);
    return { line, column, text: `${ground.file}:${line}:${column}` };
  }
  return { line: 1, column: 1, text: `${ground.file}:1:1` };
}

function nameOf(path: Path): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
}

function wordsOf(issue: Issue, path: Path, ground: Ground): string {
  if (issue.type === 'strict_object' && issue.expected === 'never') return noSuch(path, ground);
  if (issue.received === 'undefined') return 'is missing, and has no default';
  const limit = typeof issue.requirement === 'number' ? String(issue.requirement) : '';
  switch (issue.type) {
    case 'min_value':
      return `must be at least ${limit}, and is ${shown(issue)}`;
    case 'max_value':
      return `must be at most ${limit}, and is ${shown(issue)}`;
    case 'integer':
      return `must be a whole number, and is ${shown(issue)}`;
    case 'non_empty':
      return 'must not be empty: leave the key out to have its default';
    case 'min_length':
      return `must have at least ${limit} ${limit === '1' ? 'entry' : 'entries'}, and has ${issue.received}`;
    case 'ip':
      return `must be an IP address, and is ${shown(issue)}`;
    case 'picklist':
      return `must be one of ${choices(issue)}, and is ${shown(issue)}${meant(issue)}`;
    case 'regex':
      return `${issue.message}, and is ${shown(issue)}`;
    default:
      return issue.kind === 'schema'
        ? `must be ${kindOf(issue.type)}, and is ${shown(issue)}`
        : issue.message;
  }
}

function noSuch(path: Path, { keysOf }: Ground): string {
  const key = String(path.at(-1));
  const table = nameOf(path.slice(0, -1));
  const known = keysOf(table);
  const near = nearest(key, known);
  const where = table === '' ? 'at the top of the file' : `in [${table}]`;
  if (near !== undefined) return `there is no such setting ${where}: is "${near}" meant?`;
  return `there is no such setting ${where}; it may have ${known.join(', ')}`;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text in quotes',
  number: 'a number without quotes',
  boolean: 'true or false',
  array: 'a list, [ … ]',
  strict_tuple: 'a list of two numbers, [from, to]',
  strict_object: 'a table',
  record: 'a table',
};

function kindOf(type: string): string {
  return KINDS[type] ?? type;
}

/** Addresses may have a password in them, wrongly: never shown. */
function shown({ input, received, path }: Issue): string {
  if (path?.[0]?.key === 'source') return 'another thing';
  if (typeof input === 'string')
    return `"${input.length > MAX_VALUE ? `${input.slice(0, MAX_VALUE)}…` : input}"`;
  if (typeof input === 'number' || typeof input === 'boolean') return String(input);
  return Array.isArray(input) ? 'a list' : received === 'Object' ? 'a table' : received;
}

function options({ expected }: Issue): string[] {
  return [...(expected ?? '').matchAll(/"([^"]*)"/g)].map((match) => match[1] ?? '');
}

function choices(issue: Issue): string {
  return options(issue)
    .map((one) => `"${one}"`)
    .join(', ');
}

function meant(issue: Issue): string {
  const near = typeof issue.input === 'string' ? nearest(issue.input, options(issue)) : undefined;
  return near === undefined ? '' : ` ("${near}"?)`;
}
