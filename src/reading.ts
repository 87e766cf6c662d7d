import { oversee, type Overseer } from './base/overseer.ts';
import { messageOf, ok, retry, type Outcome } from './base/outcome.ts';
import { takeOver, unreadOf, type ReadAhead } from './definitions/ahead.ts';
import type { DefinitionsInput } from './definitions/resolve.ts';
import type { DefinitionFile } from './source/types.ts';

export type ReadingJob = DefinitionFile & { readonly root: string };

/** Reads files where they may take for ever. */
export interface Reader {
  /** By id, why files could not be read. All others are read, and remembered as long as their bytes are. */
  read(files: readonly DefinitionFile[], root: string): Promise<Outcome<ReadonlyMap<string, string>>>;
  close(): Promise<void>;
}

type Files = Pick<DefinitionsInput, 'files' | 'refusedFiles' | 'lastGood'>;

/** The files as `resolve` may have them: what cannot be read is told, and is held back at its last good state. */
export async function readSafely(
  { files, refusedFiles, lastGood }: Files,
  root = '',
  reader = commonReader(),
): Promise<Outcome<Files>> {
  const before = [...lastGood.values()].map(({ file }) => file);
  const read = await reader.read([...files, ...before], root);
  if (read.kind !== 'ok') return read;
  const isRead = ({ oid }: DefinitionFile): boolean => !read.value.has(oid);
  const unread = files.filter((file) => !isRead(file));
  return ok({
    files: files.filter(isRead),
    refusedFiles: [
      ...refusedFiles,
      ...unread.map(({ path, oid }) => ({
        path,
        why: read.value.get(oid) ?? '',
        rule: 'file/deadline' as const,
      })),
    ],
    lastGood: new Map([...lastGood].filter(([, { file }]) => isRead(file))),
  });
}

const DEADLINE_MS = 2_000;
const MAX_MEMORY_MB = 256;
const IDLE_MS = 60_000;

/** `entry`: another thread than the one of definitions, for tests. */
export function openReader(
  entry: URL = new URL(`./readingworker${import.meta.url.slice(-3)}`, import.meta.url),
  deadlineMs = DEADLINE_MS,
): Reader {
  const overseer: Overseer<ReadingJob, ReadAhead> = oversee({
    entry,
    deadlineMs,
    maxMemoryMb: MAX_MEMORY_MB,
    idleMs: IDLE_MS,
  });
  return {
    close: () => overseer.close(),
    async read(files, root) {
      const fresh = unreadOf(files);
      const jobs = fresh.map(({ path, oid, bytes }): ReadingJob => ({ path, oid, bytes: own(bytes), root }));
      try {
        const results = await overseer.run(jobs);
        const why = new Map<string, string>();
        for (const [at, file] of fresh.entries()) {
          const result = results[at];
          if (result?.kind === 'done') takeOver(file, result.value);
          else if (result?.kind === 'late') why.set(file.oid, `it is not read within ${deadlineMs / 1000} s`);
          else why.set(file.oid, `it cannot be read: ${result?.why ?? 'no answer'}`);
        }
        return ok(why);
      } catch (error) {
        return retry(
          `the definitions cannot be read on a thread of their own: ${messageOf(error)}`,
          'What is in force stays so. Look at the limits of this process: memory, and number of threads.',
        );
      }
    },
  };
}

let common: Reader | undefined;

/** The one of this process. Its thread ends by itself and does not keep the process. */
function commonReader(): Reader {
  return (common ??= openReader());
}

/** Bytes that are a part of a larger buffer would go over with the whole of it. */
function own(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}
