import type { Deploy, Desired, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer, Observed } from '../node/types.ts';
import type { Applied, FailureRecord, Lease, Promised, Trial } from '../registry/types.ts';
import type { Plan, PlanSettings, Step, Waiting } from './types.ts';

/** Everything `plan` is a function of. */
export interface Facts {
  readonly desired: Desired;
  readonly promised: Promised;
  readonly observed: Observed;
  readonly settings: PlanSettings;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** `<service>/<component>` of those that have the ports of slot b; absent: all are in slot a. */
  readonly slotB?: ReadonlySet<string>;
}

/** What is decided for one service; the plan is the sum of these. */
export interface ServicePlan {
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: Plan['refused'];
}

/** When a wait is over that began at `from`. A clock that was set back since must not make a day of it (G42). */
export function waitEnds(from: number, ms: number, now: number): number {
  return from > now ? now : from + ms;
}

/** Our containers of one service. Ours is what carries our owner label; a name proves nothing (L12). */
export function oursOf(facts: Facts, service: string): readonly ObservedContainer[] {
  return ours(facts).filter((container) => container.identity?.service === service);
}

export function ours(facts: Facts): readonly ObservedContainer[] {
  const { engine } = facts.observed;
  if (!engine.known) return [];
  return engine.value.containers.filter((container) => container.identity?.owner === facts.settings.owner);
}

export function appliedOf(facts: Facts, service: string): Applied | undefined {
  return facts.promised.applied.find((applied) => applied.service.name === service);
}

/** The failures of a service as long as its definition is still the one that failed. */
export function failureOf(facts: Facts, service: string, digest: string): FailureRecord | undefined {
  return facts.promised.failures.find((failure) => failure.service === service && failure.digest === digest);
}

/** The trial of this very version. */
export function trialOf(promised: Promised, { service, digest }: DesiredService): Trial | undefined {
  return promised.trials.find((trial) => trial.service === service.name && trial.digest === digest);
}

export function slotOf(facts: Facts, service: string, component: string): Lease['slot'] {
  return facts.slotB?.has(`${service}/${component}`) === true ? 'b' : 'a';
}

/** The lease of a route, in the slot that its component has. */
export function leaseOf(facts: Facts, service: string, component: string, route: string): Lease | undefined {
  const slot = slotOf(facts, service, component);
  return facts.promised.leases.find(
    (lease) =>
      lease.service === service &&
      lease.component === component &&
      lease.route === route &&
      lease.slot === slot,
  );
}

/** `[deploy]` of a service: as git has it, else as it was applied. */
export function deployOf(facts: Facts, service: string): Deploy {
  const desired = facts.desired.services.find((entry) => entry.service.name === service);
  return (desired?.service ?? appliedOf(facts, service)?.service)?.deploy ?? {};
}

/** The names of all services that the registry knows in any way. */
export function recordedServices(promised: Promised): string[] {
  return [
    ...new Set([
      ...promised.applied.map((applied) => applied.service.name),
      ...promised.files.map((file) => file.service),
      ...promised.leases.map((lease) => lease.service),
      ...promised.routes.map((route) => route.service),
      ...(promised.records ?? []).map((record) => record.service),
    ]),
  ].sort();
}
