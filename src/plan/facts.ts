import type { Deploy, Desired, DesiredService, Route } from '../definitions/types.ts';
import type { ObservedContainer, Observed, PublishedPort } from '../node/types.ts';
import type { Applied, FailureRecord, Lease, Promised, Trial } from '../registry/types.ts';
import {
  appliedByService,
  containersByOwner,
  containersByService,
  desiredByName,
  failuresByService,
  leasesByRoute,
  readOnce,
  routeKey,
  trialsByService,
} from './lists.ts';
import type { Plan, PlanSettings, Step, Waiting } from './types.ts';

/** Everything `plan` is a function of. */
export interface Facts {
  readonly desired: Desired;
  readonly promised: Promised;
  readonly observed: Observed;
  readonly settings: PlanSettings;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** When the engine was seen last before, by the same agent. Absent: not yet. */
  readonly lookedAt?: number;
  /** `<service>/<component>` of those that have the ports of slot b; absent: all are in slot a. */
  readonly slotB?: ReadonlySet<string>;
  /** Fixed ports that services before this one get in the same plan; absent: none. */
  readonly givenPorts?: readonly (Pick<PublishedPort, 'ip' | 'host' | 'protocol'> & {
    readonly service: string;
  })[];
  /** Steps of earlier passes that were under way when this look began; absent: none. */
  readonly busy?: readonly Busy[];
}

/** A service that is worked on: what is seen of it may be half of a change, and it gets no step. */
export interface Busy {
  readonly service: string;
  /** Kind and subject of the step that is under way; absent: it cannot be seen. */
  readonly step?: string;
  readonly since?: number;
}

/** What has routes: a service of this node, or the edge of one of another. */
export interface Fronted {
  readonly service: {
    readonly name: string;
    readonly components: readonly FrontedComponent[];
  };
  readonly insteadOf?: DesiredService;
  readonly digest?: string;
  /** Of an edge: the node that runs the service, and where it is reached. */
  readonly home?: string;
  readonly address?: string;
}

export interface FrontedComponent {
  readonly name: string;
  readonly routes: readonly Route[];
}

/** What is decided for one service; the plan is the sum of these. */
export interface ServicePlan {
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: Plan['refused'];
}

/**
 * When a wait is over that began at `from`. A clock that was set back since must not make a day of it (G42); a moment that is
 * only a little ahead was seen while the node was looked at, after `now` was taken, and is no such thing.
 */
export function waitEnds(from: number, ms: number, now: number): number {
  return from > now + LOOKING_MS ? now : from + ms;
}

const LOOKING_MS = 60_000;

/** Our containers of one service. Ours is what carries our owner label; a name proves nothing (L12). */
export function oursOf(facts: Facts, service: string): readonly ObservedContainer[] {
  const { engine } = facts.observed;
  return engine.known
    ? (containersByService(engine.value.containers).get(`${facts.settings.owner} ${service}`) ?? [])
    : [];
}

export function ours(facts: Facts): readonly ObservedContainer[] {
  const { engine } = facts.observed;
  return engine.known ? (containersByOwner(engine.value.containers).get(facts.settings.owner) ?? []) : [];
}

export function isBusy({ busy }: Facts, service: string): boolean {
  return busy?.some((entry) => entry.service === service) === true;
}

export function appliedOf(facts: Facts, service: string): Applied | undefined {
  return appliedByService(facts.promised.applied).get(service)?.[0];
}

/** The failures of a service as long as its definition is still the one that failed. */
export function failureOf(facts: Facts, service: string, digest: string): FailureRecord | undefined {
  return failuresByService(facts.promised.failures)
    .get(service)
    ?.find((failure) => failure.digest === digest);
}

/** The trial of this very version. */
export function trialOf(promised: Promised, { service, digest }: DesiredService): Trial | undefined {
  return trialsByService(promised.trials)
    .get(service.name)
    ?.find((trial) => trial.digest === digest);
}

export function slotOf(facts: Facts, service: string, component: string): Lease['slot'] {
  return facts.slotB?.has(`${service}/${component}`) === true ? 'b' : 'a';
}

/** The lease of a route, in the slot that its component has. */
export function leaseOf(facts: Facts, service: string, component: string, route: string): Lease | undefined {
  const slot = slotOf(facts, service, component);
  return leasesByRoute(facts.promised.leases).get(routeKey(service, component, route, slot))?.[0];
}

/** A service as it is to be now. */
export function desiredOf({ desired }: Facts, service: string): DesiredService | undefined {
  return desiredByName(desired.services).get(service)?.[0];
}

/** `[deploy]` of a service: as git has it, else as it was applied. */
export function deployOf(facts: Facts, service: string): Deploy {
  const desired = desiredOf(facts, service);
  return (desired?.service ?? appliedOf(facts, service)?.service)?.deploy ?? {};
}

/** The names of all services that the registry knows in any way. */
export function recordedServices(promised: Promised): string[] {
  return recordedNames(promised).filter((name) => !isEdgeName(name));
}

/** `<service>@<home>`: the edge of a service of another node. No service can be called so. */
export function isEdgeName(name: string): boolean {
  return name.includes('@');
}

/** The edges of services of other nodes that the registry knows in any way. */
export function recordedEdges(promised: Promised): string[] {
  return recordedNames(promised).filter(isEdgeName);
}

const recordedNames = readOnce((promised: Promised): readonly string[] =>
  [
    ...new Set([
      ...promised.applied.map((applied) => applied.service.name),
      ...promised.files.map((file) => file.service),
      ...promised.leases.map((lease) => lease.service),
      ...promised.routes.map((route) => route.service),
      ...(promised.records ?? []).map((record) => record.service),
    ]),
  ].sort(),
);
