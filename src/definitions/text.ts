import { parseToml } from '../base/toml.ts';
import { finding, type Finding } from './findings.ts';
import { LIMITS } from './shape.ts';

export type ReadText =
  | { readonly ok: true; readonly text: string; readonly value: unknown }
  | { readonly ok: false; readonly text: string; readonly found: Finding };

/** Bytes of a file to a parsed document: size, encoding, syntax and depth are judged here. */
export function readText(bytes: Uint8Array): ReadText {
  if (bytes.length > LIMITS.fileBytes) {
    const found = finding(
      'file/size',
      [],
      `the file has ${bytes.length} bytes, more than ${LIMITS.fileBytes}`,
    );
    return { ok: false, text: '', found };
  }
  const text = decode(bytes);
  if (text === undefined) return notUtf8(bytes);
  const parsed = parseToml(text);
  if (!parsed.ok) {
    const offset = offsetOf(text, parsed.line, parsed.column);
    return { ok: false, text, found: { ...syntaxFinding(parsed.message, text, offset), offset } };
  }
  const deep = isDeeper(parsed.value, 0) ? tooDeep(parsed.value) : undefined;
  if (deep !== undefined) {
    const found = finding('file/depth', deep, `tables and arrays are nested more than ${LIMITS.depth} deep`);
    return { ok: false, text, found };
  }
  return { ok: true, text, value: parsed.value };
}

/** The parser's words, and what is meant by them most often. */
function syntaxFinding(message: string, text: string, offset: number): Finding {
  const atEnd = offset >= text.length || /[\r\n]/.test(text[offset] ?? '');
  if (message.includes('unfinished string') || (message.includes('control characters') && atEnd)) {
    return finding('file/syntax', [], message, 'Is a quote missing at the end of this text?');
  }
  const first = /redefine/.test(message) ? firstOf(text, offset) : undefined;
  return finding(
    'file/syntax',
    [],
    first === undefined ? message : `${message}; the first is on line ${first}`,
  );
}

/** The line on which the key or header of this line stands for the first time in its table. */
function firstOf(text: string, offset: number): number | undefined {
  const lines = text.slice(0, offset).split('\n');
  const at = lines.length - 1;
  const said = (line: string | undefined): string | undefined =>
    /^\s*(\[[^\]]*\]|[\w."'-]+(?=\s*=))/.exec(line ?? '')?.[1];
  const key = said(text.split('\n')[at]);
  if (key === undefined) return undefined;
  const isHeader = key.startsWith('[');
  let first: number | undefined;
  for (let line = at - 1; line >= 0; line -= 1) {
    const other = said(lines[line]);
    if (other === key) first = line + 1;
    if (!isHeader && /^\s*\[/.test(lines[line] ?? '')) break;
  }
  return first;
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function notUtf8(bytes: Uint8Array): ReadText {
  let good = 0;
  let bad = bytes.length;
  // The longest beginning that decodes ends where the fault is.
  while (good < bad) {
    const middle = Math.ceil((good + bad) / 2);
    if (decodesSoFar(bytes.subarray(0, middle))) good = middle;
    else bad = middle - 1;
  }
  const text = new TextDecoder('utf-8').decode(bytes.subarray(0, good));
  const byte = bytes[good];
  const what =
    byte === undefined ? 'the file ends within a character' : `byte 0x${byte.toString(16)} is not UTF-8`;
  return { ok: false, text, found: { ...finding('file/encoding', [], what), offset: text.length } };
}

function decodesSoFar(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

function offsetOf(text: string, line: number, column: number): number {
  let start = 0;
  for (let count = 1; count < line; count += 1) {
    const end = text.indexOf('\n', start);
    if (end === -1) break;
    start = end + 1;
  }
  return Math.min(start + column - 1, text.length);
}

/** Goes no deeper than the limit itself. Every value of every file comes by here: nothing is made on the way. */
function isDeeper(value: unknown, depth: number): boolean {
  if (value === null || typeof value !== 'object') return false;
  if (depth > LIMITS.depth) return true;
  if (Array.isArray(value)) {
    for (const part of value) if (isDeeper(part, depth + 1)) return true;
    return false;
  }
  const table = value as Record<string, unknown>;
  for (const key of Object.keys(table)) if (isDeeper(table[key], depth + 1)) return true;
  return false;
}

/** The way to a value that lies too deep. Without recursion: the depth is what is in doubt. */
function tooDeep(root: unknown): (string | number)[] | undefined {
  interface Level {
    readonly value: object;
    readonly parent: Level | undefined;
    readonly key: string | number;
    readonly depth: number;
  }
  const open: Level[] = [];
  const push = (value: unknown, parent: Level | undefined, key: string | number): void => {
    if (value === null || typeof value !== 'object') return;
    open.push({ value, parent, key, depth: (parent?.depth ?? -1) + 1 });
  };
  push(root, undefined, '');
  for (let level = open.pop(); level !== undefined; level = open.pop()) {
    if (level.depth > LIMITS.depth) {
      const path: (string | number)[] = [];
      for (let up: Level | undefined = level; up.parent !== undefined; up = up.parent) path.unshift(up.key);
      return path;
    }
    const current = level;
    if (Array.isArray(current.value)) current.value.forEach((part, index) => push(part, current, index));
    else for (const [key, part] of Object.entries(current.value)) push(part, current, key);
  }
  return undefined;
}
