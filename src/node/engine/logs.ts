import { redact } from '../../base/secret.ts';
import type { Api } from './api.ts';
import { containerPath } from './lookup.ts';

const MAX_BYTES = 1_000_000;

/** The last `tail` lines of a container, standard output and error in the order in which the engine has them. */
export async function readLogs(api: Api, id: string, tail: number, signal: AbortSignal): Promise<string[]> {
  const answer = await api.stream('GET', `${containerPath(id)}/logs`, {
    query: { stdout: true, stderr: true, tail },
    signal,
  });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    const bytes = Buffer.from(chunk as Uint8Array);
    chunks.push(bytes);
    size += bytes.length;
    if (size > MAX_BYTES) break;
  }
  const lines = withoutFrames(Buffer.concat(chunks)).split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.slice(-tail).map((line) => redact(line.replace(/\r$/, '')));
}

/**
 * Takes away the 8-byte frame headers (stream, 0, 0, 0, length) of a container without a terminal
 * (Docker Engine API, "Attach to a container"). A terminal's output has none and comes back as it is.
 */
export function withoutFrames(bytes: Buffer): string {
  const parts: Buffer[] = [];
  let at = 0;
  while (at + 8 <= bytes.length) {
    const isHeader = bytes.readUInt8(at) <= 2 && bytes.readUIntBE(at + 1, 3) === 0;
    if (!isHeader) return bytes.toString('utf8');
    const length = bytes.readUInt32BE(at + 4);
    parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += 8 + length;
  }
  return Buffer.concat(parts).toString('utf8');
}
