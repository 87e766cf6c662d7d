import type { Component, DesiredService, Service } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import { appliedOf, type Facts } from './facts.ts';
import { specDigest, specOf } from './spec.ts';
import type { Standing } from './standing.ts';

/** Do both versions run for a while? It is the newest file that says so, also for the way back. */
export function isBlueGreen(desired: DesiredService): boolean {
  return (desired.insteadOf ?? desired).service.deploy?.strategy === 'blue-green';
}

/**
 * The facts with the slots of one service: those in which it was applied, and with `blue-green` the other slot for each
 * component that has to be replaced. Derived from what is recorded, so that every pass of a change finds the same.
 */
export function slotted(facts: Facts, desired: DesiredService): Facts {
  const { service } = desired;
  const applied = appliedOf(facts, service.name);
  if (applied === undefined) return facts;
  const before = asApplied(facts, service.name);
  const isChange = applied.digest !== desired.digest && applied.state === 'running';
  return isChange && isBlueGreen(desired) ? alternated(before, applied.service, service) : before;
}

/** The facts with the slots in which a service was applied. */
export function asApplied(facts: Facts, service: string): Facts {
  const names = appliedOf(facts, service)?.slotB ?? [];
  return { ...facts, slotB: new Set(names.map((name) => `${service}/${name}`)) };
}

/** The components that a service has in slot b, as they are recorded; absent when there are none. */
export function slotsToRecord(facts: Facts, service: Service): { slotB?: readonly string[] } {
  const slotB = service.components
    .map((component) => component.name)
    .filter((name) => facts.slotB?.has(`${service.name}/${name}`) === true);
  return slotB.length === 0 ? {} : { slotB };
}

/** The container in place can go on running beside its successor: both are wanted for a while, on ports of their own. */
export function overlaps(facts: Facts, desired: DesiredService, { component, outdated }: Standing): boolean {
  if (outdated === undefined || !isBlueGreen(desired)) return false;
  return !sharesPort(outdated, specOf(facts, desired.service, component).publish);
}

export function sharesPort(container: ObservedContainer, publish: ObservedContainer['publish']): boolean {
  return publish.some((port) =>
    container.publish.some((held) => held.host === port.host && held.protocol === port.protocol),
  );
}

/** A component that moves changes what its siblings are told of its port: they are looked at again until nothing moves. */
function alternated(facts: Facts, before: Service, after: Service): Facts {
  const old = new Set(facts.slotB ?? []);
  const moved = new Set<string>();
  const digestIn = (given: Facts, service: Service, component: Component): string =>
    specDigest(specOf(given, service, component), facts.settings.keyId);
  for (;;) {
    const slotB = new Set(old);
    for (const key of moved) if (!slotB.delete(key)) slotB.add(key);
    const now = { ...facts, slotB };
    const next = after.components.filter((component) => {
      const was = before.components.find((one) => one.name === component.name);
      return (
        was !== undefined &&
        !moved.has(`${after.name}/${component.name}`) &&
        digestIn(facts, before, was) !== digestIn(now, after, component)
      );
    });
    if (next.length === 0) return now;
    for (const component of next) moved.add(`${after.name}/${component.name}`);
  }
}
