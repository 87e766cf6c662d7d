import { systemClock, type Clock } from '../../base/clock.ts';
import { blocked, ok, retry, wait, type Outcome } from '../../base/outcome.ts';
import { askStatus, type RouterFault, type RouterStatus } from './status.ts';

const LIVE_TIMEOUT_MS = 5_000;
/** A refusal that is still there so long after a write is meant for the new table, whatever was there before. */
const SAME_REFUSAL_MS = 2_000;
const SETTLED_TIMEOUT_MS = 1_000;
const LOOK_EVERY_MS = 20;

export interface LiveOptions {
  readonly tablePath: string;
  readonly statusSocket: string;
  readonly clock?: Clock;
  readonly liveTimeoutMs?: number;
}

/** What was written, and what the router said just before. */
export interface Written {
  readonly digest: string;
  /** Only when the router has to show that it has read the very same table again. */
  readonly generation?: string | undefined;
  /** False when the file had this table already: what the router says of it then counts at once. */
  readonly changed: boolean;
  readonly earlier: RouterStatus | undefined;
}

/** Waits until the router has the table in force and gives the routes that are at fault there, or says why not. */
export async function awaitLive(
  written: Written,
  options: LiveOptions,
): Promise<Outcome<readonly RouterFault[]>> {
  const { statusSocket, tablePath, clock = systemClock, liveTimeoutMs = LIVE_TIMEOUT_MS } = options;
  const begun = clock.monotonic();
  for (;;) {
    const answer = await askStatus(statusSocket);
    const hint = `Start it with mc-gitops proxy; the routes are written in ${tablePath} and will be served.`;
    if (answer.kind === 'down') return wait(answer.why, hint);
    const waitedMs = clock.monotonic() - begun;
    const isLate = waitedMs >= liveTimeoutMs;
    if (answer.kind === 'answer') {
      const refused = refusalOf(answer.status, written, { isLate, isOld: waitedMs >= SAME_REFUSAL_MS });
      if (refused !== undefined) {
        return blocked(
          `the proxy refused the route table: ${refused}`,
          'Mend what it names; the last good table is still served.',
        );
      }
      if (isTaken(answer.status, written)) return ok(answer.status.faults);
    }
    if (isLate) {
      return answer.kind === 'unknown'
        ? wait(answer.why, hint)
        : retry(`the proxy did not take over ${tablePath} within ${liveTimeoutMs} ms`, 'Look at its log.');
    }
    await clock.sleep(LOOK_EVERY_MS);
  }
}

/** Gives the router time to leave the refused table for the one that was put back: the next write must not meet its refusal. */
export async function awaitSettled(
  refusedDigest: string,
  { statusSocket, clock = systemClock }: LiveOptions,
): Promise<void> {
  const deadline = clock.monotonic() + SETTLED_TIMEOUT_MS;
  while (clock.monotonic() < deadline) {
    const answer = await askStatus(statusSocket);
    if (answer.kind !== 'answer' || answer.status.refused?.tableDigest !== refusedDigest) return;
    await clock.sleep(LOOK_EVERY_MS);
  }
}

function isTaken({ tableDigest, generation, refused }: RouterStatus, written: Written): boolean {
  if (tableDigest !== written.digest) return false;
  if (written.generation !== undefined && generation !== written.generation) return false;
  // With a table that it could not even read, the router may not have come to ours yet.
  return refused === undefined || typeof refused.tableDigest === 'string';
}

/** Why the router refuses this very table; a refusal of an older one is none. */
function refusalOf(
  { refused }: RouterStatus,
  { digest, changed, earlier }: Written,
  { isLate, isOld }: { readonly isLate: boolean; readonly isOld: boolean },
): string | undefined {
  if (refused === undefined) return undefined;
  // No table, as a router that has just begun finds it, or one that is none: said of what was there before ours, unless it stays.
  // Nothing shows that a slow one has looked since, so it has all the time that there is: ours would be taken back for nothing.
  if (typeof refused.tableDigest !== 'string') return isLate ? refused.why : undefined;
  const before = earlier?.refused;
  const isNew = refused.at !== before?.at || refused.why !== before.why;
  return refused.tableDigest === digest && (isNew || isOld || isLate || !changed) ? refused.why : undefined;
}
