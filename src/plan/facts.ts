import type { Desired } from '../definitions/types.ts';
import type { ObservedContainer, Observed } from '../node/types.ts';
import type { Applied, FailureRecord, Lease, Promised } from '../registry/types.ts';
import type { Plan, PlanSettings, Step, Waiting } from './types.ts';

/** Everything `plan` is a function of. */
export interface Facts {
  readonly desired: Desired;
  readonly promised: Promised;
  readonly observed: Observed;
  readonly settings: PlanSettings;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What is decided for one service; the plan is the sum of these. */
export interface ServicePlan {
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: Plan['refused'];
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

export function leaseOf(
  promised: Promised,
  service: string,
  component: string,
  route: string,
): Lease | undefined {
  return promised.leases.find(
    (lease) =>
      lease.service === service &&
      lease.component === component &&
      lease.route === route &&
      lease.slot === 'a',
  );
}

/** The names of all services that the registry knows in any way. */
export function recordedServices(promised: Promised): string[] {
  return [
    ...new Set([
      ...promised.applied.map((applied) => applied.service.name),
      ...promised.files.map((file) => file.service),
      ...promised.leases.map((lease) => lease.service),
      ...promised.routes.map((route) => route.service),
    ]),
  ].sort();
}
