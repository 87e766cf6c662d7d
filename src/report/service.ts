import { redact } from '../base/secret.ts';
import type { DesiredService, EdgeService, Route } from '../definitions/types.ts';
import type { Observed, ObservedContainer, ProbeState } from '../node/types.ts';
import type { Applied, Printed, StepRecord, Trial } from '../registry/types.ts';
import { endOf } from './expiry.ts';
import { imagePushed } from './pushed.ts';
import { clean, issueShown, reasonOf, resultShown } from './shown.ts';
import { strangerOf } from './strangers.ts';
import type { ContainerView, RouteView, ServiceState, ServiceView } from './types.ts';
import type { Seen } from './view.ts';
import { findingsOf, imagesOf, keyWarnings, strangeWarnings } from './warnings.ts';

/** One service in three columns that are never one: what git says, what was brought into line, what is there (L13). */
export function serviceView(
  name: string,
  seen: Seen,
  owner: string,
  last: StepRecord | undefined,
  printed?: readonly Printed[],
): ServiceView {
  const { desired, promised, observed, plan } = seen;
  const wanted = desired.services.find((entry) => entry.service.name === name);
  const applied = promised.applied.find((entry) => entry.service.name === name);
  const failure = promised.failures.find((entry) => entry.service === name);
  const trial = promised.trials.find((entry) => entry.service === name && entry.digest === wanted?.digest);
  const edge = desired.edges?.find((entry) => entry.service.name === name);
  const components = wanted?.service.components ?? [];
  const fronted = edge?.service.components ?? components;
  const file =
    wanted?.file ??
    edge?.file ??
    applied?.file ??
    promised.files.find((entry) => entry.service === name)?.file ??
    desired.issues.find((issue) => issue.service === name)?.file;
  const fronting = { service: name, file: file ?? '', routes: fronted.flatMap(({ routes }) => routes) };
  return {
    name,
    ...(file === undefined ? {} : { file }),
    state: edge === undefined ? stateOf(name, seen, wanted, applied, trial) : edgeState(edge, seen, owner),
    ...homeOf(name),
    ...(edge === undefined ? {} : { desired: edgeDesired(edge) }),
    ...(wanted === undefined ? {} : { desired: desiredOf(wanted) }),
    ...(applied === undefined ? {} : { applied: appliedOf(applied) }),
    observed: containersOf(name, owner, observed).map((container) => containerView(container, observed)),
    ports: promised.leases
      .filter((lease) => lease.service === name)
      .map(({ component, route, slot, port }) => ({ component, route, slot, port })),
    fixedPorts: components.flatMap(({ name: component, ports }) =>
      ports.map((port) => ({ ...port, component })),
    ),
    routes: fronted.flatMap((component) =>
      component.routes.map((route) => routeView(component.name, route, observed, owner)),
    ),
    waiting: plan.waiting.filter((entry) => entry.service === name).map(clean),
    refused: plan.refused.filter((entry) => entry.service === name).map(clean),
    issues: [
      ...desired.issues.filter(
        (issue) => issue.service === name || (file !== undefined && issue.file === file),
      ),
      ...findingsOf(wanted, observed, seen.addresses ?? []),
      ...strangeWarnings(fronting, observed, seen.addresses ?? [], owner),
      ...keyWarnings(fronting, observed),
    ].map(issueShown),
    ...conditionsIn(wanted, seen),
    ...(trial === undefined ? {} : { trial: trialShown(trial, printed) }),
    ...(last === undefined ? {} : { lastReason: lastReasonOf(last) }),
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

function conditionsIn(
  wanted: DesiredService | undefined,
  { observed, plan }: Seen,
): Pick<ServiceView, 'conditions'> {
  if (wanted?.service.active !== true) return {};
  const { name } = wanted.service;
  const owed = plan.waiting.find((entry) => entry.service === name && entry.for === 'image push')?.since;
  const conditions = imagePushed(wanted.service, observed).map((one) =>
    // Over all its tries, as the wait has it.
    one.since === undefined || owed === undefined ? one : { ...one, since: Math.min(one.since, owed) },
  );
  return conditions.length === 0 ? {} : { conditions };
}

function lastReasonOf(step: StepRecord): NonNullable<ServiceView['lastReason']> {
  const result = resultShown(step);
  return {
    ...reasonOf(step.because),
    step: `${step.kind} ${step.subject}`,
    at: step.startedAt,
    ...(result === undefined ? {} : { result }),
  };
}

function trialShown(
  { phase, since, tries, commit, why }: Trial,
  printed: readonly Printed[] = [],
): NonNullable<ServiceView['trial']> {
  // Of one that is being tried the log itself is there.
  const isOver = phase !== 'trying' && printed.length > 0;
  return {
    ...{ phase, since, tries, commit },
    ...(why === undefined ? {} : { why: redact(why) }),
    ...(isOver
      ? { printed: printed.map((one) => ({ ...one, lines: one.lines.map((line) => redact(line)) })) }
      : {}),
  };
}

/** The worst that is so now; the columns beside it say the rest. */
function stateOf(
  name: string,
  seen: Seen,
  wanted: DesiredService | undefined,
  applied: Applied | undefined,
  trial: Trial | undefined,
): ServiceState {
  const { plan, observed, desired } = seen;
  const of = (entry: { service: string }): boolean => entry.service === name;
  if (plan.refused.some(of) || desired.refused.includes(name)) return 'refused';
  if (!observed.engine.known) return 'unknown';
  if (wanted === undefined)
    return plan.waiting.some((entry) => of(entry) && entry.for === 'orphan') ? 'orphan' : 'removing';
  if (wanted.service.paused === true) return 'paused';
  if (trial?.phase === 'returning') return 'returning';
  if (plan.waiting.some((entry) => of(entry) && entry.for === 'flapping')) return 'flapping';
  if (plan.steps.some((step) => of(step) && step.kind !== 'push-image')) return 'changing';
  if (plan.waiting.some((entry) => of(entry) && entry.for === 'busy')) return 'changing';
  const waits = plan.waiting.filter((entry) => of(entry) && !HARMLESS.includes(entry.for));
  const isProving = plan.waiting.some((entry) => of(entry) && entry.for === 'proved');
  const wasInLine = applied?.digest === wanted.digest;
  if (trial?.phase === 'held back') return waits.length > 0 ? 'degraded' : 'held back';
  // Late, with nothing to return to: its time runs no more.
  const isLate = trial?.phase === 'trying' && waits.some(({ until }) => until === undefined);
  if (isLate || trial?.phase === 'outside') return 'degraded';
  if (waits.length > 0) return wasInLine ? 'degraded' : 'waiting';
  // Until it is proved, its predecessor is still there.
  if (isProving) return 'changing';
  if (wanted.heldBack) return 'held back';
  if (!wanted.service.active) return 'stopped';
  return wasInLine ? 'converged' : 'changing';
}

/** Of an edge nothing is applied: it is in line when what stands in the proxy and in DNS is as it should be. */
function edgeState(
  { service, paused, active, heldBack }: EdgeService,
  seen: Seen,
  owner: string,
): ServiceState {
  const { plan, observed } = seen;
  const of = (entry: { service: string }): boolean => entry.service === service.name;
  if (plan.refused.some(of)) return 'refused';
  if (!observed.engine.known) return 'unknown';
  if (paused === true) return 'paused';
  if (plan.steps.some(of) || plan.waiting.some((entry) => of(entry) && entry.for === 'busy'))
    return 'changing';
  if (plan.waiting.some(of)) {
    const routes = service.components.flatMap(({ name, routes: all }) =>
      all.map((route) => routeView(name, route, observed, owner)),
    );
    return routes.length > 0 && routes.every((route) => route.served) ? 'degraded' : 'waiting';
  }
  if (heldBack) return 'held back';
  return active ? 'converged' : 'stopped';
}

/** Also of an edge that git no longer has, and that is still here. */
function homeOf(name: string): Pick<ServiceView, 'edgeOf'> {
  const [, home] = name.split('@');
  return home === undefined ? {} : { edgeOf: home };
}

function edgeDesired({ active, commit, digest, heldBack }: EdgeService): NonNullable<ServiceView['desired']> {
  return { active, commit, digest, heldBack, images: [] };
}

/**
 * Waits that are no fault of what runs: until it is proved, until git changes, until a person wants the restart; a push
 * that fails is told by `ImagePushed=False` and by a notice, and the service runs from the local image.
 */
const HARMLESS: readonly string[] = ['proved', 'drained', 'git', 'restart', 'image push'];

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
    images: imagesOf(service),
    ...(service.silenced === undefined
      ? {}
      : { silenced: service.silenced.map(({ rule, reason }) => ({ rule, reason: redact(reason) })) }),
  };
}

function appliedOf({
  service,
  state,
  commit,
  digest,
  appliedAt,
}: Applied): NonNullable<ServiceView['applied']> {
  return { state, commit, digest, at: appliedAt, images: imagesOf(service) };
}

/** Of this agent: a service of the same name under another owner is foreign (house rule 8). */
function containersOf(service: string, owner: string, observed: Observed): ObservedContainer[] {
  return observed.engine.known
    ? observed.engine.value.containers.filter(
        ({ identity }) => identity?.service === service && identity.owner === owner,
      )
    : [];
}

function containerView(container: ObservedContainer, observed: Observed): ContainerView {
  const probe = observed.probes[container.id];
  const why = whyNot(container, probe);
  const since =
    container.state === 'running' ? container.startedAt : (container.finishedAt ?? container.startedAt);
  return {
    name: container.name,
    component: container.identity?.component ?? '',
    image: container.image,
    state: container.state,
    ...(since === undefined ? {} : { since }),
    restarts: container.restartCount,
    ...(probe === undefined ? {} : { ready: probe.kind === 'ready' }),
    ...(why === undefined ? {} : { why: redact(why) }),
  };
}

function whyNot(container: ObservedContainer, probe: ProbeState | undefined): string | undefined {
  if (container.unseen !== undefined) return container.unseen;
  if (probe?.kind === 'starting' || probe?.kind === 'unwell') return probe.last;
  if (container.state === 'running' || container.state === 'created') return container.startError;
  const code = container.exitCode === undefined ? undefined : `exit code ${container.exitCode}`;
  return container.startError ?? code;
}

function routeView(component: string, route: Route, observed: Observed, owner: string): RouteView {
  const { hostname, port, mode } = route;
  const facts = observed.proxy.known ? observed.proxy.value : undefined;
  const matches = (entry: { hostname: string; listenerPort: number }): boolean =>
    entry.hostname === hostname && entry.listenerPort === port;
  const standing = facts?.table.find(matches);
  const foreign = strangerOf(standing, owner);
  const written = foreign === undefined ? standing : undefined;
  const certificate = observed.certificates[hostname];
  return {
    component,
    name: route.name,
    hostname,
    port,
    mode,
    ...(written === undefined ? {} : { backend: written.backend }),
    ...(foreign === undefined ? {} : { foreign }),
    served:
      written !== undefined &&
      facts?.live.known === true &&
      facts.live.value.some((entry) => matches(entry) && entry.backend === written.backend),
    ...(route.edge === undefined ? {} : { edge: route.edge }),
    ...(mode === 'l7' ? { url: `https://${hostname}${port === 443 ? '' : `:${port}`}/` } : {}),
    ...endOf(mode === 'l7' ? certificate : undefined, observed.handshakes?.[`${hostname}:${port}`]),
    ...(mode === 'l7' && certificate?.kind === 'valid' && certificate.renewsAt !== undefined
      ? { renewsAt: certificate.renewsAt }
      : {}),
  };
}
