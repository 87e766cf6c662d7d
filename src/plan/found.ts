import type { DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { driftOf } from './drift.ts';
import type { Facts } from './facts.ts';
import { specOf } from './spec.ts';
import type { Standing } from './standing.ts';

/** Why containers of a definition that is applied are made or started again. */
export interface Found {
  /** What somebody or something else did to them. */
  readonly drift?: string;
  /** Nobody touched them, and they are not as they would be made now. */
  readonly outdated?: { readonly what: string; readonly by: NonNullable<Because['by']> };
}

/** What became of the containers, as it was found; drift comes first, for it is what a person has to hear of. */
export function foundIn(facts: Facts, desired: DesiredService, standings: readonly Standing[]): Found {
  const drift = standings.flatMap(driftIn);
  if (drift.length > 0) return { drift: drift.join(', ') };
  const outdated = standings.flatMap((standing) => outdatedIn(facts, desired, standing));
  const [first] = outdated;
  if (first === undefined) return {};
  return { outdated: { what: outdated.map(({ what }) => what).join(', '), by: first.by } };
}

function driftIn(standing: Standing): string[] {
  const { component, current, outdated, drift = [] } = standing;
  const name = component.container;
  if (outdated !== undefined)
    return drift.length === 0
      ? []
      : [`container ${name} was changed by hand: ${drift.map(({ what }) => what).join(', ')}`];
  if (isGoingOn(standing)) return [];
  if (current === undefined) return [renamed(standing) ?? `container ${name} is missing`];
  return current.state === 'running' ? [] : [`container ${name} is ${current.state}`];
}

/** Set aside by this agent, with its successor made: a stop that took long, or a crash, lies between the passes. */
function isGoingOn({ component, current, outdated, staged, predecessors }: Standing): boolean {
  return (
    current === undefined &&
    outdated === undefined &&
    staged !== undefined &&
    [staged, ...predecessors].every((one) => isNameOfOurs(component.container, one)) &&
    predecessors.length > 0
  );
}

/** Something else has them by now, and others were leased instead. */
function lostPorts({ identity }: ObservedContainer, leases: Readonly<Record<string, number>>): number[] {
  return Object.entries(identity?.leases ?? {}).flatMap(([route, port]) =>
    leases[route] === undefined || leases[route] === port ? [] : [port],
  );
}

/** It is ours by its labels, and has a name that this agent never gives: somebody renamed it. */
function renamed({ component, staged, predecessors, abandoned }: Standing): string | undefined {
  const others = [...(staged === undefined ? [] : [staged]), ...predecessors, ...abandoned];
  const found = others.find((container) => !isNameOfOurs(component.container, container));
  if (found === undefined) return undefined;
  const what = `container ${component.container} (${found.id.slice(0, 12)}) was renamed to ${found.name}`;
  return found === staged ? what : `${what}, and is not as it was made`;
}

function isNameOfOurs(name: string, container: ObservedContainer): boolean {
  return container.name.startsWith(`${name}.`) && /\.(prev|next)-[0-9a-f]{8}$/.test(container.name);
}

function outdatedIn(
  facts: Facts,
  { service }: DesiredService,
  standing: Standing,
): NonNullable<Found['outdated']>[] {
  const { component, outdated } = standing;
  const { engine } = facts.observed;
  if (isGoingOn(standing))
    return [
      { what: `container ${component.container} was set aside, and its successor follows`, by: 'agent' },
    ];
  if (outdated === undefined || !engine.known) return [];
  const spec = specOf(facts, service, component);
  const lost = lostPorts(outdated, spec.leases);
  const name = component.container;
  if (lost.length > 0)
    return [
      { what: `container ${name} gets another port: ${lost.join(', ')} is not free any more`, by: 'agent' },
    ];
  const told = driftOf(spec, outdated, engine.value.kind).map(({ what }) => what);
  const differences = told.length === 0 ? '' : `: ${told.join(', ')}`;
  const what = `container ${name} is not as this agent makes it now${differences}`;
  return [{ what, by: 'settings' }];
}
