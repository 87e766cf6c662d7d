import type { Component, DesiredService, Service } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import {
  appliedOf,
  desiredOf,
  failureOf,
  isBusy,
  oursOf,
  trialOf,
  type Facts,
  type ServicePlan,
} from './facts.ts';
import { slotted } from './slots.ts';
import { standingOf, type Standing } from './standing.ts';
import type { Step, StepKind, Waiting } from './types.ts';
import { stageWindow } from './window.ts';

/** Why changes of a service are put off. What runs goes on, and is not stopped for them. */
export interface Hold {
  readonly waiting: Waiting;
  /**
   * What is put off besides the replacement of what runs: `starts`: any start; `news`: starts of a service
   * that did not run before; `removals`: whatever takes away.
   */
  readonly also?: 'starts' | 'news' | 'removals';
}

/** `after`: services of this node that must be ready first (L42). One that is paused, inactive or unknown is ignored. */
export function holdsOfAfter(facts: Facts, { service }: DesiredService): Hold[] {
  return (service.after ?? []).flatMap((name): Hold[] => {
    const first = desiredOf(facts, name);
    if (first === undefined || !first.service.active || first.service.paused === true) return [];
    const standings = standingsOf(facts, first);
    // It looks ready while it is being stopped.
    if (isBusy(facts, name)) {
      const why = `${name} is being worked on, and comes first (after)`;
      return [{ waiting: { service: service.name, for: 'after', why }, also: 'starts' }];
    }
    if (standings.every((one) => isReady(one, facts))) return [];
    // Its old version runs well and may wait days for its own change: what died meanwhile is started all the same.
    if (standings.every((one) => isReady(one, facts) || isOldReady(one, facts))) {
      const why = `${name} is to be changed first (after)`;
      const hint = `Changes follow once ${name} has changed. See what it waits for.`;
      return [{ waiting: { service: service.name, for: 'after', why, hint }, also: 'news' }];
    }
    const why = `${name} is not ready yet, and comes first (after)`;
    const hint = `What runs goes on; starts and changes follow once ${name} is ready. See what it waits for.`;
    return [{ waiting: { service: service.name, for: 'after', why, hint }, also: 'starts' }];
  });
}

/** Of what has to be made, the components whose turn it is not yet, and why. */
export function putOff(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  holds: readonly Hold[],
): { readonly components: readonly string[]; readonly waiting: readonly Waiting[] } {
  const { service } = desired;
  const changing = standings.filter((standing) => standing.current === undefined);
  const held = changing.filter((standing) =>
    holds.some(
      (hold) =>
        standing.outdated !== undefined ||
        isAdded(facts, desired, standing) ||
        holdsStart(facts, desired, hold),
    ),
  );
  const early = changing.filter((standing) => notReadyBefore(facts, service, standing, standings).length > 0);
  return {
    components: [...held, ...early].map((standing) => standing.component.name),
    waiting: [
      ...(held.length > 0 ? holds.map((hold) => hold.waiting) : []),
      ...early.flatMap((standing) => notReadyBefore(facts, service, standing, standings)),
    ],
  };
}

/** It is part of a change like any other: made alone, its version could not be proved while the rest is put off, and would give way again and again. */
function isAdded(facts: Facts, { service }: DesiredService, { component }: Standing): boolean {
  const before = appliedOf(facts, service.name)?.service.components;
  return before !== undefined && !before.some(({ name }) => name === component.name);
}

/** Does it put off starts, too? What ran and died is healed. */
function holdsStart(facts: Facts, { service }: DesiredService, { also }: Hold): boolean {
  return also === 'starts' || (also === 'news' && appliedOf(facts, service.name)?.state !== 'running');
}

const TAKING_AWAY: readonly StepKind[] = [
  'retire-container',
  'stop-container',
  'take-over-container',
  'remove-container',
  'remove-routes',
  'remove-records',
  'release-leases',
  'remove-network',
];

/** The plan of a service without the steps that are held, or whose component does not come yet; it says why. */
export function heldTo(
  facts: Facts,
  desired: DesiredService,
  holds: readonly Hold[],
  plan: ServicePlan,
): ServicePlan {
  const { service } = desired;
  if (holds.length === 0 && service.components.every((component) => component.after === undefined))
    return plan;
  const standings = standingsOf(facts, desired);
  const waiting: Waiting[] = [];
  const steps = plan.steps.filter((step) => {
    const why = whyHeld(facts, desired, standings, holds, step);
    waiting.push(...why);
    return why.length === 0;
  });
  const shown = new Set(plan.waiting.map((entry) => entry.why));
  const news = waiting.filter((entry) => !shown.has(entry.why) && shown.add(entry.why));
  return { ...plan, steps, waiting: [...plan.waiting, ...news] };
}

function whyHeld(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  holds: readonly Hold[],
  step: Step,
): Waiting[] {
  if (TAKING_AWAY.includes(step.kind))
    return holds.filter((hold) => hold.also === 'removals').map((hold) => hold.waiting);
  if (step.kind !== 'start-container') return [];
  const standing = standings.find(({ component }) => component.container === step.name);
  return [
    ...holds.filter((hold) => holdsStart(facts, desired, hold)).map((hold) => hold.waiting),
    ...(standing === undefined ? [] : notReadyBefore(facts, desired.service, standing, standings)),
  ];
}

/** Components of the same service that must be ready before this one is started or changed. */
function notReadyBefore(
  facts: Facts,
  service: Service,
  { component, outdated }: Standing,
  standings: readonly Standing[],
): Waiting[] {
  return (component.after ?? []).flatMap((name) => {
    const first = standings.find((other) => other.component.name === name);
    if (first === undefined || name === component.name || isReady(first, facts)) return [];
    // Its own old container is started again: the old one of the other is what it ran with.
    if (outdated !== undefined && isOldReady(first, facts)) return [];
    const why = `${component.container}: ${first.component.container} is not ready yet, and comes first (after)`;
    return [{ service: service.name, component: component.name, for: 'after', why }];
  });
}

/** After the loss of the registry and of its side file only what is missing is made, until git moves. */
export function holdsOfLoss(facts: Facts, { service }: DesiredService): Hold[] {
  const { lostAt } = facts.promised;
  if (lostAt === undefined || lostAt !== facts.desired.commit.oid) return [];
  if (oursOf(facts, service.name).length === 0) return [];
  const why =
    'the registry was lost, and the file beside it too: what was held back is not known, so nothing that runs is changed under this commit';
  const hint = 'It goes on with the next commit. Until then only what is missing is made.';
  return [{ waiting: { service: service.name, for: 'commit', why, hint }, also: 'removals' }];
}

/** In place, and ready by its probe, or a job that ended well. */
function isReady({ component, current }: Standing, facts: Facts): boolean {
  return current !== undefined && isWell(component, current, facts);
}

/** The version that is to be replaced. */
function isOldReady({ component, outdated }: Standing, facts: Facts): boolean {
  return outdated !== undefined && isWell(component, outdated, facts);
}

function isWell({ restart }: Component, container: ObservedContainer, facts: Facts): boolean {
  if (container.state === 'running') return facts.observed.probes[container.id]?.kind === 'ready';
  return container.state === 'exited' && restart !== 'unless-stopped' && container.exitCode === 0;
}

/** Services whose containers change although their own file did not: by defaults, the node's file, settings, a new agent. */
export interface Rollout {
  /** Services that wait for their turn, and for whom. */
  readonly holds: ReadonlyMap<string, Hold>;
}

/**
 * Such changes run one service at a time, and stop at the first failure: the next one follows when the one before is
 * proved, so that a bad default costs one service and not the node.
 */
export function rolloutOf(facts: Facts): Rollout {
  const under: DesiredService[] = [];
  const due: DesiredService[] = [];
  for (const entry of facts.desired.services.filter((one) => isByOthers(facts, one))) {
    const standings = standingsOf(facts, entry);
    // One that gave way is a failure: the others stay as they are until git changes it.
    if (entry.insteadOf !== undefined || isUnderWay(facts, entry, standings)) under.push(entry);
    // What was changed by hand is healed at once, wherever: no setting and no new agent is to blame.
    else if (standings.some((one) => one.outdated !== undefined && one.drift === undefined)) due.push(entry);
  }
  const begun = under[0];
  const ahead = begun ?? nextOf(facts, due);
  const holds = new Map<string, Hold>();
  if (ahead === undefined) return { holds };
  const failure = failureOf(facts, ahead.service.name, ahead.digest) ?? gaveWay(facts, ahead);
  // What has begun may wait for one of these by its `after`: it would wait for ever if that one waited for it.
  const first = (failure === undefined ? foremostOf(ahead, due) : ahead).service.name;
  for (const { service } of due) {
    if (service.name === first) continue;
    const because = 'its own definition did not change: such changes run one service at a time';
    const why =
      failure === undefined
        ? `${because}, and ${first} is not proved yet`
        : `${because}, and ${first} failed: ${failure.why}`;
    const hint = failure === undefined ? undefined : `It goes on once ${first} is proved.`;
    const waiting: Waiting = {
      service: service.name,
      for: 'turn',
      why,
      ...(hint === undefined ? {} : { hint }),
    };
    holds.set(service.name, { waiting });
  }
  return { holds };
}

/** The first by name that can go now: after none of the others, and not behind a window that is closed. */
function nextOf(facts: Facts, due: readonly DesiredService[]): DesiredService | undefined {
  const names = new Set(due.map(({ service }) => service.name));
  const isFree = (entry: DesiredService): boolean =>
    stageWindow(facts, entry).ready && !(entry.service.after ?? []).some((name) => names.has(name));
  return due.find(isFree) ?? due[0];
}

/** Of those that are due, the one that must come before all others for `entry` to go on; itself when there is none. */
function foremostOf(entry: DesiredService, due: readonly DesiredService[]): DesiredService {
  const before = due.filter(({ service }) => service.name !== entry.service.name);
  const first = before.find(({ service }) => entry.service.after?.includes(service.name));
  return first === undefined ? entry : foremostOf(first, before);
}

function gaveWay(facts: Facts, { insteadOf }: DesiredService): { why: string } | undefined {
  const trial = insteadOf === undefined ? undefined : trialOf(facts.promised, insteadOf);
  return trial === undefined ? undefined : { why: trial.why ?? 'it was not proved' };
}

function isByOthers(facts: Facts, entry: DesiredService): boolean {
  const applied = appliedOf(facts, entry.service.name);
  return (
    entry.service.active &&
    entry.service.paused !== true &&
    applied?.state === 'running' &&
    applied.oid === entry.oid &&
    applied.file === entry.file
  );
}

/** Begun, and neither proved nor given up. */
function isUnderWay(
  facts: Facts,
  { service, digest }: DesiredService,
  standings: readonly Standing[],
): boolean {
  const isChanged = appliedOf(facts, service.name)?.digest !== digest;
  const isBegun = standings.some((one) => one.predecessors.length > 0 || one.staged !== undefined);
  const isUnready = isChanged && standings.some((one) => one.current !== undefined && !isReady(one, facts));
  const isFailing =
    failureOf(facts, service.name, digest) !== undefined &&
    (isChanged || standings.some((one) => one.outdated !== undefined));
  return isBegun || isUnready || isFailing || isBusy(facts, service.name);
}

/** A bug that a definition brings to light is told where its service is planned. */
function standingsOf(given: Facts, desired: DesiredService): Standing[] {
  try {
    const facts = slotted(given, desired);
    return desired.service.components.map((component) => standingOf(facts, desired, component));
  } catch {
    return [];
  }
}
