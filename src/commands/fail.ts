import type { Failure } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';

/** Tells a failure on standard error (what, where, what to do) and sets the exit code. */
export function fail(failure: Failure, exitCode = 1): void {
  process.stderr.write(`mc-gitops: ${redact(failure.why)}\n`);
  if (failure.hint !== undefined) process.stderr.write(`  ${redact(failure.hint)}\n`);
  process.exitCode = exitCode;
}

/** Resolves with the first signal that asks the process to end. */
export function untilTold(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.once(signal, () => resolve(signal));
  });
}
