import { blocked, bug, retry, type Failure } from '../../../src/base/outcome.ts';
import type { StepKind } from '../../../src/plan/types.ts';
import { STEP_KINDS, type Actor } from '../stepkinds.ts';

/** How a call to something outside goes wrong (reliability.md, G18). */
export const CALL_FAULTS = [
  'refused',
  'reset midway',
  '500',
  '404',
  '409',
  '401',
  '429',
  'hang',
  'slow drip',
  'empty body',
  'half JSON',
  'wrong shape',
  'success, not done',
  'done, error said',
] as const;

/** Where the agent dies, seen from the journal (G13). */
export const CRASHES = [
  'crash before intent',
  'crash after intent',
  'crash in the act',
  'crash before result',
  'crash after result',
] as const;

/** What a write of the registry meets (G32). */
export const WRITE_FAULTS = ['disk full', 'database busy'] as const;

export type CallFault = (typeof CALL_FAULTS)[number];
export type Crash = (typeof CRASHES)[number];
export type WriteFault = (typeof WRITE_FAULTS)[number];
export type StepFault = CallFault | Crash | WriteFault;

/** What the world does on its own while steps are taken. */
export const WEATHERS = [
  'git down',
  'git hangs',
  'bad file in git',
  'no definitions in git',
  'half of the definitions gone',
  'engine unseen',
  'proxy unseen',
  'ports unseen',
  'images unseen',
  'stale list',
  'partial list',
  'proxy down',
  'routes lost',
  'container killed',
  'container removed',
  'label edited',
  'image removed',
  'port stolen',
  'certificate lost',
  'mount missing',
  'never ready',
  'signal lost',
  'signal doubled',
  'signal late',
  'clock forward',
  'clock back',
  'agent restarted',
  'registry lost',
  'name server down',
  'one name server down',
  'one name server refuses',
  'records lost',
  'record edited',
  'foreign record',
  'foreign route',
  'stray route',
  'CA down',
  'certificate ends in a pass',
  'settings changed',
  'slow look',
] as const;

export type Weather = (typeof WEATHERS)[number];

const CALL_DEADLINE_MS = 30_000;

/** What becomes of a faulty call: how much of it is done, what is said of it, and how long it takes. */
export interface Ending {
  /** `later`: done after the caller gave up. */
  readonly effect: 'none' | 'half' | 'done' | 'later';
  /** Absent: success is said. */
  readonly said?: Failure;
  readonly takesMs: number;
}

/**
 * What the adapters make of each fault: the fault-injecting engine of `test/component/engine-faults.test.ts` holds that it is
 * so. `lateness` is thrown by the caller: a hung call may still be done.
 */
export function endingOf(fault: CallFault, coin: boolean): Ending {
  const said = (failure: Failure, effect: Ending['effect'], takesMs = 0): Ending => ({
    effect,
    said: failure,
    takesMs,
  });
  switch (fault) {
    case 'refused':
      return said(retry('engine unreachable (ECONNREFUSED)'), 'none');
    case 'reset midway':
      return said(retry('engine unreachable (ECONNRESET)'), coin ? 'half' : 'done');
    case '500':
      return said(retry('server error'), 'none');
    case '404':
      return said(retry('no such thing'), 'none');
    case '409':
      return said(blocked('conflict'), 'none');
    case '401':
      return said(blocked('unauthorized: authentication required'), 'none');
    case '429':
      return said(retry('too many requests', undefined, 5_000), 'none');
    case 'hang':
      return said(retry('did not answer within 30000 ms'), coin ? 'later' : 'none', CALL_DEADLINE_MS);
    case 'slow drip':
      return said(retry('did not answer within 30000 ms'), 'done', CALL_DEADLINE_MS);
    case 'empty body':
    case 'half JSON':
    case 'wrong shape':
      return said(bug(new Error(`not understood: ${fault}`)), 'done');
    case 'success, not done':
      return { effect: 'none', takesMs: 0 };
    case 'done, error said':
      return said(retry('server error, after it was done'), 'done');
  }
}

/** How often each fault fired in, or beside, each kind of step. */
export class Fired {
  readonly counts: Map<string, Map<string, number>>;

  constructor(counts = new Map<string, Map<string, number>>()) {
    this.counts = counts;
  }

  add(fault: string, kind: string): void {
    const row = this.counts.get(fault) ?? new Map<string, number>();
    this.counts.set(fault, row.set(kind, (row.get(kind) ?? 0) + 1));
  }

  merge(other: Fired): void {
    for (const [fault, row] of other.counts)
      for (const [kind, count] of row) {
        const mine = this.counts.get(fault) ?? new Map<string, number>();
        this.counts.set(fault, mine.set(kind, (mine.get(kind) ?? 0) + count));
      }
  }

  total(): number {
    return [...this.counts.values()].flatMap((row) => [...row.values()]).reduce((a, b) => a + b, 0);
  }

  /** Beside or in steps of any kind. */
  row(fault: string): number {
    return [...(this.counts.get(fault)?.values() ?? [])].reduce((a, b) => a + b, 0);
  }

  count(fault: string, kind: string): number {
    return this.counts.get(fault)?.get(kind) ?? 0;
  }
}

/** Every meeting of a fault with a kind of step that is possible: each must have happened in a run. */
export function possibleCells(): { readonly fault: StepFault; readonly kind: StepKind }[] {
  return [...CALL_FAULTS, ...CRASHES, ...WRITE_FAULTS].flatMap((fault) =>
    (Object.keys(STEP_KINDS) as StepKind[])
      .filter((kind) => impossible(fault, kind) === undefined)
      .map((kind) => ({ fault, kind })),
  );
}

const CALLED: readonly Actor[] = ['engine', 'proxy', 'certificates', 'images', 'dns'];

/** Why a fault cannot meet a kind of step; undefined when it can, and then it must have. */
export function impossible(fault: StepFault | Weather, kind: StepKind): string | undefined {
  const actor = STEP_KINDS[kind];
  if (kind === 'rest-container') return 'no container of these lives exits again and again: see flap.test.ts';
  if (kind === 'prune-build-cache')
    return 'nothing of these lives measures the disk: see housekeeping.test.ts';
  if (fault === 'name server down' && actor === 'dns')
    return 'no record is written while no name server is seen';
  if (fault === 'one name server down' && kind === 'remove-records')
    return 'no record is taken away while a name server is not seen';
  const isCall = (CALL_FAULTS as readonly string[]).includes(fault);
  if (isCall && !CALLED.includes(actor)) return 'a step on the registry calls nothing outside';
  if (isCall && actor === 'images' && fault !== 'refused' && fault !== 'success, not done')
    return 'an image job is only begun by its step: what fails later is observed, and is no fault of the step';
  if (fault === 'crash in the act' && actor === 'registry') return 'one transaction: it is done or it is not';
  if (fault === 'crash in the act' && actor === 'images') return 'a job is begun at once';
  if (fault === 'engine unseen') return 'nothing is done while the engine is not seen';
  if (fault === 'proxy unseen' && actor === 'proxy') return 'no route is written while the table is not seen';
  if (
    fault === 'images unseen' &&
    (actor === 'images' || kind === 'record-image' || kind === 'create-container')
  )
    return 'nothing is made of an image that is not seen';
  return undefined;
}
