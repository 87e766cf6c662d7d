import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from './process.ts';

/** The programs of an engine, as /proc/<pid>/comm has them: somebody's `tail -f` on an engine's log is left alone. */
const ENGINE_PROGRAMS = new Set([
  ...['dockerd', 'containerd', 'containerd-shim', 'docker-proxy', 'docker-init', 'runc', 'exe'],
  ...['podman', 'conmon', 'slirp4netns', 'rootlessport', 'rootlessport-ch', 'aardvark-dns', 'catatonit'],
]);

/**
 * Ends every engine process whose command line, and every container whose root
 * file system, names `directory` (a directory that we made, with a random
 * name), takes its mounts back, and so leaves it ready to be removed. Containers outlive a killed engine: their root
 * file system tells them.
 */
export async function clearDirectory(directory: string): Promise<void> {
  await endProcesses(() => processesOf(directory));
  await unmountBelow(directory);
}

/** Ends the processes that `find` names: TERM, and KILL for those that are still there after 3 s. */
export async function endProcesses(find: () => readonly number[]): Promise<void> {
  const started = performance.now();
  for (let round = 0; ; round++) {
    const pids = find();
    if (pids.length === 0) return;
    const waitedMs = performance.now() - started;
    if (waitedMs > 10_000) throw new Error(`processes that do not end: ${pids.join(', ')}`);
    if (round === 0 || waitedMs > 3_000) signalAll(pids, waitedMs > 3_000 ? 'SIGKILL' : 'SIGTERM');
    await delay(50);
  }
}

/** Process ids (zombies and this process left out) for which `holds` is true. */
export function findProcesses(holds: (pid: number) => boolean): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 1 && pid !== process.pid && !isZombie(pid) && holds(pid));
}

/** A file below /proc/<pid>, or '' when the process is gone or closed to us. */
export function procFile(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** Which network namespace a process lives in; '' when that cannot be seen. */
export function networkNamespace(pid: number | 'self'): string {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`);
  } catch {
    return '';
  }
}

function processesOf(directory: string): number[] {
  const inside = `${directory}/`;
  return findProcesses((pid) => {
    if (ENGINE_PROGRAMS.has(procFile(pid, 'comm').trim()) && procFile(pid, 'cmdline').includes(inside))
      return true;
    return procFile(pid, 'mountinfo')
      .split('\n')
      .some((mount) => mount.split(' ')[4] === '/' && mount.includes(inside));
  });
}

function isZombie(pid: number): boolean {
  const stat = procFile(pid, 'stat');
  return stat === '' || / Z /.test(stat.slice(stat.lastIndexOf(')')));
}

async function unmountBelow(directory: string): Promise<void> {
  const mounts = procFile(process.pid, 'mounts')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((target) => target.startsWith(`${directory}/`));
  for (const target of mounts.reverse()) {
    await run('umount', ['--lazy', target]).catch(() => undefined);
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // Already gone: that is what was wanted.
    }
  }
}
