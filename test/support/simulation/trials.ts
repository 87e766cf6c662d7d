import type { StepResult } from '../../../src/execute/types.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import { timeoutOf } from '../../../src/plan/trial.ts';
import type { Life } from './life.ts';

/** A version has its whole time, whatever somebody does to the wall clock (G42). */
export function examineTrials(
  { trialsBegunAt, passBegunAt, time }: Life,
  facts: Facts,
  results: readonly StepResult[],
): string[] {
  return results.flatMap(({ step, outcome }) => {
    if (step.kind !== 'record-trial' || outcome.kind !== 'ok') return [];
    const { service, digest, phase, why } = step.trial;
    const key = `${service} ${digest}`;
    if (phase === 'trying') trialsBegunAt.set(key, passBegunAt);
    const begunAt = trialsBegunAt.get(key);
    const desired = facts.desired.services.find((entry) => entry.service.name === service);
    if (phase !== 'returning' || begunAt === undefined || desired === undefined) return [];
    if (why?.startsWith('not proved within') !== true) return [];
    const hadMs = time.monotonic() - begunAt;
    return hadMs >= timeoutOf(facts, desired) - CLOCK_SET_MS
      ? []
      : [`G42: ${service} gave way after ${hadMs} ms, and has ${timeoutOf(facts, desired)} ms`];
  });
}

/** A clock that is set by less counts as one that drifts. */
const CLOCK_SET_MS = 5_000;
