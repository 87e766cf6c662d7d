/** Where a key and its value stand in the text: offsets in UTF-16 code units. */
export interface TomlSpan {
  /** First character of the key, or of the value for an element of an array. */
  readonly key: number;
  /** First character of the value; for a table that has a header, the key inside the header. */
  readonly value: number;
  /** One past the last character of the value. */
  readonly end: number;
}

export type TomlPath = readonly (string | number)[];

/** Key paths to their places in one document. */
export interface TomlIndex {
  /** The place of a path; undefined when the document does not have it. */
  find(path: TomlPath): TomlSpan | undefined;
}

interface Entry {
  readonly children: Map<string | number, Entry>;
  span?: TomlSpan;
  /** Elements that `[[headers]]` made so far; undefined for anything else. */
  headers?: number;
}

interface Cursor {
  readonly text: string;
  at: number;
}

/**
 * The places of all keys and values of a document that `parseToml` accepts (TOML 1.0, and newlines in inline tables as
 * 1.1 has them). Only for such a document: on any other text the answer is of no use.
 */
export function indexToml(text: string): TomlIndex {
  const root: Entry = { children: new Map() };
  const cursor: Cursor = { text, at: text.charCodeAt(0) === 0xfeff ? 1 : 0 };
  let table = root;
  for (;;) {
    skipBlank(cursor);
    const before = cursor.at;
    if (before >= text.length) break;
    if (text[cursor.at] === '[') table = readHeader(cursor, root);
    else readPair(cursor, table);
    // A text that is no TOML must not hold the loop.
    if (cursor.at === before) cursor.at += 1;
  }
  return { find: (path) => find(root, path)?.span };
}

/** Line and column of an offset, both 1-based; a column counts UTF-16 code units. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
    start = at + 1;
  }
  return { line, column: offset - start + 1 };
}

function find(root: Entry, path: TomlPath): Entry | undefined {
  let entry: Entry | undefined = root;
  for (const part of path) entry = entry?.children.get(part);
  return entry;
}

/** `[a.b]` or `[[a.b]]`: gives the entry that the following pairs belong to. */
function readHeader(cursor: Cursor, root: Entry): Entry {
  const isArray = cursor.text[cursor.at + 1] === '[';
  cursor.at += isArray ? 2 : 1;
  const parts = readKey(cursor);
  cursor.at += isArray ? 2 : 1;
  let entry = root;
  parts.forEach((part, index) => {
    entry = child(entry, part.name, { key: part.start, value: part.start, end: part.end });
    const isLast = index === parts.length - 1;
    if (isLast && isArray) entry.headers = (entry.headers ?? 0) + 1;
    if (entry.headers !== undefined) {
      const span = { key: part.start, value: part.start, end: part.end };
      entry = child(entry, entry.headers - 1, span);
    }
  });
  return entry;
}

function readPair(cursor: Cursor, table: Entry): void {
  const parts = readKey(cursor);
  let entry = table;
  for (const part of parts) {
    entry = child(entry, part.name, { key: part.start, value: part.start, end: part.end });
  }
  if (cursor.text[cursor.at] === '=') cursor.at += 1;
  skipSpaces(cursor);
  const value = cursor.at;
  readValue(cursor, entry);
  const key = parts.at(-1)?.start ?? value;
  entry.span = { key, value, end: cursor.at };
}

function child(entry: Entry, name: string | number, span: TomlSpan): Entry {
  const existing = entry.children.get(name);
  if (existing !== undefined) return existing;
  const made: Entry = { children: new Map(), span };
  entry.children.set(name, made);
  return made;
}

interface KeyPart {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** A dotted key, its quotes and escapes resolved; ends at `=`, `]` or whatever cannot be part of a key. */
function readKey(cursor: Cursor): KeyPart[] {
  const { text } = cursor;
  const parts: KeyPart[] = [];
  for (;;) {
    skipSpaces(cursor);
    const start = cursor.at;
    const quote = text[start];
    if (quote === '"' || quote === "'") {
      skipString(cursor, quote);
      const raw = text.slice(start + 1, cursor.at - 1);
      parts.push({ name: quote === '"' ? unescape(raw) : raw, start, end: cursor.at });
    } else {
      while (/[A-Za-z0-9_-]/.test(text[cursor.at] ?? '')) cursor.at += 1;
      if (cursor.at > start) parts.push({ name: text.slice(start, cursor.at), start, end: cursor.at });
    }
    skipSpaces(cursor);
    if (text[cursor.at] !== '.') return parts;
    cursor.at += 1;
  }
}

function readValue(cursor: Cursor, entry: Entry): void {
  const { text } = cursor;
  const first = text[cursor.at];
  if (first === '"' || first === "'") skipString(cursor, first);
  else if (first === '[') readArray(cursor, entry);
  else if (first === '{') readInlineTable(cursor, entry);
  else {
    // Numbers, booleans, dates; a date and its time may have one space between them.
    const scalar = /\d{4}-\d\d-\d\d \d[^\s,\]}#]*|[^\s,\]}#]*/y;
    scalar.lastIndex = cursor.at;
    cursor.at += scalar.exec(text)?.[0].length ?? 0;
  }
}

function readArray(cursor: Cursor, entry: Entry): void {
  cursor.at += 1;
  for (let index = 0; cursor.at < cursor.text.length; index += 1) {
    skipBlank(cursor);
    if (cursor.text[cursor.at] === ']') break;
    const start = cursor.at;
    const element = child(entry, index, { key: start, value: start, end: start });
    readValue(cursor, element);
    element.span = { key: start, value: start, end: cursor.at };
    skipBlank(cursor);
    if (cursor.text[cursor.at] !== ',') break;
    cursor.at += 1;
  }
  if (cursor.text[cursor.at] === ']') cursor.at += 1;
}

function readInlineTable(cursor: Cursor, entry: Entry): void {
  cursor.at += 1;
  while (cursor.at < cursor.text.length) {
    skipBlank(cursor);
    if (cursor.text[cursor.at] === '}') break;
    readPair(cursor, entry);
    skipBlank(cursor);
    if (cursor.text[cursor.at] !== ',') break;
    cursor.at += 1;
  }
  if (cursor.text[cursor.at] === '}') cursor.at += 1;
}

/** One-line and multi-line strings; `'` knows no escapes. */
function skipString(cursor: Cursor, quote: string): void {
  const { text } = cursor;
  const isLong = text.startsWith(quote.repeat(3), cursor.at);
  const close = isLong ? quote.repeat(3) : quote;
  cursor.at += close.length;
  while (cursor.at < text.length && !text.startsWith(close, cursor.at)) {
    cursor.at += quote === '"' && text[cursor.at] === '\\' ? 2 : 1;
  }
  cursor.at += close.length;
  // A long string may end with one or two quotes of its own before the closing three.
  for (let more = 0; isLong && more < 2 && text[cursor.at] === quote; more += 1) cursor.at += 1;
}

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  t: '\t',
  n: '\n',
  f: '\f',
  r: '\r',
  e: '\x1b',
  '"': '"',
  '\\': '\\',
};

function unescape(raw: string): string {
  if (!raw.includes('\\')) return raw;
  return raw.replaceAll(
    /\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))/g,
    (whole: string, x?: string, short?: string, long?: string, single?: string) => {
      if (single !== undefined) return ESCAPES[single] ?? whole;
      const code = Number.parseInt(x ?? short ?? long ?? '', 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

function skipSpaces(cursor: Cursor): void {
  while (cursor.text[cursor.at] === ' ' || cursor.text[cursor.at] === '\t') cursor.at += 1;
}

/** Spaces, newlines and comments. */
function skipBlank(cursor: Cursor): void {
  const { text } = cursor;
  for (;;) {
    while (' \t\r\n'.includes(text[cursor.at] ?? '-')) cursor.at += 1;
    if (text[cursor.at] !== '#') return;
    const end = text.indexOf('\n', cursor.at);
    cursor.at = end === -1 ? text.length : end;
  }
}
