import { createHash, randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';

const KEY_BYTES = 32;
const KEY_FILE = 'env.key';

export interface EnvKey {
  readonly key: Uint8Array;
  /** First 8 hex digits of the key's SHA-256: says which key a hash was made with, and nothing about the key. */
  readonly keyId: string;
  readonly created: boolean;
}

/** The key of the environment hashes: a 0600 file of its own beside the database, made when missing (house rule 11). */
export function openKey(dataDir: string): Outcome<EnvKey> {
  const path = join(dataDir, KEY_FILE);
  try {
    const made = make(path);
    const key = made ?? readFileSync(path);
    if (key.length !== KEY_BYTES) {
      return blocked(
        `${path} has ${key.length} bytes instead of ${KEY_BYTES}`,
        'Move it away: a new one is made, and no container is restarted for it.',
      );
    }
    const keyId = createHash('sha256').update(key).digest('hex').slice(0, 8);
    return ok({ key, keyId, created: made !== undefined });
  } catch (error) {
    return blocked(`${path}: ${messageOf(error)}`, 'The agent needs to read and write its data directory.');
  }
}

/** The key of a registry or of a snapshot of it, which lies beside it or one folder below, or in `others`; undefined when there is none. */
export function keyNear(
  registry: string,
  ...others: readonly (string | undefined)[]
): Uint8Array | undefined {
  const folder = dirname(resolve(registry));
  for (const one of [folder, dirname(folder), ...others]) {
    if (one === undefined) continue;
    const path = join(one, KEY_FILE);
    const key = existsSync(path) ? readFileSync(path) : undefined;
    if (key?.length === KEY_BYTES) return key;
  }
  return undefined;
}

function make(path: string): Buffer | undefined {
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined;
    throw error;
  }
  try {
    const key = randomBytes(KEY_BYTES);
    writeSync(file, key);
    fsyncSync(file);
    return key;
  } finally {
    closeSync(file);
  }
}
