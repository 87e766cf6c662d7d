import type { DesiredService } from '../definitions/types.ts';
import type { Because } from '../registry/types.ts';
import { appliedOf, leaseOf, oursOf, type Facts, type ServicePlan } from './facts.ts';
import { keyOf } from './lists.ts';
import { claimedRoutes, planRoutes } from './routes.ts';
import { asApplied, isBlueGreen, overlaps } from './slots.ts';
import type { Standing } from './standing.ts';
import { isUp } from './swap.ts';

/**
 * A newer commit replaces a version that was not proved, and that has the routes already: the proved one still runs beside
 * it, and gets them back before the other one is stopped, so that nobody asks a container that is gone (G5). Undefined when
 * there is nothing to switch, or no proxy that would serve it.
 */
export function switchBack(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): ServicePlan | undefined {
  const applied = appliedOf(facts, desired.service.name);
  const { proxy } = facts.observed;
  if (!facts.settings.proxy || !proxy.known || !proxy.value.live.known) return undefined;
  if (applied?.state !== 'running' || desired.insteadOf !== undefined || !isBlueGreen(desired))
    return undefined;
  const { name } = desired.service;
  const before = asApplied(facts, name);
  const stopped = standings
    .filter((standing) => standing.outdated !== undefined && !overlaps(facts, desired, standing))
    .map(({ component }) => component.name);
  const inPlace = standings.flatMap(({ component, outdated }) =>
    outdated === undefined ? [] : [component.container],
  );
  const kept = applied.service.components.filter(
    (component) =>
      stopped.includes(component.name) &&
      oursOf(facts, name).some(
        (container) =>
          container.identity?.component === component.name &&
          isUp(container) &&
          !inPlace.includes(container.name) &&
          component.routes.every(
            (route) =>
              container.identity?.leases[route.name] ===
              leaseOf(before, name, component.name, route.name)?.port,
          ),
      ),
  );
  const claimed = claimedRoutes(facts, desired, []);
  const components = kept.map((component) => ({
    ...component,
    routes: component.routes.filter(
      (route) => !claimed.has(keyOf({ listenerPort: route.port, hostname: route.hostname })),
    ),
  }));
  const summary = 'the proved version has the routes while the one that was not proved is replaced';
  // What clients are shown is the affair of the version that stays; a handshake that fails must not keep the newer one out.
  const routes = planRoutes(
    { ...before, observed: withoutHandshakes(before.observed) },
    { ...desired, service: { ...applied.service, components } },
    components,
    { ...because, summary },
    false,
  );
  if (routes.steps.length === 0 && (routes.served || routes.waiting.length === 0)) return undefined;
  return { steps: routes.steps, waiting: routes.waiting, refused: [] };
}

function withoutHandshakes(observed: Facts['observed']): Facts['observed'] {
  return Object.fromEntries(
    Object.entries(observed).filter(([part]) => part !== 'handshakes'),
  ) as unknown as Facts['observed'];
}
