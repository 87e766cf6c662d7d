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
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (hasJson(value)) return written(value.toJSON());
  if (Array.isArray(value)) return `[${value.map((part) => written(part) ?? 'null').join(',')}]`;
  const entries = value as Record<string, unknown>;
  let text = '';
  for (const key of sortedKeys(entries)) {
    const part = written(entries[key]);
    if (part !== undefined) text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${part}`;
  }
  return `{${text}}`;
}

/** By code unit, but those that look like an index first and by number: so has every object its keys, and digests are kept for ever. */
function sortedKeys(value: object): string[] {
  const keys = Object.keys(value).sort();
  return keys.some((key) => /^\d/.test(key))
    ? Object.keys(Object.fromEntries(keys.map((key) => [key, null])))
    : keys;
}

function hasJson(value: object): value is { toJSON(): unknown } {
  return 'toJSON' in value && typeof value.toJSON === 'function';
}
