import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../base/outcome.ts';
import { isLoopback, readListening, type ListeningSocket } from '../ports.ts';
import type { ProbeCheck } from '../types.ts';

/** What listens in the network namespace of a container's process. */
export type InsideView =
  | { readonly kind: 'seen'; readonly sockets: readonly ListeningSocket[] }
  /** The engine names no process, or the one it named has ended. */
  | { readonly kind: 'gone' }
  /** The agent may not look there. */
  | { readonly kind: 'closed'; readonly why: string };

export interface Inside {
  look(pid: number | undefined): Promise<InsideView>;
}

/** Docker's own resolver listens there inside every container on a network with names: it is not the service. */
const ENGINE_RESOLVER = '127.0.0.11';

/**
 * Looks into containers through `<procRoot>/<pid>/net`. It remembers when the process was started: a number that was
 * given to another process (of the host, say) must not speak for the container.
 */
export function openInside(procRoot: string): Inside {
  let known: { readonly pid: number; readonly startedTicks: string } | undefined;
  return {
    async look(pid) {
      if (pid === undefined) return { kind: 'gone' };
      try {
        const before = await startTicks(procRoot, pid);
        const sockets = await readListening(join(procRoot, String(pid), 'net'));
        const startedTicks = await startTicks(procRoot, pid);
        if (known?.pid !== pid && startedTicks !== undefined) known = { pid, startedTicks };
        if (before === undefined || before !== startedTicks || known?.startedTicks !== startedTicks) {
          return { kind: 'gone' };
        }
        return { kind: 'seen', sockets: sockets.filter(({ ip }) => ip !== ENGINE_RESOLVER) };
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EACCES' || code === 'EPERM') return { kind: 'closed', why: messageOf(error) };
        return { kind: 'gone' };
      }
    },
  };
}

/** For the operator: what is listening where, and what to do about it (L17). */
export function explainFailure(checks: readonly ProbeCheck[], view: InsideView): string {
  if (view.kind === 'gone') return 'inside the container: its process has ended';
  if (view.kind === 'closed') return `inside the container: not visible to the agent (${view.why})`;
  const asked = checks.filter((check) => check.kind !== 'exec');
  const protocols = new Set(asked.map((check) => (check.kind === 'listen' ? check.protocol : 'tcp')));
  const sockets = view.sockets.filter(({ protocol }) => protocols.has(protocol));
  if (sockets.length === 0) {
    return 'inside the container: nothing listens — the service must listen on 0.0.0.0:$PORT';
  }
  const list = sockets.map(
    ({ ip, port, protocol }) =>
      `${ip.includes(':') ? `[${ip}]` : ip}:${port}/${protocol}${isLoopback(ip) ? ' (loopback only)' : ''}`,
  );
  return `inside the container: ${list.join(', ')} LISTEN${adviceFor(asked, sockets)}`;
}

function adviceFor(
  checks: readonly Exclude<ProbeCheck, { kind: 'exec' }>[],
  sockets: readonly ListeningSocket[],
): string {
  const ports = new Set(checks.map((check) => (check.kind === 'listen' ? check.containerPort : check.port)));
  const open = sockets.filter(({ ip }) => !isLoopback(ip));
  if (open.some(({ port }) => ports.has(port))) return '';
  if (open.length === 0 || sockets.some(({ port }) => ports.has(port))) {
    return ' — only on loopback, which nobody outside can reach: bind to 0.0.0.0:$PORT';
  }
  return ' — not on the port that is published: let it listen on $PORT, or set container_port in its route';
}

/** Start time of a process in clock ticks since boot (proc(5), field 22 of stat); undefined for one that has ended. */
async function startTicks(procRoot: string, pid: number): Promise<string | undefined> {
  const stat = await readFile(join(procRoot, String(pid), 'stat'), 'utf8');
  // The second field is the program's name in brackets and may hold anything, brackets too.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}
