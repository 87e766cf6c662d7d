import type { Component, Service } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import { oursOf, type Facts } from './facts.ts';
import { sameSpec, specDigest, specOf } from './spec.ts';

/** How the containers of one component stand to what is wanted of it. */
export interface Standing {
  readonly component: Component;
  /** Carries the wanted spec and the final name. */
  readonly current?: ObservedContainer;
  /** Carries the wanted spec, made but not yet in place. */
  readonly staged?: ObservedContainer;
  /** Has the final name but another spec: to be replaced. */
  readonly outdated?: ObservedContainer;
  /** Ran before and was set aside. */
  readonly predecessors: readonly ObservedContainer[];
  /** Made for a spec that nobody wants any more, never started. */
  readonly abandoned: readonly ObservedContainer[];
}

export function standingOf(facts: Facts, service: Service, component: Component): Standing {
  const digest = specDigest(specOf(facts, service, component), facts.settings.keyId);
  const mine = oursOf(facts, service.name).filter((c) => c.identity?.component === component.name);
  const inPlace = mine.find((container) => container.name === component.container);
  const rest = mine.filter((container) => container !== inPlace);
  const fits = (container: ObservedContainer): boolean => sameSpec(container.identity?.spec, digest);
  const staged = rest.find((container) => container.state === 'created' && fits(container));
  return {
    component,
    ...(inPlace !== undefined && fits(inPlace) ? { current: inPlace } : {}),
    ...(inPlace !== undefined && !fits(inPlace) ? { outdated: inPlace } : {}),
    ...(staged === undefined ? {} : { staged }),
    predecessors: rest.filter((container) => container !== staged && container.startedAt !== undefined),
    abandoned: rest.filter((container) => container !== staged && container.startedAt === undefined),
  };
}
