import { onSteadyClock } from './base/clock.ts';
import type { Busy, Facts } from './plan/facts.ts';
import { removableServices } from './plan/guard.ts';
import { probeTargets, wanted } from './plan/look.ts';
import { rebuild } from './plan/rebuild.ts';
import { inTurn } from './plan/turn.ts';
import type { PlanSettings } from './plan/types.ts';
import type { House, InForce } from './pass.ts';

/** What was promised and what is there. A registry that was made anew first takes up what the node shows (L34). */
export async function look(
  house: Pick<House, 'registry' | 'node' | 'clock' | 'log' | 'planSettings'>,
  { desired, hostnameSuffix, windows, mode, addresses, nodeDefaults }: InForce,
  lookedAt: number | undefined,
  busy: readonly Busy[],
): Promise<Facts> {
  const { registry, node, clock, log } = house;
  const once = async (): Promise<Facts> => {
    const promised = registry.promised();
    const settings: PlanSettings = {
      ...house.planSettings,
      hostnameSuffix,
      windows,
      ...(addresses.length === 0 ? {} : { addresses }),
      ...(nodeDefaults.length === 0 ? {} : { nodeDefaults }),
      removable: removableServices(desired, promised.named),
      ...(mode === undefined ? {} : { mode }),
    };
    const facts = {
      ...{ desired, promised, settings, now: clock.now() },
      ...(lookedAt === undefined ? {} : { lookedAt }),
      ...(busy.length === 0 ? {} : { busy }),
    };
    // A version that was not proved has given way to the one before it: that one is looked at.
    const turned = inTurn(desired, promised, facts.now);
    const observed = await node.observe(wanted(turned, settings, promised), (seen) =>
      probeTargets({ ...facts, observed: seen }),
    );
    return { ...facts, observed };
  };
  const facts = await onSteadyClock(clock, once);
  const rebuilt = rebuild(facts);
  if (rebuilt === undefined) return facts;
  const written = registry.rebuild(rebuilt);
  if (written.kind !== 'ok') {
    log.error({ why: written.why, hint: written.hint }, 'the registry could not be rebuilt');
    return facts;
  }
  if (rebuilt.applied.length > 0 || rebuilt.lostAt !== undefined)
    log.warn(
      { services: rebuilt.applied.length, leases: rebuilt.leases.length, lost: rebuilt.lostAt !== undefined },
      rebuilt.lostAt === undefined
        ? 'the registry was rebuilt from the labels of the containers, the file beside it, and git'
        : 'the registry was rebuilt from the labels of the containers and git; the file beside it is lost too: until the next commit only what is missing is made',
    );
  // Readiness is asked for by leases, and they are known only now.
  return onSteadyClock(clock, once);
}
