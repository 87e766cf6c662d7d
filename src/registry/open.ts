import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import type { Log } from '../base/log.ts';
import { blocked, messageOf, ok, retry, type Failure, type Outcome } from '../base/outcome.ts';
import { DamageError, demandSound, ForeignError, migrate, NewerError } from './sound.ts';

const BUSY_TIMEOUT_MS = 5_000;

/** An open registry file and the lock that makes this process its only agent. */
export interface RegistryFile {
  readonly db: Database.Database;
  /** Where a damaged file was set aside, when that happened now. */
  readonly setAside?: string;
  /** There was none before: what it should know is taken up from elsewhere. */
  readonly isNew: boolean;
  /** Closes the file and opens what stands at its path now; the lock is held all the time. */
  readonly reopen: () => Outcome<RegistryFile>;
  readonly close: () => void;
}

/** Throws when what is in the file cannot be read. */
export type Prove = (db: Database.Database) => void;

/**
 * Opens, checks, migrates. A damaged file is set aside with a timestamp and a new one begun (G31), so is one of which `prove`
 * says that it cannot be read.
 */
export function openFile(
  path: string,
  log: Log,
  now: number,
  prove: Prove = () => undefined,
): Outcome<RegistryFile> {
  let lock: Database.Database;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const locked = takeLock(`${path}.lock`);
    if (locked.kind !== 'ok') return locked;
    lock = locked.value;
  } catch (error) {
    return blocked(
      `${path}: ${messageOf(error)}`,
      'The agent needs to read and write the directory of its database.',
    );
  }
  const outcome = openLocked(path, lock, { log, now, prove });
  if (outcome.kind !== 'ok') lock.close();
  return outcome;
}

interface Opening {
  readonly log: Log;
  readonly now: number;
  readonly prove: Prove;
}

function openLocked(path: string, lock: Database.Database, opening: Opening): Outcome<RegistryFile> {
  const outcome = openChecked(path, opening);
  if (outcome.kind !== 'ok') return outcome;
  const { db, setAside, isNew } = outcome.value;
  return ok({
    db,
    isNew,
    ...(setAside === undefined ? {} : { setAside }),
    reopen: () => {
      db.close();
      return openLocked(path, lock, opening);
    },
    close: () => {
      db.close();
      lock.close();
    },
  });
}

/**
 * Writes the whole content of an open registry to its path again, after its file was deleted under us: what is open lives
 * on until it is closed (G35). Left-over files of the deleted one would be taken for those of the new one: they go first.
 */
export function writeAgain(db: Database.Database, path: string): void {
  const before = process.umask(0o077);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const again = `${path}.again`;
    for (const stale of [again, `${path}-wal`, `${path}-shm`]) rmSync(stale, { force: true });
    db.prepare('VACUUM INTO ?').run(again);
    renameSync(again, path);
  } finally {
    process.umask(before);
  }
}

/** Held by the kernel as long as the process lives: a kill -9 releases it (G34). */
function takeLock(path: string): Outcome<Database.Database> {
  const lock = new Database(path, { timeout: 0 });
  try {
    chmodSync(path, 0o600);
    lock.pragma('locking_mode = EXCLUSIVE');
    lock.exec('BEGIN EXCLUSIVE');
    return ok(lock);
  } catch (error) {
    lock.close();
    if (codeOf(error).startsWith('SQLITE_BUSY')) {
      return blocked(
        `another agent holds ${path}`,
        'One agent a registry: stop the other one, or give this one its own [database] path.',
      );
    }
    throw error;
  }
}

function openChecked(path: string, { log, now, prove }: Opening): Outcome<Opened & { setAside?: string }> {
  try {
    return ok(openOnce(path, prove));
  } catch (error) {
    if (error instanceof NewerError)
      return blocked(
        `${path}: ${error.message}`,
        'Install the newer mc-gitops again, or restore a snapshot of the registry.',
      );
    if (error instanceof ForeignError)
      return blocked(
        `${path}: ${error.message}, and is left as it is`,
        'Give the registry a file of its own: [database] path.',
      );
    if (!isDamage(error)) return failureOf(path, error);
    try {
      const setAside = `${path}.damaged-${new Date(now).toISOString().replaceAll(/[:.]/g, '-')}`;
      for (const suffix of ['', '-wal', '-shm'])
        if (existsSync(path + suffix)) renameSync(path + suffix, setAside + suffix);
      log.error(
        { setAside, why: messageOf(error) },
        'the registry is damaged: set aside, and rebuilt from git and the labels of the containers',
      );
      return ok({ ...openOnce(path, prove), setAside });
    } catch (second) {
      return failureOf(path, second);
    }
  }
}

interface Opened {
  readonly db: Database.Database;
  readonly isNew: boolean;
}

function openOnce(path: string, prove: Prove): Opened {
  const before = process.umask(0o077);
  try {
    const db = new Database(path, { timeout: BUSY_TIMEOUT_MS });
    try {
      chmodSync(path, 0o600);
      db.pragma('journal_mode = WAL');
      // FULL: an intent that was journalled survives a power loss (G15).
      db.pragma('synchronous = FULL');
      db.pragma('foreign_keys = ON');
      // Definitions that were replaced, and plans that were pruned, do not linger in free pages (G10).
      db.pragma('secure_delete = ON');
      db.pragma('trusted_schema = OFF');
      demandSound(db);
      const isNew = db.pragma('user_version', { simple: true }) === 0;
      migrate(db);
      proved(db, prove);
      return { db, isNew };
    } catch (error) {
      db.close();
      throw error;
    }
  } finally {
    process.umask(before);
  }
}

/** What the disk or another program does to a read says nothing about the file. */
const PASSING = /^SQLITE_(FULL|BUSY|LOCKED|IOERR|READONLY|CANTOPEN|NOMEM|INTERRUPT|PERM)/;

function proved(db: Database.Database, prove: Prove): void {
  try {
    prove(db);
  } catch (error) {
    if (PASSING.test(codeOf(error))) throw error;
    throw new DamageError(messageOf(error));
  }
}

export function isDamage(error: unknown): boolean {
  const code = codeOf(error);
  return error instanceof DamageError || code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** A failed write or read as an outcome: a full disk and a lock pass, everything else needs a person. */
export function failureOf(path: string, error: unknown): Failure {
  const code = codeOf(error);
  const why = `${path}: ${messageOf(error)}`;
  if (code.startsWith('SQLITE_FULL'))
    return retry(why, 'Make room on the disk of the registry: nothing is done that cannot be written down.');
  if (code.startsWith('SQLITE_BUSY'))
    return retry(why, 'Another program has the registry open; only the agent may write it.');
  if (code.startsWith('SQLITE_CONSTRAINT'))
    return blocked(
      why,
      'It contradicts what is recorded already, and nothing of it was recorded: see the journal.',
    );
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB')
    return blocked(
      why,
      'The next pass sets a damaged registry aside, and rebuilds it from git and the labels of the containers.',
    );
  return blocked(why, 'Check the file, its directory and its disk; the agent needs to read and write there.');
}
