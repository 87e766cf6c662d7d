import { visible } from './shown.ts';
import type { ServiceView, View } from './types.ts';

/** Conditions that have a line of their own, or that the services below say. */
const TOLD_ABOVE: readonly string[] = ['mode', 'git', 'engine', 'services'];

/** `mc-gitops status`: the node, then desired, applied and observed of each service (or of one). */
export function formatStatus(view: View, service?: string): string {
  const chosen = view.services.filter((entry) => service === undefined || entry.name === service);
  const head = [
    `node     ${view.node} (${view.owner}), mc-gitops ${view.version}`,
    view.commit === undefined
      ? `commit   none yet: ${view.idle?.why ?? 'the first pass has not ended'}`
      : `commit   ${view.commit.oid.slice(0, 12)} ${view.commit.message} (${view.commit.author}, ${time(view.commit.at)})`,
    `source   ${view.source.url}: ${view.source.reachable ? 'reachable' : `unreachable since ${time(view.source.since)}: ${view.source.why ?? ''}`}`,
    ...view.conditions
      .filter(({ name }) => name === 'mode')
      .map(({ text, hint }) => `mode     ${text}${hint === undefined ? '' : `. ${hint}`}`),
    `engine   ${'kind' in view.engine ? `${view.engine.kind} ${view.engine.version}` : view.engine.why}`,
    ...view.conditions
      .filter(({ name, ok }) => !ok && !TOLD_ABOVE.includes(name))
      .flatMap(({ name, text, hint }) => [
        `problem  ${name}: ${text}`,
        ...(hint === undefined ? [] : [`         ${hint}`]),
      ]),
  ];
  const lines = chosen.flatMap((one) => serviceLines(one, view.at));
  return [...(service === undefined ? head : []), ...lines].map(visible).join('\n');
}

/** `mc-gitops ps`: one line a container of ours; the names of all others, where there are any. */
export function formatPs(view: View): string {
  const rows = view.services.flatMap((service) =>
    service.observed.map((container) => [
      container.name,
      service.name,
      container.component,
      container.image,
      container.state,
      container.ready === undefined ? '-' : container.ready ? 'ready' : 'not ready',
      String(container.restarts),
      time(container.since),
    ]),
  );
  const lines = table([
    ['CONTAINER', 'SERVICE', 'COMPONENT', 'IMAGE', 'STATE', 'READY', 'RESTARTS', 'SINCE'],
    ...rows,
  ]);
  const engine = view.conditions.find(({ name }) => name === 'engine');
  const foreign = view.foreign.map(({ name }) => name).join(', ');
  const others = foreign === '' ? '' : `\n${visible(`not ours, and never touched: ${foreign}`)}`;
  // An empty list would say that nothing runs.
  if (engine === undefined || engine.ok) return `${lines}${others}`;
  return `${lines}\n${visible(`unknown: nothing is known of the containers; the engine ${engine.text}`)}`;
}

/** Columns padded to the widest cell; control characters of names made visible, so that a row is one line. */
export function table(rows: readonly (readonly string[])[]): string {
  const clean = rows.map((row) => row.map(visible));
  const widths = (clean[0] ?? []).map((_, column) =>
    Math.max(...clean.map((row) => row[column]?.length ?? 0)),
  );
  return clean
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function serviceLines(service: ServiceView, at = 0): string[] {
  const { desired, edgeOf } = service;
  const isEdge = edgeOf !== undefined;
  return [
    '',
    `${service.name}: ${service.state}`,
    ...(isEdge
      ? [
          `  edge      of ${edgeOf}, which runs it; here only its routes are (${desired === undefined ? 'gone from git' : `commit ${short(desired.commit)}`})`,
        ]
      : []),
    ...(isEdge ? [] : columnsOf(service)),
    ...(desired?.silenced ?? []).map(({ rule, reason }) => `  silenced  ${rule}: ${reason}`),
    ...(service.observed.length === 0 && !isEdge
      ? [
          service.state === 'unknown'
            ? '  observed  unknown: the engine does not answer'
            : '  observed  no container',
        ]
      : []),
    ...service.observed.map(
      (c) =>
        `  observed  ${c.name} ${c.state}${c.ready === undefined ? '' : c.ready ? ', ready' : ', not ready'} ${c.image}`,
    ),
    ...service.routes.map(
      (r) =>
        `  route     ${r.hostname}:${r.port} ${r.mode} -> ${r.backend ?? 'nothing yet'}${servedOf(r)}${r.edge === undefined ? '' : `, edge ${r.edge.join(', ')}`}${endOf(r, at)}`,
    ),
    ...service.waiting
      .filter((w) => w.for !== 'image push')
      .flatMap((w) => [`  waiting   ${w.for}: ${w.why}${timesOf(w)}`, ...hint(w.hint)]),
    ...(service.trial?.printed ?? []).flatMap(({ component, lines, at: readAt }) => [
      `  printed   by ${component} of the version that gave way, its last lines at ${time(readAt)}:`,
      ...lines.map((line) => `            | ${line}`),
    ]),
    ...(service.conditions ?? []).flatMap((c) => [
      `  condition ${c.type}=${c.status} (${c.reason}): ${c.message}`,
      ...hint(c.hint),
    ]),
    ...service.refused.flatMap((r) => [`  refused   ${r.why}`, ...hint(r.hint)]),
    ...service.issues.flatMap((i) => [
      `  ${i.severity.padEnd(9)} ${i.file}:${i.line}:${i.column} ${i.message}`,
      ...hint(i.hint),
    ]),
    ...(service.lastReason === undefined
      ? []
      : [`  because   ${service.lastReason.summary} (${service.lastReason.step})`]),
    ...(service.lastError === undefined
      ? []
      : [`  error     ${service.lastError.why}`, ...hint(service.lastError.hint)]),
  ];
}

function columnsOf(service: ServiceView): string[] {
  const { desired, applied } = service;
  return [
    `  desired   ${desired === undefined ? (service.issues.some((issue) => issue.severity === 'error') ? 'unusable' : 'gone') : `${desired.active ? 'running' : 'stopped'} ${desired.images.join(', ')} (commit ${short(desired.commit)})`}`,
    `  applied   ${applied === undefined ? 'never' : `${applied.state} ${applied.images.join(', ')} (commit ${short(applied.commit)}, ${time(applied.at)})`}`,
  ];
}

function endOf({ notAfter }: ServiceView['routes'][number], at: number): string {
  if (notAfter === undefined) return '';
  return `, certificate ${notAfter <= at ? 'ended' : 'ends'} ${time(notAfter)}`;
}

function hint(text: string | undefined): string[] {
  return text === undefined ? [] : [`            ${text}`];
}

function short(commit: string): string {
  return commit.slice(0, 12);
}

/** Since when it waits, and when it is looked at again at the latest. */
function timesOf({ since, until }: { readonly since?: number; readonly until?: number }): string {
  const told = [
    ...(since === undefined ? [] : [`since ${time(since)}`]),
    ...(until === undefined ? [] : [`looked at again at ${time(until)}`]),
  ];
  return told.length === 0 ? '' : ` (${told.join(', ')})`;
}

function time(at: number | undefined): string {
  return at === undefined ? '-' : new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

function servedOf({ served, foreign }: ServiceView['routes'][number]): string {
  if (foreign === undefined) return served ? '' : ' (not served)';
  const whose = foreign.owner === undefined ? 'not ours' : `of ${foreign.owner}, not ours`;
  return ` (not served: the proxy has a route to ${foreign.backend} there, ${whose}; ours waits)`;
}
