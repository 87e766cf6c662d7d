import { redact } from '../base/secret.ts';
import type { Desired } from '../definitions/types.ts';
import type { StepResult } from '../execute/types.ts';
import type { Observed } from '../node/types.ts';
import type { Plan } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';
import type { SourceHealth } from '../source/types.ts';
import { expiring } from './expiry.ts';
import { gaveWay, heldBack, refused } from './refusals.ts';
import { repaired } from './repairs.ts';
import { unmade, untaken, waiting, withoutTwice } from './waits.ts';

type NoticeKind =
  | 'held back'
  | 'returned'
  | 'drift repaired'
  | 'source unreachable'
  | 'refused'
  | 'flapping'
  | 'degraded'
  | 'unpushed'
  | 'image'
  | 'certificate'
  | 'engine unreachable';

/** Why somebody should be told. */
export interface Cause {
  /** Stays the same as long as it is the same cause. */
  readonly key: string;
  readonly kind: NoticeKind;
  readonly service?: string;
  readonly text: string;
  readonly hint?: string;
  /** It has been so since; absent: since it was seen first. */
  readonly since?: number;
  /** So long it has to last before it is told: what mends itself at once wakes nobody. */
  readonly afterMs: number;
}

/** What happens and is over is one cause for so long: a service that is repaired every minute is told once. */
export const LINGER_MS = 10 * 60_000;
/** The key of what keeps the CA from giving certificates, whatever names they are for. */
export const CERTIFICATES = 'certificates';
const ENGINE_AFTER_MS = 60_000;

export interface CauseInput {
  readonly seen?: {
    readonly desired: Desired;
    /** Before the pass did anything. */
    readonly promised: Promised;
    readonly observed: Observed;
    readonly plan: Plan;
  };
  readonly results: readonly StepResult[];
  /** Services of whose failed version the last lines are kept; absent: none. */
  readonly printed?: ReadonlySet<string>;
  readonly source: SourceHealth;
  readonly idle?: { readonly why: string; readonly hint?: string };
}

export interface CauseLimits {
  readonly sourceAfterMs: number;
  readonly degradedAfterMs: number;
}

/** Everything worth a notice in what a pass saw and did. Pure; sorted by key. */
export function causesOf(input: CauseInput, limits: CauseLimits): Cause[] {
  const { seen } = input;
  return [
    ...sourceCauses(input, limits),
    ...(seen === undefined
      ? []
      : [
          ...engineCauses(seen.observed),
          ...heldBack(seen.desired),
          ...gaveWay(seen.promised, input.printed),
          ...refused(seen.plan),
          ...withoutTwice([...waiting(seen, limits), ...untaken(seen, input.results, limits)]),
          ...unmade(seen, limits),
          ...expiring(seen.desired.services, seen.observed),
          ...repaired(input.results),
        ]),
  ].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** What a pass saw, and what it planned. */
export type Seen = NonNullable<CauseInput['seen']>;

function sourceCauses({ source, idle }: CauseInput, { sourceAfterMs }: CauseLimits): Cause[] {
  const causes: Cause[] = [];
  if (!source.reachable && source.since !== undefined)
    causes.push({
      ...{ key: 'source', kind: 'source unreachable', since: source.since, afterMs: sourceAfterMs },
      text: `the definitions repository does not answer: ${redact(source.why ?? 'no reason given')}`,
      hint: 'What runs goes on running, and is healed from the last accepted commit.',
    });
  else if (idle !== undefined)
    causes.push({
      ...{ key: 'source idle', kind: 'source unreachable', afterMs: ENGINE_AFTER_MS },
      text: `nothing new is taken from git: ${redact(idle.why)}`,
      ...(idle.hint === undefined ? {} : { hint: redact(idle.hint) }),
    });
  return causes;
}

function engineCauses({ engine }: Observed): Cause[] {
  if (engine.known) return [];
  return [
    {
      ...{ key: 'engine', kind: 'engine unreachable', afterMs: ENGINE_AFTER_MS },
      text: `the container engine does not answer: ${redact(engine.why)}`,
      hint: 'What runs goes on running, but nothing is healed.',
    },
  ];
}
