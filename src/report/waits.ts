import { redact } from '../base/secret.ts';
import type { Desired } from '../definitions/types.ts';
import type { StepResult } from '../execute/types.ts';
import type { ImageFailure, ImageState } from '../node/images/state.ts';
import type { Observed } from '../node/types.ts';
import type { Waiting } from '../plan/types.ts';
import { CERTIFICATES, type Cause, type CauseLimits, type Seen } from './causes.ts';
import { isGoing, isInLine, orderAt, workedOn } from './standing.ts';

/** As long as an order may take by itself ([certs] acme_timeout_s). */
const ORDER_AFTER_MS = 300_000;

/** Nothing but orders under way: what comes of them is soon known, and is worth more than that they go on. */
function isOrdered(name: string, { services }: Desired, { certificates }: Observed): boolean {
  const own = services.find(({ service }) => service.name === name)?.service.components ?? [];
  const states = own.flatMap(({ routes }) =>
    routes.flatMap(({ hostname }) => certificates[hostname]?.kind ?? []),
  );
  const missing = states.filter((kind) => kind !== 'valid');
  return missing.length > 0 && missing.every((kind) => kind === 'ordered');
}

/** What is waited for, each with the kind of notice that it is. */
export function waiting(seen: Seen, limits: CauseLimits): Cause[] {
  // The engine has a notice of its own.
  if (!seen.observed.engine.known) return [];
  const ofCa = waitsForCa(seen);
  const ofAll = wholeNode(seen.observed);
  const ofHome = waitsForHome(seen);
  const ofUs = workedOn(seen);
  const causes = new Map<string, Cause>();
  for (const wait of seen.plan.waiting) {
    // A stop may rightly take minutes: what the agent is doing itself is no trouble, and each step has an end.
    if (ofCa.has(wait) || ofHome.has(wait) || ofUs.has(wait.service)) continue;
    const cause = ofAll.has(wait.why) ? causeOfAll(wait, seen, limits) : causeOf(wait, seen, limits);
    if (cause !== undefined) causes.set(cause.key, cause);
  }
  return [...causes.values(), ...causesOfHomes(ofHome, limits), ...causeOfCa(ofCa, seen, limits)];
}

function causeOf(
  { service, for: what, why, hint }: Waiting,
  { desired, promised, observed }: Seen,
  { degradedAfterMs: afterMs }: CauseLimits,
): Cause | undefined {
  const head = { service, ...(hint === undefined ? {} : { hint: redact(hint) }) };
  const degraded = { ...head, key: `degraded ${service}`, kind: 'degraded', afterMs } as const;
  if (what === 'flapping')
    return {
      ...{ ...head, key: `flapping ${service}`, kind: 'flapping', afterMs: 0 },
      text: `${service} is flapping: ${redact(why)}`,
    };
  if (what === 'certificate' && !isInLine(service, desired, promised))
    return {
      ...{ ...head, key: `certificate ${service}`, kind: 'certificate' },
      afterMs: isOrdered(service, desired, observed) ? ORDER_AFTER_MS : afterMs,
      text: `${service} waits for its certificate: ${redact(why)}`,
    };
  // Nothing is wrong with the service; but other nodes may wait for the image.
  if (what === 'image push')
    return {
      ...{ ...head, key: `unpushed ${service}`, kind: 'unpushed', afterMs },
      text: `an image of ${service} is not in its registry, and it runs from the local one: ${redact(why)}`,
    };
  if ((what === 'dns' || what === 'retry') && isGoing(service, desired, promised))
    return { ...degraded, text: `${service} is not removed yet: ${redact(why)}` };
  if (what !== 'proved' && what !== 'orphan' && isInLine(service, desired, promised))
    return { ...degraded, text: `${service} is degraded: it waits for ${what}: ${redact(why)}` };
  return undefined;
}

function causeOfAll(wait: Waiting, seen: Seen, limits: CauseLimits): Cause | undefined {
  const { desired, promised, plan } = seen;
  const { service, for: what, why, hint } = wait;
  if (!isInLine(service, desired, promised)) return causeOf(wait, seen, limits);
  const names = plan.waiting.filter((one) => one.why === why).map((one) => one.service);
  return {
    ...{ key: `degraded ${what}: ${why}`, kind: 'degraded', afterMs: limits.degradedAfterMs },
    text: `${redact(why)}: ${namedOf(names)}`,
    ...(hint === undefined ? {} : { hint: redact(hint) }),
  };
}

/** A CA that is down, sealed or has had enough is one cause, however many certificates it does not give (L15). */
function causeOfCa(ofCa: ReadonlyMap<Waiting, string>, seen: Seen, limits: CauseLimits): Cause[] {
  const [first] = ofCa.keys();
  if (first === undefined) return [];
  const all = [...ofCa].map(([{ service }, why]) => ({ service, why }));
  const isOne = all.every(({ service }) => service === first.service);
  const only = isOne ? causeOf(first, seen, limits) : undefined;
  if (only !== undefined) return [{ ...only, key: CERTIFICATES }];
  const words = [...new Set(all.map(({ why }) => why))].map((why) => {
    const names = all.filter((one) => one.why === why).map(({ service }) => service);
    return `${redact(why)}: ${namedOf(names)}`;
  });
  return [
    {
      ...{ key: CERTIFICATES, kind: 'certificate', afterMs: limits.degradedAfterMs },
      text: `certificates: ${words.join('; ')}`,
      ...(first.hint === undefined ? {} : { hint: redact(first.hint) }),
    },
  ];
}

/** Waits for an order that failed for a reason in which its name does not occur, and the reason: any other order fails for it too. */
function waitsForCa({ desired, observed, plan }: Seen): ReadonlyMap<Waiting, string> {
  const found = new Map<Waiting, string>();
  const fronted = [...desired.services, ...(desired.edges ?? [])];
  for (const wait of plan.waiting) {
    if (wait.for !== 'certificate') continue;
    const own = fronted.find(({ service }) => service.name === wait.service)?.service.components ?? [];
    for (const { hostname } of own.flatMap(({ routes }) => routes)) {
      const order = orderAt(observed.certificates[hostname]);
      if (order?.kind !== 'failed' || order.why.includes(hostname)) continue;
      if (wait.why.includes(hostname) && wait.why.includes(order.why)) found.set(wait, order.why);
    }
  }
  return found;
}

/**
 * Waits of edges for a home node of which no route is reached, and its name: it is down, and not one of its services. Of a node with one
 * route nobody can tell which.
 */
function waitsForHome({ desired, promised, observed, plan }: Seen): ReadonlyMap<Waiting, string> {
  const found = new Map<Waiting, string>();
  const homes = new Set((desired.edges ?? []).map(({ home }) => home));
  for (const home of homes) {
    const edges = (desired.edges ?? [])
      .filter((edge) => edge.home === home && edge.active)
      .map(({ service }) => service)
      .filter(({ name }) => isInLine(name, desired, promised));
    const unreached = edges.map(({ name, components }) => {
      const routes = components.flatMap((component) => component.routes);
      const why = routes.flatMap(({ hostname, port }) => {
        const shown = observed.handshakes?.[`${hostname}:${port}`];
        return shown?.kind === 'failed' && shown.isHome === true ? [shown.why] : [];
      });
      const isWhole = why.length === routes.length;
      return isWhole
        ? plan.waiting.find((wait) => wait.service === name && why.includes(wait.why))
        : undefined;
    });
    const waits = unreached.flatMap((wait) => wait ?? []);
    if (edges.length > 1 && waits.length === edges.length) for (const wait of waits) found.set(wait, home);
  }
  return found;
}

function causesOfHomes(ofHome: ReadonlyMap<Waiting, string>, { degradedAfterMs }: CauseLimits): Cause[] {
  return [...new Set(ofHome.values())].flatMap((home): Cause[] => {
    const waits = [...ofHome].flatMap(([wait, name]) => (name === home ? [wait] : []));
    const [first] = waits;
    if (first === undefined) return [];
    const { why, hint } = first;
    return [
      {
        ...{
          key: `degraded home ${home}`,
          kind: 'degraded',
          afterMs: degradedAfterMs,
        },
        text: `node ${home} is not reached: ${redact(why)}: ${namedOf(waits.map(({ service }) => service))}`,
        ...(hint === undefined ? {} : { hint: redact(hint) }),
      },
    ];
  });
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
export function untaken(
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

/** The first of each key. */
export function withoutTwice(causes: readonly Cause[]): Cause[] {
  const first = new Map<string, Cause>();
  for (const cause of causes) if (!first.has(cause.key)) first.set(cause.key, cause);
  return [...first.values()];
}

/**
 * An image without which a new service or a new version does not even begin: nothing else would be heard of it. One that was
 * brought into line before is degraded, and a tag that was moved is refused: both are told as such.
 */
export function unmade({ desired, promised, observed }: Seen, { degradedAfterMs }: CauseLimits): Cause[] {
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
