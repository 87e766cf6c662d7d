import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import { openReader } from './reader.ts';

export interface SnapshotOptions {
  /** The registry in use. */
  readonly path: string;
  readonly dir: string;
  /** So many of the newest stay. */
  readonly keep: number;
  readonly now: number;
}

const NAME = /^registry-\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}-\d{3}Z\.db$/;

/**
 * A snapshot of the registry beside the older ones, of which the newest stay. It has its name only when it is whole; the
 * older ones go only after that. Files that are not named as snapshots are left alone. Returns its path.
 */
export function takeSnapshot({ path, dir, keep, now }: SnapshotOptions): Outcome<string> {
  const name = `registry-${new Date(now).toISOString().replaceAll(/[:.]/g, '-')}.db`;
  const half = join(dir, `.${name}.half`);
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // What a dead agent left half done.
    for (const file of readdirSync(dir)) if (/^\.registry-.*\.half$/.test(file)) rmSync(join(dir, file));
    const reader = openReader(path);
    if (reader.kind !== 'ok') return reader;
    const written = reader.value.snapshot(half);
    reader.value.close();
    if (written.kind !== 'ok') return written;
    renameSync(half, join(dir, name));
    const snapshots = readdirSync(dir).filter((file) => NAME.test(file));
    for (const old of snapshots.sort().reverse().slice(keep)) rmSync(join(dir, old));
    return ok(join(dir, name));
  } catch (error) {
    rmSync(half, { force: true });
    return blocked(
      `no snapshot of the registry in ${dir}: ${messageOf(error)}`,
      'The agent needs to write there: see [database] snapshot_dir.',
    );
  }
}
