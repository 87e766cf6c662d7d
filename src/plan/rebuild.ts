import type { DesiredService } from '../definitions/types.ts';
import type { Applied, Lease, Rebuilt, RouteRecord } from '../registry/types.ts';
import { ours, oursOf, type Facts } from './facts.ts';
import { adoptedLeases, withLeases } from './leases.ts';
import { slotted } from './slots.ts';
import { standingOf } from './standing.ts';
import { isUp } from './swap.ts';

/**
 * What a registry that was made anew knows of the node, before anything is planned: services that stand as git wants them
 * count as applied, with the leases of their labels and the routes of the table that carry our mark. So the loss of the
 * registry plans no step (L34). Undefined when there is nothing to take up, or the node cannot be seen yet.
 */
export function rebuild(facts: Facts): Rebuilt | undefined {
  const { promised, observed, desired, now } = facts;
  if (promised.fresh === undefined || !observed.engine.known) return undefined;
  const isNew = ours(facts).length === 0;
  let seen = facts;
  const leases: Lease[] = [];
  const applied: Applied[] = [];
  for (const entry of desired.services) {
    const found = adoptedLeases(seen, entry.service);
    leases.push(...found);
    seen = withLeases(seen, found);
    const state = stateOf(seen, entry);
    if (state === undefined || isNew) continue;
    const { service, file, oid, digest, commit } = entry;
    applied.push({ service, state, file, oid, digest, commit, appliedAt: now });
  }
  return {
    applied,
    leases,
    routes: routesOf(facts),
    // Without the side file nobody knows what was held back or what was on its way: hands off until git moves.
    ...(promised.fresh.kept || isNew ? {} : { lostAt: desired.commit.oid }),
  };
}

/** As wanted: every container stands with the wanted specification, or none is up. */
function stateOf(given: Facts, desired: DesiredService): Applied['state'] | undefined {
  const { service } = desired;
  const facts = slotted(given, desired);
  if (!service.active) return oursOf(facts, service.name).some(isUp) ? undefined : 'stopped';
  const isComplete = service.components.every(
    (component) => standingOf(facts, desired, component).current !== undefined,
  );
  return isComplete ? 'running' : undefined;
}

function routesOf(facts: Facts): RouteRecord[] {
  const { proxy } = facts.observed;
  if (!proxy.known) return [];
  const prefix = `${facts.settings.owner}/`;
  return proxy.value.table.flatMap(({ mark, hostname, listenerPort }) => {
    if (mark?.startsWith(prefix) !== true) return [];
    const [service = '', component = '', route = ''] = mark.slice(prefix.length).split('/');
    return [{ service, component, route, hostname, port: listenerPort }];
  });
}
