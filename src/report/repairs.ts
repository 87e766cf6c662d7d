import { redact } from '../base/secret.ts';
import type { StepResult } from '../execute/types.ts';
import type { Step } from '../plan/types.ts';
import type { Cause } from './causes.ts';
import { withoutNumbers } from './told.ts';

/**
 * What somebody or something else had changed, and was put right. The step itself says that it is one: its result may come passes later,
 * when neither git nor the node looks as it did. What several services suffered from is one cause.
 */
export function repaired(results: readonly StepResult[]): Cause[] {
  const causes = new Map<string, Cause>();
  const common = new Map<string, Step[]>();
  for (const { step, outcome } of results) {
    if (outcome.kind !== 'ok' || step.repairs === undefined) continue;
    const { cause } = step.repairs;
    if (cause !== undefined) {
      common.set(cause, [...(common.get(cause) ?? []), step]);
      continue;
    }
    // Whoever was told of a container has not heard of a route.
    const isRoute = step.kind === 'put-routes' || step.kind === 'remove-routes';
    const key = `drift ${step.service}${isRoute ? ' routes' : ''}: ${sameWords(step.because.summary)}`;
    if (!causes.has(key)) causes.set(key, { ...causeOf(key, step), service: step.service });
  }
  for (const [cause, steps] of common) causes.set(cause, ofAll(cause, steps));
  return [...causes.values()];
}

/** The same thing done again is the same cause, and another thing found is another one: of a container, its id is not what differs. */
function sameWords(summary: string): string {
  return withoutNumbers(redact(summary).replaceAll(/\([0-9a-f]{12}\)/g, '()'));
}

const MAX_NAMED = 8;

function ofAll(cause: string, steps: readonly Step[]): Cause {
  // The same key for one service as for many: the others may follow with the next pass.
  const key = `drift proxy: ${cause}`;
  const names = [...new Set(steps.map(({ service }) => service))].sort();
  const [first] = steps;
  if (names.length === 1 && first !== undefined) return { ...causeOf(key, first), service: first.service };
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return {
    ...{ key, kind: 'drift repaired', afterMs: 0 },
    text: `routes of ${names.slice(0, MAX_NAMED).join(', ')}${more} were repaired: ${redact(cause)}`,
  };
}

function causeOf(key: string, { service, because, kind, subject }: Step): Cause {
  return {
    ...{ key, kind: 'drift repaired', afterMs: 0 },
    text: `${service} was repaired: ${redact(because.summary)} (${kind} ${subject})`,
  };
}
