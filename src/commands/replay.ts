import { digestOf } from '../base/json.ts';
import { messageOf } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import { visible } from '../base/visible.ts';
import type { Facts } from '../plan/facts.ts';
import { makePlan } from '../plan/plan.ts';
import type { Plan } from '../plan/types.ts';
import { openReader } from '../registry/reader.ts';
import type { StoredPlan } from '../registry/types.ts';
import { reasonOf } from '../report/shown.ts';
import { loadSettings } from '../settings.ts';
import { VERSION } from '../version.ts';
import { fail } from './fail.ts';

export interface ReplayOptions {
  readonly config: string;
  /** The registry or a snapshot of it; else the one of the settings. */
  readonly registry?: string;
  readonly format: 'text' | 'json' | 'markdown';
}

/** What came of planning again from stored inputs. */
export interface Replay {
  readonly pass: number;
  /** Of the program that made the plan, and of this one. */
  readonly madeBy: string;
  readonly replayedBy: string;
  readonly inputs: string;
  readonly stored: string;
  readonly replayed: string;
  readonly same: boolean;
  /** What is planned, a line each: steps with their reasons, what waits, what is refused. */
  readonly plan: readonly string[];
  /** What only one of the two plans has, at most a few of each. */
  readonly differences: readonly string[];
}

const MAX_DIFFERENCES = 20;

/** `mc-gitops plan --replay PASS`: the planner on the inputs of that pass, offline. Exit code 1 when it decides otherwise. */
export function runReplay(text: string, options: ReplayOptions): void {
  const pass = Number(text);
  if (!Number.isSafeInteger(pass) || pass < 1) {
    fail(
      {
        kind: 'blocked',
        why: `--replay ${text}: not a number of a pass`,
        hint: '`mc-gitops history` has them.',
      },
      2,
    );
    return;
  }
  // Elsewhere than on the node there are none, and none are needed for a file that is named.
  const settings = loadSettings(options.config, process.env);
  if (settings.kind !== 'ok' && options.registry === undefined) {
    fail(settings, 2);
    return;
  }
  const own = settings.kind === 'ok' ? settings.value : undefined;
  const path = options.registry ?? own?.database.path ?? '';
  const reader = openReader(path, own?.dataDir);
  if (reader.kind !== 'ok') {
    fail(reader, 3);
    return;
  }
  try {
    const stored = reader.value.plan(pass);
    if (stored === undefined) {
      fail({
        kind: 'blocked',
        why: `the inputs of pass ${pass} are not stored in ${path}`,
        hint: 'They are kept for the newest passes whose plan changed ([journal] max_plans); the dashboard and `mc-gitops history` mark them.',
      });
      return;
    }
    const result = replay(stored);
    process.stdout.write(options.format === 'json' ? `${JSON.stringify(result, null, 2)}\n` : told(result));
    if (!result.same) process.exitCode = 1;
  } catch (error) {
    fail({
      kind: 'bug',
      why: `pass ${pass} of ${path} cannot be replayed: ${messageOf(error)}`,
      hint: 'Run it on the node, or put its env.key (0600, in its data directory) beside the file. Else a part of it is damaged or missing: take another pass, or a snapshot of that time.',
    });
  } finally {
    reader.value.close();
  }
}

/** Plans again from the inputs, and compares to the byte. */
export function replay(stored: StoredPlan): Replay {
  const plan = makePlan(stored.inputs as Facts);
  const digests = { stored: digestOf(stored.plan), replayed: digestOf(plan) };
  return {
    pass: stored.pass,
    madeBy: stored.version,
    replayedBy: VERSION,
    inputs: digestOf(stored.inputs),
    ...digests,
    same: digests.stored === digests.replayed,
    plan: linesOf(plan),
    differences: differences(stored.plan as Plan, plan),
  };
}

function linesOf({ steps, waiting, refused }: Plan): string[] {
  return [
    ...steps.map(({ service, kind, subject, because }) => {
      const { summary, commit, file } = reasonOf(because);
      const from = [commit?.slice(0, 12), file].filter((part) => part !== undefined).join(', ');
      return `step     ${service}: ${kind} ${subject}, because ${summary}${from === '' ? '' : ` (${from})`}`;
    }),
    ...waiting.map((entry) => `waiting  ${entry.service}: ${entry.for}: ${redact(entry.why)}`),
    ...refused.map((entry) => `refused  ${entry.service}: ${redact(entry.why)}`),
  ].map(visible);
}

function differences(stored: Plan, replayed: Plan): string[] {
  const lines = (plan: Plan): string[] => [
    ...plan.steps.map(
      (step) => `step ${step.service}: ${step.kind} ${step.subject} ${short(digestOf(step))}`,
    ),
    ...plan.waiting.map(
      (entry) => `waiting ${entry.service}: ${entry.for}: ${entry.why} ${short(digestOf(entry))}`,
    ),
    ...plan.refused.map((entry) => `refused ${entry.service}: ${entry.why}`),
    `wakeAt ${plan.wakeAt ?? 'not set'}`,
  ];
  const [before, after] = [lines(stored), lines(replayed)];
  return [
    ...before
      .filter((line) => !after.includes(line))
      .slice(0, MAX_DIFFERENCES)
      .map((line) => `- ${line}`),
    ...after
      .filter((line) => !before.includes(line))
      .slice(0, MAX_DIFFERENCES)
      .map((line) => `+ ${line}`),
  ];
}

function told(result: Replay): string {
  const { pass, madeBy, replayedBy, inputs, stored, replayed, same } = result;
  const lines = [
    `pass     ${pass}, planned by mc-gitops ${madeBy}, replayed by ${replayedBy}`,
    `inputs   ${inputs}`,
    `stored   ${stored}`,
    `replayed ${replayed}`,
    ...result.plan,
    same ? 'the same plan' : 'ANOTHER PLAN',
    ...(same ? [] : result.differences),
    ...(same || madeBy === replayedBy
      ? []
      : ['Another version of the planner may rightly decide otherwise: replay with the one that made it.']),
  ];
  return `${lines.join('\n')}\n`;
}

function short(digest: string): string {
  return digest.slice(0, 8);
}
