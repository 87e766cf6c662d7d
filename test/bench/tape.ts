import { makeLog, type Log } from '../../src/base/log.ts';
import { nowMs } from './bench.ts';

/** A line of the agent's log and when it was written (see `nowMs`). */
export interface TapeLine {
  readonly at: number;
  readonly msg: string;
  readonly service?: string;
  readonly step?: string;
  readonly commit?: string;
  readonly container?: string;
  /** How long a step took. */
  readonly ms?: number;
  /** The whole line, for when something goes wrong. */
  readonly text: string;
}

export interface Tape {
  readonly log: Log;
  readonly lines: readonly TapeLine[];
  /** Calls for each line, as it is written, until `stop`. */
  follow(onLine: (line: TapeLine) => void): { stop(): void };
}

/** The agent's own log as a stopwatch: what it tells is what it did, and nothing of it had to be changed. */
export function openTape(): Tape {
  const lines: TapeLine[] = [];
  const followers = new Set<(line: TapeLine) => void>();
  const write = (text: string): void => {
    const line: TapeLine = { ...(JSON.parse(text) as Omit<TapeLine, 'at' | 'text'>), at: nowMs(), text };
    lines.push(line);
    for (const follower of followers) follower(line);
  };
  return {
    log: makeLog('debug', { write }),
    lines,
    follow: (onLine) => {
      followers.add(onLine);
      return { stop: () => void followers.delete(onLine) };
    },
  };
}
