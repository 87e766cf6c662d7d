import type { Known } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import type { Desired, DesiredService, Route } from '../definitions/types.ts';
import type { Observed, ObservedContainer, ProxyFacts } from '../node/types.ts';
import type { Plan } from '../plan/types.ts';
import type { Applied, PassRecord, Promised, StepRecord } from '../registry/types.ts';
import type { SourceHealth } from '../source/types.ts';
import type { ContainerView, RouteView, ServiceState, ServiceView, View } from './types.ts';

export interface ViewInput {
  readonly node: string;
  readonly owner: string;
  readonly version: string;
  readonly startedAt: number;
  readonly sourceUrl: string;
  readonly source: SourceHealth;
  readonly proxyDriver: string;
  readonly idle?: { readonly why: string; readonly hint?: string };
  /** What the last pass saw; absent before the first one. */
  readonly seen?: {
    readonly at: number;
    readonly desired: Desired;
    readonly promised: Promised;
    readonly observed: Observed;
    readonly plan: Plan;
  };
  /** Newest first. */
  readonly passes: readonly PassRecord[];
  readonly history: (service: string) => StepRecord | undefined;
}

type Seen = NonNullable<ViewInput['seen']>;

/** What is so and why, from the last pass. Built field by field: what is not named here is never shown. */
export function makeView(input: ViewInput): View {
  const { seen } = input;
  return {
    node: input.node,
    owner: input.owner,
    version: input.version,
    startedAt: input.startedAt,
    ...(seen === undefined ? {} : { at: seen.at }),
    ...(input.idle === undefined ? {} : { idle: clean(input.idle) }),
    ...(seen === undefined ? {} : { commit: commitOf(seen.desired) }),
    source: {
      url: input.sourceUrl,
      ...input.source,
      ...(input.source.why === undefined ? {} : { why: redact(input.source.why) }),
    },
    engine: engineOf(seen),
    proxy: proxyOf(input.proxyDriver, seen?.observed.proxy),
    services:
      seen === undefined ? [] : names(seen).map((name) => serviceView(name, seen, input.history(name))),
    issues: seen?.desired.issues ?? [],
    foreign: seen === undefined ? [] : foreignOf(seen.observed, input.owner),
    passes: input.passes,
  };
}

function commitOf(desired: Desired): NonNullable<View['commit']> {
  const { oid, author, at, message } = desired.commit;
  return { oid, author, at, message: message.split('\n')[0] ?? '' };
}

function engineOf(seen: Seen | undefined): View['engine'] {
  if (seen === undefined) return { why: 'not looked at yet' };
  const { engine } = seen.observed;
  return engine.known
    ? { kind: engine.value.kind, version: engine.value.version }
    : { why: redact(engine.why) };
}

function proxyOf(driver: string, proxy: Known<ProxyFacts> | undefined): View['proxy'] {
  if (driver === 'none') return { driver: 'none' };
  if (proxy === undefined) return { driver, routes: 0, serving: false, why: 'not looked at yet' };
  if (!proxy.known) return { driver, routes: 0, serving: false, why: redact(proxy.why) };
  const { live, table } = proxy.value;
  return {
    driver,
    routes: table.length,
    serving: live.known,
    ...(live.known ? {} : { why: redact(live.why) }),
  };
}

function names(seen: Seen): string[] {
  const { desired, promised, plan } = seen;
  return [
    ...new Set([
      ...desired.services.map((entry) => entry.service.name),
      ...desired.refused,
      ...promised.applied.map((entry) => entry.service.name),
      ...promised.files.map((entry) => entry.service),
      ...plan.waiting.map((entry) => entry.service),
      ...plan.refused.map((entry) => entry.service),
    ]),
  ].sort();
}

function serviceView(name: string, seen: Seen, last: StepRecord | undefined): ServiceView {
  const { desired, promised, observed, plan } = seen;
  const wanted = desired.services.find((entry) => entry.service.name === name);
  const applied = promised.applied.find((entry) => entry.service.name === name);
  const failure = promised.failures.find((entry) => entry.service === name);
  const file = wanted?.file ?? applied?.file ?? promised.files.find((entry) => entry.service === name)?.file;
  return {
    name,
    ...(file === undefined ? {} : { file }),
    state: stateOf(name, seen, wanted, applied),
    ...(wanted === undefined ? {} : { desired: desiredOf(wanted) }),
    ...(applied === undefined ? {} : { applied: appliedOf(applied) }),
    observed: containersOf(name, observed).map((container) => containerView(container, observed)),
    ports: promised.leases
      .filter((lease) => lease.service === name)
      .map(({ component, route, port }) => ({ component, route, port })),
    routes: (wanted?.service.components ?? []).flatMap((component) =>
      component.routes.map((route) => routeView(route, observed)),
    ),
    waiting: plan.waiting.filter((entry) => entry.service === name).map(clean),
    refused: plan.refused.filter((entry) => entry.service === name).map(clean),
    issues: desired.issues.filter(
      (issue) => issue.service === name || (file !== undefined && issue.file === file),
    ),
    ...(last === undefined
      ? {}
      : { lastReason: { ...last.because, step: `${last.kind} ${last.subject}`, at: last.startedAt } }),
    ...(failure === undefined
      ? {}
      : {
          lastError: clean({
            why: failure.why,
            at: failure.lastAt,
            ...(failure.hint === undefined ? {} : { hint: failure.hint }),
          }),
        }),
  };
}

function stateOf(
  name: string,
  seen: Seen,
  wanted: DesiredService | undefined,
  applied: Applied | undefined,
): ServiceState {
  const { plan, observed, desired } = seen;
  const of = (entry: { service: string }): boolean => entry.service === name;
  if (!observed.engine.known) return 'unknown';
  if (plan.refused.some(of) || desired.refused.includes(name)) return 'refused';
  if (wanted === undefined) return 'removing';
  if (wanted.heldBack) return 'held back';
  if (plan.steps.some(of)) return 'changing';
  const waits = plan.waiting.filter((entry) => of(entry) && entry.for !== 'proved');
  if (waits.length > 0) return applied?.digest === wanted.digest ? 'degraded' : 'waiting';
  if (!wanted.service.active) return 'stopped';
  return applied?.digest === wanted.digest ? 'converged' : 'changing';
}

function desiredOf({
  service,
  commit,
  digest,
  heldBack,
}: DesiredService): NonNullable<ServiceView['desired']> {
  return {
    active: service.active,
    commit,
    digest,
    heldBack,
    images: service.components.map((c) => c.image.reference),
  };
}

function appliedOf({
  service,
  state,
  commit,
  digest,
  appliedAt,
}: Applied): NonNullable<ServiceView['applied']> {
  return { state, commit, digest, at: appliedAt, images: service.components.map((c) => c.image.reference) };
}

function containersOf(service: string, observed: Observed): ObservedContainer[] {
  return observed.engine.known
    ? observed.engine.value.containers.filter((container) => container.identity?.service === service)
    : [];
}

function containerView(container: ObservedContainer, observed: Observed): ContainerView {
  const probe = observed.probes[container.id];
  return {
    name: container.name,
    component: container.identity?.component ?? '',
    image: container.image,
    state: container.state,
    ...(container.startedAt === undefined ? {} : { since: container.startedAt }),
    restarts: container.restartCount,
    ...(probe === undefined ? {} : { ready: probe.kind === 'ready' }),
  };
}

function routeView(route: Route, observed: Observed): RouteView {
  const { hostname, port, mode } = route;
  const facts = observed.proxy.known ? observed.proxy.value : undefined;
  const matches = (entry: { hostname: string; listenerPort: number }): boolean =>
    entry.hostname === hostname && entry.listenerPort === port;
  const written = facts?.table.find(matches);
  const certificate = observed.certificates[hostname];
  return {
    hostname,
    port,
    mode,
    ...(written === undefined ? {} : { backend: written.backend }),
    served:
      facts?.live.known === true &&
      facts.live.value.some((entry) => matches(entry) && entry.backend === written?.backend),
    ...(mode === 'l7' && certificate?.kind === 'valid' ? { notAfter: certificate.notAfter } : {}),
  };
}

function foreignOf(observed: Observed, owner: string): View['foreign'] {
  if (!observed.engine.known) return [];
  return observed.engine.value.containers
    .filter((container) => container.identity?.owner !== owner)
    .map(({ name, image, state }) => ({ name, image, state }));
}

function clean<T extends { readonly why: string; readonly hint?: string }>(entry: T): T {
  return {
    ...entry,
    why: redact(entry.why),
    ...(entry.hint === undefined ? {} : { hint: redact(entry.hint) }),
  };
}
