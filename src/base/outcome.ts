/**
 * What happens next is a value. No exception crosses the door of a room: a door returns an `Outcome`,
 * and the kind of a failure says what the loop does with it (house rule 5).
 */
export type Outcome<T> = Ok<T> | Failure;

export interface Ok<T> {
  readonly kind: 'ok';
  readonly value: T;
}

/**
 * - `retry`: passing fault; look again after `afterMs` (or at the next pass).
 * - `wait`: something outside has to happen first; it is named in `why`.
 * - `blocked`: a person must act; `hint` says how.
 * - `bug`: ours; an unexpected exception. One service is affected, never the agent.
 */
export interface Failure {
  readonly kind: 'retry' | 'wait' | 'blocked' | 'bug';
  /** What went wrong and where, in one sentence. Never a secret, never a server's body. */
  readonly why: string;
  /** What the operator can do. */
  readonly hint?: string;
  readonly afterMs?: number;
  /** The rule that was broken, for whoever must tell one refusal from another. */
  readonly rule?: string;
  /**
   * Where the cause lies, as far as that is certain: `outside` the definition (a full disk, a port that is taken), or in
   * the `definition` (no such program in the image). A version is held back for nothing that came from outside.
   */
  readonly cause?: Cause;
}

export type Cause = 'outside' | 'definition';

export function ok(): Ok<undefined>;
export function ok<T>(value: T): Ok<T>;
export function ok<T>(value?: T): Ok<T | undefined> {
  return { kind: 'ok', value };
}

export function retry(why: string, hint?: string, afterMs?: number): Failure {
  return failure('retry', why, hint, afterMs);
}

export function wait(why: string, hint?: string): Failure {
  return failure('wait', why, hint);
}

export function blocked(why: string, hint?: string): Failure {
  return failure('blocked', why, hint);
}

export function bug(error: unknown): Failure {
  return failure(
    'bug',
    messageOf(error),
    'This is a defect of mc-gitops: please report it with the log of this pass.',
  );
}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replaceAll(/\s+/g, ' ').trim();
}

function failure(kind: Failure['kind'], why: string, hint?: string, afterMs?: number): Failure {
  return {
    kind,
    why,
    ...(hint === undefined ? {} : { hint }),
    ...(afterMs === undefined ? {} : { afterMs }),
  };
}

/** A part of the world that was looked at: known, or unknown with the reason. Unknown never causes a removal. */
export type Known<T> =
  { readonly known: true; readonly value: T } | { readonly known: false; readonly why: string };

export function known<T>(value: T): Known<T> {
  return { known: true, value };
}

export function unknown(why: string): { readonly known: false; readonly why: string } {
  return { known: false, why };
}
