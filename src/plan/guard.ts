import type { Desired } from '../definitions/types.ts';
import type { Commit } from '../source/types.ts';
import type { Promised } from '../registry/types.ts';
import { appliedOf, desiredOf, ours, oursOf, recordedEdges, recordedServices, type Facts } from './facts.ts';
import { appliedByService, filesByService } from './lists.ts';
import { isUp } from './swap.ts';
import type { Refused, Waiting } from './types.ts';

export interface Verdict {
  /** Services that may be removed now. */
  readonly removed: readonly string[];
  /** Inactive services that still run and may not be stopped. */
  readonly kept: readonly string[];
  readonly refused: readonly Refused[];
  /** Services without a definition that are left running on purpose. */
  readonly orphans: readonly Waiting[];
}

/** What goes, as far as the definitions say so. */
interface Going {
  readonly removals: readonly string[];
  readonly stops: readonly string[];
}

/** The services that may go: named by a trailer of a commit, now or before, or by `removals.toml`. */
export function removableServices(desired: Desired, named: readonly string[] = []): string[] {
  return [...new Set([...named, ...namedBy([desired.commit]), ...desired.removals])].sort();
}

/**
 * Names that trailers of the new commits give, and those of earlier ones that were not used yet: a name stands until its
 * service is gone, or is wanted again. All commits of accepted..new count, not the head alone: who merges adds a commit.
 */
export function namedServices(
  commits: readonly Pick<Commit, 'message'>[],
  desired: Desired,
  promised: Promised,
): string[] {
  const recorded = new Set([
    ...recordedServices(promised),
    ...(promised.orphans ?? []).map((orphan) => orphan.service),
    // Whoever names a service for its home node names it for its edges.
    ...recordedEdges(promised).flatMap((name) => [name, name.split('@')[0] ?? name]),
  ]);
  const wanted = new Set(desired.services.filter((d) => d.service.active).map((d) => d.service.name));
  return [...new Set([...(promised.named ?? []), ...namedBy(commits)])]
    .filter((name) => recorded.has(name) && !wanted.has(name))
    .sort();
}

/** `Remove-Services: a, b`, anywhere in the message: a squash puts the trailers of its commits in the middle. */
function namedBy(commits: readonly Pick<Commit, 'message'>[]): string[] {
  return commits
    .flatMap(({ message }) => message.split('\n'))
    .flatMap((line) => /^Remove-Services:(.*)$/i.exec(line.trim())?.[1]?.split(',') ?? [])
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/**
 * The budget (L31, G7): of the recorded services that would be stopped, moved away or removed at once, none is when they
 * are more than the settings allow, unless each is named. Protected ones never go; nothing in git switches that off.
 */
export function judge(facts: Facts): Verdict {
  const { settings, promised } = facts;
  const going = goingOf(facts);
  const orphans = orphansOf(facts);
  const removals = [...going.removals, ...orphans.ripe].sort();
  const left = removals.filter((name) => !isNamed(facts, name) && leaves(promised, name));
  const isProtected = (name: string): boolean => settings.protect.includes(name);
  const refused: Refused[] = [...removals, ...going.stops].filter(isProtected).map((service) => ({
    service,
    why: `the settings of this node protect it: it is never ${going.stops.includes(service) ? 'stopped' : 'removed'}, only replaced`,
    hint: 'Bring its definition back, or take it off [policy] protect on the node.',
  }));
  const free = (name: string): boolean => !isProtected(name) && !left.includes(name);
  const [toRemove, toStop] = [removals.filter(free), going.stops.filter(free)];
  const unnamed = {
    removals: toRemove.filter((name) => !isNamed(facts, name)),
    stops: toStop.filter((name) => !isNamed(facts, name)),
  };
  const objections = objectionsTo(facts, unnamed);
  const kept = [...refused, ...objections].map(({ service }) => service);
  return {
    removed: toRemove.filter((name) => !kept.includes(name)),
    kept: going.stops.filter((name) => kept.includes(name)),
    refused: [...refused, ...objections],
    orphans: [...orphans.young, ...left.filter((name) => !isProtected(name)).map(leftBehind)],
  };
}

/** Services that were brought into line here, or whose containers are here: new ones of the same commit make no budget. */
function standingServices(facts: Facts): Set<string> {
  return new Set([
    ...facts.promised.applied.map((applied) => applied.service.name),
    ...ours(facts).flatMap(({ identity }) => identity?.service ?? []),
  ]);
}

/**
 * Whether a service that goes spends of the budget. Ports are leased when a container is about to be made: a list that hides it does
 * not make its service one that was never here (L34).
 */
function isLoss({ promised }: Facts, standing: ReadonlySet<string>): (name: string) => boolean {
  const leased = new Set(promised.leases.map(({ service }) => service));
  return (name) => standing.has(name) || leased.has(name);
}

function allowance({ settings }: Facts, standing: ReadonlySet<string>): number {
  return Math.max(1, Math.floor(standing.size * settings.budgetShare));
}

/** What a change spends of the budget: services that would go without being named, how many may, and of how many. */
export function budgetOf(facts: Facts): {
  readonly spent: readonly string[];
  readonly named: readonly string[];
  readonly allowed: number;
  readonly of: number;
} {
  const { removals, stops } = goingOf(facts);
  const standing = standingServices(facts);
  const going = [...removals, ...stops]
    .filter((name) => isLoss(facts, standing)(name) && !leaves(facts.promised, name))
    .sort();
  return {
    spent: going.filter((name) => !isNamed(facts, name)),
    named: going.filter((name) => isNamed(facts, name)),
    allowed: allowance(facts, standing),
    of: standing.size,
  };
}

function goingOf(facts: Facts): Going {
  const { desired, promised } = facts;
  const removals = recordedServices(promised).filter(
    (name) => !desired.refused.includes(name) && desiredOf(facts, name) === undefined,
  );
  const stops = desired.services
    .filter(({ service }) => !service.active && service.paused !== true)
    .map(({ service }) => service.name)
    .filter((name) => appliedOf(facts, name)?.state === 'running' || oursOf(facts, name).some(isUp));
  return { removals, stops };
}

function objectionsTo(facts: Facts, { removals, stops }: Going): Refused[] {
  const { desired, promised } = facts;
  const waits = (why: string, hint: string): Refused[] => removals.map((service) => ({ service, why, hint }));
  const names = [...removals, ...stops];
  if (names.length === 0) return [];
  const hint = hintToName(names);
  if (promised.lostAt !== undefined && promised.lostAt === desired.commit.oid) {
    const why =
      'the registry was lost, and the file beside it too: nothing is stopped or removed under this commit';
    return names.map((service) => ({ service, why, hint: 'It goes on with the next commit.' }));
  }
  const standing = standingServices(facts);
  const budget = allowance(facts, standing);
  const count = names.filter(isLoss(facts, standing)).length;
  if (count > budget) {
    const what = stops.length === 0 ? 'removed' : removals.length === 0 ? 'stopped' : 'stopped or removed';
    const { size } = new Set([...standing, ...names.filter(isLoss(facts, standing))]);
    const why = `${count} of ${size} services would be ${what} at once, and the budget is ${budget}: none is`;
    return names.map((service) => ({ service, why, hint }));
  }
  if (desired.unreadable) {
    return waits(
      'it is no longer in the repository, but removals wait while any definition of this node is unreadable',
      'Mend the definitions with issues first.',
    );
  }
  if (desired.services.length === 0 && desired.refused.length === 0) {
    return waits(
      'the repository holds no definition for this node any more: nothing is removed without being named',
      hint,
    );
  }
  return [];
}

/** As many names as a line of a commit's message takes. */
const NAMES_A_LINE = 20;

/** Whole lines for the end of a commit's message: several trailers of one name count together. */
export function trailersFor(names: readonly string[]): string[] {
  return Array.from({ length: Math.ceil(names.length / NAMES_A_LINE) }, (_, at) => {
    const some = names.slice(at * NAMES_A_LINE, (at + 1) * NAMES_A_LINE);
    return `Remove-Services: ${some.join(', ')}`;
  });
}

/** How to have services go that the budget keeps. */
export function hintToName(names: readonly string[]): string {
  const [first = ''] = trailersFor(names);
  // Each of them is told this: hundreds of names hundreds of times help nobody.
  if (names.length > NAMES_A_LINE)
    return `If it is meant, push a commit with trailers that name all ${names.length}, so many a line as you like ("Remove-Services: a, b"): mc-gitops plan prints them; or name them in removals.toml.`;
  return `If it is meant, push a commit with the trailer "${first}", or name them in removals.toml.`;
}

function isNamed(facts: Facts, service: string): boolean {
  return facts.settings.removable.includes(service);
}

/** `prune = false`: what its last file said counts, although it is gone (L47). */
function leaves(promised: Promised, service: string): boolean {
  const file = filesByService(promised.files).get(service)?.[0];
  const applied = appliedByService(promised.applied).get(service)?.[0];
  return (file === undefined ? applied?.service.prune : file.prune) === false;
}

function leftBehind(service: string): Waiting {
  return {
    service,
    for: 'orphan',
    why: 'its definition is gone, and prune = false leaves it running',
    hint: `Bring its definition back, or have it removed: a commit with the trailer "Remove-Services: ${service}".`,
  };
}

/**
 * Ours by label, of services that neither git nor the registry knew: taken in first, and removed under a later commit at
 * the earliest, within the budget. What nobody remembers is not removed at first sight (L34).
 */
function orphansOf(facts: Facts): { ripe: string[]; young: Waiting[] } {
  const { desired, promised } = facts;
  const isWanted = (name: string): boolean =>
    desired.refused.includes(name) || desiredOf(facts, name) !== undefined;
  const recorded = new Set(recordedServices(promised));
  const labelled = ours(facts).flatMap(({ identity }) => identity?.service ?? []);
  const names = [...new Set([...labelled, ...(promised.orphans ?? []).map((orphan) => orphan.service)])]
    .filter((name) => !isWanted(name) && !recorded.has(name))
    .sort();
  const taken = (name: string): string | undefined =>
    promised.orphans?.find((orphan) => orphan.service === name)?.commit;
  const isRipe = (name: string): boolean => {
    const since = taken(name);
    return since !== undefined && since !== desired.commit.oid;
  };
  return {
    ripe: names.filter(isRipe),
    young: names
      .filter((name) => !isRipe(name))
      .map((service) => ({
        service,
        for: 'orphan',
        why: 'its containers carry our labels, but neither git nor the registry knows it: it is left alone under this commit, and goes with a later one within the budget',
        hint: 'Add its definition to the repository to keep it; to be rid of it at once, remove its containers by hand.',
      })),
  };
}
