import { blocked } from '../../base/outcome.ts';
import { redact } from '../../base/secret.ts';
import type { Api } from './api.ts';
import { LIBPOD } from './create.ts';
import { Refusal } from './failure.ts';
import type { Inspection } from './inspect.ts';
import { containerPath, type Site } from './lookup.ts';

const MAX_BYTES = 1_000_000;
const HEADER_BYTES = 8;
/** Drivers whose log the engines can give back; of the others they answer with nothing, or refuse (L21). */
const READABLE: readonly string[] = ['json-file', 'local', 'journald', 'k8s-file'];

/** The log driver of a container; refused when its log cannot be read: an empty answer would look like silence. */
export async function readableDriver({ api, kind }: Site, id: string): Promise<string> {
  // Podman's compatible inspection always says `json-file`; its own one tells the truth.
  const path = `${kind === 'podman' ? LIBPOD : ''}${containerPath(id)}/json`;
  const seen = await api.call<Inspection>(`look at the log driver of ${id.slice(0, 12)}`, 'GET', path);
  const driver = seen.HostConfig.LogConfig?.Type ?? '';
  if (READABLE.includes(driver)) return driver;
  throw new Refusal(
    blocked(
      `container ${id.slice(0, 12)} has the log driver "${driver || 'none'}", whose log the engine cannot give back`,
      `Readable are ${READABLE.join(', ')}: look where that driver writes, or have the container made anew by raising \`generation\`.`,
    ),
  );
}

/** The last `tail` lines of a container, standard output and error in the order in which the engine has them. */
export async function readLogs(api: Api, id: string, tail: number, signal: AbortSignal): Promise<string[]> {
  const answer = await api.stream('GET', `${containerPath(id)}/logs`, {
    query: { stdout: true, stderr: true, tail },
    signal,
  });
  const frames = deframer();
  let pieces: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer) {
    for (const piece of frames(Buffer.from(chunk as Uint8Array))) {
      pieces.push(piece);
      size += piece.length;
    }
    // The end of a log is what matters.
    if (size > 2 * MAX_BYTES) {
      pieces = [Buffer.concat(pieces).subarray(-MAX_BYTES)];
      size = MAX_BYTES;
    }
  }
  const lines = Buffer.concat(pieces).subarray(-MAX_BYTES).toString('utf8').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.slice(-tail).map((line) => redact(line.replace(/\r$/, '')));
}

/**
 * Takes away the 8-byte frame headers (stream, 0, 0, 0, length) of a container without a terminal
 * (Docker Engine API, "Attach to a container"). A terminal's output has none and comes back as it is.
 */
export function withoutFrames(bytes: Buffer): string {
  return Buffer.concat(deframer()(bytes)).toString('utf8');
}

/** The same piece by piece: a header may be cut in two by the end of a piece. */
function deframer(): (piece: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  let left = 0;
  let plain = false;
  return (piece) => {
    const bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    const parts: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      if (plain) {
        parts.push(bytes.subarray(at));
        at = bytes.length;
      } else if (left > 0) {
        const part = bytes.subarray(at, at + left);
        parts.push(part);
        left -= part.length;
        at += part.length;
      } else if (bytes.length - at < HEADER_BYTES && bytes.readUInt8(at) <= 2) {
        break;
      } else if (bytes.readUInt8(at) > 2 || bytes.readUIntBE(at + 1, 3) !== 0) {
        plain = true;
      } else {
        left = bytes.readUInt32BE(at + 4);
        at += HEADER_BYTES;
      }
    }
    rest = bytes.subarray(at);
    return parts;
  };
}
