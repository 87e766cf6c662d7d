import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { takeOverDifferences } from './differences.ts';
import { appliedOf, failureOf, oursOf, waitEnds, type Facts, type ServicePlan } from './facts.ts';
import { unmarkedContainers } from './lists.ts';
import { stopTimeoutOf } from './settle.ts';
import { slotted } from './slots.ts';
import { specOf } from './spec.ts';
import type { Standing } from './standing.ts';
import {
  anewStep,
  blame,
  currentTrial,
  gaveWayWaiting,
  heldBackStep,
  lateVerdict,
  outsideStep,
  timeoutOf,
} from './trial.ts';
import { retryAt } from './turn.ts';
import type { Step, Waiting } from './types.ts';

/**
 * The container started by hand whose place a component takes (`replaces`, L27): it carries no mark of anybody, and counts
 * as predecessor once, before the component was ever in line. Afterwards one of that name is foreign like any other.
 */
export function replacedBy(
  facts: Facts,
  desired: DesiredService,
  component: Component,
): ObservedContainer | undefined {
  const before = appliedOf(facts, desired.service.name);
  if (component.replaces === undefined) return undefined;
  if (before?.service.components.some(({ name }) => name === component.name) === true) return undefined;
  return unmarked(facts).find(({ name }) => name === component.replaces);
}

function differencesOf(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  old: ObservedContainer,
): string | undefined {
  const spec = specOf(slotted(facts, desired), desired.service, component);
  return takeOverDifferences(spec, old);
}

/** Said before it is done, and where it is only observed: what the one that is replaced has is not in git (L27). */
export function takeOverWaiting(facts: Facts, desired: DesiredService): Waiting[] {
  if (currentTrial(facts, desired) !== undefined) return [];
  const { name: service, components } = desired.service;
  return components.flatMap((component): Waiting[] => {
    const old = replacedBy(facts, desired, component);
    const why = old === undefined ? undefined : differencesOf(facts, desired, component, old);
    if (why === undefined) return [];
    const hint = 'What of it shall stay belongs in the definition.';
    return [{ service, component: component.name, for: 'take-over', why, hint }];
  });
}

/** The same, stopped and set aside by us: its name says so, and from which id. */
function takenFrom(facts: Facts, { replaces }: Component): ObservedContainer | undefined {
  if (replaces === undefined) return undefined;
  return unmarked(facts).find((container) => container.name === asideName(replaces, container));
}

/** Stopped and set aside when its successor is made and about to start: the gap is as long as a restart. */
export function takeOverSteps(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): Step[] {
  const service = desired.service.name;
  return standings.flatMap(({ component }): Step[] => {
    const old = replacedBy(facts, desired, component);
    if (old === undefined) return [];
    const differences = differencesOf(facts, desired, component, old);
    const summary = differences === undefined ? because.summary : `${because.summary}; ${differences}`;
    return [
      {
        service,
        subject: old.name,
        because: { ...because, summary },
        kind: 'take-over-container',
        containerId: old.id,
        renameTo: asideName(old.name, old),
        stopTimeoutS: stopTimeoutOf(facts, service),
      },
    ];
  });
}

/**
 * A first version that took a place and is not proved in time gives it back: its containers are set aside, and what ran
 * before runs again under its own name. It is held back until git changes it, or, where the cause lies outside its
 * definition, tried again by itself with growing waits. Undefined where nothing of the kind is to be done.
 */
export function planGivenBack(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): ServicePlan | undefined {
  const { service } = desired;
  const trial = currentTrial(facts, desired);
  if (trial === undefined || appliedOf(facts, service.name) !== undefined) return undefined;
  const places = service.components.filter(({ replaces }) => replaces !== undefined);
  if (places.length === 0) return undefined;
  if (trial.phase === 'trying') {
    const late = lateVerdict(facts, desired, standings);
    if (late === undefined || places.every((place) => takenFrom(facts, place) === undefined))
      return undefined;
    if (late.wasMissed) return { steps: [anewStep(desired, trial)], waiting: [], refused: [] };
    const end = late.isOutside ? outsideStep : heldBackStep;
    const given = { ...end(desired, trial, late.why), ...blame(facts, desired, standings) };
    return { steps: [given], waiting: [], refused: [] };
  }
  if (trial.phase === 'outside' && retryAt(trial) <= facts.now) return undefined;
  const unable = failureOf(facts, service.name, desired.digest);
  const hadTime = waitEnds(trial.since, timeoutOf(facts, desired), facts.now) <= facts.now;
  if (trial.phase === 'held back' && unable !== undefined && hadTime) {
    // Held back for good, it would leave nobody in the place.
    const why = `what ran before does not start again either: ${unable.why}`;
    return { steps: [outsideStep(desired, trial, why)], waiting: [], refused: [] };
  }
  const { commit, file } = desired;
  const because = {
    summary: `gives back the place that it took: ${trial.why ?? 'not proved'}`,
    commit,
    file,
  };
  const names = service.components.map(({ container }) => container);
  const aside = oursOf(facts, service.name)
    .filter(({ name }) => names.includes(name))
    .map((container): Step => ({
      service: service.name,
      because,
      subject: container.name,
      kind: 'retire-container',
      containerId: container.id,
      renameTo: asideName(container.name, container),
      stopTimeoutS: stopTimeoutOf(facts, service.name),
    }));
  const gave = `it took the place of ${places.map(({ replaces }) => replaces).join(', ')} and gave it back: ${trial.why ?? 'it was not proved'}`;
  const waiting = gaveWayWaiting(trial, gave);
  return { steps: [...aside, ...giveBackSteps(facts, desired, because)], waiting: [waiting], refused: [] };
}

/**
 * A later version took the place of what was started by hand with a component that the version before does not have: on
 * the way back that place is given back too, once nothing of the component is up that could be in its way.
 */
export function withPlacesBack(facts: Facts, desired: DesiredService, plan: ServicePlan): ServicePlan {
  const { insteadOf } = desired;
  const trial = currentTrial(facts, desired);
  if (insteadOf === undefined || trial === undefined) return plan;
  const { name } = desired.service;
  const ended = plan.steps.flatMap((step) =>
    step.kind === 'retire-container' || step.kind === 'remove-container' ? [step.containerId] : [],
  );
  const isFree = (component: Component): boolean =>
    oursOf(facts, name).every(
      ({ id, identity, state }) =>
        identity?.component !== component.name ||
        ended.includes(id) ||
        (state !== 'running' && state !== 'restarting'),
    );
  const kept = desired.service.components.map((component) => component.name);
  const components = insteadOf.service.components.filter(
    (component) => !kept.includes(component.name) && isFree(component),
  );
  const because = {
    summary: `gives back the place that it took: ${trial.why ?? 'not proved'}`,
    commit: trial.commit,
    file: trial.file,
  };
  const places = { ...insteadOf, service: { ...insteadOf.service, components } };
  return { ...plan, steps: [...plan.steps, ...giveBackSteps(facts, places, because)] };
}

function giveBackSteps(facts: Facts, { service }: DesiredService, because: Because): Step[] {
  return service.components.flatMap((component): Step[] => {
    const old = takenFrom(facts, component);
    const { replaces } = component;
    if (old === undefined || replaces === undefined) return [];
    return [
      {
        ...{ service: service.name, because, subject: replaces },
        kind: 'give-back-container',
        containerId: old.id,
        renameTo: replaces,
      },
    ];
  });
}

function unmarked(facts: Facts): readonly ObservedContainer[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  return unmarkedContainers(engine.value.containers);
}

function asideName(name: string, { id }: ObservedContainer): string {
  return `${name}.prev-${id.slice(0, 8)}`;
}
