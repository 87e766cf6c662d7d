import { causer } from '../base/causer.ts';
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
  return visibleAll(withOutcomes(passes.map(passShown).flatMap(entriesOf)));
}

/** A version that gave way later is told where it came, too: that its steps went well is not that it stayed (L32). */
function withOutcomes(entries: readonly HistoryEntry[]): HistoryEntry[] {
  const next = new Map<string, Verdict>();
  return entries.map((entry) => {
    const verdict = verdictOf(entry.steps);
    const after = next.get(entry.service);
    if (verdict !== undefined) next.set(entry.service, verdict);
    const isOver =
      verdict?.phase === 'trying' && after?.phase !== 'trying' && after?.commit === verdict.commit;
    return isOver && entry.result === 'ok' ? { ...entry, result: 'gave way' } : entry;
  });
}

interface Verdict {
  readonly phase: string;
  readonly commit: string;
}

/** What was recorded of the trial of a version. */
function verdictOf(steps: readonly StepRecord[]): Verdict | undefined {
  const after = steps.findLast(({ kind, result }) => kind === 'record-trial' && result === 'ok')?.after;
  if (after === null || typeof after !== 'object') return undefined;
  if (!('phase' in after) || !('commit' in after)) return undefined;
  return { phase: String(after.phase), commit: String(after.commit) };
}

function entriesOf(pass: PassRecord): HistoryEntry[] {
  const services = [...new Set(pass.steps.map((step) => step.service))];
  return services.map((service) => entryOf(pass, service));
}

function entryOf(pass: PassRecord, service: string): HistoryEntry {
  const steps = pass.steps.filter((step) => step.service === service);
  const main = steps.find((step) => !CLEARING.includes(step.kind)) ?? steps[0];
  const { commit = pass.commit, file, patch, summary = '', by } = main?.because ?? {};
  const ends = steps.flatMap((step) => (step.endedAt === undefined ? [] : [step.endedAt]));
  const startedAt = Math.min(...steps.map((step) => step.startedAt));
  // The commit in force has nothing to do with it.
  const isOfCommit = by === undefined && commit === pass.commit;
  const { author, message } = main?.about ?? (isOfCommit ? pass : {});
  return {
    pass: pass.id,
    service,
    at: startedAt,
    trigger: pass.trigger,
    commit,
    ...(by === undefined ? {} : { by }),
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
  const worst = results.reduce((a, b) => (WORST.indexOf(b) > WORST.indexOf(a) ? b : a), 'ok');
  if (worst !== 'ok') return worst;
  switch (verdictOf(steps)?.phase) {
    case 'returning':
      // Its verdict comes alone; what follows puts the version before back.
      return steps.length === 1 ? 'gave way' : 'returned';
    case 'held back':
      return 'held back';
    case 'outside':
      return 'gave way';
    default:
      return worst;
  }
}

/** `mc-gitops history`: for a terminal, newest first. */
export function formatHistory(entries: readonly HistoryEntry[]): string {
  if (entries.length === 0)
    return 'Nothing was done here yet; `mc-gitops status` says what is waited for, `mc-gitops events` since when.';
  return entries.flatMap(linesOf).map(visible).join('\n');
}

function linesOf(entry: HistoryEntry): string[] {
  const { author, message, commit, tookMs, by: cause } = entry;
  const by = [author, message === undefined ? undefined : `"${message}"`].filter(
    (part) => part !== undefined,
  );
  return [
    `${new Date(entry.at).toISOString().replace(/\.\d+Z$/, 'Z')}  ${entry.service}: ${entry.result}${tookMs === undefined ? '' : ` after ${tookMs} ms`} (pass ${entry.pass}, ${entry.trigger})`,
    cause !== undefined
      ? `  commit   none: ${causer(cause)} (in force ${commit.slice(0, 12)})`
      : `  commit   ${commit.slice(0, 12)}${by.length === 0 ? '' : ` ${by.join(' ')}`}${entry.file === undefined ? '' : ` ${entry.file}`}`,
    `  because  ${entry.why}`,
    ...(entry.patch ?? []).map((operation) => `  changed  ${JSON.stringify(operation)}`),
    ...entry.steps.flatMap((step) => [
      `  step     ${step.kind} ${step.subject}: ${step.result ?? 'under way'}${step.endedAt === undefined ? '' : ` (${step.endedAt - step.startedAt} ms)`}`,
      ...(step.message === undefined ? [] : [`           ${step.message}`]),
    ]),
    '',
  ];
}
