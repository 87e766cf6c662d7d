import { createHash } from 'node:crypto';
import { canonicalJson } from './json.ts';

/**
 * 16 bits of a value, in hex: enough to notice that a text was changed by hand, and too few to find out what it is. Not for
 * what is meant to be secret: that has keyed hashes.
 */
export function shortCheck(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 4);
}
