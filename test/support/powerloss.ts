import fs from 'node:fs';
import promises, { type FileHandle } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join, relative, resolve } from 'node:path';

/** What is on the disk for sure, and what is only in memory yet, at one moment. Paths are those below the watched directory. */
export interface Moment {
  readonly files: readonly { readonly synced: Buffer; readonly written: Buffer }[];
  readonly names: ReadonlyMap<string, number>;
  /** Names that changed since their directory was synced, in order. A file that lost its name is undefined. */
  readonly changes: readonly (readonly [name: string, file: number | undefined])[];
}

/**
 * Runs `work`, and tells every moment between two calls that it made to change files below `directory`. A layer in between the
 * program and Node's file system notes what was synced and what was not; everything is done as it is asked.
 */
export async function momentsOf(directory: string, work: () => unknown): Promise<Moment[]> {
  const disk = openDisk(directory);
  const { openSync, writeSync, fsyncSync, closeSync, renameSync, rmSync } = fs;
  const { open, rename, rm } = promises;
  const paths = new Map<number, string>();
  const patch = (sync: object, async: object): void => {
    Object.assign(fs, sync);
    Object.assign(promises, async);
    syncBuiltinESMExports();
  };
  patch(
    {
      openSync: (path: string, flags: string, mode?: number) => {
        const file = openSync(path, flags, mode);
        paths.set(file, path);
        if (flags.startsWith('w')) disk.create(path);
        return file;
      },
      writeSync: (file: number, data: string) => {
        disk.write(paths.get(file) ?? '', data);
        return writeSync(file, data);
      },
      fsyncSync: (file: number) => {
        fsyncSync(file);
        disk.sync(paths.get(file) ?? '');
      },
      closeSync: (file: number) => closeSync(file),
      renameSync: (from: string, to: string) => {
        renameSync(from, to);
        disk.rename(from, to);
      },
      rmSync: (path: string, options: fs.RmOptions) => {
        rmSync(path, options);
        disk.remove(path);
      },
    },
    {
      open: async (path: string, flags: string | number, mode?: number) => {
        const file = await open(path, flags, mode);
        if (typeof flags === 'string' && flags.startsWith('w')) disk.create(path);
        return watched(file, path, disk);
      },
      rename: async (from: string, to: string) => {
        await rename(from, to);
        disk.rename(from, to);
      },
      rm: async (path: string, options: fs.RmOptions) => {
        await rm(path, options);
        disk.remove(path);
      },
    },
  );
  try {
    await work();
  } finally {
    patch({ openSync, writeSync, fsyncSync, closeSync, renameSync, rmSync }, { open, rename, rm });
  }
  return disk.moments;
}

/** What the next start finds in `directory` when the power went at that moment: of what was not synced any part is lost. */
export function leave(moment: Moment, directory: string, below: (limit: number) => number): void {
  const names = new Map(moment.names);
  for (const [name, file] of moment.changes.slice(0, below(moment.changes.length + 1))) {
    if (file === undefined) names.delete(name);
    else names.set(name, file);
  }
  for (const [name, file] of names) {
    const { synced, written } = moment.files[file] ?? { synced: Buffer.alloc(0), written: Buffer.alloc(0) };
    fs.writeFileSync(join(directory, name), torn(synced, written, below), { mode: 0o600 });
  }
}

/** Old, new, cut off, or of the right length and empty from somewhere on. */
function torn(synced: Buffer, written: Buffer, below: (limit: number) => number): Buffer {
  if (synced.equals(written)) return synced;
  const at = below(written.length + 1);
  switch (below(4)) {
    case 0:
      return synced;
    case 1:
      return written;
    case 2:
      return written.subarray(0, at);
    default:
      return Buffer.concat([written.subarray(0, at), Buffer.alloc(written.length - at)]);
  }
}

interface Disk {
  readonly moments: Moment[];
  create(path: string): void;
  write(path: string, data: string | Uint8Array): void;
  /** Of a file its content; of a directory the names in it. */
  sync(path: string): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
}

function openDisk(directory: string): Disk {
  const files: { synced: Buffer; written: Buffer }[] = [];
  const names = new Map<string, number>();
  const live = new Map<string, number>();
  let changes: (readonly [string, number | undefined])[] = [];
  const moments: Moment[] = [];
  const nameOf = (path: string): string | undefined => {
    const name = relative(directory, resolve(path));
    return name.startsWith('..') ? undefined : name;
  };
  const note = (): void => {
    moments.push({ files: files.map((file) => ({ ...file })), names: new Map(names), changes: [...changes] });
  };
  const put = (name: string, file: number | undefined): void => {
    if (file === undefined) live.delete(name);
    else live.set(name, file);
    changes.push([name, file]);
  };
  // What is there already has been there for long.
  for (const entry of fs.readdirSync(directory, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = fs.readFileSync(path);
    names.set(relative(directory, path), files.push({ synced: bytes, written: bytes }) - 1);
  }
  for (const [name, file] of names) live.set(name, file);
  note();
  return {
    moments,
    create: (path) => {
      const name = nameOf(path);
      if (name === undefined) return;
      put(name, files.push({ synced: Buffer.alloc(0), written: Buffer.alloc(0) }) - 1);
      note();
    },
    write: (path, data) => {
      const file = files[live.get(nameOf(path) ?? '') ?? -1];
      if (file === undefined) return;
      file.written = Buffer.concat([file.written, Buffer.from(data)]);
      note();
    },
    sync: (path) => {
      const name = nameOf(path);
      if (name === undefined) return;
      const file = files[live.get(name) ?? -1];
      if (file === undefined) {
        // It says nothing of other directories.
        const isIn = ([one]: readonly [string, unknown]): boolean => join(one, '..') === (name || '.');
        for (const [one, to] of changes.filter(isIn)) {
          if (to === undefined) names.delete(one);
          else names.set(one, to);
        }
        changes = changes.filter((change) => !isIn(change));
      } else file.synced = file.written;
      note();
    },
    rename: (from, to) => {
      const [one, other] = [nameOf(from), nameOf(to)];
      const file = live.get(one ?? '');
      if (one === undefined || other === undefined || file === undefined) return;
      // One change of the directory: never both names, never none.
      put(other, file);
      put(one, undefined);
      note();
    },
    remove: (path) => {
      const name = nameOf(path);
      if (name === undefined || !live.has(name)) return;
      put(name, undefined);
      note();
    },
  };
}

function watched(file: FileHandle, path: string, disk: Disk): FileHandle {
  const [writeFile, sync] = [file.writeFile.bind(file), file.sync.bind(file)];
  return Object.assign(file, {
    writeFile: async (data: string | Uint8Array) => {
      disk.write(path, data);
      await writeFile(data);
    },
    sync: async () => {
      await sync();
      disk.sync(path);
    },
  });
}

/** Numbers below a limit, the same for the same seed. */
export function dice(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 16) % limit;
  };
}
