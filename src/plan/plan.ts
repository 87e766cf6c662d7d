import { messageOf } from '../base/outcome.ts';
import type { Component, DesiredService } from '../definitions/types.ts';
import { ours, recordedServices, type Facts, type ServicePlan } from './facts.ts';
import { judgeRemovals } from './guard.ts';
import { withLeases } from './leases.ts';
import { restAfterFailure } from './rest.ts';
import { planRunning } from './service.ts';
import { planRemoved, planStopped } from './stop.ts';
import type { Plan, Refused, Waiting } from './types.ts';

/**
 * Decides everything, changes nothing: the same facts give the same plan, to the byte. Steps are grouped by service
 * and in order within it; a step's preconditions are observed, or made by the step before it.
 */
export function makePlan(facts: Facts): Plan {
  const { desired, observed, promised } = facts;
  const { engine } = observed;
  if (!engine.known) return allWaiting(facts, engine.why);

  const recorded = recordedServices(promised);
  const gone = recorded.filter(
    (name) => !desired.refused.includes(name) && !desired.services.some((d) => d.service.name === name),
  );
  const verdict = judgeRemovals(facts, gone, recorded.length);

  const parts: ServicePlan[] = [
    ...verdict.allowed.map((service) =>
      alone(service, () => resting(facts, service, '') ?? planRemoved(facts, service)),
    ),
  ];
  // Each service sees the leases that were given to the ones before it: no two get the same port.
  let seen = facts;
  for (const service of desired.services) {
    const before = seen;
    const part = alone(service.service.name, () => planService(before, service));
    parts.push(part);
    seen = withLeases(
      seen,
      part.steps.flatMap((step) => (step.kind === 'lease-ports' ? step.leases : [])),
    );
  }
  const waiting = [...parts.flatMap((part) => part.waiting), ...orphans(facts, recorded)];
  const wakes = waiting.flatMap((entry) => (entry.until === undefined ? [] : [entry.until]));
  return {
    steps: parts.flatMap((part) => part.steps),
    waiting,
    refused: [...verdict.refused, ...parts.flatMap((part) => part.refused)],
    ...(wakes.length === 0 ? {} : { wakeAt: Math.min(...wakes) }),
  };
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

function planService(facts: Facts, desired: DesiredService): ServicePlan {
  const { name, active, components } = desired.service;
  const refused = foreignNames(facts, name, components);
  if (refused.length > 0) return { steps: [], waiting: [], refused };
  const rest = resting(facts, name, desired.digest);
  if (rest !== undefined) return rest;
  return active ? planRunning(facts, desired) : planStopped(facts, desired);
}

/** What failed is not tried again at once, whatever it was: a start, a stop or a removal. */
function resting(facts: Facts, service: string, digest: string): ServicePlan | undefined {
  const waiting = restAfterFailure(facts, service, digest);
  return waiting === undefined ? undefined : { steps: [], waiting: [waiting], refused: [] };
}

/** A foreign container that has a name of ours is never touched (G3). */
function foreignNames(facts: Facts, service: string, components: readonly Component[]): Refused[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  return components.flatMap((component) => {
    const holder = engine.value.containers.find((container) => container.name === component.container);
    if (holder === undefined || holder.identity?.owner === facts.settings.owner) return [];
    return [
      {
        service,
        why: `a container that is not ours has the name ${component.container}`,
        hint: 'Rename or remove it by hand; the agent never touches foreign containers.',
      },
    ];
  });
}

/** Ours by label, but of a service that neither git nor the registry knows: shown, never removed at first sight. */
function orphans(facts: Facts, recorded: readonly string[]): Waiting[] {
  const knownNames = new Set([
    ...recorded,
    ...facts.desired.services.map((d) => d.service.name),
    ...facts.desired.refused,
  ]);
  return ours(facts)
    .filter((container) => !knownNames.has(container.identity?.service ?? ''))
    .map((container) => ({
      service: container.identity?.service ?? container.name,
      for: 'orphan',
      why: `container ${container.name} carries our labels, but neither git nor the registry knows its service: it is left alone`,
      hint: 'Add its definition to the repository, or remove the container by hand.',
    }));
}
