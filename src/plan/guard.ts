import type { Desired } from '../definitions/types.ts';
import type { Facts } from './facts.ts';
import type { Refused } from './types.ts';

const BUDGET_SHARE = 0.2;

export interface Verdict {
  /** Services that may be removed now. */
  readonly allowed: readonly string[];
  readonly refused: readonly Refused[];
}

/** The services that may go: named by the trailer `Remove-Services: a, b` of the commit, or by `removals.toml`. */
export function removableServices(desired: Desired): string[] {
  const trailers = desired.commit.message
    .split('\n')
    .flatMap((line) => /^Remove-Services:(.*)$/i.exec(line.trim())?.[1]?.split(',') ?? []);
  return [...new Set([...trailers, ...desired.removals].map((name) => name.trim()))]
    .filter((name) => name !== '')
    .sort();
}

/**
 * The removal budget (L31, G7): more than max(1, 20 %) of the recorded services in one go, or all of them because
 * the repository has no definitions, are removed only when each is named by the commit or `removals.toml`.
 */
export function judgeRemovals(facts: Facts, removed: readonly string[], recorded: number): Verdict {
  const named = removed.filter((service) => facts.settings.removable.includes(service));
  const unnamed = removed.filter((service) => !named.includes(service));
  const refuse = (why: string, hint: string): Verdict => ({
    allowed: named,
    refused: unnamed.map((service) => ({ service, why, hint })),
  });
  if (unnamed.length === 0) return { allowed: named, refused: [] };
  const hint = `If it is meant, push a commit with the trailer "Remove-Services: ${unnamed.join(', ')}", or name them in removals.toml.`;
  if (facts.desired.unreadable) {
    return refuse(
      'it is no longer in the repository, but removals wait while any definition of this node is unreadable',
      'Mend the definitions with issues first.',
    );
  }
  if (facts.desired.services.length === 0 && facts.desired.refused.length === 0) {
    return refuse(
      'the repository holds no definition for this node any more: nothing is removed without being named',
      hint,
    );
  }
  const budget = Math.max(1, Math.floor(recorded * BUDGET_SHARE));
  if (unnamed.length > budget) {
    return refuse(
      `${unnamed.length} of ${recorded} services would be removed at once, and the budget is ${budget}: none is`,
      hint,
    );
  }
  return { allowed: removed, refused: [] };
}
