import type { Clock } from '../base/clock.ts';
import type { Busy } from '../plan/facts.ts';
import type { Step } from '../plan/types.ts';
import type { StepResult } from './types.ts';

/** A pass that stands still for so long goes on without the steps that are under way. */
const PATIENCE_MS = 1_000;
/** And so does one that has its hands full: whatever changed meanwhile is looked at. */
const LONGEST_MS = 10_000;
/** An engine on which everything hangs is not called more and more: as many steps as this times what the settings say. */
const MOST_TIMES = 4;

/**
 * Steps that are under way, over passes: one that takes long (a stop, a call that hangs until its deadline) keeps its own
 * service and no other. Whoever has a step here gets no other step until it has ended (L40).
 */
export interface Lanes {
  /** By service. */
  busy(): Required<Busy>[];
  /** How many more services may be worked on, of `parallel` that a pass may. */
  places(parallel: number): number;
  /** Has a service not had its turn, because others take long, and is there a place for it now? */
  isLeft(steps: readonly Step[], parallel: number): boolean;
  enter(step: Step, since: number): void;
  /** The service's turn is over; `late`: results that the pass of these steps did not wait for; absent: it did. */
  leave(service: string, late?: readonly StepResult[]): void;
  /** Late results, each told once. */
  takeLate(): StepResult[];
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

/** `onLate`: a step has ended that its pass did not wait for: look again. */
export function openLanes(onLate: () => void): Lanes {
  const steps = new Map<string, Required<Busy>>();
  let late: StepResult[] = [];
  let waiting: (() => void)[] = [];
  const places = (parallel: number): number =>
    Math.max(0, Math.min(parallel, MOST_TIMES * parallel - steps.size));
  return {
    places,
    isLeft: (planned, parallel) => planned.some(({ service }) => !steps.has(service)) && places(parallel) > 0,
    busy: () => [...steps.values()].sort((a, b) => (a.service < b.service ? -1 : 1)),
    enter: ({ service, kind, subject }, since) =>
      void steps.set(service, { service, step: `${kind} ${subject}`, since }),
    leave: (service, results) => {
      steps.delete(service);
      late = [...late, ...(results ?? [])];
      if (results !== undefined) onLate();
      if (steps.size > 0) return;
      for (const resolve of waiting) resolve();
      waiting = [];
    },
    takeLate: () => {
      const taken = late;
      late = [];
      return taken;
    },
    idle: () => (steps.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}

/** Resolves once nothing has moved for a while, or everything has gone on for too long, or at once when `done` is aborted. */
export async function untilStill(clock: Clock, movedAt: () => number, done: AbortSignal): Promise<void> {
  const end = clock.monotonic() + LONGEST_MS;
  for (;;) {
    const leftMs = Math.min(movedAt() + PATIENCE_MS, end) - clock.monotonic();
    if (done.aborted || leftMs <= 0) return;
    await clock.sleep(leftMs, done);
  }
}
