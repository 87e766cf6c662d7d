import { redact } from '../base/secret.ts';
import type { Desired } from '../definitions/types.ts';
import type { Plan } from '../plan/types.ts';
import type { SourceHealth } from '../source/types.ts';
import type { AgentEvent } from './types.ts';

/** What is told when it begins, changes or ends. */
export interface Situation {
  readonly commit?: Pick<Desired['commit'], 'oid' | 'author' | 'message'>;
  readonly plan?: Pick<Plan, 'waiting' | 'refused'> & Partial<Pick<Plan, 'steps'>>;
  readonly source: SourceHealth;
  readonly idle?: { readonly why: string; readonly hint?: string };
}

export type NewEvent = Omit<AgentEvent, 'id'>;

/** A condition that lasts, under a key that stays the same while it lasts. */
interface Lasting {
  readonly key: string;
  readonly kind: 'waiting' | 'refused' | 'source';
  readonly service?: string;
  readonly what: string;
  readonly why: string;
  readonly hint?: string;
}

const MAX_NAMED = 8;

/** The difference between two looks, each condition told once; services that wait for the same are told together. Pure. */
export function differencesOf(before: Situation | undefined, after: Situation, at: number): NewEvent[] {
  const old = new Map(lastingOf(before).map((entry) => [entry.key, entry]));
  const now = new Map(lastingOf(after).map((entry) => [entry.key, entry]));
  const begun = [...now.values()].filter((entry) => !old.has(entry.key));
  const changed = [...now.values()].filter((entry) => {
    const was = old.get(entry.key);
    return was !== undefined && withoutNumbers(was.why) !== withoutNumbers(entry.why);
  });
  const ended = [...old.values()].filter((entry) => !now.has(entry.key));
  return [
    ...commitEvent(before, after, at),
    ...together(begun).map((group) => eventOf(group, 'begins', at)),
    ...together(changed).map((group) => eventOf(group, 'changes', at)),
    ...together(ended).map((group) => eventOf(group, 'ends', at)),
  ];
}

/** What is tried again by a step, and waited for anew when that fails. */
const TRIED_AGAIN: readonly string[] = ['retry', 'dns', 'certificate', 'image', 'image push'];

/** With the waits of before that are tried again just now: that one is tried is not that it is over. Pure. */
export function withTried(before: Situation | undefined, after: Situation): Situation {
  const { plan } = after;
  if (plan?.steps === undefined || before?.plan === undefined) return after;
  const tried = new Set(plan.steps.map(({ service }) => service));
  const kept = before.plan.waiting.filter(
    (old) =>
      TRIED_AGAIN.includes(old.for) &&
      tried.has(old.service) &&
      !plan.waiting.some((now) => now.service === old.service && now.for === old.for),
  );
  return kept.length === 0 ? after : { ...after, plan: { ...plan, waiting: [...plan.waiting, ...kept] } };
}

function lastingOf(situation: Situation | undefined): Lasting[] {
  if (situation === undefined) return [];
  const { plan, source, idle } = situation;
  const told: Lasting[] = [];
  if (!source.reachable && source.since !== undefined)
    told.push({
      ...{ key: 'source', kind: 'source', what: 'git', why: redact(source.why ?? 'it does not answer') },
      hint:
        situation.commit === undefined
          ? 'No commit was accepted yet: nothing is done before its first answer.'
          : 'The last accepted commit goes on being enforced.',
    });
  if (idle !== undefined)
    told.push({
      ...{ key: 'idle', kind: 'source', what: 'nothing new is taken from git', why: redact(idle.why) },
      ...(idle.hint === undefined ? {} : { hint: redact(idle.hint) }),
    });
  for (const entry of plan?.waiting ?? [])
    told.push({
      key: `waiting ${entry.service} ${entry.component ?? ''} ${entry.for}`,
      kind: 'waiting',
      ...{ service: entry.service, what: entry.for, why: redact(entry.why) },
      ...(entry.hint === undefined ? {} : { hint: redact(entry.hint) }),
    });
  for (const entry of plan?.refused ?? [])
    told.push({
      key: `refused ${entry.service} ${withoutNumbers(entry.why)}`,
      kind: 'refused',
      ...{ service: entry.service, what: '', why: redact(entry.why), hint: redact(entry.hint) },
    });
  return told;
}

function commitEvent(before: Situation | undefined, after: Situation, at: number): NewEvent[] {
  const { commit } = after;
  if (commit === undefined || before?.commit?.oid === commit.oid) return [];
  const subject = commit.message.split('\n')[0] ?? '';
  return [{ at, kind: 'commit', text: `commit ${commit.oid.slice(0, 12)} by ${commit.author}: ${subject}` }];
}

function together(entries: readonly Lasting[]): Lasting[][] {
  const groups = new Map<string, Lasting[]>();
  for (const entry of entries) {
    const key = `${entry.kind} ${entry.what} ${entry.why}`;
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  return [...groups.values()];
}

function eventOf(group: readonly Lasting[], phase: NonNullable<NewEvent['phase']>, at: number): NewEvent {
  const [first] = group;
  const services = [...new Set(group.flatMap(({ service }) => (service === undefined ? [] : [service])))];
  const kind = phase === 'ends' ? 'ended' : (first?.kind ?? 'waiting');
  const hint = phase === 'ends' ? undefined : first?.hint;
  return {
    at,
    kind,
    phase,
    ...(services.length === 0 ? {} : { services }),
    text: wordsOf(first, named(services), phase),
    ...(hint === undefined ? {} : { hint }),
  };
}

function wordsOf(entry: Lasting | undefined, who: string, phase: NonNullable<NewEvent['phase']>): string {
  if (entry === undefined) return '';
  const { kind, what, why } = entry;
  const subject = who === '' ? what : who;
  if (kind === 'waiting')
    return phase === 'ends' ? `${who}: no longer waits for ${what}` : `${who}: waits for ${what}: ${why}`;
  if (kind === 'refused')
    return phase === 'ends' ? `${who}: no longer refused: ${why}` : `${who}: refused: ${why}`;
  return phase === 'ends' ? `${subject}: over: ${why}` : `${subject}: ${why}`;
}

function named(services: readonly string[]): string {
  const shown = services.slice(0, MAX_NAMED).join(', ');
  return services.length > MAX_NAMED ? `${shown} and ${services.length - MAX_NAMED} more` : shown;
}

/** Counters and times in a sentence do not make it another one. */
export function withoutNumbers(text: string): string {
  return text.replaceAll(/\d+/g, '#');
}
