import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { appliedOf, failureOf, oursOf, type Facts, type ServicePlan } from './facts.ts';
import { isReady } from './holds.ts';
import { stopTimeoutOf } from './settle.ts';
import type { Standing } from './standing.ts';
import { currentTrial, deadlineOf } from './trial.ts';
import type { Step } from './types.ts';

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

/** The same, stopped and set aside by us: its name says so, and from which id. */
function takenFrom(facts: Facts, { replaces }: Component): ObservedContainer | undefined {
  if (replaces === undefined) return undefined;
  return unmarked(facts).find((container) => container.name === asideName(replaces, container));
}

/** Stopped and set aside when its successor is made and about to start: the gap is as long as a restart. */
export function takeOverSteps(
  facts: Facts,
  desired: DesiredService,
  changing: readonly Standing[],
  because: Because,
): Step[] {
  const service = desired.service.name;
  return changing.flatMap(({ component }): Step[] => {
    const old = replacedBy(facts, desired, component);
    if (old === undefined) return [];
    return [
      {
        service,
        subject: old.name,
        because,
        kind: 'take-over-container',
        containerId: old.id,
        renameTo: asideName(old.name, old),
        stopTimeoutS: stopTimeoutOf(facts, service),
      },
    ];
  });
}

/**
 * A first version that took a place and is not proved in time gives it back: it is held back, its containers are set aside,
 * and what ran before runs again under its own name. Undefined where nothing of the kind is to be done.
 */
export function planGivenBack(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
): ServicePlan | undefined {
  const { service, file, commit } = desired;
  const trial = currentTrial(facts, desired);
  if (trial === undefined || appliedOf(facts, service.name) !== undefined) return undefined;
  const places = service.components.filter(({ replaces }) => replaces !== undefined);
  if (places.length === 0) return undefined;
  const taken = places.flatMap((component) => {
    const old = takenFrom(facts, component);
    return old === undefined ? [] : [{ component, old }];
  });
  const head = { service: service.name, because: { summary: trial.why ?? 'not proved', commit, file } };
  if (trial.phase === 'trying') {
    const failure = failureOf(facts, service.name, desired.digest);
    const isLate = (deadlineOf(facts, desired) ?? Infinity) <= facts.now;
    if (taken.length === 0 || !(isLate || failure?.cause === 'definition')) return undefined;
    if (standings.every((standing) => isReady(standing, facts))) return undefined;
    const why = failure?.why ?? whyNot(facts, standings);
    const summary = `not proved in time, so it gives back the place it took: ${why}`;
    const { digest, tries } = trial;
    const held = { service: service.name, digest, tries, why, file, commit, phase: 'held back' as const };
    const because = { summary, commit, file };
    const step: Step = { ...head, because, subject: service.name, kind: 'record-trial', trial: held };
    return { steps: [step], waiting: [], refused: [] };
  }
  if (trial.phase !== 'held back') return undefined;
  const names = service.components.map(({ container }) => container);
  const aside = oursOf(facts, service.name)
    .filter(({ name }) => names.includes(name))
    .map((container): Step => ({
      ...head,
      subject: container.name,
      kind: 'retire-container',
      containerId: container.id,
      renameTo: asideName(container.name, container),
      stopTimeoutS: stopTimeoutOf(facts, service.name),
    }));
  const back = taken.map(({ component, old }): Step => ({
    ...head,
    subject: component.replaces ?? old.name,
    kind: 'give-back-container',
    containerId: old.id,
    renameTo: component.replaces ?? old.name,
  }));
  const why = `it took the place of ${places.map(({ replaces }) => replaces).join(', ')}, was not proved, and has given it back: ${trial.why ?? ''}`;
  const hint = 'Push a commit that changes the service; to try the very same again, raise its `generation`.';
  const waiting = [{ service: service.name, for: 'git', why, hint, since: trial.since }];
  return { steps: [...aside, ...back], waiting, refused: [] };
}

function whyNot(facts: Facts, standings: readonly Standing[]): string {
  const bad = standings.find((standing) => !isReady(standing, facts));
  const probe = bad?.current === undefined ? undefined : facts.observed.probes[bad.current.id];
  const last = probe !== undefined && 'last' in probe ? probe.last : undefined;
  return `${bad?.component.container ?? 'it'}: ${last ?? 'not ready'}`;
}

function unmarked(facts: Facts): readonly ObservedContainer[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  return engine.value.containers.filter(
    ({ identity, labels }) => identity === undefined && Object.keys(labels).length === 0,
  );
}

function asideName(name: string, { id }: ObservedContainer): string {
  return `${name}.prev-${id.slice(0, 8)}`;
}
