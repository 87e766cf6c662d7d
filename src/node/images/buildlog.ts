import { withoutSecretWords } from '../../base/secretlike.ts';
import { redact } from '../../base/secret.ts';
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
  /** Inside of a private key that is printed. */
  inKey: boolean;
}

const KEPT_BUILDS = 20;
const LONGEST_LINE = 4_096;

export function openBuildLogs(maxLogBytes: number): BuildLogs {
  const logs = new Map<string, Kept>();
  return {
    begin: (reference) => {
      keepNewest(logs, reference, { lines: [], bytes: 0, dropped: 0, inKey: false }, KEPT_BUILDS);
    },
    add: (reference, text) => {
      const log = logs.get(reference);
      if (log === undefined) return;
      for (const line of text.split(/\r?\n|\r/)) {
        if (line === '') continue;
        const kept = covered(log, redact(plain(line)).slice(0, LONGEST_LINE));
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

/** Without what a terminal would act on. */
function plain(line: string): string {
  // eslint-disable-next-line no-control-regex
  return line.replaceAll(/\u001b\[[0-9;?]*[A-Za-z]|[\u0000-\u0008\u000b-\u001f\u007f]/g, '');
}

/** Without what looks like a secret: a build may print what it likes, and its log is shown to whoever asks (G10). */
function covered(log: Kept, line: string): string {
  const isKey = log.inKey || /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(line);
  if (!isKey) return withoutSecretWords(line);
  log.inKey = !/-----END [A-Z ]*PRIVATE KEY-----/.test(line);
  return '•••';
}
