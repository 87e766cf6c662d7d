import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const DIGEST_BYTES = 16;

/**
 * Stored plans hold whole definitions, and arguments and labels of a definition may be secret (G10). They leave the node with every
 * snapshot of the registry; the key does not: who has the one without the other reads nothing, and cannot try guesses either.
 */
export interface Vault {
  /** Says which key something was locked with, and nothing about the key. */
  readonly id: string;
  /** 32 hex digits: equal texts have equal names, which nobody can make without the key. */
  name(text: string): string;
  /** The same text gives the same bytes: its nonce is made of it. */
  lock(text: string, bytes: Uint8Array): Buffer;
  /** Throws when they are not as they were locked. */
  unlock(locked: Uint8Array): Buffer;
}

/** `key`: the node's own, of the hashes of variables; two others are made from it. */
export function vaultOf(key: Uint8Array): Vault {
  const derived = (use: string): Buffer =>
    Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), `mc-gitops stored plans: ${use}`, KEY_BYTES));
  const [names, content] = [derived('names'), derived('content')];
  const markOf = (text: string): Buffer => createHmac('sha256', names).update(text).digest();
  return {
    id: createHash('sha256').update(content).digest('hex').slice(0, 8),
    name: (text) => markOf(text).toString('hex', 0, DIGEST_BYTES),
    lock: (text, bytes) => {
      const nonce = markOf(text).subarray(DIGEST_BYTES, DIGEST_BYTES + NONCE_BYTES);
      const cipher = createCipheriv(CIPHER, content, nonce);
      return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    unlock: (locked) => {
      const end = locked.length - TAG_BYTES;
      const cipher = createDecipheriv(CIPHER, content, locked.subarray(0, NONCE_BYTES));
      cipher.setAuthTag(locked.subarray(end));
      return Buffer.concat([cipher.update(locked.subarray(NONCE_BYTES, end)), cipher.final()]);
    },
  };
}
