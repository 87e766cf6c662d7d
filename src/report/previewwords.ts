import type { Preview, ServicePreview } from './preview.ts';

/** What is done of a service, and what becomes of it: `replace`, `remove: refused`, `replace, in its window`. */
export function outcomeOf({ mode }: Preview, service: ServicePreview): string {
  const { action, held, first, pending } = service;
  const isIdle = action === 'nothing';
  const said = held === undefined ? action : isIdle ? held : `${action}: ${held}`;
  const late = first.some(({ for: what }) => what === 'window')
    ? ', in its window'
    : first.some(({ for: what }) => what === 'turn')
      ? ', in its turn'
      : '';
  return [
    said,
    held === undefined && !isIdle ? late : '',
    mode === 'observe' && !isIdle ? ' (mode observe: not done)' : '',
    pending === true ? ' (also without this change)' : '',
  ].join('');
}

/** Nothing is done of it, and nothing is asked for. */
export function isSame({ action, held, refused }: ServicePreview): boolean {
  return action === 'nothing' && held === undefined && refused.length === 0;
}

/** What holds for the whole node, before any service. */
export function nodeNotes({ node, mode, windows }: Preview): string[] {
  return [
    ...(mode === 'observe'
      ? [`mode observe: nothing of this is done while nodes/${node}.toml has mode = "observe".`]
      : []),
    ...(windows.length === 0
      ? []
      : [`What runs is changed only in the windows of this node: ${windows.join('; ')}.`]),
  ];
}

/** How many stay, change now, and change later. */
export function countLine({ services }: Preview): string {
  const all = services.length;
  const same = services.filter(isSame).length;
  const waits = services.filter(({ held }) => held === 'waits').length;
  const refused = services.filter(({ held }) => held === 'refused').length;
  return [
    `${same} of ${all} services stay as they are`,
    ...(waits === 0 ? [] : [`${waits} change later, when what they wait for has come`]),
    ...(refused === 0 ? [] : [`${refused} are refused`]),
  ].join('; ');
}

/** What the change spends of the removal budget, and what comes of it. */
export function budgetLine({ budget, services }: Preview): string {
  const { spent, named, allowed, of } = budget;
  if (spent.length + named.length === 0) return 'No service is stopped or removed.';
  const more = named.length === 0 ? '' : `, ${named.length} more are named and not counted`;
  if (spent.length > allowed)
    return `${spent.length} of ${of} services would be stopped or removed at once, and the budget is ${allowed}: none of them is${more}.`;
  const held = services.filter(
    (service) => service.held !== undefined && (service.action === 'remove' || service.action === 'stop'),
  );
  const notYet = held.length === 0 ? '' : ` (${held.length} of them not yet, see below)`;
  return `Stopped or removed: ${spent.length} of ${of} services${notYet}, the budget is ${allowed}${more}.`;
}

/** What comes and goes with a service, one line a kind; only what changes. */
export function facts(service: ServicePreview): [string, string][] {
  const both = ({ added, removed }: ServicePreview['ports']): string =>
    [...added.map((text) => `+ ${text}`), ...removed.map((text) => `- ${text}`)].join(', ');
  const all: [string, string][] = [
    ['images built on the node', service.images.built.join(', ')],
    ['new images', service.images.added.filter((image) => !service.images.built.includes(image)).join(', ')],
    ['ports', both(service.ports)],
    ['routes', both(service.routes)],
    ['records', both(service.records)],
    ['certificates issued', service.certificates.join(', ')],
    ['downtime', service.downtime],
  ];
  return all.filter(([, text]) => text !== '');
}

/** The same said of several services. */
export interface Said {
  readonly names: readonly string[];
  readonly text: string;
  readonly hint?: string;
}

/** What is told of services, each text once with all that it is true of, in the order of the first. */
export function together(said: readonly (Omit<Said, 'names'> & { readonly name: string })[]): Said[] {
  const found = new Map<string, { names: string[]; text: string; hint?: string }>();
  for (const { name, ...rest } of said) {
    const key = `${rest.text}\n${rest.hint ?? ''}`;
    const same = found.get(key);
    if (same === undefined) found.set(key, { names: [name], ...rest });
    else same.names.push(name);
  }
  return [...found.values()];
}

/** The hint of a refusal by the budget has the trailer in it, and the trailers are told whole elsewhere. */
export function hintBeside({ trailers }: Preview, hint: string): string {
  return trailers.length > 0 && hint.includes('Remove-Services')
    ? 'If it is meant, push a commit with the trailer below, or name them in removals.toml.'
    : hint;
}
