import type { Failure } from '../base/outcome.ts';

interface Keyed<L extends string> {
  readonly key: string;
  readonly lane: L;
}

/** A job that was started. */
export interface Task<L extends string, J extends Keyed<L>> {
  readonly job: J;
  /** How it failed last; absent: it was never tried, or went well. */
  readonly before?: Failure;
  /** Aborted when it is told to end. */
  readonly ending: AbortController;
  /** Why it was told to. */
  fate?: 'gives way' | 'is cancelled';
}

/**
 * Who runs and who waits. In a lane that is full, a task that failed before ends for one that was never tried: nothing that
 * fails holds up others.
 */
export interface Lanes<L extends string, J extends Keyed<L>> {
  /** It runs as soon as its lane has room: what was never tried first, else in the order in which they came. */
  add(task: Task<L, J>): void;
  /** Running and waiting ones, without those that were cancelled. */
  tasks(): Task<L, J>[];
  /** True: it was waiting, and is gone. One that runs is told to end. */
  cancel(key: string): boolean;
  /** Resolves when nothing that runs now does any more. */
  idle(): Promise<void>;
}

/** `run` never rejects, and resolves when the task has ended. */
export function openLanes<L extends string, J extends Keyed<L>>(
  concurrencyOf: (lane: L) => number,
  run: (task: Task<L, J>) => Promise<void>,
): Lanes<L, J> {
  const queues = new Map<L, { readonly waiting: Task<L, J>[]; readonly running: Set<Task<L, J>> }>();
  const active = new Set<Promise<void>>();
  const queueOf = (lane: L): NonNullable<ReturnType<(typeof queues)['get']>> => {
    const queue = queues.get(lane) ?? { waiting: [], running: new Set() };
    queues.set(lane, queue);
    return queue;
  };
  const turn = (lane: L): void => {
    const { waiting, running } = queueOf(lane);
    while (running.size < concurrencyOf(lane)) {
      const task = takeNext(waiting);
      if (task === undefined) return;
      running.add(task);
      const ended = run(task).finally(() => {
        running.delete(task);
        active.delete(ended);
        turn(lane);
      });
      active.add(ended);
    }
    for (const task of givingWay(waiting, running)) end(task, 'gives way');
  };
  return {
    add: (task) => {
      queueOf(task.job.lane).waiting.push(task);
      turn(task.job.lane);
    },
    tasks: () =>
      [...queues.values()].flatMap(({ waiting, running }) =>
        [...running, ...waiting].filter(({ fate }) => fate !== 'is cancelled'),
      ),
    cancel: (key) => {
      for (const { waiting, running } of queues.values()) {
        for (const task of running) if (task.job.key === key) end(task, 'is cancelled');
        const at = waiting.findIndex(({ job }) => job.key === key);
        if (at < 0) continue;
        waiting.splice(at, 1);
        return true;
      }
      return false;
    },
    idle: async () => {
      await Promise.all(active);
    },
  };
}

type AnyTask = Pick<Task<string, Keyed<string>>, 'before' | 'ending' | 'fate'>;

function end(task: AnyTask, fate: NonNullable<AnyTask['fate']>): void {
  task.fate = fate;
  task.ending.abort();
}

/** What was never tried goes first. */
function takeNext<T extends AnyTask>(waiting: T[]): T | undefined {
  const untried = waiting.findIndex(({ before }) => before === undefined);
  return waiting.splice(Math.max(0, untried), 1)[0];
}

/** Of what runs in a full lane and failed before, as many as are waiting without ever having been tried. */
function givingWay<T extends AnyTask>(waiting: readonly T[], running: ReadonlySet<T>): T[] {
  const untried = waiting.filter(({ before }) => before === undefined).length;
  const ending = [...running].filter(({ fate }) => fate !== undefined).length;
  return [...running]
    .filter(({ before, fate }) => before !== undefined && fate === undefined)
    .slice(0, Math.max(0, untried - ending));
}
