import type { DesiredService } from '../definitions/types.ts';
import { becauseOf } from './because.ts';
import { appliedOf, type Facts, type ServicePlan } from './facts.ts';
import { putOff, type Hold } from './holds.ts';
import { keepPredecessors } from './keep.ts';
import { leasesFor, withLeases } from './leases.ts';
import { settle } from './settle.ts';
import { stage, together } from './staging.ts';
import { standingOf, type Standing } from './standing.ts';
import { abandonedSteps, goneContainers, predecessorsInTheWay, swapSteps } from './swap.ts';
import type { Step } from './types.ts';

/**
 * One service that shall run: image → ports → certificate → container → ready → route → record → proved. `holds`: why its
 * changes are put off; what runs is looked after all the same.
 */
export function planRunning(facts: Facts, desired: DesiredService, holds: readonly Hold[] = []): ServicePlan {
  const { service } = desired;
  const leases = leasesFor(facts, service);
  if (leases.kind !== 'leased') {
    const { why, hint } = leases;
    if (leases.kind === 'exhausted')
      return { steps: [], waiting: [], refused: [{ service: service.name, why, hint }] };
    return { steps: [], waiting: [{ service: service.name, for: 'ports', why, hint }], refused: [] };
  }
  // From here on the leases count as given: their step goes first, and the spec of the containers has their numbers.
  const leased = withLeases(facts, leases.missing);
  const standings = service.components.map((component) => standingOf(leased, service, component));
  const because = becauseOf(desired, appliedOf(facts, service.name), driftOf(standings));
  const gone = goneContainers(facts, desired);
  const lease: Step[] =
    leases.missing.length === 0
      ? []
      : [
          {
            service: service.name,
            subject: leases.missing.map((entry) => String(entry.port)).join(', '),
            because,
            kind: 'lease-ports',
            leases: leases.missing,
          },
        ];

  const changing = standings.filter((standing) => standing.current === undefined);
  const put = putOff(leased, service, standings, holds);
  const due = changing.filter(({ component }) => !put.components.includes(component.name));
  const staging = together(changing.map((standing) => stage(leased, desired, standing.component, because)));
  if (!staging.ready || (changing.length > 0 && due.length === 0)) {
    // Nothing that runs is touched before its successor can start (L07). What is in place keeps its routes.
    const routes =
      changing.length === standings.length ? undefined : settle(leased, desired, standings, because);
    const kept = keepPredecessors(facts, desired, standings, because);
    const steps = [
      ...abandonedSteps(desired, standings, because),
      ...staging.steps,
      ...kept.steps,
      ...(routes?.steps ?? []),
    ];
    return {
      steps,
      waiting: [...staging.waiting, ...put.waiting, ...kept.waiting, ...(routes?.waiting ?? [])],
      refused: [...staging.refused, ...(routes?.refused ?? [])],
    };
  }
  const inTheWay = [...(holds.length > 0 ? [] : gone.running), ...predecessorsInTheWay(standings)];
  if (due.length > 0 || inTheWay.length > 0) {
    const now = standings.filter((standing) => standing.current !== undefined || due.includes(standing));
    const swap = swapSteps(leased, desired, now, inTheWay, because);
    return { steps: [...lease, ...staging.steps, ...swap], waiting: put.waiting, refused: [] };
  }
  const settled = settle(leased, desired, standings, because);
  return { ...settled, steps: [...lease, ...abandonedSteps(desired, standings, because), ...settled.steps] };
}

function driftOf(standings: readonly Standing[]): string {
  const words = standings.flatMap(({ component, current, outdated }) => {
    if (outdated !== undefined) return [`container ${component.container} is not as it was made`];
    if (current === undefined) return [`container ${component.container} is missing`];
    return current.state === 'running' ? [] : [`container ${component.container} is ${current.state}`];
  });
  return words.join(', ') || 'repaired: the node differed from what was recorded';
}
