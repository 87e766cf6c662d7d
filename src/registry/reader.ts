import { chmodSync, existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { readingOn } from './journal.ts';
import { keyNear } from './key.ts';
import { MIGRATIONS } from './migrations.ts';
import type { StoredPlan } from './types.ts';
import { vaultOf, type Vault } from './vault.ts';

/** A registry, or a snapshot of one, that is only read: the agent may be running, or gone. */
export interface RegistryReader {
  plan(pass: number): StoredPlan | undefined;
  /** Writes a consistent copy of the whole into a file that must not exist; only its owner may read it. */
  snapshot(file: string): Outcome<undefined>;
  close(): void;
}

/** `keyDir`: where the key of stored plans is looked for too, when it is not near the file. */
export function openReader(path: string, keyDir?: string): Outcome<RegistryReader> {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { readonly: true, fileMustExist: true });
    const version = db.pragma('user_version', { simple: true }) as number;
    if (version !== MIGRATIONS.length) {
      db.close();
      return blocked(
        `${path}: it has form ${version} of a registry, and this program reads form ${MIGRATIONS.length}`,
        'Use the mc-gitops that the agent of this node runs.',
      );
    }
    const key = keyNear(path, keyDir);
    return ok(readerOn(db, key === undefined ? undefined : vaultOf(key)));
  } catch (error) {
    db?.close();
    return blocked(
      `${path}: the registry cannot be read: ${messageOf(error)}`,
      'Run it on the node, as the user of the agent, with the settings of the agent (--config).',
    );
  }
}

function readerOn(db: Database.Database, vault: Vault | undefined): RegistryReader {
  const journal = readingOn(db, vault);
  return {
    plan: (pass) => journal.plan(pass),
    snapshot: (file) => {
      if (existsSync(file)) return blocked(`${file} exists already`, 'Name a file that does not exist yet.');
      const before = process.umask(0o077);
      try {
        db.prepare('VACUUM INTO ?').run(file);
        chmodSync(file, 0o600);
        return ok();
      } catch (error) {
        return blocked(
          `${file}: the snapshot cannot be written: ${messageOf(error)}`,
          'Name a file in a directory that exists, on a disk with room for it.',
        );
      } finally {
        process.umask(before);
      }
    },
    close: () => void db.close(),
  };
}
