import type { Component, DesiredService } from '../definitions/types.ts';
import type { ContainerSpec, EngineFacts, ObservedContainer } from '../node/types.ts';
import type { Applied } from '../registry/types.ts';
import { driftOf, type Drift } from './drift.ts';
import { appliedOf, oursOf, type Facts } from './facts.ts';
import { sameSpec, specDigest, specOf } from './spec.ts';

/** How the containers of one component stand to what is wanted of it. */
export interface Standing {
  readonly component: Component;
  /** Carries the wanted spec and the final name. */
  readonly current?: ObservedContainer;
  /** `current` has another spec, and only for reasons that are not in git: `deploy.restart = "manual"` leaves it so (L15). */
  readonly isCosmetic?: true;
  /** Carries the wanted spec, and is not in place: just made, or kept from before. */
  readonly staged?: ObservedContainer;
  /** Has the final name but another spec, or was changed by hand: to be replaced. */
  readonly outdated?: ObservedContainer;
  /** What somebody changed of the container in place, whose label says the wanted spec. */
  readonly drift?: readonly Drift[];
  /** Ran before and was set aside. */
  readonly predecessors: readonly ObservedContainer[];
  /** Made for a spec that nobody wants any more, never started. */
  readonly abandoned: readonly ObservedContainer[];
}

/** Asked several times a pass: of the same things it is the same. */
export function standingOf(facts: Facts, desired: DesiredService, component: Component): Standing {
  const spec = specOf(facts, desired.service, component);
  const { engine } = facts.observed;
  const seen = engine.known ? engine.value : undefined;
  const applied = appliedOf(facts, desired.service.name);
  const { keyId } = facts.settings;
  const before = stood.get(spec);
  if (
    before !== undefined &&
    before.seen === seen &&
    before.applied === applied &&
    before.desired === desired &&
    before.keyId === keyId
  )
    return before.standing;
  const standing = compareAll(facts, desired, component, spec);
  stood.set(spec, { seen, applied, desired, keyId, standing });
  return standing;
}

/** By the spec, which stands for the component with its leases and slot. */
const stood = new WeakMap<
  ContainerSpec,
  {
    readonly seen: EngineFacts | undefined;
    readonly applied: Applied | undefined;
    readonly desired: DesiredService;
    readonly keyId: string;
    readonly standing: Standing;
  }
>();

function compareAll(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  spec: ContainerSpec,
): Standing {
  const { service } = desired;
  const { engine } = facts.observed;
  const digest = specDigest(spec, facts.settings.keyId);
  const mine = oursOf(facts, service.name).filter((c) => c.identity?.component === component.name);
  const inPlace = mine.find((container) => container.name === component.container);
  const rest = mine.filter((container) => container !== inPlace);
  const driftIn = (container: ObservedContainer): readonly Drift[] =>
    engine.known && sameSpec(container.identity?.spec, digest)
      ? remembered(container, `${engine.value.kind} ${digest}`, () =>
          driftOf(spec, container, engine.value.kind),
        )
      : [];
  const fits = (container: ObservedContainer): boolean =>
    sameSpec(container.identity?.spec, digest) && driftIn(container).length === 0;
  // One that ran before is started again sooner than another one is made of the same.
  const kept = rest.filter(fits).sort((a, b) => (b.startedAt ?? 0) - (a.startedAt ?? 0));
  const staged = kept.find((container) => STARTABLE.includes(container.state));
  const drift = inPlace === undefined ? [] : driftIn(inPlace);
  const isCosmetic =
    inPlace !== undefined &&
    !fits(inPlace) &&
    drift.every((one) => one.isCosmetic) &&
    isCosmeticDrift(facts, desired, component, inPlace);
  const isCurrent = inPlace !== undefined && (fits(inPlace) || isCosmetic);
  return {
    component,
    ...(isCurrent ? { current: inPlace } : {}),
    ...(isCosmetic ? { isCosmetic: true } : {}),
    ...(inPlace !== undefined && !isCurrent ? { outdated: inPlace } : {}),
    ...(drift.length === 0 ? {} : { drift }),
    ...(staged === undefined || isCurrent ? {} : { staged }),
    predecessors: rest.filter((c) => (c !== staged || isCurrent) && c.startedAt !== undefined),
    abandoned: rest.filter((c) => (c !== staged || isCurrent) && c.startedAt === undefined),
  };
}

/** An engine that was asked nothing new gives the same container: what was compared once is not compared each pass. */
function remembered(
  container: ObservedContainer,
  against: string,
  compare: () => readonly Drift[],
): readonly Drift[] {
  const before = compared.get(container);
  if (before?.against === against) return before.drift;
  const drift = compare();
  compared.set(container, { against, drift });
  return drift;
}

const compared = new WeakMap<
  ObservedContainer,
  { readonly against: string; readonly drift: readonly Drift[] }
>();

const STARTABLE: readonly ObservedContainer['state'][] = ['created', 'exited', 'running', 'restarting'];

/**
 * With `restart = "manual"`: the definition is the one that is applied, the container runs, and it has the ports that it
 * shall have; so what differs comes from settings, a new agent, or a label that somebody edited.
 */
function isCosmeticDrift(
  facts: Facts,
  { service, digest }: DesiredService,
  component: Component,
  container: ObservedContainer,
): boolean {
  if (service.deploy?.restart !== 'manual' || container.state !== 'running') return false;
  if (appliedOf(facts, service.name)?.digest !== digest) return false;
  const wanted = specOf(facts, service, component);
  return (
    container.image === wanted.image &&
    component.routes.every((route) => container.identity?.leases[route.name] === wanted.leases[route.name])
  );
}
