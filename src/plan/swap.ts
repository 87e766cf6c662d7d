import type { DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { oursOf, type Facts } from './facts.ts';
import { stopTimeoutOf } from './settle.ts';
import { isBlueGreen, overlaps, sharesPort } from './slots.ts';
import { ownNetwork, specDigest, specOf } from './spec.ts';
import type { Standing } from './standing.ts';
import { takeOverSteps } from './takeover.ts';
import { trialStep } from './trial.ts';
import type { Step } from './types.ts';

/**
 * Everything new is made first, then the old ones are set aside, then the new ones start: the gap is as short as a
 * restart. With `blue-green` the old ones go on running under another name, and there is no gap.
 */
export function swapSteps(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  inTheWay: readonly ObservedContainer[],
  because: Because,
): Step[] {
  const service = desired.service.name;
  const changing = standings.filter((standing) => standing.current === undefined);
  const create = changing.flatMap((standing) =>
    standing.staged === undefined ? [createStep(facts, desired, standing, because)] : [],
  );
  const beside = changing.filter((standing) => overlaps(facts, desired, standing));
  const aside = beside.flatMap(({ outdated }): Step[] =>
    outdated === undefined
      ? []
      : [
          {
            service,
            subject: outdated.name,
            because,
            kind: 'set-aside-container',
            containerId: outdated.id,
            renameTo: predecessorName(outdated),
          },
        ],
  );
  const retired = [
    ...changing.flatMap((standing) =>
      standing.outdated === undefined || beside.includes(standing) ? [] : [standing.outdated],
    ),
    ...inTheWay,
  ];
  const retire = retired.map((container): Step => ({
    service,
    subject: container.name,
    because,
    kind: 'retire-container',
    containerId: container.id,
    renameTo: predecessorName(container),
    stopTimeoutS: stopTimeoutOf(facts, service),
  }));
  const trial = trialStep(facts, desired, because);
  const start = changing.map((standing): Step => {
    const digest = specDigest(specOf(facts, desired.service, standing.component), facts.settings.keyId);
    const name = standing.component.container;
    return {
      service,
      subject: name,
      because,
      kind: 'start-container',
      from: standing.staged?.name ?? stagingName(name, digest),
      name,
      specDigest: standing.staged?.identity?.spec ?? digest,
    };
  });
  return [
    ...networkSteps(facts, desired, because),
    ...abandonedSteps(desired, standings, because),
    ...create,
    ...takeOverSteps(facts, desired, standings, because),
    ...retire,
    ...aside,
    ...(trial === undefined ? [] : [trial]),
    ...start,
  ];
}

function createStep(facts: Facts, desired: DesiredService, standing: Standing, because: Because): Step {
  const spec = specOf(facts, desired.service, standing.component);
  const digest = specDigest(spec, facts.settings.keyId);
  const { insteadOf, file, oid, commit } = desired;
  return {
    service: desired.service.name,
    subject: spec.name,
    because,
    kind: 'create-container',
    spec,
    specDigest: digest,
    stagingName: stagingName(spec.name, digest),
    ...(insteadOf === undefined ? {} : { from: { file, oid, commit } }),
  };
}

/** Containers of components that the definition no longer has. */
export function goneContainers(
  facts: Facts,
  desired: DesiredService,
): { running: ObservedContainer[]; retired: ObservedContainer[] } {
  const names = desired.service.components.map((component) => component.name);
  const gone = oursOf(facts, desired.service.name).filter(
    (container) => !names.includes(container.identity?.component ?? ''),
  );
  return { running: gone.filter(isUp), retired: gone.filter((container) => !isUp(container)) };
}

/** Running containers that have no place beside what is wanted: of components that are gone, and predecessors. */
export function containersInTheWay(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  withGone: boolean,
): ObservedContainer[] {
  const isBeside = isBlueGreen(desired);
  // Somebody started a predecessor again: it holds the ports that its successor needs.
  const predecessors = standings
    .filter(({ current }) => current === undefined || !isUp(current))
    .flatMap(({ component, predecessors: all }) => {
      const { publish } = specOf(facts, desired.service, component);
      return all.filter((one) => isUp(one) && (!isBeside || sharesPort(one, publish)));
    });
  return [...(isBeside || !withGone ? [] : goneContainers(facts, desired).running), ...predecessors];
}

export function isUp(container: ObservedContainer): boolean {
  return container.state === 'running' || container.state === 'restarting';
}

function networkSteps(facts: Facts, desired: DesiredService, because: Because): Step[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  const wanted = desired.service.components.flatMap((component) => [
    ...(component.network === 'none' ? [] : [component.network]),
    ...(component.network === 'none' || desired.service.components.length < 2
      ? []
      : [ownNetwork(facts.settings.owner, desired.service.name)]),
  ]);
  return [...new Set(wanted)]
    .filter((name) => !engine.value.networks.includes(name))
    .map((name): Step => ({
      service: desired.service.name,
      subject: name,
      because,
      kind: 'create-network',
      name,
    }));
}

export function abandonedSteps(
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): Step[] {
  return standings
    .flatMap((standing) => standing.abandoned)
    .map((container) => ({
      service: desired.service.name,
      subject: container.name,
      because: { ...because, summary: 'made for a definition that has changed since, and never started' },
      kind: 'remove-container',
      containerId: container.id,
      stopTimeoutS: 1,
    }));
}

function predecessorName(container: ObservedContainer): string {
  const suffix = `.prev-${container.id.slice(0, 8)}`;
  return container.name.endsWith(suffix) ? container.name : `${container.name}${suffix}`;
}

function stagingName(name: string, digest: string): string {
  return `${name}.next-${digest.split('.').at(-1)?.slice(0, 8) ?? ''}`;
}
