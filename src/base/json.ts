import { hash } from 'node:crypto';

/** JSON with sorted keys and without `undefined`: the same value always gives the same bytes. */
export function canonicalJson(value: unknown): string {
  return written(value) ?? 'null';
}

/** SHA-256 in hex of the canonical JSON. */
export function digestOf(value: unknown): string {
  return hash('sha256', canonicalJson(value));
}

/** Digests are made of every definition at every commit: this is several times as fast as `JSON.stringify` with sorted copies. */
function written(value: unknown): string | undefined {
  if (typeof value === 'string') return textOf(value);
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) {
    let text = '[';
    for (let at = 0; at < value.length; at += 1)
      text += `${at === 0 ? '' : ','}${written(value[at]) ?? 'null'}`;
    return `${text}]`;
  }
  if (hasJson(value)) return written(value.toJSON());
  const entries = value as Record<string, unknown>;
  let text = '';
  for (const key of sortedKeys(entries)) {
    const part = written(entries[key]);
    if (part !== undefined) text += `${text === '' ? '' : ','}${textOf(key)}:${part}`;
  }
  return `{${text}}`;
}

/** Most texts have nothing that is to be escaped. */
function textOf(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

const PLAIN = /^[ !#-[\]-~]*$/;

/** By code unit, but those that look like an index first and by number: so has every object its keys, and digests are kept for ever. */
function sortedKeys(value: object): string[] {
  const keys = Object.keys(value);
  let isSorted = true;
  let hasIndex = false;
  for (let at = 0; at < keys.length; at += 1) {
    const key = keys[at] ?? '';
    const first = key.charCodeAt(0);
    hasIndex ||= first >= 48 && first <= 57;
    isSorted &&= at === 0 || (keys[at - 1] ?? '') < key;
  }
  if (!isSorted) keys.sort();
  return hasIndex ? Object.keys(Object.fromEntries(keys.map((key) => [key, null]))) : keys;
}

function hasJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}
