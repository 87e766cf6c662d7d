import { timesAround } from '../base/cron.ts';
import { messageOf } from '../base/outcome.ts';
import type { DesiredService, Window } from '../definitions/types.ts';
import { appliedOf, trialOf, type Facts } from './facts.ts';
import { notYet, READY, type Staging } from './staged.ts';
import type { Waiting } from './types.ts';

/**
 * `[deploy] window` and the windows of the node bound changes: what replaces a version that runs. Never a start of what is
 * missing, healing, or a return; and a change that has begun is brought to its end.
 */
export function stageWindow(facts: Facts, desired: DesiredService): Staging {
  const { service } = desired;
  const applied = appliedOf(facts, service.name);
  const isChange = applied?.state === 'running' && applied.digest !== desired.digest;
  const hasBegun = trialOf(facts.promised, desired)?.phase === 'trying';
  if (!isChange || hasBegun || desired.insteadOf !== undefined) return READY;
  // The window of the new file counts: else a wrong one could not be mended in time.
  const waiting = closedWindow(facts, service.name, service.deploy?.window, 'the change');
  return waiting === undefined ? READY : notYet(waiting);
}

/** Why a change of a service has to wait now; absent while its own window and one of the node's are open. */
export function closedWindow(
  facts: Facts,
  service: string,
  own: Window | undefined,
  what: string,
): Waiting | undefined {
  const { now, settings } = facts;
  for (const [windows, whose] of [
    [own === undefined ? [] : [own], `the window of ${service}`],
    [settings.windows, 'a window of this node'],
  ] as const) {
    if (windows.length === 0) continue;
    const states = windows.map((window) => stateOf(window, now));
    if (states.some((state) => state.kind === 'open')) continue;
    const opens = states.flatMap((state) => (state.kind === 'closed' ? [state.opensAt] : []));
    const broken = states.flatMap((state) => (state.kind === 'broken' ? [state.why] : []));
    const hint = 'Healing, and the return from a version that is not proved, wait for no window.';
    if (opens.length === 0)
      return {
        service,
        for: 'window',
        why: `${whose} never opens: ${broken.join(', ')}`,
        hint: 'Mend the cron expression or the time zone.',
      };
    const until = Math.min(...opens);
    const why = `${what} waits for ${whose}, which opens at ${new Date(until).toISOString()}`;
    return { service, for: 'window', why, hint, until };
  }
  return undefined;
}

type WindowState =
  | { readonly kind: 'open'; readonly until: number }
  | { readonly kind: 'closed'; readonly opensAt: number }
  | { readonly kind: 'broken'; readonly why: string };

/** Open from each time of the expression, in the window's own zone, for so long. Pure: `now` is the only clock. */
export function stateOf({ cron, forMs, timezone }: Window, now: number): WindowState {
  try {
    const { last, next } = timesAround(cron, timezone, now);
    if (last <= now && now < last + forMs) return { kind: 'open', until: last + forMs };
    return { kind: 'closed', opensAt: next };
  } catch (error) {
    return { kind: 'broken', why: `"${cron}" in ${timezone}: ${messageOf(error)}` };
  }
}
