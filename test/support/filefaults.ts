import fs from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { resolve, sep } from 'node:path';

/** What a file system says when it cannot; `torn`: half of a write is done, then there is no room. */
export const FILE_FAULTS = [
  ...(['EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE'] as const),
  ...(['ENOMEM', 'EBUSY', 'ESTALE', 'ETIMEDOUT', 'ELOOP', 'torn'] as const),
];

export interface FileFault {
  readonly code: (typeof FILE_FAULTS)[number];
  /** Which call fails, from 1. */
  readonly at: number;
  /** All that come after it, too. */
  readonly isLasting: boolean;
}

const OF_PATHS = ['open', 'rename', 'rm', 'mkdir', 'readdir', 'readFile'] as const;
const OF_HANDLES = ['writeFile', 'sync', 'stat'] as const;

/** Runs `work` while one call to the files below `directory`, or each from there on, fails. Closing never does. */
export async function withFileFault<T>(
  directory: string,
  fault: FileFault | undefined,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly calls: readonly string[] }> {
  const calls: string[] = [];
  const before = Object.fromEntries(OF_PATHS.map((name) => [name, promises[name]]));
  const paths = new Map<unknown, string>();
  const below = (file: unknown): boolean => {
    const path = typeof file === 'string' ? file : paths.get(file);
    return path !== undefined && resolve(path).startsWith(resolve(directory) + sep);
  };
  const failing = (what: string): NodeJS.ErrnoException | undefined => {
    calls.push(what);
    const { length } = calls;
    if (fault === undefined || length < fault.at || (length > fault.at && !fault.isLasting)) return undefined;
    const code = fault.code === 'torn' ? 'ENOSPC' : fault.code;
    return Object.assign(new Error(`${code}: the file system said so, ${what}`), { code });
  };
  const called =
    (name: string, path: unknown, method: (...args: unknown[]) => unknown) =>
    async (...args: unknown[]): Promise<unknown> => {
      const error = below(path) ? failing(name) : undefined;
      if (error !== undefined && name === 'writeFile' && fault?.code === 'torn')
        await method(String(args[0]).slice(0, 100), ...args.slice(1));
      if (error !== undefined) throw error;
      return method(...args);
    };
  const watched = (handle: FileHandle, path: unknown): FileHandle => {
    paths.set(handle, String(path));
    for (const name of OF_HANDLES)
      Object.assign(handle, { [name]: called(name, path, (handle[name] as () => unknown).bind(handle)) });
    return handle;
  };
  const layer = Object.fromEntries(
    OF_PATHS.map((name) => [
      name,
      async (path: unknown, ...args: unknown[]) => {
        const method = before[name] as (...all: unknown[]) => unknown;
        const done = await called(name, path, method)(path, ...args);
        return name === 'open' ? watched(done as FileHandle, path) : done;
      },
    ]),
  );
  const patch = (methods: object): void => {
    Object.assign(promises, methods);
    Object.assign(fs.promises, methods);
    syncBuiltinESMExports();
  };
  patch(layer);
  try {
    return { result: await work(), calls };
  } finally {
    patch(before);
  }
}
