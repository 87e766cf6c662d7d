import { createHash } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type Database from 'better-sqlite3';
import { redact } from '../base/secret.ts';
import type { Vault } from './vault.ts';

/** Smaller ones are not worth a row of their own. */
const MIN_PART_BYTES = 200;
const DIGEST_LENGTH = 32;
const REF = '$part';

/** JSON values cut into parts that are stored once each, by their content: what did not change since costs nothing. */
export interface Parts {
  /** Stores what is not there yet. Registered secrets are masked. Returns the digest of the whole. */
  put(value: unknown): string;
  /** Throws when a part is missing, or was locked with another key. */
  get(digest: string): unknown;
  /** Takes away what no stored plan leads to. */
  sweep(): void;
}

/** Without a vault they stand in clear: in tests. */
export function partsOn(db: Database.Database, vault?: Vault): Parts {
  const exists = db.prepare<[string], { one: number }>('SELECT 1 AS one FROM parts WHERE digest = ?');
  const insert = db.prepare('INSERT INTO parts (digest, refs, body, vault) VALUES (?, ?, ?, ?)');
  const read = db.prepare<[string], PartRow>('SELECT body, vault FROM parts WHERE digest = ?');
  const sweep = db.prepare(`
    WITH RECURSIVE live (digest) AS (
      SELECT inputs FROM plans UNION SELECT plan FROM plans
      UNION SELECT ref.value FROM live JOIN parts USING (digest), json_each(parts.refs) AS ref
    )
    DELETE FROM parts WHERE digest NOT IN (SELECT digest FROM live)`);
  const store = (json: string, refs: readonly string[]): string => {
    const body = redact(json);
    const digest =
      vault?.name(body) ?? createHash('sha256').update(body).digest('hex').slice(0, DIGEST_LENGTH);
    if (exists.get(digest) !== undefined) return digest;
    const packed = deflateRawSync(Buffer.from(body));
    insert.run(digest, JSON.stringify(refs), vault?.lock(body, packed) ?? packed, vault?.id ?? null);
    return digest;
  };
  const get = (digest: string): unknown => {
    const row = read.get(digest);
    if (row === undefined) throw new Error(`part ${digest} of the stored plan is missing`);
    return unpack(JSON.parse(inflateRawSync(unlocked(row, vault)).toString('utf8')), get);
  };
  return {
    put: (value) => {
      const { json, refs } = pack(value, store);
      return store(json, refs);
    },
    get,
    sweep: () => void sweep.run(),
  };
}

interface PartRow {
  readonly body: Buffer;
  /** The id of the vault that it is locked with. */
  readonly vault: string | null;
}

function unlocked(row: PartRow, vault: Vault | undefined): Buffer {
  if (row.vault === null) return row.body;
  if (row.vault !== vault?.id)
    throw new Error(
      `it is locked with the key ${row.vault} of its node, ${vault === undefined ? 'and no env.key was found beside the registry' : `and the env.key here is ${vault.id}`}`,
    );
  return vault.unlock(row.body);
}

interface Packed {
  readonly json: string;
  readonly refs: readonly string[];
}

/** Canonical JSON (sorted keys, nothing undefined) in which every larger piece is a reference to its part. */
function pack(value: unknown, store: (json: string, refs: readonly string[]) => string): Packed {
  if (value === null || typeof value !== 'object') return { json: JSON.stringify(value ?? null), refs: [] };
  const refs: string[] = [];
  const child = (part: unknown): string => {
    const packed = pack(part, store);
    const isSmall = packed.json.length < MIN_PART_BYTES || part === null || typeof part !== 'object';
    if (isSmall) {
      refs.push(...packed.refs);
      return packed.json;
    }
    const digest = store(packed.json, packed.refs);
    refs.push(digest);
    return `{"${REF}":"${digest}"}`;
  };
  if (Array.isArray(value)) return { json: `[${value.map(child).join(',')}]`, refs };
  const entries = Object.entries(value)
    .filter(([, part]) => part !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    // A key of the data must not be taken for a reference.
    .map(([key, part]) => `${JSON.stringify(key.startsWith('$') ? `$${key}` : key)}:${child(part)}`);
  return { json: `{${entries.join(',')}}`, refs };
}

function unpack(value: unknown, get: (digest: string) => unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map((part) => unpack(part, get));
  const ref = REF in value ? value[REF] : undefined;
  if (typeof ref === 'string') return get(ref);
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [
      key.startsWith('$$') ? key.slice(1) : key,
      unpack(part, get),
    ]),
  );
}
