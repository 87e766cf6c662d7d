import type { PassRecord, StepRecord } from '../registry/types.ts';
import { passShown, visible, visibleAll } from './shown.ts';
import type { HistoryEntry } from './types.ts';

/** Steps that only clear up after a change: they are not its reason. */
const CLEARING: readonly string[] = ['remove-container', 'release-leases', 'push-image', 'record-image'];

const WORST: readonly HistoryEntry['result'][] = [
  'ok',
  'begun',
  'under way',
  'wait',
  'interrupted',
  'retry',
  'blocked',
  'bug',
];

/** What was done, newest first: one entry a pass and service, with the whole reason and what each step found and left. */
export function historyOf(passes: readonly PassRecord[]): HistoryEntry[] {
  return visibleAll(passes.map(passShown).flatMap(entriesOf));
}

function entriesOf(pass: PassRecord): HistoryEntry[] {
  const services = [...new Set(pass.steps.map((step) => step.service))];
  return services.map((service) => entryOf(pass, service));
}

function entryOf(pass: PassRecord, service: string): HistoryEntry {
  const steps = pass.steps.filter((step) => step.service === service);
  const main = steps.find((step) => !CLEARING.includes(step.kind)) ?? steps[0];
  const { commit = pass.commit, file, patch, summary = '' } = main?.because ?? {};
  const ends = steps.flatMap((step) => (step.endedAt === undefined ? [] : [step.endedAt]));
  const startedAt = Math.min(...steps.map((step) => step.startedAt));
  const { author, message } = main?.about ?? (commit === pass.commit ? pass : {});
  return {
    pass: pass.id,
    service,
    at: startedAt,
    trigger: pass.trigger,
    commit,
    ...(author === undefined ? {} : { author }),
    ...(message === undefined ? {} : { message }),
    ...(file === undefined ? {} : { file }),
    why: summary,
    ...(patch === undefined ? {} : { patch }),
    steps,
    ...(ends.length === 0 ? {} : { tookMs: Math.max(...ends) - startedAt }),
    result: resultOf(steps),
  };
}

function resultOf(steps: readonly StepRecord[]): HistoryEntry['result'] {
  const results = steps.map((step): HistoryEntry['result'] => step.result ?? 'under way');
  return results.reduce((a, b) => (WORST.indexOf(b) > WORST.indexOf(a) ? b : a), 'ok');
}

/** `mc-gitops history`: for a terminal, newest first. */
export function formatHistory(entries: readonly HistoryEntry[]): string {
  if (entries.length === 0)
    return 'Nothing was done here yet; `mc-gitops status` says what is waited for, `mc-gitops events` since when.';
  return entries.flatMap(linesOf).map(visible).join('\n');
}

function linesOf(entry: HistoryEntry): string[] {
  const { author, message, commit, tookMs } = entry;
  const by = [author, message === undefined ? undefined : `"${message}"`].filter(
    (part) => part !== undefined,
  );
  return [
    `${new Date(entry.at).toISOString().replace(/\.\d+Z$/, 'Z')}  ${entry.service}: ${entry.result}${tookMs === undefined ? '' : ` after ${tookMs} ms`} (pass ${entry.pass}, ${entry.trigger})`,
    `  commit   ${commit.slice(0, 12)}${by.length === 0 ? '' : ` ${by.join(' ')}`}${entry.file === undefined ? '' : ` ${entry.file}`}`,
    `  because  ${entry.why}`,
    ...(entry.patch ?? []).map((operation) => `  changed  ${JSON.stringify(operation)}`),
    ...entry.steps.flatMap((step) => [
      `  step     ${step.kind} ${step.subject}: ${step.result ?? 'under way'}${step.endedAt === undefined ? '' : ` (${step.endedAt - step.startedAt} ms)`}`,
      ...(step.message === undefined ? [] : [`           ${step.message}`]),
    ]),
    '',
  ];
}
