import { redact } from '../base/secret.ts';
import type { Component, DesiredService, EdgeService, Issue, Route, Service } from '../definitions/types.ts';
import type { DnsFacts, Observed, ObservedContainer, ProbeState } from '../node/types.ts';
import type { Applied, Printed, StepRecord, Trial } from '../registry/types.ts';
import { endOf } from './expiry.ts';
import { imagePushed } from './pushed.ts';
import { clean, issueShown, reasonOf, resultShown } from './shown.ts';
import type { ContainerView, RouteView, ServiceState, ServiceView } from './types.ts';
import type { Seen } from './view.ts';

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
  return {
    name,
    ...(file === undefined ? {} : { file }),
    state: edge === undefined ? stateOf(name, seen, wanted, applied, trial) : edgeState(edge, seen),
    ...(edge === undefined ? {} : { edgeOf: edge.home, desired: edgeDesired(edge) }),
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
      component.routes.map((route) => routeView(component.name, route, observed)),
    ),
    waiting: plan.waiting.filter((entry) => entry.service === name).map(clean),
    refused: plan.refused.filter((entry) => entry.service === name).map(clean),
    issues: [
      ...desired.issues.filter(
        (issue) => issue.service === name || (file !== undefined && issue.file === file),
      ),
      ...findingsOf(wanted, observed, seen.addresses ?? []),
    ].map(issueShown),
    ...conditionsIn(wanted, observed),
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
  observed: Observed,
): Pick<ServiceView, 'conditions'> {
  const conditions = wanted?.service.active === true ? imagePushed(wanted.service, observed) : [];
  return conditions.length === 0 ? {} : { conditions };
}

/** What the rules for Dockerfiles say of its images. */
function findingsOf(
  wanted: DesiredService | undefined,
  observed: Observed,
  addresses: readonly string[],
): Issue[] {
  const { findings = {} } = observed;
  if (wanted === undefined) return [];
  return [
    ...imagesOf(wanted.service).flatMap((image) => findings[image] ?? []),
    ...wanted.service.components.flatMap((component) => imageWarnings(wanted, component, observed)),
    ...wanted.service.components.flatMap(({ routes }) =>
      routes.flatMap((route) => [
        ...nameWarnings(wanted, route, observed),
        ...awayWarnings(wanted, route, observed, addresses),
      ]),
    ),
  ];
}

/** An l4 service shows its own certificate, which nobody here can mend; clients refuse one of another name (L10). */
function nameWarnings(wanted: DesiredService, { mode, hostname, port }: Route, observed: Observed): Issue[] {
  const shown = observed.handshakes?.[`${hostname}:${port}`];
  if (mode !== 'l4' || shown?.kind !== 'ok' || shown.otherNames === undefined) return [];
  return [
    {
      ...{ rule: 'certificate/name', severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      message: `the service shows a certificate for ${hostname}:${port} that is for ${redact(shown.otherNames)}`,
      hint: 'Clients refuse it: give the service a certificate with this host name, or the route the host name of the certificate.',
      service: wanted.service.name,
    },
  ];
}

/** Of a name in no zone of ours that leads elsewhere; in words, undefined where it leads here, or nobody knows. */
export function awayIn(dns: DnsFacts, hostname: string, addresses: readonly string[]): string | undefined {
  const seen = dns.names[hostname];
  if (seen === undefined || !('elsewhere' in seen) || !seen.elsewhere.known) return undefined;
  const found = seen.elsewhere.value;
  if (addresses.length === 0 || found.some((ip) => addresses.includes(ip))) return undefined;
  return `${hostname} ${found.length === 0 ? 'does not resolve' : `resolves to ${found.join(', ')}, not to this node`}`;
}

/** A name that others manage, and that leads elsewhere: nothing is ever written there (L20). */
function awayWarnings(
  wanted: DesiredService,
  { hostname, edge }: Route,
  { dns }: Observed,
  addresses: readonly string[],
): Issue[] {
  // With an edge node it is to lead there.
  const away = dns === undefined || edge !== undefined ? undefined : awayIn(dns, hostname, addresses);
  if (away === undefined) return [];
  return [
    {
      ...{ rule: 'dns/elsewhere', severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      message: away,
      hint: 'The name is managed elsewhere: where no balancer or NAT stands in between, mend it there.',
      service: wanted.service.name,
    },
  ];
}

/** `USER` and `VOLUME` of images that others build: nobody here can mend them, but they should be known (L18). */
function imageWarnings(wanted: DesiredService, component: Component, observed: Observed): Issue[] {
  const { reference } = component.image;
  const state = observed.images[reference];
  if (component.dockerfile !== undefined || state?.kind !== 'present') return [];
  const warn = (rule: string, message: string, hint: string): Issue[] => [
    {
      ...{ rule, severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      ...{ message: `${reference} ${message}`, hint, service: wanted.service.name },
    },
  ];
  const isRoot = /^(0|root)?(:(0|root))?$/.test(state.user);
  return [
    ...(isRoot || component.user !== undefined
      ? []
      : warn('image/user', `has USER ${state.user}`, 'If it cannot write below /srv, set user = "0:0".')),
    ...(state.volumes.length === 0
      ? []
      : warn(
          'image/volume',
          `declares VOLUME ${state.volumes.join(', ')}`,
          'The mounts of the definition cover it.',
        )),
  ];
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
function edgeState({ service, paused, active, heldBack }: EdgeService, seen: Seen): ServiceState {
  const { plan, observed } = seen;
  const of = (entry: { service: string }): boolean => entry.service === service.name;
  if (plan.refused.some(of)) return 'refused';
  if (!observed.engine.known) return 'unknown';
  if (paused === true) return 'paused';
  if (plan.steps.some(of) || plan.waiting.some((entry) => of(entry) && entry.for === 'busy'))
    return 'changing';
  if (plan.waiting.some(of)) {
    const routes = service.components.flatMap(({ name, routes: all }) =>
      all.map((route) => routeView(name, route, observed)),
    );
    return routes.length > 0 && routes.every((route) => route.served) ? 'degraded' : 'waiting';
  }
  if (heldBack) return 'held back';
  return active ? 'converged' : 'stopped';
}

function edgeDesired({ active, commit, digest, heldBack }: EdgeService): NonNullable<ServiceView['desired']> {
  return { active, commit, digest, heldBack, images: [] };
}

/**
 * Waits that are no fault of what runs: until it is proved, until git changes, until a person wants the restart; a push
 * that fails is told by `ImagePushed=False` and by a notice, and the service runs from the local image.
 */
const HARMLESS: readonly string[] = ['proved', 'drained', 'git', 'restart', 'image push'];

function imagesOf(service: Service): string[] {
  return [...new Set(service.components.map((component) => component.image.reference))];
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

function routeView(component: string, route: Route, observed: Observed): RouteView {
  const { hostname, port, mode } = route;
  const facts = observed.proxy.known ? observed.proxy.value : undefined;
  const matches = (entry: { hostname: string; listenerPort: number }): boolean =>
    entry.hostname === hostname && entry.listenerPort === port;
  const written = facts?.table.find(matches);
  const certificate = observed.certificates[hostname];
  return {
    component,
    name: route.name,
    hostname,
    port,
    mode,
    ...(written === undefined ? {} : { backend: written.backend }),
    served:
      facts?.live.known === true &&
      facts.live.value.some((entry) => matches(entry) && entry.backend === written?.backend),
    ...(route.edge === undefined ? {} : { edge: route.edge }),
    ...(mode === 'l7' ? { url: `https://${hostname}${port === 443 ? '' : `:${port}`}/` } : {}),
    ...endOf(mode === 'l7' ? certificate : undefined, observed.handshakes?.[`${hostname}:${port}`]),
    ...(mode === 'l7' && certificate?.kind === 'valid' && certificate.renewsAt !== undefined
      ? { renewsAt: certificate.renewsAt }
      : {}),
  };
}
