import type { Issue } from '../definitions/types.ts';
import type { Refused, Step, Waiting } from '../plan/types.ts';
import type { PatchOperation, Promised } from '../registry/types.ts';

/** What one word says of a service in a preview. */
type Action = 'nothing' | 'create' | 'replace' | 'start' | 'stop' | 'remove' | 'adjust';

interface ServicePreview {
  readonly name: string;
  readonly action: Action;
  readonly because?: string;
  readonly patch?: readonly PatchOperation[];
  /** Kind and subject of each step, in order. */
  readonly steps: readonly { readonly kind: Step['kind']; readonly subject: string }[];
  /** For people: what a client of the service notices. */
  readonly downtime: string;
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
}

export interface Preview {
  readonly node: string;
  /** The commit that the node's state stands for. */
  readonly from: string;
  readonly services: readonly ServicePreview[];
  readonly issues: readonly Issue[];
  /** What could not be known away from the node. */
  readonly assumptions: readonly string[];
}

export interface PreviewInput extends Omit<Preview, 'services'> {
  readonly names: readonly string[];
  readonly promised: Promised;
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
}

const MAX_MARKDOWN = 60_000;

/** The whole chain of a change, told by service. Pure. */
export function makePreview(input: PreviewInput): Preview {
  const { node, from, issues, assumptions } = input;
  const touched = [...input.steps, ...input.waiting, ...input.refused].map((entry) => entry.service);
  const names = [...new Set([...input.names, ...touched])].sort();
  return { node, from, issues, assumptions, services: names.map((name) => previewOf(name, input)) };
}

function previewOf(name: string, input: PreviewInput): ServicePreview {
  const of = (entry: { readonly service: string }): boolean => entry.service === name;
  const steps = input.steps.filter(of);
  const action = actionOf(
    steps,
    input.promised.applied.some((applied) => applied.service.name === name),
  );
  // The reason of the change, not of the clearing up that follows it.
  const reason = steps.find((step) => step.because.patch !== undefined) ?? steps[0];
  return {
    name,
    action,
    ...(reason === undefined ? {} : { because: reason.because.summary }),
    ...(reason?.because.patch === undefined ? {} : { patch: reason.because.patch }),
    steps: steps.map(({ kind, subject }) => ({ kind, subject })),
    downtime: downtimeOf(action, steps),
    waiting: input.waiting.filter(of),
    refused: input.refused.filter(of),
  };
}

function actionOf(steps: readonly Step[], isApplied: boolean): Action {
  const has = (kind: Step['kind']): boolean => steps.some((step) => step.kind === kind);
  if (steps.length === 0) return 'nothing';
  if (has('forget-service')) return 'remove';
  if (has('retire-container') || has('take-over-container')) return 'replace';
  if (has('create-container')) return isApplied ? 'replace' : 'create';
  if (has('stop-container')) return 'stop';
  return has('start-container') ? 'start' : 'adjust';
}

function downtimeOf(action: Action, steps: readonly Step[]): string {
  const stop = steps.find((step) => step.kind === 'retire-container' || step.kind === 'take-over-container');
  if (stop?.kind === 'retire-container' || stop?.kind === 'take-over-container') {
    return `a restart: the old container is stopped (it has up to ${stop.stopTimeoutS} s to end), then the new one starts and has to become ready`;
  }
  return action === 'stop' || action === 'remove' ? 'from now on' : 'none';
}

/** For a terminal. */
export function formatPreview(preview: Preview): string {
  const width = Math.max(8, ...preview.services.map((service) => service.name.length));
  const lines = [`node ${preview.node}, from commit ${preview.from.slice(0, 12)}`, ''];
  for (const service of preview.services) {
    lines.push(
      `${service.name.padEnd(width)}  ${service.action}${service.because === undefined ? '' : `: ${service.because}`}`,
    );
    if (service.steps.length > 0) {
      lines.push(...service.steps.map((step) => `${' '.repeat(width)}    ${step.kind} ${step.subject}`));
      lines.push(`${' '.repeat(width)}    downtime: ${service.downtime}`);
    }
    for (const { why, for: what } of service.waiting)
      lines.push(`${' '.repeat(width)}    waits for ${what}: ${why}`);
    for (const { why, hint } of service.refused)
      lines.push(`${' '.repeat(width)}    refused: ${why}`, `${' '.repeat(width)}      ${hint}`);
  }
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

/** Fit for a comment on a pull request: a table, and the steps folded; cut to what a forge accepts. */
export function markdownPreview(preview: Preview): string {
  const changed = preview.services.filter(
    (service) => service.action !== 'nothing' || service.refused.length > 0,
  );
  const same = preview.services.length - changed.length;
  const head = [
    `### mc-gitops: what node \`${preview.node}\` would do`,
    '',
    changed.length === 0 ? 'Nothing.' : '| service | | why | downtime |\n|---|---|---|---|',
    ...changed.map(
      (s) => `| ${cell(s.name)} | **${s.action}** | ${cell(s.because ?? '')} | ${cell(s.downtime)} |`,
    ),
    '',
    `${same} of ${preview.services.length} services stay as they are. State of the node: commit \`${preview.from.slice(0, 12)}\`.`,
  ];
  const problems = [
    ...preview.services.flatMap((s) =>
      s.refused.map((r) => `- **${cell(s.name)} is refused**: ${cell(r.why)}. ${cell(r.hint)}`),
    ),
    ...preview.services.flatMap((s) =>
      s.waiting.map((w) => `- ${cell(s.name)} waits for ${cell(w.for)}: ${cell(w.why)}`),
    ),
    ...preview.issues.map(
      (i) =>
        `- ${cell(`${i.file}:${i.line}:${i.column}`)} ${i.severity}: ${cell(i.message)}. ${cell(i.hint)}`,
    ),
    ...preview.assumptions.map((text) => `- not known from here: ${cell(text)}`),
  ];
  const details = changed.map((service) =>
    [
      `<details><summary>${cell(service.name)}: ${service.steps.length} steps</summary>`,
      '',
      ...service.steps.map((step) => `1. ${step.kind} ${cell(step.subject)}`),
      '',
      ...(service.patch === undefined
        ? []
        : ['```json', JSON.stringify(service.patch, null, 1).replaceAll('```', "'''"), '```', '']),
      '</details>',
    ].join('\n'),
  );
  return cut([...head, '', ...problems, '', ...details].join('\n'));
}

/** Text of definitions in a table or list of Markdown: no row, tag, mention or link of its own. */
function cell(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/[\\`*_[\]|#!@~]/g, (char) => `\\${char}`);
}

function cut(text: string): string {
  if (text.length < MAX_MARKDOWN) return text;
  const end = '\n\n</details>\n\nCut: the whole plan is longer than a comment may be.';
  return `${text.slice(0, MAX_MARKDOWN - end.length - 1)}${end}`;
}
