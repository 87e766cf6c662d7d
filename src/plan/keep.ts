import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { appliedOf, leaseOf, type Facts } from './facts.ts';
import { keyOf } from './lists.ts';
import { settling } from './ready.ts';
import { claimedRoutes, planRoutes } from './routes.ts';
import { asApplied } from './slots.ts';
import type { Standing } from './standing.ts';
import { isUp } from './swap.ts';
import { currentTrial } from './trial.ts';
import type { Step, Waiting } from './types.ts';

/** A container that is to be replaced, with the component it was made for. */
export interface Kept {
  readonly component: Component;
  readonly container: ObservedContainer;
}

/**
 * While the successor cannot be made, what it shall replace is kept as it was applied: started when it stopped, its
 * routes put back when the proxy lost them (L02, G38).
 */
export function keepPredecessors(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): { steps: Step[]; waiting: readonly Waiting[] } {
  const applied = appliedOf(facts, desired.service.name);
  const kept = standings.flatMap((standing) => keptOf(facts, desired, standing));
  // On the way back it is the version that gave way that is in place: nothing to keep.
  const isReturn = currentTrial(facts, desired)?.phase === 'returning';
  if (applied === undefined || kept.length === 0 || isReturn) return { steps: [], waiting: [] };
  const why = { ...because, summary: 'kept as it was applied while its successor cannot be made' };
  const stopped = kept.filter(
    ({ component, container }) => isStopped(container) && component.restart === 'unless-stopped',
  );
  const settled = stopped.flatMap(({ component, container }): Waiting[] => {
    const until = settling(facts, container);
    if (until === undefined) return [];
    const head = { service: desired.service.name, component: component.name, for: 'ready', until };
    return [{ ...head, why: `${container.name}: ended a moment ago` }];
  });
  const starts = stopped
    .filter(({ container }) => settling(facts, container) === undefined)
    .map(({ container }): Step => ({
      service: desired.service.name,
      subject: container.name,
      because: why,
      kind: 'start-container',
      from: container.name,
      name: container.name,
      specDigest: container.identity?.spec ?? '',
    }));
  const inPlace = standings.flatMap(({ component, current }) => (current === undefined ? [] : [component]));
  const claimed = claimedRoutes(facts, desired, inPlace);
  const ready = kept
    .filter(({ container }) => isUp(container) && facts.observed.probes[container.id]?.kind === 'ready')
    .map(({ component }) => ({
      ...component,
      routes: component.routes.filter(
        (route) => !claimed.has(keyOf({ listenerPort: route.port, hostname: route.hostname })),
      ),
    }));
  const before: DesiredService = { ...desired, service: { ...applied.service, components: ready } };
  const routes = planRoutes(facts, before, ready, why, false);
  return { steps: [...starts, ...routes.steps], waiting: [...settled, ...routes.waiting] };
}

/** The container in place of a component that shall be replaced, as long as it has the leases that its routes have. */
export function keptOf(
  facts: Facts,
  desired: DesiredService,
  { component: { name }, outdated }: Standing,
): Kept[] {
  const applied = appliedOf(facts, desired.service.name);
  const component = applied?.service.components.find((one) => one.name === name);
  if (applied?.state !== 'running' || component === undefined || outdated === undefined) return [];
  const before = asApplied(facts, desired.service.name);
  const fits = component.routes.every(
    (route) =>
      outdated.identity?.leases[route.name] === leaseOf(before, desired.service.name, name, route.name)?.port,
  );
  return fits ? [{ component, container: outdated }] : [];
}

function isStopped(container: ObservedContainer): boolean {
  return container.state === 'exited' && container.startedAt !== undefined;
}
