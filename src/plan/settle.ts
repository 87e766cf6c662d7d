import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Applied, Because } from '../registry/types.ts';
import { appliedOf, deployOf, failureOf, waitEnds, type Facts, type ServicePlan } from './facts.ts';
import { failuresByService, routesByService, trialsByService } from './lists.ts';
import { treat } from './health.ts';
import { stageCertificates } from './certificates.ts';
import { digestSteps, movedInRegistry } from './image.ts';
import { staleLeases } from './leases.ts';
import { readiness } from './ready.ts';
import { planRecords } from './records.ts';
import { planRoutes } from './routes.ts';
import { isBlueGreen, slotsToRecord } from './slots.ts';
import { together } from './staged.ts';
import type { Standing } from './standing.ts';
import { goneContainers, isUp } from './swap.ts';
import { deadlineOf, lateness, stableForOf, trialStep, verdictStep } from './trial.ts';
import { lastProved } from './turn.ts';
import type { Step, Waiting } from './types.ts';

/** Nothing signals that the last connection of a predecessor has ended. */
const DRAIN_LOOK_MS = 1_000;

/** All containers are in place: start what stopped, wait for ready, set routes, record, and let predecessors go once proved. */
export function settle(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): ServicePlan {
  const service = desired.service.name;
  const starts: Step[] = [];
  const waiting: Waiting[] = [];
  const ready: Component[] = [];
  let readySince: number | undefined = 0;
  for (const { component, current } of standings) {
    if (current === undefined) continue;
    const state = readiness(facts, desired, component, current);
    if (state.kind === 'start') {
      starts.push({
        service,
        subject: current.name,
        because,
        kind: 'start-container',
        from: current.name,
        name: current.name,
        specDigest: current.identity?.spec ?? '',
      });
      readySince = undefined;
    } else if (state.kind === 'waiting' && state.unwell !== undefined) {
      const treated = treat(facts, service, component, current, state.unwell);
      starts.push(...treated.steps);
      waiting.push(...treated.waiting);
      readySince = undefined;
    } else if (state.kind === 'ready') {
      ready.push(component);
      readySince = readySince === undefined ? undefined : Math.max(readySince, state.since);
    } else {
      const ends = [deadlineOf(facts, desired) ?? 0, state.waiting.until ?? 0].filter((at) => at > facts.now);
      const inTime = ends.length === 0 ? {} : { until: Math.min(...ends) };
      waiting.push({ ...state.waiting, ...inTime, ...lateness(facts, desired) });
      readySince = undefined;
    }
  }
  waiting.push(...standings.flatMap((standing) => cosmetic(service, standing)));
  // A change that needs no other container has to be proved like any other.
  const isTried = desired.insteadOf === undefined && lastProved(facts.promised, desired) !== undefined;
  const trial = isTried ? trialStep(facts, desired, because) : undefined;
  const complete =
    standings.every((standing) => standing.current !== undefined) &&
    readySince !== undefined &&
    starts.length === 0;
  const routes = planRoutes(facts, desired, ready, because, complete);
  const records: ServicePlan =
    complete && routes.served && routes.steps.length === 0
      ? planRecords(facts, desired, because)
      : { steps: [], waiting: [], refused: [] };
  const certificates = together(
    standings.map((standing) => stageCertificates(facts, desired, standing.component, because)),
  );
  const done = complete && routes.served && routes.steps.length === 0;
  const finish = done
    ? finishSteps(facts, desired, standings, because, readySince ?? facts.now)
    : { steps: [], waiting: [] };
  return {
    steps: [
      ...(trial === undefined ? [] : [trial]),
      ...certificates.steps,
      ...starts,
      ...routes.steps,
      ...finish.steps,
      // Last: a name server that refuses keeps nothing else of the service from being done (L20).
      ...records.steps,
    ],
    waiting: [...waiting, ...certificates.waiting, ...routes.waiting, ...records.waiting, ...finish.waiting],
    refused: [...certificates.refused, ...routes.refused, ...records.refused],
  };
}

/**
 * After `stable_for` it is proved: what is so is recorded, a version that gave way to it is held back, the predecessors
 * go; pushes that are still owed are begun.
 */
function finishSteps(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
  readySince: number,
): { steps: Step[]; waiting: Waiting[] } {
  const { service } = desired;
  const applied = appliedOf(facts, service.name);
  const isNews =
    applied?.digest !== desired.digest ||
    applied.state !== 'running' ||
    applied.file !== desired.file ||
    hasTrial(facts, desired);
  const stale = staleLeases(facts, service);
  const verdict = verdictStep(facts, desired);
  const gone = goneContainers(facts, desired);
  const predecessors = [
    ...standings.flatMap((standing) => standing.predecessors),
    ...gone.retired,
    ...(isBlueGreen(desired) ? gone.running : []),
  ];
  const steps: Step[] = [];
  const waiting: Waiting[] = [];
  const provedAt = waitEnds(readySince, stableForOf(facts, desired), facts.now);
  const isOwed = isNews || verdict !== undefined || predecessors.length > 0 || stale.length > 0;
  const isWatched = isOwed && provedAt > facts.now;
  if (isWatched) {
    const why = 'ready, and watched until it is proved';
    waiting.push({ service: service.name, for: 'proved', why, since: readySince, until: provedAt });
  } else if (isOwed) {
    if (isNews) steps.push(recordStep(facts, desired, 'running', because));
    if (verdict !== undefined) steps.push(verdict);
    const summary =
      desired.insteadOf === undefined
        ? 'its successor is proved'
        : 'it gave way, and the version before serves again';
    const proved = { ...because, summary };
    for (const container of predecessors) {
      const drain = drainOf(facts, service.name, container, switchedAt(facts, service.name) ?? provedAt);
      const reason = isExtra(standings, container)
        ? {
            ...because,
            summary: `container ${container.name} has our labels, and was not made by this agent`,
          }
        : proved;
      if (drain === undefined) steps.push(removeStep(facts, service.name, container, reason));
      else waiting.push(drain);
    }
    if (stale.length > 0) {
      const subject = stale.map((lease) => String(lease.port)).join(', ');
      steps.push({ service: service.name, subject, because: proved, kind: 'release-leases', leases: stale });
    }
  }
  const pushes = pushesOf(facts, desired, because);
  steps.push(...pushes.steps);
  waiting.push(...pushes.waiting);
  steps.push(...digestSteps(facts, desired, because));
  // Last, so that only a chain that went well to its end ends the failures: the next one begins with a short wait again.
  if (!isNews && failureOf(facts, service.name, desired.digest) !== undefined) {
    const healed = { ...because, summary: 'it runs as wanted again after a failure' };
    steps.push(recordStep(facts, desired, 'running', healed));
  }
  return { steps, waiting };
}

/** Pushes that are still owed are begun; one that failed, or that would go over other bytes, is told. */
function pushesOf(
  facts: Facts,
  { service }: DesiredService,
  because: Because,
): { steps: Step[]; waiting: Waiting[] } {
  const steps: Step[] = [];
  const waiting: Waiting[] = [];
  for (const { image } of service.components) {
    const push = facts.observed.pushes[image.reference];
    const head = { service: service.name, for: 'image push' };
    if (push?.kind === 'pending' || (push?.kind === 'failed' && push.retryAt <= facts.now)) {
      steps.push({ service: service.name, subject: image.reference, because, kind: 'push-image', image });
    } else if (push?.kind === 'failed') {
      const { why, hint, at: since, retryAt: until } = push;
      waiting.push({ ...head, why, ...(hint === undefined ? {} : { hint }), since, until });
    } else if (push?.kind === 'moved') waiting.push({ ...head, ...movedInRegistry(image.reference, push) });
  }
  return { steps, waiting };
}

/** Its own trial is over; one of another version counts no more once this one is what git wants. */
function hasTrial(facts: Facts, desired: DesiredService): boolean {
  return desired.insteadOf === undefined && trialsByService(facts.promised.trials).has(desired.service.name);
}

/** When the last of its routes was written to the proxy. What was established before may be on a predecessor. */
function switchedAt({ promised, now }: Facts, service: string): number | undefined {
  const times = (routesByService(promised.routes).get(service) ?? []).flatMap(({ putAt }) =>
    putAt === undefined ? [] : [Math.min(putAt, now)],
  );
  return times.length === 0 ? undefined : Math.max(...times);
}

/** A predecessor that still runs has connections that were established before the route was switched: they may end first. */
function drainOf(
  facts: Facts,
  service: string,
  container: ObservedContainer,
  since: number,
): Waiting | undefined {
  const { proxy } = facts.observed;
  const until = since + facts.settings.drainMs;
  if (!isUp(container) || !facts.settings.proxy || !proxy.known || until <= facts.now) return undefined;
  if (container.publish.length === 0) return undefined;
  const { connections } = proxy.value;
  if (connections === undefined) {
    const why = `${container.name}: the proxy does not tell which connections are open, so they have the whole time to end`;
    return { service, for: 'drained', why, since, until };
  }
  const ports = new Set(container.publish.map((port) => port.host));
  const open = Object.entries(connections)
    .filter(([backend]) => ports.has(Number(backend.slice(backend.lastIndexOf(':') + 1))))
    .reduce((sum, [, count]) => sum + count, 0);
  if (open === 0) return undefined;
  const why = `${container.name} has ${open} connections that were open before the route was switched`;
  return { service, for: 'drained', why, since, until: Math.min(until, facts.now + DRAIN_LOOK_MS) };
}

function cosmetic(service: string, { component, isCosmetic, drift = [] }: Standing): Waiting[] {
  if (isCosmetic !== true) return [];
  const what =
    drift.length === 0
      ? 'is not as it would be made now, for reasons that are not in git'
      : `was changed by hand (${drift.map((one) => one.what).join(', ')})`;
  return [
    {
      service,
      component: component.name,
      for: 'restart',
      why: `container ${component.container} ${what}; deploy.restart = "manual" leaves it running`,
      hint: 'Raise `generation` in its definition to have it made anew.',
    },
  ];
}

/** What is so is recorded; with it the failures of the service are forgotten. */
export function recordStep(
  facts: Facts,
  desired: DesiredService,
  state: Applied['state'],
  because: Because,
): Step {
  const { service, file, oid, digest, commit } = desired;
  return {
    service: service.name,
    subject: service.name,
    because,
    kind: 'record-applied',
    applied: {
      service,
      state,
      file,
      oid,
      digest,
      commit,
      appliedAt: facts.now,
      ...slotsToRecord(facts, service),
    },
  };
}

export function hasFailed(facts: Facts, service: string): boolean {
  return failuresByService(facts.promised.failures).has(service);
}

export function removeStep(
  facts: Facts,
  service: string,
  container: ObservedContainer,
  because: Because,
): Step {
  return {
    service,
    subject: container.name,
    because,
    kind: 'remove-container',
    containerId: container.id,
    stopTimeoutS: stopTimeoutOf(facts, service),
  };
}

export function stopTimeoutOf(facts: Facts, service: string): number {
  return deployOf(facts, service).stopTimeoutS ?? facts.settings.stopTimeoutS;
}

/** With our labels, beside the one in place, and under no name that a predecessor gets. */
function isExtra(standings: readonly Standing[], { name, identity }: ObservedContainer): boolean {
  return (
    standings.some(({ component }) => component.name === identity?.component) &&
    !/\.(prev|next)-[0-9a-f]{8}$/.test(name)
  );
}
