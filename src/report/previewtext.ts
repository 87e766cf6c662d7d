import type { Preview, ServicePreview } from './preview.ts';
import {
  budgetLine,
  countLine,
  facts,
  hintBeside,
  isSame,
  nodeNotes,
  outcomeOf,
  together,
} from './previewwords.ts';

/** A forge takes comments of 65,536 characters. */
const MAX_MARKDOWN = 60_000;

/** For a terminal. */
export function formatPreview(preview: Preview): string {
  const width = Math.max(8, ...preview.services.map((service) => service.name.length));
  const indent = ' '.repeat(width);
  const lines = [`node ${preview.node}, from commit ${preview.from.slice(0, 12)}`, ...nodeNotes(preview), ''];
  for (const service of preview.services) {
    const why = service.because === undefined ? '' : `: ${service.because}`;
    lines.push(`${service.name.padEnd(width)}  ${outcomeOf(preview, service)}${why}`);
    for (const { why: reason, for: what } of service.first)
      lines.push(`${indent}    waits first for ${what}: ${reason}`);
    lines.push(...service.notes.map((note) => `${indent}    ${note}`));
    if (service.steps.length > 0) {
      lines.push(...service.steps.map((step) => `${indent}    ${step.kind} ${step.subject}`));
      lines.push(...facts(service).map(([what, text]) => `${indent}    ${what}: ${text}`));
    }
    for (const { why: reason, for: what } of service.waiting)
      lines.push(`${indent}    waits for ${what}: ${reason}`);
    for (const { why: reason, hint } of service.refused)
      lines.push(`${indent}    refused: ${reason}`, `${indent}      ${hintBeside(preview, hint)}`);
  }
  lines.push('', `${countLine(preview)}. ${budgetLine(preview)}`);
  if (preview.trailers.length > 0)
    lines.push(
      'To have them go, end the message of a commit with:',
      ...preview.trailers.map((t) => `    ${t}`),
    );
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

/** Longest text of a cell when not everything fits, and of the reasons in the table when not all rows fit with that. */
const SHORT = 240;
const SHORTER = [SHORT, 100, 60];
/** So many services are named of one text, when not everything fits. */
const FEW = 20;

/**
 * Fit for a comment on a pull request: for each node a table, and the steps folded. What does not fit is left out from
 * the details first, and said. The first line is the mark by which a workflow finds the comment again.
 */
export function markdownPreview(previews: readonly Preview[]): string {
  let room = MAX_MARKDOWN - 200;
  const parts = previews.map((preview, at) => {
    const limit = Math.floor(room / (previews.length - at));
    const part =
      nodeMarkdown(preview, limit) ??
      `### mc-gitops: node \`${preview.node}\`\n\nThe plan is too long for a comment: \`mc-gitops plan\` shows it.`;
    room -= part.length + 2;
    return part;
  });
  const all = ['<!-- mc-gitops plan -->', ...(parts.length === 0 ? ['No node has anything to do.'] : parts)];
  const text = all.join('\n\n');
  return text.length < MAX_MARKDOWN
    ? text
    : `${all[0] ?? ''}\n\nThe plan of ${previews.length} nodes is too long for a comment: \`mc-gitops plan\` shows it.`;
}

type Cell = (text: string) => string;

/** Lines as long as there is room for them; what is left out is counted. */
function fitting(lines: readonly string[], room: number): { readonly kept: string[]; readonly used: number } {
  const kept: string[] = [];
  let used = 0;
  for (const line of lines) {
    if (used + line.length + 1 > room) break;
    kept.push(line);
    used += line.length + 1;
  }
  return { kept, used };
}

/** Undefined where not even the head of it fits. */
function nodeMarkdown(preview: Preview, limit: number): string | undefined {
  const changed = preview.services.filter((service) => !isSame(service));
  const title = `### mc-gitops: what node \`${preview.node}\` would do`;
  const notes = nodeNotes(preview).flatMap((note) => [`**${escaped(note)}**`, '']);
  const table = changed.length === 0 ? ['Nothing.'] : ['| service | | why | downtime |', '|---|---|---|---|'];
  const summary = [
    '',
    `${countLine(preview)}. From commit \`${preview.from.slice(0, 12)}\`. ${budgetLine(preview)}`,
    '',
  ];
  const trailers =
    preview.trailers.length === 0
      ? []
      : [
          'To have them go, end the message of a commit with:',
          '',
          ...fenced(preview.trailers.join('\n'), ''),
          '',
        ];
  const assemble = (
    rows: readonly string[],
    problems: readonly string[],
    details: readonly string[],
  ): string =>
    [title, '', ...notes, ...table, ...rows, ...summary, ...problems, '', ...trailers, ...details].join('\n');

  const whole = assemble(
    changed.map((service) => rowOf(preview, service, escaped)),
    problemsOf(preview, escaped, Infinity),
    changed.map((service) => detailsOf(service, true, escaped)),
  );
  if (whole.length < limit) return whole;

  const within =
    (most: number): Cell =>
    (text) =>
      escaped(text.length <= most ? text : `${text.slice(0, most)}…`);
  const cell = within(SHORT);
  const short = 'Shortened: `mc-gitops plan` shows every step and patch.';
  const allProblems = problemsOf(preview, cell, FEW);
  // How it comes about is said with its steps.
  const brief = (service: ServicePreview): ServicePreview => ({
    ...service,
    downtime: service.downtime.split(': ')[0] ?? '',
  });
  const left = (all: number, kept: number, what: string): string[] =>
    all > kept ? [`… and ${all - kept} more ${what}.`] : [];
  let room = limit - assemble([], [], []).length - short.length - 120;
  if (room <= 0) return undefined;
  // The table comes first, and refusals have their place beside it, however many rows there are.
  const reserved = Math.min(Math.floor(room * 0.4), allProblems.join('\n').length + 1);
  const tables = SHORTER.map((most) =>
    fitting(
      changed.map((service) => rowOf(preview, brief(service), within(most))),
      room - reserved,
    ),
  );
  const rows = tables.find(({ kept }) => kept.length === changed.length) ??
    tables.at(-1) ?? { kept: [], used: 0 };
  room -= rows.used;
  const problems = fitting(allProblems, room);
  room -= problems.used;
  const details: string[] = [];
  for (const service of changed) {
    if (room < 200) break;
    const [long, bare] = [detailsOf(service, true, cell), detailsOf(service, false, cell)];
    const one = long.length < room / 4 ? long : bare;
    if (one.length + 1 > room) continue;
    details.push(one);
    room -= one.length + 1;
  }
  return assemble(
    [...rows.kept, ...left(changed.length, rows.kept.length, 'services').flatMap((line) => ['', line])],
    [...problems.kept, ...left(allProblems.length, problems.kept.length, 'notes')],
    [...details, short],
  );
}

function rowOf(preview: Preview, service: ServicePreview, cell: Cell): string {
  const why = cell(service.because ?? '');
  return `| ${cell(service.name)} | **${outcomeOf(preview, service)}** | ${why} | ${cell(service.downtime)} |`;
}

function problemsOf(preview: Preview, cell: Cell, most: number): string[] {
  const { services, issues, assumptions } = preview;
  const names = (all: readonly string[]): string => {
    const more = all.length > most ? ` and ${all.length - most} more` : '';
    return `${cell(all.slice(0, most).join(', '))}${more}`;
  };
  const refused = services.flatMap(({ name, refused: all }) =>
    all.map(({ why, hint }) => ({ name, text: why, hint: hintBeside(preview, hint) })),
  );
  const first = services.flatMap(({ name, first: all }) =>
    all.map(({ why, for: what }) => ({ name, text: `waits first for ${what}: ${why}` })),
  );
  const waiting = services.flatMap(({ name, waiting: all }) =>
    all.map(({ why, for: what }) => ({ name, text: `waits for ${what}: ${why}` })),
  );
  const notes = services.flatMap(({ name, notes: all }) => all.map((text) => ({ name, text })));
  return [
    ...together(refused).map(
      (one) =>
        `- **${names(one.names)} ${one.names.length === 1 ? 'is' : 'are'} refused**: ${cell(one.text)}. ${cell(one.hint ?? '')}`,
    ),
    ...issues.map(
      (i) =>
        `- ${cell(`${i.file}:${i.line}:${i.column}`)} ${i.severity}: ${cell(i.message)}. ${cell(i.hint)}`,
    ),
    ...together([...first, ...notes, ...waiting]).map((one) => `- ${names(one.names)}: ${cell(one.text)}`),
    ...assumptions.slice(0, most).map((text) => `- not known from here: ${cell(text)}`),
    ...(assumptions.length > most
      ? [`- … and ${assumptions.length - most} more are not known from here.`]
      : []),
  ];
}

function detailsOf(service: ServicePreview, withPatch: boolean, cell: Cell): string {
  if (service.steps.length === 0 && (service.patch === undefined || !withPatch)) return '';
  const patch =
    service.patch === undefined || !withPatch
      ? []
      : [...fenced(JSON.stringify(service.patch, null, 1), 'json'), ''];
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

/** Between fences that are longer than any in the text: it is copied as it is. */
function fenced(text: string, language: string): string[] {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}${language}`, text, fence];
}

/** Text of definitions in a table or list of Markdown: no row, tag, mention or link of its own. */
function escaped(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/[\\`*_[\]|#!@~]/g, (char) => `\\${char}`);
}
