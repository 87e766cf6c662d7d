import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { watch } from 'chokidar';

export interface FileWatch {
  close(): Promise<void>;
}

export interface WatchOptions {
  /** Told when watching itself fails (for example: no inotify watches left). Changes are then only seen by the slow look. */
  readonly onError?: (error: unknown) => void;
  /** How often the files are looked at without any event. Default 2000 ms. */
  readonly lookEveryMs?: number;
}

const DEFAULT_LOOK_EVERY_MS = 2_000;

/**
 * Calls `onChange` with the paths (as given) that were written, replaced by rename, created or removed since the last call.
 * A path, and the directory it is in, need not exist yet. Resolves when changes are being seen; a change made
 * before that is the caller's to read. Never rejects.
 *
 * An event only says "look now": what counts is whether the file differs, so nothing is told twice, and an event that
 * was lost (they are, with quick renames) is made up for by a slow look.
 */
export async function watchFiles(
  paths: readonly string[],
  onChange: (changed: readonly string[]) => void,
  options: WatchOptions = {},
): Promise<FileWatch> {
  const files = [...new Set(paths)].map((given) => ({ given, absolute: resolve(given), mark: '' }));
  await Promise.all(files.map(async (file) => (file.mark = await markOf(file.absolute))));

  let closed = false;
  let looking: Promise<void> | undefined;
  let again = false;
  const shouldLook = (): boolean => again && !closed;
  const lookOnce = async (): Promise<void> => {
    const marks = await Promise.all(files.map(({ absolute }) => markOf(absolute)));
    const changed = files.filter((file, index) => file.mark !== marks[index]).map(({ given }) => given);
    for (const [index, file] of files.entries()) file.mark = marks[index] ?? '';
    if (changed.length > 0 && !closed) onChange(changed);
  };
  const look = (): void => {
    if (closed) return;
    again = true;
    looking ??= (async () => {
      while (shouldLook()) {
        again = false;
        await lookOnce();
      }
    })().finally(() => {
      looking = undefined;
      if (shouldLook()) look();
    });
  };

  const { roots, ways } = waysTo(files.map((file) => file.absolute));
  const watcher = watch(roots, { ignoreInitial: true, atomic: false, ignored: (path) => !ways.has(path) });
  watcher.on('all', look);
  watcher.on('raw', look);
  watcher.on('error', (error) => options.onError?.(error));
  await new Promise<void>((done) => {
    watcher.once('ready', done);
    if (roots.length === 0) done();
  });
  const timer = setInterval(look, options.lookEveryMs ?? DEFAULT_LOOK_EVERY_MS);
  timer.unref();
  look();

  return {
    close: async () => {
      closed = true;
      clearInterval(timer);
      await watcher.close();
      await looking;
    },
  };
}

/** What makes one state of a file differ from another: replaced (inode), rewritten (times, size), gone (empty). */
async function markOf(path: string): Promise<string> {
  try {
    const now = await stat(path, { bigint: true });
    return [now.dev, now.ino, now.size, now.mtimeNs, now.ctimeNs].join(' ');
  } catch {
    return '';
  }
}

/**
 * Directories are watched, not files: a watch on a file ends with its inode, and chokidar sees nothing of a path whose
 * directory is missing. `ways` are the files and the directories between them and the nearest one that exists.
 */
function waysTo(files: readonly string[]): { roots: string[]; ways: Set<string> } {
  const roots = new Set<string>();
  const ways = new Set<string>();
  for (const file of files) {
    ways.add(file);
    let directory = dirname(file);
    ways.add(directory);
    while (!existsSync(directory) && dirname(directory) !== directory) {
      directory = dirname(directory);
      ways.add(directory);
    }
    roots.add(directory);
  }
  return { roots: [...roots], ways };
}
