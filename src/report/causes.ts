import { createHash } from 'node:crypto';
import { redact } from '../base/secret.ts';
import type { Desired, DesiredService } from '../definitions/types.ts';
import type { StepResult } from '../execute/types.ts';
import type { ImageFailure, ImageState } from '../node/images/state.ts';
import type { Observed, ObservedRoute } from '../node/types.ts';
import type { Plan, StepKind } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';
import type { SourceHealth } from '../source/types.ts';
import { expiring } from './expiry.ts';
import { withoutNumbers } from './told.ts';

type NoticeKind =
  | 'held back'
  | 'returned'
  | 'drift repaired'
  | 'source unreachable'
  | 'refused'
  | 'flapping'
  | 'degraded'
  | 'unpushed'
  | 'image'
  | 'certificate'
  | 'engine unreachable';

/** Why somebody should be told. */
export interface Cause {
  /** Stays the same as long as it is the same cause. */
  readonly key: string;
  readonly kind: NoticeKind;
  readonly service?: string;
  readonly text: string;
  readonly hint?: string;
  /** It has been so since; absent: since it was seen first. */
  readonly since?: number;
  /** So long it has to last before it is told: what mends itself at once wakes nobody. */
  readonly afterMs: number;
}

/** What happens and is over is one cause for so long: a service that is repaired every minute is told once. */
export const LINGER_MS = 10 * 60_000;
const ENGINE_AFTER_MS = 60_000;
/** As long as an order may take by itself ([certs] acme_timeout_s). */
const ORDER_AFTER_MS = 300_000;

export interface CauseInput {
  readonly seen?: {
    readonly desired: Desired;
    /** Before the pass did anything. */
    readonly promised: Promised;
    readonly observed: Observed;
    readonly plan: Plan;
  };
  readonly results: readonly StepResult[];
  /** Services of whose failed version the last lines are kept; absent: none. */
  readonly printed?: ReadonlySet<string>;
  readonly source: SourceHealth;
  readonly idle?: { readonly why: string; readonly hint?: string };
}

export interface CauseLimits {
  readonly sourceAfterMs: number;
  readonly degradedAfterMs: number;
}

/** Everything worth a notice in what a pass saw and did. Pure; sorted by key. */
export function causesOf(input: CauseInput, limits: CauseLimits): Cause[] {
  const { seen } = input;
  return [
    ...sourceCauses(input, limits),
    ...(seen === undefined
      ? []
      : [
          ...engineCauses(seen.observed),
          ...heldBack(seen.desired),
          ...gaveWay(seen.promised, input.printed),
          ...refused(seen.plan),
          ...withoutTwice([...waiting(seen, limits), ...untaken(seen, input.results, limits)]),
          ...unmade(seen, limits),
          ...expiring(seen.desired.services, seen.observed),
          ...repaired(seen, input.results),
        ]),
  ].sort((a, b) => (a.key < b.key ? -1 : 1));
}

type Seen = NonNullable<CauseInput['seen']>;

function sourceCauses({ source, idle }: CauseInput, { sourceAfterMs }: CauseLimits): Cause[] {
  const causes: Cause[] = [];
  if (!source.reachable && source.since !== undefined)
    causes.push({
      ...{ key: 'source', kind: 'source unreachable', since: source.since, afterMs: sourceAfterMs },
      text: `the definitions repository does not answer: ${redact(source.why ?? 'no reason given')}`,
      hint: 'What runs goes on running, and is healed from the last accepted commit.',
    });
  else if (idle !== undefined)
    causes.push({
      ...{ key: 'source idle', kind: 'source unreachable', afterMs: ENGINE_AFTER_MS },
      text: `nothing new is taken from git: ${redact(idle.why)}`,
      ...(idle.hint === undefined ? {} : { hint: redact(idle.hint) }),
    });
  return causes;
}

function engineCauses({ engine }: Observed): Cause[] {
  if (engine.known) return [];
  return [
    {
      ...{ key: 'engine', kind: 'engine unreachable', afterMs: ENGINE_AFTER_MS },
      text: `the container engine does not answer: ${redact(engine.why)}`,
      hint: 'What runs goes on running, but nothing is healed.',
    },
  ];
}

function heldBack({ services, refused: unusable, issues }: Desired): Cause[] {
  const names = [
    ...services.filter((entry) => entry.heldBack).map(({ service }) => service.name),
    ...unusable,
  ];
  return names.map((service): Cause => {
    const issue = issues.find((entry) => entry.service === service && entry.severity === 'error');
    const state = unusable.includes(service)
      ? 'it has no good state to fall back on'
      : 'its last good state stays';
    const why =
      issue === undefined
        ? 'its newest definition cannot be used'
        : `${issue.file}:${issue.line}:${issue.column} ${redact(issue.message)}`;
    return {
      ...{ key: `held back ${service}`, kind: 'held back', service, afterMs: 0 },
      text: `${service} is held back: ${why}; ${state}`,
      ...(issue === undefined ? {} : { hint: redact(issue.hint) }),
    };
  });
}

/** A version that was not proved: it is on its way back, or held back until git changes its service. */
function gaveWay({ trials }: Promised, printed: ReadonlySet<string> = new Set()): Cause[] {
  return trials.flatMap(({ service, digest, phase, why }): Cause[] => {
    const because = why === undefined ? '' : `: ${redact(why)}`;
    const of = { service, afterMs: 0 };
    const where = printed.has(service) ? [`\`mc-gitops status ${service}\` has what it printed last.`] : [];
    if (phase === 'returning')
      return [
        {
          ...{ key: `returned ${service} ${digest}`, kind: 'returned', ...of },
          text: `${service} returns to its last proved version${because}`,
          ...(where.length === 0 ? {} : { hint: where.join('') }),
        },
      ];
    if (phase !== 'held back') return [];
    return [
      {
        ...{ key: `held back ${service} ${digest}`, kind: 'held back', ...of },
        text: `a version of ${service} was not proved and is held back${because}`,
        hint: [
          ...where,
          'Push a changed definition, or raise `generation` to have the same one tried again.',
        ].join(' '),
      },
    ];
  });
}

/** Services that are refused for one reason (the removal budget) are one cause. */
function refused({ refused: entries }: Plan): Cause[] {
  const groups = new Map<string, Plan['refused'][number][]>();
  for (const entry of entries) groups.set(entry.why, [...(groups.get(entry.why) ?? []), entry]);
  return [...groups].map(([why, group]): Cause => {
    const services = group.map(({ service }) => service).sort();
    const only = services.length === 1 ? services[0] : undefined;
    // How many services there are by now makes it no other cause.
    const digest = createHash('sha256').update(withoutNumbers(why)).digest('hex').slice(0, 12);
    return {
      ...{ key: `refused ${services.join(',')} ${digest}`, kind: 'refused', afterMs: 0 },
      ...(only === undefined ? {} : { service: only }),
      text: `${services.join(', ')}: refused: ${redact(why)}`,
      hint: redact(group[0]?.hint ?? ''),
    };
  });
}

/** Nothing but orders under way: what comes of them is soon known, and is worth more than that they go on. */
function isOrdered(name: string, { services }: Desired, { certificates }: Observed): boolean {
  const own = services.find(({ service }) => service.name === name)?.service.components ?? [];
  const states = own.flatMap(({ routes }) =>
    routes.flatMap(({ hostname }) => certificates[hostname]?.kind ?? []),
  );
  const missing = states.filter((kind) => kind !== 'valid');
  return missing.length > 0 && missing.every((kind) => kind === 'ordered');
}

function waiting({ desired, promised, plan, observed }: Seen, { degradedAfterMs }: CauseLimits): Cause[] {
  // The engine has a notice of its own.
  if (!observed.engine.known) return [];
  const causes = new Map<string, Cause>();
  const ofAll = wholeNode(observed);
  for (const { service, for: what, why, hint } of plan.waiting) {
    if (ofAll.has(why) && isInLine(service, desired, promised)) {
      const key = `degraded ${what}: ${why}`;
      const names = plan.waiting.filter((one) => one.why === why).map((one) => one.service);
      causes.set(key, {
        ...{ key, kind: 'degraded', afterMs: degradedAfterMs },
        text: `${redact(why)}: ${namedOf(names)}`,
        ...(hint === undefined ? {} : { hint: redact(hint) }),
      });
      continue;
    }
    const words = hint === undefined ? {} : { hint: redact(hint) };
    if (what === 'flapping')
      causes.set(`flapping ${service}`, {
        ...{ key: `flapping ${service}`, kind: 'flapping', service, afterMs: 0, ...words },
        text: `${service} is flapping: ${redact(why)}`,
      });
    else if (what === 'certificate' && !isInLine(service, desired, promised))
      causes.set(`certificate ${service}`, {
        ...{
          key: `certificate ${service}`,
          kind: 'certificate',
          service,
          afterMs: isOrdered(service, desired, observed) ? ORDER_AFTER_MS : degradedAfterMs,
          ...words,
        },
        text: `${service} waits for its certificate: ${redact(why)}`,
      });
    // Nothing is wrong with the service; but other nodes may wait for the image.
    else if (what === 'image push')
      causes.set(`unpushed ${service}`, {
        ...{ key: `unpushed ${service}`, kind: 'unpushed', service, afterMs: degradedAfterMs, ...words },
        text: `an image of ${service} is not in its registry, and it runs from the local one: ${redact(why)}`,
      });
    else if (what === 'dns' && isGoing(service, desired, promised))
      causes.set(`degraded ${service}`, {
        ...{ key: `degraded ${service}`, kind: 'degraded', service, afterMs: degradedAfterMs, ...words },
        text: `${service} is not removed yet: ${redact(why)}`,
      });
    else if (what !== 'proved' && what !== 'orphan' && isInLine(service, desired, promised))
      causes.set(`degraded ${service}`, {
        ...{ key: `degraded ${service}`, kind: 'degraded', service, afterMs: degradedAfterMs, ...words },
        text: `${service} is degraded: it waits for ${what}: ${redact(why)}`,
      });
  }
  return [...causes.values()];
}

/** What is down for all services at once is one cause, however many there are. */
function wholeNode({ proxy, dns }: Observed): ReadonlySet<string> {
  const seen = Object.values(dns?.names ?? {}).flatMap((name) => ('zone' in name ? name.servers : []));
  return new Set([
    ...(proxy.known ? [] : [proxy.why]),
    ...(proxy.known && !proxy.value.live.known ? [proxy.value.live.why] : []),
    ...seen.flatMap(({ seen: at }) => (at.known ? [] : [at.why])),
  ]);
}

const MAX_NAMED = 8;

function namedOf(services: readonly string[]): string {
  const all = [...new Set(services)].sort();
  const more = all.length > MAX_NAMED ? ` and ${all.length - MAX_NAMED} more` : '';
  return `${all.slice(0, MAX_NAMED).join(', ')}${more} ${all.length === 1 ? 'waits' : 'wait'} for it`;
}

/**
 * What is waited for is tried again by a step, and nothing is waited for in that pass: one that was not taken, as by a name server
 * that refuses, is the same trouble, and not another one with each try.
 */
function untaken(
  { desired, promised }: Seen,
  results: readonly StepResult[],
  { degradedAfterMs }: CauseLimits,
): Cause[] {
  return results.flatMap(({ step: { service, kind, subject }, outcome }): Cause[] => {
    if (outcome.kind === 'ok' || !isInLine(service, desired, promised)) return [];
    return [
      {
        ...{ key: `degraded ${service}`, kind: 'degraded', service, afterMs: degradedAfterMs },
        text: `${service} is degraded: ${kind} ${subject}: ${redact(outcome.why)}`,
        ...(outcome.hint === undefined ? {} : { hint: redact(outcome.hint) }),
      },
    ];
  });
}

function withoutTwice(causes: readonly Cause[]): Cause[] {
  const first = new Map<string, Cause>();
  for (const cause of causes) if (!first.has(cause.key)) first.set(cause.key, cause);
  return [...first.values()];
}

/**
 * An image without which a new service or a new version does not even begin: nothing else would be heard of it. One that was
 * brought into line before is degraded, and a tag that was moved is refused: both are told as such.
 */
function unmade({ desired, promised, observed }: Seen, { degradedAfterMs }: CauseLimits): Cause[] {
  if (!observed.engine.known) return [];
  const causes = new Map<string, Cause>();
  for (const { service } of desired.services) {
    const isConcerned =
      service.active && service.paused !== true && !isInLine(service.name, desired, promised);
    for (const { image } of isConcerned ? service.components : []) {
      const failed = troubleOf(observed.images[image.reference]);
      if (failed === undefined) continue;
      const key = `image ${service.name} ${image.reference}`;
      causes.set(key, {
        ...{ key, kind: 'image', service: service.name },
        text: `image ${image.reference} of ${service.name} cannot be had: ${redact(failed.why)}`,
        ...(failed.hint === undefined ? {} : { hint: redact(failed.hint) }),
        // What may be over by itself wakes nobody at once.
        afterMs: failed.passing === true ? degradedAfterMs : 0,
      });
    }
  }
  return [...causes.values()];
}

/** While a failed build is tried again it is still the same trouble. */
function troubleOf(
  state: ImageState | undefined,
): (Pick<Partial<ImageFailure>, 'hint' | 'passing'> & { readonly why: string }) | undefined {
  if (state?.kind === 'unknown') {
    const { why, hint } = state;
    return { why, passing: true, ...(hint === undefined ? {} : { hint }) };
  }
  if (state === undefined || state.kind === 'present') return undefined;
  const failed = state.kind === 'failed' ? state : state.failed;
  return failed?.moved === true ? undefined : failed;
}

const ROUTE_REPAIRS: readonly StepKind[] = ['put-routes', 'remove-routes'];
const CONTAINER_REPAIRS: readonly StepKind[] = ['create-container', 'start-container'];

/** A step for a service whose definition is the applied one mends what somebody or something else changed. */
function repaired({ desired, promised, observed, plan }: Seen, results: readonly StepResult[]): Cause[] {
  const causes = new Map<string, Cause>();
  for (const { step, outcome } of results) {
    const { service, because } = step;
    const isRoute = ROUTE_REPAIRS.includes(step.kind);
    if (outcome.kind !== 'ok' || because.patch !== undefined) continue;
    if (!isRoute && !CONTAINER_REPAIRS.includes(step.kind)) continue;
    // A renewed certificate that the proxy takes up is no drift.
    if (step.kind === 'put-routes' && step.routes.every((route) => isRenewed(route, observed))) continue;
    // The start after a rest is told as flapping.
    const isFlapping = plan.waiting.some((entry) => entry.service === service && entry.for === 'flapping');
    if (!isRoute && isFlapping) continue;
    // Whoever was told of a container has not heard of a route.
    const key = `drift ${service}${isRoute ? ' routes' : ''}`;
    if (!isInLine(service, desired, promised) || causes.has(key)) continue;
    causes.set(key, {
      ...{ key, kind: 'drift repaired', service, afterMs: 0 },
      text: `${service} was repaired: ${redact(because.summary)} (${step.kind} ${step.subject})`,
    });
  }
  return [...causes.values()];
}

function isRenewed(route: ObservedRoute, { proxy }: Observed): boolean {
  if (!proxy.known) return false;
  const { table, stale = [] } = proxy.value;
  const isSame = (one: { readonly hostname: string; readonly listenerPort: number }): boolean =>
    one.hostname === route.hostname && one.listenerPort === route.listenerPort;
  return (
    stale.some((one) => isSame(one) && one.why === undefined) &&
    table.some((one) => isSame(one) && one.backend === route.backend && one.mode === route.mode)
  );
}

/** Its definition is gone, and what it left is not. */
function isGoing(service: string, desired: Desired, promised: Promised): boolean {
  return (
    desired.services.every((entry) => entry.service.name !== service) &&
    promised.applied.some((entry) => entry.service.name === service)
  );
}

function isInLine(service: string, desired: Desired, promised: Promised): boolean {
  // Of an edge nothing is applied: it was in line when its routes stood.
  if (desired.edges?.some((edge) => edge.service.name === service && edge.active) === true)
    return promised.routes.some((route) => route.service === service);
  const wanted: DesiredService | undefined = desired.services.find((entry) => entry.service.name === service);
  const applied = promised.applied.find((entry) => entry.service.name === service);
  return wanted !== undefined && applied?.digest === wanted.digest;
}
