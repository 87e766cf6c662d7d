import { blocked, messageOf, retry, type Failure } from '../outcome.ts';
import { DeadlineError } from '../deadline.ts';
import { HttpError } from '../http.ts';

/** `damaged`: our own mirror cannot be read and has to be made anew. */
export type GitFaultKind = 'retry' | 'blocked' | 'damaged';

/** A failure inside `base/git` with a message that may be shown. */
export class GitFault extends Error {
  readonly kind: GitFaultKind;
  readonly hint: string | undefined;

  constructor(kind: GitFaultKind, message: string, hint?: string) {
    super(message);
    this.name = 'GitFault';
    this.kind = kind;
    this.hint = hint;
  }
}

/**
 * Anything thrown while we spoke with `shown`, as a failure. isomorphic-git's own messages are not taken over:
 * they may hold the server's body (reliability.md); their code is enough.
 */
export function failureOf(error: unknown, shown: string): Failure {
  if (error instanceof GitFault) {
    return error.kind === 'blocked'
      ? blocked(`${shown}: ${error.message}`, error.hint)
      : retry(`${shown}: ${error.message}`, error.hint);
  }
  if (error instanceof HttpError || error instanceof DeadlineError)
    return retry(`${shown}: ${error.message}`);
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return retry(`${shown}: no space left for the mirror (${code})`, 'Free space in the data directory.');
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return blocked(
      `${shown}: the file system refuses access (${code})`,
      'Look at the owner and mode of the data directory.',
    );
  }
  if (code !== '') return retry(`${shown}: the repository could not be read (${code})`);
  return { kind: 'bug', why: `${shown}: ${messageOf(error)}` };
}

/** Is it worth reading again, or making the mirror anew? Only what speaks of objects, not of the network. */
export function isReadFault(error: unknown): boolean {
  if (error instanceof GitFault) return error.kind === 'damaged';
  if (error instanceof HttpError || error instanceof DeadlineError) return false;
  return !['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'EMFILE', 'ENFILE'].includes(errorCode(error));
}

function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return '';
  return 'code' in error && typeof error.code === 'string' ? error.code : '';
}
