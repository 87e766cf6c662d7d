import type { KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { writeFileAtomic } from '../../base/files.ts';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import { writeFailure } from '../writing.ts';
import { parseKey, readBounded } from './check.ts';
import { makeKey, pemOfKey } from './localca.ts';

const NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/;
const KEY_MODE = 0o600;

export interface WantedCertificate {
  readonly hostname: string;
  readonly service: string;
  /** The default host name of its service: the files are named after the service. */
  readonly isDefault: boolean;
}

export interface Place extends WantedCertificate {
  readonly certPath: string;
  readonly keyPath: string;
}

/** The files of a certificate; a sentence when a name cannot be a file name. */
export function placeOf(wanted: WantedCertificate, certDir: string): Place | string {
  const name = wanted.isDefault ? wanted.service : wanted.hostname;
  if (!NAME.test(name) || name.includes('..'))
    return `${JSON.stringify(name)} cannot name a certificate file`;
  return { ...wanted, ...certificatePaths(certDir, name) };
}

/** `name`: the service's for its default host name, else the host name. */
export function certificatePaths(certDir: string, name: string): { certPath: string; keyPath: string } {
  return { certPath: join(certDir, `${name}.pem`), keyPath: join(certDir, `${name}.key`) };
}

/**
 * The key that is there, or a new one. A key is never replaced: it may be the operator's, and a renewal with the same key
 * is one rename, so that no reader ever sees a certificate and a key that do not belong together.
 */
export async function ensureKey(path: string): Promise<Outcome<KeyObject>> {
  const there = await readBounded(path);
  if (there.kind === 'unknown') return blocked(there.why, `Let the agent read ${path}, or remove it.`);
  if (there.kind === 'text') {
    const key = parseKey(there.text);
    if (key !== undefined) return ok(key);
    return blocked(
      `${path} holds no usable private key`,
      'Remove it, or replace it by PEM without a passphrase.',
    );
  }
  const key = makeKey();
  try {
    await writeFileAtomic(path, pemOfKey(key), KEY_MODE);
    return ok(key);
  } catch (error) {
    return writeFailure(error, path);
  }
}
