import type { DesiredService, Issue, Service, Window } from '../definitions/types.ts';
import type { Refused, Step, Waiting } from '../plan/types.ts';
import type { Because, PatchOperation, Promised } from '../registry/types.ts';
import {
  added,
  change,
  downtimeOf,
  fixedPorts,
  hostnames,
  images,
  leases,
  routesOf,
  type Change,
} from './previewchange.ts';
import { reasonOf } from './shown.ts';

/** What one word says of a service in a preview. */
export type Action = 'nothing' | 'create' | 'replace' | 'start' | 'stop' | 'remove' | 'adjust';

export interface ServicePreview {
  readonly name: string;
  /** What is done; with `held`, what the definitions ask for. */
  readonly action: Action;
  /** It is not done: a person has to act first (`refused`), or something has to come true (`waits`). */
  readonly held?: 'refused' | 'waits';
  readonly because?: string;
  readonly patch?: readonly PatchOperation[];
  /** Kind and subject of each step, in order. */
  readonly steps: readonly { readonly kind: Step['kind']; readonly subject: string }[];
  /** Images that are built on the node, and all that were not in force before. */
  readonly images: { readonly built: readonly string[]; readonly added: readonly string[] };
  /** Leased host ports (`web → 10001`) and fixed ones (`53:53/udp`). */
  readonly ports: Change;
  /** `host:port l7 → component`. */
  readonly routes: Change;
  /** Host names that are to be found under the node's address. */
  readonly records: Change;
  /** Host names for which a certificate is issued. */
  readonly certificates: readonly string[];
  /** For people: what a client of the service notices. */
  readonly downtime: string;
  /** What the steps come after, by itself: a window that opens, a turn. */
  readonly first: readonly Waiting[];
  /** What its definition says of every change: its window, that it never returns, that drift restarts nothing. */
  readonly notes: readonly string[];
  /** What is waited for at the end. */
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
  /** `mode = "observe"` of the node's file: everything is planned, and nothing of it is done. */
  readonly mode?: 'observe';
  /** Windows of the node's file: every change waits for one of them. */
  readonly windows: readonly string[];
  readonly services: readonly ServicePreview[];
  readonly budget: Budget;
  /** Lines for the message of a commit, by which what the budget refuses would be done. */
  readonly trailers: readonly string[];
  readonly issues: readonly Issue[];
  /** What could not be known away from the node. */
  readonly assumptions: readonly string[];
}

/** From one node to another; they do not wait for each other. */
export interface Move {
  readonly from: string;
  readonly to: string;
}

export interface PreviewInput extends Omit<Preview, 'services' | 'trailers' | 'windows'> {
  readonly windows: readonly Window[];
  /** Wanted on the node. */
  readonly desired: readonly DesiredService[];
  readonly promised: Promised;
  /** The same when all is done. */
  readonly after: Promised;
  readonly steps: readonly Step[];
  /** Waits that end by themselves before the steps of their services. */
  readonly first: readonly Waiting[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
  /** Why the definitions ask for something of a service, also where nothing of it is done. */
  readonly asked: (service: string) => Because | undefined;
  readonly trailersFor: (services: readonly string[]) => readonly string[];
  /** By service. */
  readonly moves: ReadonlyMap<string, Move>;
  /** Where no state is known, the numbers of leased ports are not either. */
  readonly knowsPorts: boolean;
}

/** The whole chain of a change, told by service. Pure. */
export function makePreview(input: PreviewInput): Preview {
  const { node, from, mode, issues, assumptions, budget } = input;
  const touched = [...input.steps, ...input.first, ...input.waiting, ...input.refused].map(
    (entry) => entry.service,
  );
  // What runs is told also where no definition of it can be read: it stays.
  const known = [...input.desired, ...input.promised.applied].map(({ service }) => service.name);
  const names = [...new Set([...known, ...touched])].sort();
  const index = indexOf(input);
  const services = names.map((name) => previewOf(name, input, index));
  const isOver = budget.spent.length > budget.allowed;
  const unnamed = services.filter(
    ({ refused }) => isOver && refused.some(({ hint }) => hint.includes('Remove-Services')),
  );
  return {
    node,
    from,
    ...(mode === undefined ? {} : { mode }),
    windows: input.windows.map(windowText),
    budget,
    trailers: input.trailersFor(unnamed.map(({ name }) => name)),
    issues,
    assumptions,
    services,
  };
}

/** What there is of each service, found once: a node may have many. */
interface Index {
  readonly steps: ReadonlyMap<string, readonly Step[]>;
  readonly first: ReadonlyMap<string, readonly Waiting[]>;
  readonly waiting: ReadonlyMap<string, readonly Waiting[]>;
  readonly refused: ReadonlyMap<string, readonly Refused[]>;
}

function indexOf({ steps, first, waiting, refused }: PreviewInput): Index {
  const by = <T extends { readonly service: string }>(all: readonly T[]): Map<string, T[]> => {
    const found = new Map<string, T[]>();
    for (const entry of all) {
      const same = found.get(entry.service);
      if (same === undefined) found.set(entry.service, [entry]);
      else same.push(entry);
    }
    return found;
  };
  return { steps: by(steps), first: by(first), waiting: by(waiting), refused: by(refused) };
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

function previewOf(name: string, input: PreviewInput, index: Index): ServicePreview {
  const steps = index.steps.get(name) ?? [];
  const waiting = unique(index.waiting.get(name) ?? []);
  const refused = unique(index.refused.get(name) ?? []);
  const applied = input.promised.applied.find((entry) => entry.service.name === name);
  const desired = input.desired.find((entry) => entry.service.name === name);
  const service = desired?.service;
  const intent = intentOf(name, input, waiting, refused);
  const { action, held } = verdictOf(applied?.state === 'running', steps, waiting, refused, intent);
  const gone = action === 'remove';
  const isGone = gone && held === undefined;
  const because = becauseFor(name, steps, action, input);
  const move = moveOf(name, action, input);
  return {
    name,
    action,
    ...(held === undefined ? {} : { held }),
    ...(move !== undefined
      ? { because: `moves from ${move.from} to ${move.to}` }
      : because === undefined
        ? {}
        : { because: because.summary }),
    ...(because?.patch === undefined ? {} : { patch: because.patch }),
    steps: steps.map(({ kind, subject }) => ({ kind, subject: subjectOf(kind, subject, input) })),
    images: {
      built: steps.flatMap((step) => (step.kind === 'build-image' ? [step.image.reference] : [])),
      added: added(images(applied?.service), gone ? [] : images(service)),
    },
    ports: change(
      [...leases(input.promised, name, input), ...fixedPorts(applied?.service)],
      [...leases(input.after, name, input), ...(isGone ? [] : fixedPorts(service ?? applied?.service))],
    ),
    routes: routesOf(name, input, steps),
    records: change(
      hostnames(input.promised, name, applied?.service),
      hostnames(input.after, name, service ?? applied?.service),
    ),
    certificates: steps.flatMap((step) => (step.kind === 'issue-certificate' ? [step.hostname] : [])),
    downtime: downtimeFor(action, held, move, steps),
    first: unique(index.first.get(name) ?? []),
    notes: action === 'nothing' ? [] : notesOf(action, service ?? applied?.service),
    waiting,
    refused,
  };
}

function downtimeFor(
  action: Action,
  held: ServicePreview['held'],
  move: Move | undefined,
  steps: readonly Step[],
): string {
  if (held === undefined && move !== undefined) return GAP;
  // What is not done takes nobody away, unless its first steps do.
  return downtimeOf(held === undefined || action === 'replace' ? action : 'nothing', steps);
}

const GAP =
  'a gap: it ends on the one node and starts on the other, each when it sees the commit; neither waits for the other';

/** Other waits keep nothing from being done that the definitions ask for. */
const HOLDS_NOTHING = ['orphan', 'paused', 'observe', 'restart'];

function isHolding(entry: Waiting): boolean {
  return !HOLDS_NOTHING.includes(entry.for);
}

/** What the definitions ask for, whether or not it comes to it. */
function intentOf(
  name: string,
  { desired, promised }: PreviewInput,
  waiting: readonly Waiting[],
  refused: readonly Refused[],
): Action {
  const wanted = desired.find((entry) => entry.service.name === name);
  const applied = promised.applied.find((entry) => entry.service.name === name);
  if (wanted === undefined) return waiting.some(isHolding) || refused.length > 0 ? 'remove' : 'nothing';
  if (wanted.service.paused === true) return 'nothing';
  if (!wanted.service.active) return applied?.state === 'running' || refused.length > 0 ? 'stop' : 'nothing';
  if (applied?.state !== 'running') return 'create';
  const isTurn = waiting.some(({ for: what }) => what === 'turn');
  return applied.digest !== wanted.digest || isTurn ? 'replace' : 'nothing';
}

function verdictOf(
  isRunning: boolean,
  steps: readonly Step[],
  waiting: readonly Waiting[],
  refused: readonly Refused[],
  intent: Action,
): Pick<ServicePreview, 'action' | 'held'> {
  const done = actionOf(steps, isRunning);
  const isWhole = steps.some(({ kind }) => kind === 'record-applied' || kind === 'forget-service');
  if (isWhole) return { action: done };
  if (refused.length > 0) return { action: intent === 'nothing' ? done : intent, held: 'refused' };
  if (intent !== 'nothing' && waiting.some(isHolding)) return { action: intent, held: 'waits' };
  return { action: done };
}

/** The reason of the change, not of what is made ready for it or cleared up after it. */
function becauseFor(
  name: string,
  steps: readonly Step[],
  action: Action,
  { asked }: PreviewInput,
): Because | undefined {
  const acts = steps.filter(({ kind }) => !PREPARES.includes(kind));
  const step = acts.find(({ because }) => because.patch !== undefined) ?? acts[0];
  if (step !== undefined) return reasonOf(step.because);
  if (action === 'nothing' || action === 'adjust')
    return steps[0] === undefined ? undefined : reasonOf(steps[0].because);
  const because = asked(name);
  return because === undefined ? undefined : reasonOf(because);
}

function moveOf(name: string, action: Action, { node, moves }: PreviewInput): Move | undefined {
  const move = moves.get(name);
  if (action === 'remove' && move?.from === node) return move;
  return action === 'create' && move?.to === node ? move : undefined;
}

/** What a reviewer has to know of every change of this service. */
function notesOf(action: Action, service: Service | undefined): string[] {
  const { window, return: back, restart } = service?.deploy ?? {};
  const isStart = action === 'create' || action === 'replace';
  return [
    ...(window === undefined || (action !== 'replace' && action !== 'remove')
      ? []
      : [`changes only in its window: ${windowText(window)}`]),
    ...(isStart && back === 'never'
      ? [
          'never returns by itself: a version that is not proved stays until a commit changes it (deploy.return)',
        ]
      : []),
    ...(isStart && restart === 'manual'
      ? ['drift that is only cosmetic is told and restarts nothing (deploy.restart = "manual")']
      : []),
  ];
}

function windowText({ cron, forMs, timezone }: Window): string {
  const minutes = forMs / 60_000;
  return `"${cron}" for ${minutes % 60 === 0 ? `${minutes / 60} h` : `${minutes} min`}, ${timezone}`;
}

function subjectOf(kind: Step['kind'], subject: string, { knowsPorts }: PreviewInput): string {
  const isPorts = kind === 'lease-ports' || kind === 'release-leases';
  return isPorts && !knowsPorts ? subject.replaceAll(/\d+/g, '…') : subject;
}

/** Components of one image wait for it together: told once. */
function unique<T extends { readonly why: string; readonly hint?: string }>(entries: readonly T[]): T[] {
  return [...new Map(entries.map((entry) => [`${entry.why}\n${entry.hint ?? ''}`, entry])).values()];
}

const PREPARES: readonly Step['kind'][] = [
  'build-image',
  'pull-image',
  'record-image',
  'push-image',
  'lease-ports',
  'issue-certificate',
];

function actionOf(steps: readonly Step[], isRunning: boolean): Action {
  const has = (kind: Step['kind']): boolean => steps.some((step) => step.kind === kind);
  if (steps.length === 0) return 'nothing';
  if (has('forget-service')) return 'remove';
  if (has('retire-container') || has('take-over-container') || has('set-aside-container')) return 'replace';
  if (has('create-container')) return isRunning ? 'replace' : 'create';
  if (has('stop-container')) return 'stop';
  return has('start-container') ? 'start' : 'adjust';
}
