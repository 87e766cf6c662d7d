import { withDeadline } from '../../base/deadline.ts';
import { messageOf, type Outcome } from '../../base/outcome.ts';
import type { ProbeCheck } from '../types.ts';
import { tryHttp } from './http.ts';
import type { InsideView } from './inside.ts';
import { tryListen } from './listen.ts';
import { tryTls } from './tls.ts';

/** Runs a program inside a container: the value says what went wrong, undefined that it ended with 0. */
export type Exec = (
  containerId: string,
  command: readonly string[],
  timeoutMs: number,
) => Promise<Outcome<string | undefined>>;

/** `unknown`: the check could not be made, which says nothing of the container (G9). */
export type Verdict =
  { readonly kind: 'well' } | { readonly kind: 'failed' | 'unknown'; readonly why: string };

export interface Attempt {
  readonly containerId: string;
  readonly inside: InsideView;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly exec: Exec | undefined;
}

/** One try of one check, within its time. Never rejects. */
export async function tryCheck(check: ProbeCheck, attempt: Attempt): Promise<Verdict> {
  const { inside, timeoutMs, signal: outer } = attempt;
  if (check.kind === 'exec') return tryExec(check.command, attempt);
  try {
    const why = await withDeadline(
      nameOf(check),
      timeoutMs,
      (signal) => {
        switch (check.kind) {
          case 'tls':
            return tryTls(check, signal);
          case 'http':
            return tryHttp(check, signal);
          case 'listen':
            return tryListen(check, inside, signal);
        }
      },
      outer,
    );
    return why === undefined ? { kind: 'well' } : { kind: 'failed', why };
  } catch (error) {
    return { kind: 'failed', why: messageOf(error) };
  }
}

async function tryExec(
  command: readonly string[],
  { containerId, timeoutMs, exec }: Attempt,
): Promise<Verdict> {
  const name = `the check ${command[0] ?? ''}`;
  const outcome = await exec?.(containerId, command, timeoutMs);
  if (outcome === undefined) return { kind: 'unknown', why: `${name}: no engine is open` };
  if (outcome.kind !== 'ok') return { kind: 'unknown', why: `${name}: ${outcome.why}` };
  return outcome.value === undefined
    ? { kind: 'well' }
    : { kind: 'failed', why: `${name}: ${outcome.value}` };
}

function nameOf(check: Exclude<ProbeCheck, { kind: 'exec' }>): string {
  const where = `${check.ip}:${check.port}`;
  if (check.kind === 'listen') return `${where}/${check.protocol}`;
  return `${where} (${check.kind === 'tls' ? 'TLS' : 'HTTP'}, ${check.hostname})`;
}
