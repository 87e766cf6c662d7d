import type { Clock } from '../base/clock.ts';
import type { Log } from '../base/log.ts';
import type { Outcome } from '../base/outcome.ts';
import type { Engine } from './engine/engine.ts';
import { freeBytes } from './images/disk.ts';
import type { DiskFacts } from './types.ts';

/** What lies on the engine's disk, measured beside the passes: the engine may take minutes to tell. */
export interface Disk {
  /** As it was measured last; a measure that is too old is taken anew, and told of when it is there. */
  facts(): DiskFacts | undefined;
  /** Something was added or taken away: the next look has it measured again, at most twice a minute. */
  changed(): void;
  /** Lets the builder forget until so many bytes are left; then nothing is known until it was measured again. */
  prune(keepBytes: number): Promise<Outcome<undefined>>;
  /** Resolves when no measure is under way. */
  stop(): Promise<void>;
}

export interface DiskOptions {
  readonly engine: () => Promise<Outcome<Pick<Engine, 'disk' | 'storageRoot' | 'pruneBuildCache'>>>;
  /** `[build] min_free_mib`: told with the facts, so that whoever shows them knows when it is too little. */
  readonly minFreeBytes: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly onNews: () => void;
}

const MEASURE_EVERY_MS = 15 * 60_000;
/** A hundred images that go one after the other are not a hundred measures. */
const APART_MS = 30_000;

export function openDisk({ engine, minFreeBytes, clock, log, onNews }: DiskOptions): Disk {
  let known: { readonly facts: DiskFacts | undefined; readonly at: number } | undefined;
  let measuring: Promise<void> | undefined;
  let isStale = false;
  /** Pruned meanwhile: what a measure that was begun before it finds is not so any more. */
  let prunes = 0;
  let stopped = false;

  const measure = async (): Promise<void> => {
    const opened = await engine();
    if (opened.kind !== 'ok') return;
    const at = clock.monotonic();
    const before = prunes;
    isStale = false;
    const [disk, free] = await Promise.all([opened.value.disk(), freeBytes(opened.value.storageRoot)]);
    if (before !== prunes) return;
    if (disk.kind !== 'ok') {
      // Nothing depends on it but a row of the page: it is asked again with the next measure.
      log.debug({ why: disk.why }, 'the disk of the engine could not be measured');
      known = { facts: undefined, at };
      return;
    }
    known = {
      facts: {
        at: clock.now(),
        ...disk.value,
        ...(free === undefined ? {} : { freeBytes: free }),
        minFreeBytes,
      },
      at,
    };
    if (!stopped) onNews();
  };

  return {
    facts: () => {
      const limitMs = isStale ? APART_MS : MEASURE_EVERY_MS;
      const isOld = known === undefined || clock.monotonic() - known.at > limitMs;
      if (isOld && !stopped) measuring ??= measure().finally(() => (measuring = undefined));
      return known?.facts;
    },
    changed: () => {
      isStale = true;
    },
    prune: async (keepBytes) => {
      const opened = await engine();
      if (opened.kind !== 'ok') return opened;
      const pruned = await opened.value.pruneBuildCache(keepBytes);
      known = undefined;
      prunes += 1;
      return pruned;
    },
    stop: async () => {
      stopped = true;
      await measuring;
    },
  };
}
