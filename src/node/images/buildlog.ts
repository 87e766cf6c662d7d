import { coverOf } from '../../base/secretlike.ts';
import { redact } from '../../base/secret.ts';
import { plain } from '../../base/visible.ts';
import { keepNewest } from './newest.ts';

/** What builds printed, newest builds only, each with its last lines: a build that prints 1 GB costs no memory. */
export interface BuildLogs {
  begin(reference: string): void;
  add(reference: string, line: string): void;
  lines(reference: string): string[];
}

interface Kept {
  readonly lines: string[];
  bytes: number;
  dropped: number;
  /** A build may print what it likes, and its log is shown to whoever asks (G10). */
  readonly cover: (line: string) => string;
}

const KEPT_BUILDS = 20;
const LONGEST_LINE = 4_096;

export function openBuildLogs(maxLogBytes: number): BuildLogs {
  const logs = new Map<string, Kept>();
  return {
    begin: (reference) => {
      keepNewest(logs, reference, { lines: [], bytes: 0, dropped: 0, cover: coverOf() }, KEPT_BUILDS);
    },
    add: (reference, text) => {
      const log = logs.get(reference);
      if (log === undefined) return;
      for (const line of text.split(/\r?\n|\r/)) {
        if (line === '') continue;
        const kept = log.cover(redact(plain(line)).slice(0, LONGEST_LINE));
        log.lines.push(kept);
        log.bytes += Buffer.byteLength(kept);
      }
      if (log.bytes <= maxLogBytes) return;
      // A quarter at once: not one line moved away for each that comes.
      let gone = 0;
      for (; log.bytes > maxLogBytes * 0.75 && gone < log.lines.length; gone += 1) {
        log.bytes -= Buffer.byteLength(log.lines[gone] ?? '');
      }
      log.lines.splice(0, gone);
      log.dropped += gone;
    },
    lines: (reference) => {
      const log = logs.get(reference);
      if (log === undefined) return [];
      return log.dropped === 0
        ? [...log.lines]
        : [`… ${log.dropped} earlier lines are not kept`, ...log.lines];
    },
  };
}
