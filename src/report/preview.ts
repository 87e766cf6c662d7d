import type { Component, FixedPort, Issue, Service } from '../definitions/types.ts';
import type { Refused, Step, Waiting } from '../plan/types.ts';
import type { PatchOperation, Promised } from '../registry/types.ts';

/** What one word says of a service in a preview. */
type Action = 'nothing' | 'create' | 'replace' | 'start' | 'stop' | 'remove' | 'adjust';

/** What comes and what goes. */
interface Change {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export interface ServicePreview {
  readonly name: string;
  readonly action: Action;
  readonly because?: string;
  readonly patch?: readonly PatchOperation[];
  /** Kind and subject of each step, in order. */
  readonly steps: readonly { readonly kind: Step['kind']; readonly subject: string }[];
  /** Images that are built on the node, and all that were not in force before. */
  readonly images: { readonly built: readonly string[]; readonly added: readonly string[] };
  /** Leased host ports (`web → 127.0.0.1:10001`) and fixed ones (`53:53/udp`). */
  readonly ports: Change;
  /** `host:port l7 → component`. */
  readonly routes: Change;
  /** Host names that are to be found under the node's address. */
  readonly records: Change;
  /** Host names for which a certificate is issued. */
  readonly certificates: readonly string[];
  /** For people: what a client of the service notices. */
  readonly downtime: string;
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
  /** The node would do the same without this change. */
  readonly pending?: true;
}

/** What a change spends of the removal budget. */
interface Budget {
  readonly spent: readonly string[];
  readonly named: readonly string[];
  readonly allowed: number;
  readonly of: number;
}

export interface Preview {
  readonly node: string;
  /** The commit that the node's state stands for. */
  readonly from: string;
  readonly services: readonly ServicePreview[];
  readonly budget: Budget;
  readonly issues: readonly Issue[];
  /** What could not be known away from the node. */
  readonly assumptions: readonly string[];
}

export interface PreviewInput extends Omit<Preview, 'services'> {
  /** Wanted on the node. */
  readonly services: readonly Service[];
  readonly promised: Promised;
  /** The same when all is done. */
  readonly after: Promised;
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
}

/** The whole chain of a change, told by service. Pure. */
export function makePreview(input: PreviewInput): Preview {
  const { node, from, issues, assumptions, budget } = input;
  const touched = [...input.steps, ...input.waiting, ...input.refused].map((entry) => entry.service);
  const names = [...new Set([...input.services.map(({ name }) => name), ...touched])].sort();
  return { node, from, budget, issues, assumptions, services: names.map((name) => previewOf(name, input)) };
}

/** Marks what the node would do anyway: the plan of a base and that of a change on it, from the same state. */
export function withoutPending(preview: Preview, anyway: Preview): Preview {
  const before = new Map(anyway.services.map((service) => [service.name, JSON.stringify(service)]));
  return {
    ...preview,
    services: preview.services.map((service) =>
      service.action !== 'nothing' && before.get(service.name) === JSON.stringify(service)
        ? { ...service, pending: true }
        : service,
    ),
  };
}

function previewOf(name: string, input: PreviewInput): ServicePreview {
  const of = (entry: { readonly service: string }): boolean => entry.service === name;
  const steps = input.steps.filter(of);
  const applied = input.promised.applied.find((entry) => entry.service.name === name)?.service;
  const service = input.services.find((entry) => entry.name === name);
  const action = actionOf(steps, applied !== undefined);
  // The reason of the change, not of what is made ready for it or cleared up after it.
  const reason =
    steps.find((step) => step.because.patch !== undefined && !PREPARES.includes(step.kind)) ?? steps[0];
  const gone = action === 'remove';
  return {
    name,
    action,
    ...(reason === undefined ? {} : { because: reason.because.summary }),
    ...(reason?.because.patch === undefined ? {} : { patch: reason.because.patch }),
    steps: steps.map(({ kind, subject }) => ({ kind, subject })),
    images: {
      built: steps.flatMap((step) => (step.kind === 'build-image' ? [step.image.reference] : [])),
      added: added(images(applied), gone ? [] : images(service)),
    },
    ports: change(
      [...leases(input.promised, name), ...fixedPorts(applied)],
      [...leases(input.after, name), ...(gone ? [] : fixedPorts(service ?? applied))],
    ),
    routes: routesOf(name, input, steps),
    records: change(hostnames(input.promised, name), hostnames(input.after, name)),
    certificates: steps.flatMap((step) => (step.kind === 'issue-certificate' ? [step.hostname] : [])),
    downtime: downtimeOf(action, steps),
    waiting: input.waiting.filter(of),
    refused: input.refused.filter(of),
  };
}

const PREPARES: readonly Step['kind'][] = ['build-image', 'pull-image', 'record-image', 'push-image'];

function actionOf(steps: readonly Step[], isApplied: boolean): Action {
  const has = (kind: Step['kind']): boolean => steps.some((step) => step.kind === kind);
  if (steps.length === 0) return 'nothing';
  if (has('forget-service')) return 'remove';
  if (has('retire-container') || has('take-over-container')) return 'replace';
  if (has('create-container')) return isApplied ? 'replace' : 'create';
  if (has('stop-container')) return 'stop';
  return has('start-container') ? 'start' : 'adjust';
}

/** By the order of the steps: who stops before the successor starts is away as long as that takes. */
function downtimeOf(action: Action, steps: readonly Step[]): string {
  const stopAt = steps.findIndex(
    (step) => step.kind === 'retire-container' || step.kind === 'take-over-container',
  );
  const startAt = steps.findIndex((step) => step.kind === 'start-container');
  const stop = steps[stopAt];
  const stops = stop?.kind === 'retire-container' || stop?.kind === 'take-over-container';
  if (stops && (startAt === -1 || stopAt < startAt)) {
    return `a restart: the old container is stopped (it has up to ${stop.stopTimeoutS} s to end), then the new one starts and has to become ready`;
  }
  if (action === 'replace' && stopAt !== -1) {
    return 'none: the new container is ready before routes leave the old one';
  }
  return action === 'stop' || action === 'remove' ? 'from now on' : 'none';
}

function change(before: readonly string[], after: readonly string[]): Change {
  return { added: added(before, after), removed: added(after, before) };
}

function added(before: readonly string[], after: readonly string[]): string[] {
  return [...new Set(after)].filter((entry) => !before.includes(entry)).sort();
}

function images(service: Service | undefined): string[] {
  return service?.components.map(({ image }) => image.reference) ?? [];
}

function leases({ leases: all }: Promised, service: string): string[] {
  return all
    .filter((lease) => lease.service === service)
    .map(({ component, route, port }) => `${route === '' ? component : `${component}/${route}`} → ${port}`);
}

function fixedPorts(service: Service | undefined): string[] {
  const text = ({ ip, host, container, protocol }: FixedPort): string =>
    `${ip === undefined ? '' : `${ip}:`}${host}:${container}/${protocol}`;
  return service?.components.flatMap((component: Component) => component.ports.map(text)) ?? [];
}

function hostnames({ routes }: Promised, service: string): string[] {
  return routes.filter((route) => route.service === service).map(({ hostname }) => hostname);
}

function routesOf(name: string, { promised, after, services }: PreviewInput, steps: readonly Step[]): Change {
  const texts = (all: Promised, definition: Service | undefined): string[] =>
    all.routes
      .filter((route) => route.service === name)
      .map(({ component, route, hostname, port }) => {
        const found = definition?.components
          .find((entry) => entry.name === component)
          ?.routes.find((entry) => entry.name === route);
        return `${hostname}:${port}${found === undefined ? '' : ` ${found.mode}`} → ${component}`;
      });
  const applied = promised.applied.find((entry) => entry.service.name === name)?.service;
  const isTouched = steps.some(({ kind }) => kind === 'put-routes' || kind === 'remove-routes');
  if (!isTouched) return { added: [], removed: [] };
  const service = services.find((entry) => entry.name === name);
  return change(texts(promised, applied), texts(after, service));
}
