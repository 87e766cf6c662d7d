import { pino, type DestinationStream, type Logger } from 'pino';
import { redact } from './secret.ts';

export type Log = Logger;
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The agent's log: one JSON object a line on `out` (standard error when not given), registered secrets masked. */
export function makeLog(level: LogLevel, out?: DestinationStream): Log {
  const sink = out ?? { write: (line: string) => void process.stderr.write(line) };
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line) => sink.write(redact(line)) },
  );
}
