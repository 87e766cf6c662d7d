import type { DesiredService } from '../definitions/types.ts';
import type { Because } from '../registry/types.ts';
import { becauseOf } from './because.ts';
import { appliedOf, trialOf, type Facts, type ServicePlan } from './facts.ts';
import { foundIn } from './found.ts';
import { putOff, type Hold } from './holds.ts';
import { keepPredecessors } from './keep.ts';
import { leasesFor, withLeases } from './leases.ts';
import { settle } from './settle.ts';
import { slotted } from './slots.ts';
import { once, together, type Staging } from './staged.ts';
import { stage, stageBeside } from './staging.ts';
import { movedImages } from './image.ts';
import { standingOf, type Standing } from './standing.ts';
import { abandonedSteps, containersInTheWay, swapSteps } from './swap.ts';
import { planGivenBack, replacedBy } from './takeover.ts';
import { switchBack } from './switchback.ts';
import { currentTrial, judge } from './trial.ts';
import { lastProved } from './turn.ts';
import type { Step } from './types.ts';
import { stageWindow } from './window.ts';

/** Is the place that a first version took to be given back? Asked before the verdict: it has no version to return to. */
export function planReturnedPlace(given: Facts, desired: DesiredService): ServicePlan | undefined {
  const facts = slotted(given, desired);
  return planGivenBack(
    facts,
    desired,
    desired.service.components.map((component) => standingOf(facts, desired, component)),
  );
}

/** Is the time of a trial over? Asked before anything else, and answered with one step. */
export function planVerdict(given: Facts, desired: DesiredService): ServicePlan | undefined {
  if (!desired.service.active || currentTrial(given, desired) === undefined) return undefined;
  const facts = slotted(given, desired);
  return judge(
    facts,
    desired,
    desired.service.components.map((component) => standingOf(facts, desired, component)),
  );
}

/**
 * One service that shall run: image → ports → certificate → container → ready → route → record → proved. `holds`: why its
 * changes are put off; what runs is looked after all the same.
 */
export function planRunning(given: Facts, desired: DesiredService, holds: readonly Hold[] = []): ServicePlan {
  const { service } = desired;
  const facts = slotted(given, desired);
  const leases = leasesFor(facts, service);
  if (leases.kind !== 'leased') {
    const { why, hint } = leases;
    if (leases.kind === 'exhausted')
      return { steps: [], waiting: [], refused: [{ service: service.name, why, hint }] };
    return { steps: [], waiting: [{ service: service.name, for: 'ports', why, hint }], refused: [] };
  }
  // From here on the leases count as given: their step goes first, and the spec of the containers has their numbers.
  const leased = withLeases(facts, leases.missing);
  const standings = service.components.map((component) => standingOf(leased, desired, component));
  const because = reasonOf(leased, desired, standings);
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
  const put = putOff(leased, desired, standings, holds);
  const due = changing.filter(({ component }) => !put.components.includes(component.name));
  const inTheWay = containersInTheWay(leased, desired, standings, holds.length === 0);
  // A place that is not free although its successor runs: an engine said that it was done, or somebody was quicker.
  const isDouble = standings.some(
    ({ current, component }) => current !== undefined && replacedBy(leased, desired, component) !== undefined,
  );
  const isChange = due.length > 0 || inTheWay.length > 0 || isDouble;
  const staging = together([
    once(together(changing.map((standing) => stage(leased, desired, standing, because)))),
    ...changing.map((standing) => stageBeside(leased, desired, standing)),
    ...(isChange ? [stageWindow(leased, desired)] : []),
    { ready: changing.length === 0 || due.length > 0, steps: [], waiting: put.waiting, refused: [] },
  ]);
  if (!staging.ready) return untilStaged(given, leased, desired, standings, staging, because);
  if (isChange) {
    const back = switchBack(leased, desired, standings, because);
    if (back !== undefined)
      return { steps: [...lease, ...back.steps], waiting: [...put.waiting, ...back.waiting], refused: [] };
    const now = standings.filter((standing) => standing.current !== undefined || due.includes(standing));
    const swap = swapSteps(leased, desired, now, inTheWay, because);
    return { steps: [...lease, ...staging.steps, ...swap], waiting: put.waiting, refused: [] };
  }
  const settled = settle(leased, desired, standings, because);
  return {
    ...settled,
    steps: [...lease, ...abandonedSteps(desired, standings, because), ...settled.steps],
    waiting: [...settled.waiting, ...movedImages(leased, desired, standings)],
  };
}

/**
 * Nothing that runs is touched before its successor can start (L07). Until then the last proved version is kept in
 * line, whatever became of it; where there is none, what is in place keeps its routes.
 */
function untilStaged(
  given: Facts,
  leased: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  staging: Staging,
  because: Because,
): ServicePlan {
  const before = lastProved(given.promised, desired);
  if (before !== undefined && trialOf(given.promised, desired)?.phase !== 'trying') {
    const kept = planRunning(given, before);
    return {
      steps: [...staging.steps, ...kept.steps],
      waiting: [...staging.waiting, ...kept.waiting],
      refused: [...staging.refused, ...kept.refused],
    };
  }
  const hasSome = standings.some((standing) => standing.current !== undefined);
  const routes = hasSome ? settle(leased, desired, standings, because) : undefined;
  const kept = keepPredecessors(leased, desired, standings, because);
  return {
    steps: [
      ...abandonedSteps(desired, standings, because),
      ...staging.steps,
      ...kept.steps,
      ...(routes?.steps ?? []),
    ],
    waiting: [...staging.waiting, ...kept.waiting, ...(routes?.waiting ?? [])],
    refused: [...staging.refused, ...(routes?.refused ?? [])],
  };
}

function reasonOf(facts: Facts, desired: DesiredService, standings: readonly Standing[]): Because {
  const applied = appliedOf(facts, desired.service.name);
  const because = becauseOf(facts, desired, applied, foundIn(facts, desired, standings));
  if (desired.insteadOf === undefined) return because;
  const trial = currentTrial(facts, desired);
  if (trial?.phase === 'returning') {
    const summary = `returned to the version of ${desired.commit.slice(0, 8)}: ${trial.why ?? 'the newer one was not proved'}`;
    return { summary, commit: trial.commit, file: trial.file };
  }
  return trial === undefined || trial.phase === 'trying'
    ? { ...because, summary: `${because.summary}; kept as it was applied while its successor cannot be made` }
    : because;
}
