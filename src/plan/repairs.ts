import { digestOf } from '../base/json.ts';
import type { ObservedRoute, ProxyFacts } from '../node/types.ts';
import type { Because } from '../registry/types.ts';
import { REPAIRED } from './because.ts';
import { appliedOf, type Facts, type Fronted, type ServicePlan } from './facts.ts';
import { failuresByService, keyOf, readOnce, routesByService, tableByName } from './lists.ts';
import type { Repair, Step } from './types.ts';

/** `repairs` of a step, or nothing. */
export interface Repairs {
  readonly repairs?: Repair;
}

interface Verdict extends Repairs {
  readonly because: Because;
}

/**
 * Why routes are put: did somebody or something else change them (drift), or are they new, moved by a commit, or renewed by this agent? What
 * was written there last is in the registry; `wrong` are the wanted ones that do not stand so.
 */
export function judgePut(
  facts: Facts,
  desired: Fronted,
  wrong: readonly ObservedRoute[],
  proxy: ProxyFacts,
  because: Because,
): Verdict {
  const drifted = wrong.filter((route) => isDrift(facts, desired, route, proxy));
  const isWithoutReason = because.summary === REPAIRED || (desired.home !== undefined && drifted.length > 0);
  const told = drifted.length === 0 ? wrong : drifted;
  const given = isWithoutReason ? { ...because, summary: found(told, proxy) } : because;
  return { because: given, ...(drifted.length === 0 ? {} : { repairs: repairOf(drifted, proxy) }) };
}

/** Routes of ours that git does not have: does a commit want them away, or did nobody ever order them? */
export function judgeSurplus(
  facts: Facts,
  desired: Fronted,
  surplus: readonly ObservedRoute[],
  because: Because,
): Verdict {
  const isRecorded = surplus.some((route) => recordOf(facts, desired, route) !== undefined);
  const isDrifted =
    desired.home === undefined
      ? isSettled(facts, desired)
      : !isRecorded && recordsOf(facts, desired).length > 0;
  const summary = isDrifted
    ? `${surplus.map(keyOf).join(', ')}: our mark, and nobody ordered it`
    : 'the definition no longer has these routes';
  return { because: { ...because, summary }, ...(isDrifted ? { repairs: {} } : {}) };
}

/** Containers of a version that is applied are made or started again for what became of them; a start after a rest is told as flapping. */
export function withRepairs(
  facts: Facts,
  desired: Fronted & { readonly digest: string },
  { steps, waiting, refused }: ServicePlan,
): ServicePlan {
  const isFlapping = waiting.some((entry) => entry.for === 'flapping');
  if (isFlapping || desired.insteadOf !== undefined || !isSettled(facts, desired))
    return { steps, waiting, refused };
  const isRepair = ({ kind, because }: Step): boolean =>
    because.by === undefined && (kind === 'create-container' || kind === 'start-container');
  return { steps: steps.map((step) => (isRepair(step) ? { ...step, repairs: {} } : step)), waiting, refused };
}

/** What is planned of it is what is applied. Of an edge nothing ever is. */
export function isSettled(facts: Facts, { service, digest }: Fronted): boolean {
  return digest !== undefined && appliedOf(facts, service.name)?.digest === digest;
}

function isDrift(facts: Facts, desired: Fronted, route: ObservedRoute, proxy: ProxyFacts): boolean {
  const present = presentOf(proxy, route);
  const old = staleOf(proxy, route);
  const isAsWanted = present !== undefined && digestOf(present) === digestOf(route);
  // A renewed certificate that the proxy takes up.
  if (isAsWanted && old !== undefined && old.why === undefined) return false;
  const record = recordOf(facts, desired, route);
  const isEdge = desired.home !== undefined;
  // Of an edge nothing says that it ever stood so, but that nothing went wrong since it was written.
  const stood = isEdge
    ? record !== undefined && !failuresByService(facts.promised.failures).has(desired.service.name)
    : isSettled(facts, desired);
  if (!stood) return false;
  if (record?.written !== undefined) return record.written === digestOf(route);
  // An older agent did not write down what it wrote: at an edge another backend may be a home that has moved.
  return !isEdge || present === undefined || isAsWanted;
}

/** One cause, where all of them have the same. */
function repairOf(drifted: readonly ObservedRoute[], proxy: ProxyFacts): Repair {
  const reasons = drifted.map((route) => {
    const isThere = digestOf(presentOf(proxy, route)) === digestOf(route);
    return isThere ? staleOf(proxy, route)?.why : undefined;
  });
  const [cause] = reasons;
  return cause === undefined || reasons.some((one) => one !== cause) ? {} : { cause };
}

/** What became of routes that were in line before. */
function found(wrong: readonly ObservedRoute[], proxy: ProxyFacts): string {
  const words = wrong.map((route) => {
    const name = keyOf(route);
    const present = presentOf(proxy, route);
    if (present === undefined) return `route ${name} is missing`;
    const why = staleOf(proxy, route)?.why;
    if (digestOf(present) === digestOf(route))
      return `route ${name}: ${why ?? 'its certificate has changed since the proxy took it up'}`;
    return present.backend === route.backend
      ? `route ${name} was changed`
      : `route ${name} leads to ${present.backend} instead of ${route.backend}`;
  });
  return words.join(', ');
}

function presentOf({ table }: ProxyFacts, route: ObservedRoute): ObservedRoute | undefined {
  return tableByName(table).get(keyOf(route))?.[0];
}

type Stale = NonNullable<ProxyFacts['stale']>;

function staleOf({ stale = [] }: ProxyFacts, route: ObservedRoute): Stale[number] | undefined {
  return staleByName(stale).get(keyOf(route));
}

const staleByName = readOnce((stale: Stale) => new Map(stale.map((one) => [keyOf(one), one])));

function recordsOf({ promised }: Facts, { service }: Fronted): Facts['promised']['routes'] {
  return routesByService(promised.routes).get(service.name) ?? [];
}

function recordOf(
  facts: Facts,
  desired: Fronted,
  route: ObservedRoute,
): Facts['promised']['routes'][number] | undefined {
  return recordsOf(facts, desired).find(
    ({ hostname, port }) => hostname === route.hostname && port === route.listenerPort,
  );
}
