import { messageOf } from '../base/outcome.ts';
import type { Component, DesiredService } from '../definitions/types.ts';
import { planBusy, planUnseen, withoutBusy, withUnseen } from './busy.ts';
import { judgeEdges, planEdge, planEdgeRemoved } from './edge.ts';
import { type Facts, type ServicePlan } from './facts.ts';
import { containersByName } from './lists.ts';
import { NOBODY } from '../base/nobody.ts';
import { flapSteps, watchOf } from './flap.ts';
import { judge } from './guard.ts';
import {
  cacheSteps,
  cancelSteps,
  certificateSteps,
  forgetFailure,
  housekeeping,
  recordSteps,
  rested,
} from './housekeeping.ts';
import { heldTo, holdsOfAfter, holdsOfLoss, rolloutOf, type Rollout } from './holds.ts';
import { judgeEngine } from './identity.ts';
import { withLeases } from './leases.ts';
import { withRepairs } from './repairs.ts';
import { withGivenPorts } from './ring.ts';
import { restAfterFailure } from './rest.ts';
import { strayServices } from './routes.ts';
import { planReturnedPlace, planRunning, planVerdict } from './service.ts';
import { planRemoved, planStopped } from './stop.ts';
import { replacedBy, takeOverWaiting, withPlacesBack } from './takeover.ts';
import { trialWakes, trialWaiting } from './trial.ts';
import { inTurn } from './turn.ts';
import type { Plan, Refused, Step, Waiting } from './types.ts';

/**
 * Decides everything, changes nothing: the same facts give the same plan, to the byte. Steps are grouped by service
 * and in order within it; a step's preconditions are observed, or made by the step before it.
 */
export function makePlan(given: Facts): Plan {
  const { observed } = given;
  const desired = inTurn(given.desired, given.promised, given.now);
  const facts = withUnseen({ ...given, desired });
  const { engine } = observed;
  if (!engine.known) return allWaiting(facts, engine.why);
  const identity = judgeEngine(facts, engine.value);
  if (identity.kind === 'changed') return { steps: [], waiting: [], refused: identity.refused };

  const verdict = judge(facts);
  const rollout = rolloutOf(facts);
  const parts: ServicePlan[] = [
    planBusy(facts),
    ...verdict.orphans.map((orphan) => orphanPlan(facts, orphan)),
    ...[...verdict.removed, ...strayServices(facts)].map((service) =>
      alone(
        service,
        () => planUnseen(facts, service) ?? resting(facts, service, '') ?? planRemoved(facts, service),
      ),
    ),
  ];
  // Each service sees the leases that were given to the ones before it: no two get the same port.
  let seen = facts;
  for (const service of desired.services.filter((one) => !verdict.kept.includes(one.service.name))) {
    const before = seen;
    const part = alone(service.service.name, () => planService(before, service, rollout));
    parts.push(part);
    const leases = part.steps.flatMap((step) => (step.kind === 'lease-ports' ? step.leases : []));
    seen = withGivenPorts(withLeases(seen, leases), part.steps);
  }
  parts.push(...edgePlans(facts));
  const ofNobody = [
    alone(NOBODY, () => cancelSteps(facts)),
    rested(facts, [
      alone(NOBODY, () => housekeeping(facts, settledOf(facts, parts), given.desired)),
      alone(NOBODY, () => cacheSteps(facts)),
      alone(NOBODY, () => certificateSteps(facts, given.desired)),
      alone(NOBODY, () => recordSteps(facts, given.desired)),
    ]),
  ];
  parts.push(
    ...ofNobody,
    alone(NOBODY, () => forgetFailure(facts, ofNobody)),
  );
  return together(
    facts,
    verdict.refused,
    parts.map((part) => withoutBusy(facts, part)),
    identity.record,
  );
}

function together(
  facts: Facts,
  refused: readonly Refused[],
  parts: readonly ServicePlan[],
  engine: Plan['engine'],
): Plan {
  const waiting = [...parts.flatMap((part) => part.waiting), ...trialWaiting(facts)];
  if (facts.settings.mode === 'observe') return onlyShown(facts, parts, refused);
  const wakes = [
    ...waiting.flatMap((entry) => (entry.until === undefined ? [] : [entry.until])),
    ...trialWakes(facts),
  ];
  return {
    steps: parts.flatMap((part) => part.steps),
    waiting,
    refused: [...refused, ...parts.flatMap((part) => part.refused)],
    ...(wakes.length === 0 ? {} : { wakeAt: Math.min(...wakes) }),
    ...(engine === undefined ? {} : { engine }),
  };
}

/** What this node serves for others, each alone like a service: it needs nothing of the engine, and nothing here needs it. */
function edgePlans(facts: Facts): ServicePlan[] {
  const { removed, kept, refused, waiting } = judgeEdges(facts);
  const wanted = (facts.desired.edges ?? []).filter(({ service }) => !kept.includes(service.name));
  return [
    { steps: [], waiting, refused },
    ...removed.map((name) => alone(name, () => resting(facts, name, '') ?? planEdgeRemoved(facts, name))),
    ...wanted.map((edge) =>
      alone(edge.service.name, () => resting(facts, edge.service.name, edge.digest) ?? planEdge(facts, edge)),
    ),
  ];
}

/** `mode = "observe"`: what would be done is said, service by service, and nothing of it is a step (L27). */
function onlyShown(facts: Facts, parts: readonly ServicePlan[], refused: readonly Refused[]): Plan {
  const would = parts.flatMap(({ steps }): Waiting[] => {
    const [first] = steps;
    if (first === undefined) return [];
    const told = steps.map((step) => `${step.kind} ${step.subject}`).join(', ');
    return [
      {
        service: first.service,
        for: 'observe',
        why: `nothing is touched here; it would now: ${told} (${first.because.summary})`,
        hint: `Take mode = "observe" out of nodes/${facts.settings.node}.toml to have it done.`,
      },
    ];
  });
  return {
    steps: [],
    // No time to wake at: nothing that is waited for would be done then.
    waiting: [...would, ...parts.flatMap((part) => part.waiting)],
    refused: [...refused, ...parts.flatMap((part) => part.refused)],
  };
}

/** Services of which nothing is done, awaited or refused. */
function settledOf({ desired }: Facts, parts: readonly ServicePlan[]): Set<string> {
  const busy = new Set(
    parts.flatMap(({ steps, waiting, refused }) =>
      [...steps, ...waiting, ...refused].map(({ service }) => service),
    ),
  );
  return new Set(desired.services.map(({ service }) => service.name).filter((name) => !busy.has(name)));
}

function allWaiting(facts: Facts, why: string): Plan {
  const hint =
    'What runs goes on running. Start the container engine, or name its socket in [engine] socket.';
  const waiting = facts.desired.services.map(({ service }): Waiting => ({
    service: service.name,
    for: 'engine',
    why,
    hint,
  }));
  return { steps: [], waiting, refused: [] };
}

/** A bug that one service's records or definition bring to light stops that service only (L33). */
function alone(service: string, planned: () => ServicePlan): ServicePlan {
  try {
    return planned();
  } catch (error) {
    const why = `a bug in the planner: ${messageOf(error)}`;
    const hint = 'The other services go on. Please report it, with `mc-gitops plan` of this node.';
    return { steps: [], waiting: [], refused: [{ service, why, hint }] };
  }
}

function planService(facts: Facts, desired: DesiredService, rollout: Rollout): ServicePlan {
  if (desired.service.paused === true) return { steps: [], waiting: [pausedWaiting(desired)], refused: [] };
  const planned = planUnseen(facts, desired.service.name) ?? planLooked(facts, desired, rollout);
  if (!desired.service.active) return planned;
  const told = planned.waiting.filter((entry) => entry.for === 'flapping').map(({ component }) => component);
  const watched = watchOf(facts, desired).filter(({ component }) => !told.includes(component));
  const replaced = takeOverWaiting(facts, desired);
  return withRepairs(facts, desired, {
    ...planned,
    waiting: [...planned.waiting, ...watched, ...replaced],
  });
}

function planLooked(facts: Facts, desired: DesiredService, rollout: Rollout): ServicePlan {
  const { name, active, components } = desired.service;
  const refused = foreignNames(facts, desired, components);
  if (refused.length > 0) return { steps: [], waiting: [], refused };
  // Before any rest: what does not even start gives way in time, too.
  const returned = active ? planReturnedPlace(facts, desired) : undefined;
  if (returned?.steps[0]?.kind === 'record-trial') return returned;
  if (returned !== undefined) return resting(facts, name, desired.digest) ?? returned;
  const verdict = planVerdict(facts, desired);
  if (verdict !== undefined) return verdict;
  const rest = resting(facts, name, desired.digest);
  if (rest !== undefined) return rest;
  if (!active) return planStopped(facts, desired);
  // The way back waits for nobody.
  if (desired.insteadOf !== undefined) return withPlacesBack(facts, desired, planRunning(facts, desired));
  const rests = facts.settings.protect.includes(name) ? [] : flapSteps(facts, desired);
  if (rests.length > 0) return { steps: rests, waiting: [], refused: [] };
  const turn = rollout.holds.get(name);
  const holds = [
    ...holdsOfAfter(facts, desired),
    ...(turn === undefined ? [] : [turn]),
    ...holdsOfLoss(facts, desired),
  ];
  return heldTo(facts, desired, holds, planRunning(facts, desired, holds));
}

/** `paused`: looked at and shown, and left exactly as it is (L48). */
function pausedWaiting({ service, file }: DesiredService): Waiting {
  return {
    service: service.name,
    for: 'paused',
    why: 'it is paused in git: looked at only, whatever it does',
    hint: `Take paused out of ${file} to have it converged again.`,
  };
}

/** What failed is not tried again at once, whatever it was: a start, a stop or a removal. */
function resting(facts: Facts, service: string, digest: string): ServicePlan | undefined {
  const waiting = restAfterFailure(facts, service, digest);
  return waiting === undefined ? undefined : { steps: [], waiting: [waiting], refused: [] };
}

/** A foreign container that has a name of ours is never touched (G3). */
function foreignNames(facts: Facts, desired: DesiredService, components: readonly Component[]): Refused[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  return components.flatMap((component) => {
    const holder = containersByName(engine.value.containers).get(component.container)?.[0];
    if (holder === undefined || holder.identity?.owner === facts.settings.owner) return [];
    if (holder === replacedBy(facts, desired, component)) return [];
    return [
      {
        service: desired.service.name,
        why: `a container that is not ours has the name ${component.container}`,
        hint: 'Rename or remove it by hand, or name it in `replaces` if the service shall take its place; other foreign containers are never touched.',
      },
    ];
  });
}

/** Taken in: from now on the registry knows it, and a later commit may let it go. */
function orphanPlan({ desired, promised, now }: Facts, waiting: Waiting): ServicePlan {
  const { service } = waiting;
  const isKnown =
    promised.orphans?.some((orphan) => orphan.service === service) === true ||
    promised.files.some((file) => file.service === service) ||
    promised.applied.some((applied) => applied.service.name === service);
  if (isKnown) return { steps: [], waiting: [waiting], refused: [] };
  const commit = desired.commit.oid;
  const step: Step = {
    service,
    subject: service,
    because: { summary: `containers of ${service} carry our labels, and nobody knows it`, commit },
    kind: 'record-orphan',
    orphan: { service, commit, seenAt: now },
  };
  return { steps: [step], waiting: [waiting], refused: [] };
}
