import { mkdir } from 'node:fs/promises';
import { blocked, messageOf, ok, retry, type Failure, type Outcome } from '../base/outcome.ts';

/** Errors of the file system that pass by themselves or when room is made: worth another try. */
const PASSING = new Set([
  'ENOSPC',
  'EDQUOT',
  'EIO',
  'EAGAIN',
  'EBUSY',
  'EMFILE',
  'ENFILE',
  'EINTR',
  'ESTALE',
]);
const RETRY_AFTER_MS = 30_000;

/** A file that could not be written (or read for writing), with its path and errno: try again, or a person must act. */
export function writeFailure(error: unknown, path: string): Failure {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const why = `${path} cannot be written: ${messageOf(error)}`;
  if (PASSING.has(code))
    return retry(why, 'Make room on that file system, or look at the disk.', RETRY_AFTER_MS);
  if (code === 'ENOENT') return blocked(why, `Create the directory of ${path}, writable for the agent.`);
  return blocked(why, `Let the agent write ${path} and its directory.`);
}

/** Makes a directory of the agent's own. Nothing under /srv is ever created: it belongs to the services (L04). */
export async function ensureDirectory(directory: string): Promise<Outcome<undefined>> {
  if (directory.startsWith('/srv/')) return ok();
  try {
    await mkdir(directory, { recursive: true, mode: 0o755 });
    return ok();
  } catch (error) {
    return writeFailure(error, directory);
  }
}
