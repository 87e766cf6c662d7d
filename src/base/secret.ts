import { createHmac } from 'node:crypto';
import { inspect } from 'node:util';

const MASK = '•••';
const MIN_LENGTH = 4;
const registered = new Set<string>();
let pattern: RegExp | undefined;

/**
 * A value that prints as `•••` wherever it is printed by accident, and that registers itself with the
 * log filter, also in its base64, base64url, hex and URL-encoded forms (G10).
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
    register(value);
  }

  /** The value itself: only for the call that needs it, never to keep. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}

/** Replaces every registered secret in `text` by `•••`. */
export function redact(text: string): string {
  if (registered.size === 0) return text;
  pattern ??= new RegExp(
    [...registered]
      .sort((a, b) => b.length - a.length)
      .map((value) => value.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`))
      .join('|'),
    'g',
  );
  return text.replaceAll(pattern, MASK);
}

/** HMAC-SHA256 of a value, first 128 bits in hex: equal values compare equal, and nobody can guess them without the key. */
export function keyedHash(key: Uint8Array, value: string): string {
  return createHmac('sha256', key).update(value).digest('hex').slice(0, 32);
}

function register(value: string): void {
  if (value.length < MIN_LENGTH) return;
  const bytes = Buffer.from(value);
  const forms = [
    value,
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
  ];
  for (const form of forms) registered.add(form);
  pattern = undefined;
}
