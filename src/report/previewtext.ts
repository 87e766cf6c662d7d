import type { Preview, ServicePreview } from './preview.ts';

/** A forge takes comments of 65,536 characters. */
const MAX_MARKDOWN = 60_000;

/** For a terminal. */
export function formatPreview(preview: Preview): string {
  const width = Math.max(8, ...preview.services.map((service) => service.name.length));
  const indent = ' '.repeat(width);
  const lines = [`node ${preview.node}, from commit ${preview.from.slice(0, 12)}`, ''];
  for (const service of preview.services) {
    const why = service.because === undefined ? '' : `: ${service.because}`;
    const anyway = service.pending === true ? ' (also without this change)' : '';
    lines.push(`${service.name.padEnd(width)}  ${service.action}${anyway}${why}`);
    if (service.steps.length > 0) {
      lines.push(...service.steps.map((step) => `${indent}    ${step.kind} ${step.subject}`));
      lines.push(...facts(service).map(([what, text]) => `${indent}    ${what}: ${text}`));
    }
    for (const { why: reason, for: what } of service.waiting)
      lines.push(`${indent}    waits for ${what}: ${reason}`);
    for (const { why: reason, hint } of service.refused)
      lines.push(`${indent}    refused: ${reason}`, `${indent}      ${hint}`);
  }
  lines.push('', budgetLine(preview));
  for (const issue of preview.issues)
    lines.push(
      '',
      `${issue.file}:${issue.line}:${issue.column} ${issue.severity}: ${issue.message}`,
      `  ${issue.hint}`,
    );
  if (preview.assumptions.length > 0)
    lines.push('', 'Not known from here:', ...preview.assumptions.map((text) => `- ${text}`));
  return lines.join('\n');
}

/** How much is told: less and less until it fits. */
interface Measure {
  readonly rows: number;
  readonly problems: number;
  readonly steps: boolean;
  readonly patches: boolean;
}

const MEASURES: readonly Measure[] = [
  { rows: Infinity, problems: Infinity, steps: true, patches: true },
  { rows: Infinity, problems: Infinity, steps: true, patches: false },
  { rows: Infinity, problems: Infinity, steps: false, patches: false },
  { rows: 100, problems: 50, steps: false, patches: false },
  { rows: 20, problems: 10, steps: false, patches: false },
];

/** Longest text of a cell when not everything fits. */
const SHORT = 240;

/**
 * Fit for a comment on a pull request: for each node a table, and the steps folded. What does not fit is left out from
 * the details first, and said. The first line is the mark by which a workflow finds the comment again.
 */
export function markdownPreview(previews: readonly Preview[]): string {
  const limit = Math.floor((MAX_MARKDOWN - 200) / Math.max(1, previews.length));
  const parts = previews.map((preview) => {
    for (const measure of MEASURES) {
      const text = nodeMarkdown(preview, measure);
      if (text.length < limit) return text;
    }
    return `### mc-gitops: node \`${preview.node}\`\n\nThe plan is too long for a comment: \`mc-gitops plan\` shows it.`;
  });
  const all = ['<!-- mc-gitops plan -->', ...(parts.length === 0 ? ['No node has anything to do.'] : parts)];
  const text = all.join('\n\n');
  return text.length < MAX_MARKDOWN
    ? text
    : `${all[0] ?? ''}\n\nThe plan of ${previews.length} nodes is too long for a comment: \`mc-gitops plan\` shows it.`;
}

function nodeMarkdown(preview: Preview, measure: Measure): string {
  const isWhole = measure.patches;
  const cell = (text: string): string =>
    escaped(isWhole || text.length <= SHORT ? text : `${text.slice(0, SHORT)}…`);
  const changed = preview.services.filter(
    (service) => service.action !== 'nothing' || service.refused.length > 0,
  );
  const rows = changed.slice(0, measure.rows);
  const same = preview.services.length - changed.length;
  const problems = problemsOf(preview, cell);
  const left = (all: number, shown: number, what: string): string[] =>
    all > shown ? [`… and ${all - shown} more ${what}.`] : [];
  return [
    `### mc-gitops: what node \`${preview.node}\` would do`,
    '',
    ...(rows.length === 0
      ? ['Nothing.']
      : ['| service | | why | downtime |', '|---|---|---|---|', ...rows.map((s) => rowOf(s, cell))]),
    ...left(changed.length, rows.length, 'services'),
    '',
    `${same} of ${preview.services.length} services stay as they are. From commit \`${preview.from.slice(0, 12)}\`. ${budgetLine(preview)}`,
    '',
    ...problems.slice(0, measure.problems),
    ...left(problems.length, measure.problems, 'notes'),
    '',
    ...(measure.steps ? rows.map((service) => detailsOf(service, measure.patches, cell)) : []),
    ...(isWhole ? [] : ['Shortened: `mc-gitops plan` shows every step and patch.']),
  ].join('\n');
}

type Cell = (text: string) => string;

function rowOf(service: ServicePreview, cell: Cell): string {
  const anyway = service.pending === true ? ' (also without this change)' : '';
  return `| ${cell(service.name)} | **${service.action}**${anyway} | ${cell(service.because ?? '')} | ${cell(service.downtime)} |`;
}

function problemsOf(preview: Preview, cell: Cell): string[] {
  const { services, issues, assumptions } = preview;
  return [
    ...services.flatMap((s) =>
      s.refused.map((r) => `- **${cell(s.name)} is refused**: ${cell(r.why)}. ${cell(r.hint)}`),
    ),
    ...issues.map(
      (i) =>
        `- ${cell(`${i.file}:${i.line}:${i.column}`)} ${i.severity}: ${cell(i.message)}. ${cell(i.hint)}`,
    ),
    ...services.flatMap((s) =>
      s.waiting.map((w) => `- ${cell(s.name)} waits for ${cell(w.for)}: ${cell(w.why)}`),
    ),
    ...assumptions.map((text) => `- not known from here: ${cell(text)}`),
  ];
}

function detailsOf(service: ServicePreview, withPatch: boolean, cell: Cell): string {
  const patch =
    service.patch === undefined || !withPatch
      ? []
      : ['```json', JSON.stringify(service.patch, null, 1).replaceAll('```', "'''"), '```', ''];
  return [
    `<details><summary>${cell(service.name)}: ${service.steps.length} steps</summary>`,
    '',
    ...facts(service).map(([what, text]) => `- ${what}: ${cell(text)}`),
    '',
    ...service.steps.map((step) => `1. ${step.kind} ${cell(step.subject)}`),
    '',
    ...patch,
    '</details>',
    '',
  ].join('\n');
}

/** What comes and goes with a service, one line a kind; only what changes. */
function facts(service: ServicePreview): [string, string][] {
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

function budgetLine({ budget }: Preview): string {
  if (budget.spent.length + budget.named.length === 0) return 'Nothing is stopped or removed.';
  const named = budget.named.length === 0 ? '' : `, ${budget.named.length} more are named and not counted`;
  return `Stopped or removed: ${budget.spent.length} of ${budget.of} services, the budget is ${budget.allowed}${named}.`;
}

/** Text of definitions in a table or list of Markdown: no row, tag, mention or link of its own. */
function escaped(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/[\\`*_[\]|#!@~]/g, (char) => `\\${char}`);
}
