import type { Desired, DesiredService } from '../definitions/types.ts';
import type { Promised, Trial } from '../registry/types.ts';
import { trialOf } from './facts.ts';
import { appliedByService } from './lists.ts';

const RETRY_FIRST_MS = 15_000;
const RETRY_MAX_MS = 300_000;

/**
 * The services as they are to be now: where the newest version gave way, the last proved one stands in its place (L32).
 * Everything that looks at the node or plans begins with it. Pure, and the same when it is done twice.
 */
export function inTurn(desired: Desired, promised: Promised, now: number): Desired {
  if (promised.trials.length === 0) return desired;
  return { ...desired, services: desired.services.map((entry) => turned(entry, promised, now)) };
}

function turned(entry: DesiredService, promised: Promised, now: number): DesiredService {
  const trial = trialOf(promised, entry);
  if (trial === undefined || trial.phase === 'trying' || !entry.service.active) return entry;
  if (trial.phase === 'outside' && retryAt(trial) <= now) return entry;
  return lastProved(promised, entry) ?? entry;
}

/** The version that was last proved to run, when it is another one: what there is to return to. */
export function lastProved(promised: Promised, entry: DesiredService): DesiredService | undefined {
  const applied = appliedByService(promised.applied).get(entry.service.name)?.[0];
  if (applied?.state !== 'running' || applied.digest === entry.digest) return undefined;
  const { service, file, oid, digest, commit } = applied;
  return { service, file, oid, digest, commit, heldBack: entry.heldBack, insteadOf: entry };
}

/** When a version that gave way to an outside cause is tried again: 15 s, doubling to 5 min. */
export function retryAt({ since, tries }: Trial): number {
  return since + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(Math.max(0, tries - 1), 20));
}
