import type { Facts } from '../../../src/plan/facts.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { PlanSettings, Waiting } from '../../../src/plan/types.ts';
import type { World } from '../../support/world.ts';

/** What a plan tells, as people read it: refused, then waiting, with what to do, and with its times from now on. */
export function toldBy(
  world: World,
  settings: Partial<PlanSettings> = {},
  observed: Partial<Facts['observed']> = {},
): string[] {
  const facts = world.facts();
  const { refused, waiting } = makePlan({
    ...facts,
    settings: { ...facts.settings, ...settings },
    observed: { ...facts.observed, ...observed },
  });
  // What there is nothing to say of is absent.
  const hinted = (entry: { readonly hint?: string }): string => ('hint' in entry ? ` | ${entry.hint}` : '');
  const at = (entry: Waiting, what: 'since' | 'until'): string =>
    what in entry ? ` (${what} ${((entry[what] ?? NaN) - world.now) / 1000} s)` : '';
  return [
    ...refused.map((entry) => `${entry.service} refused: ${entry.why}${hinted(entry)}`),
    ...waiting.map(
      (entry) =>
        `${entry.service} ${entry.for}: ${entry.why}${hinted(entry)}${at(entry, 'since')}${at(entry, 'until')}`,
    ),
  ];
}

/** What it would do, and why. */
export function stepsBy(world: World): string[] {
  return world.plan().steps.map(({ kind, subject, because }) => `${kind} ${subject}: ${because.summary}`);
}
