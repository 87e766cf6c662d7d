import type { Built } from './build.ts';
import { cyclesOf } from './cycles.ts';
import { finding, order, quote, type Finding } from './findings.ts';
import { nearest } from '../base/suggest.ts';
import type { Service } from './types.ts';

/** A file with what is, or would be, in force of it. */
export interface Waiter {
  readonly path: string;
  /** Absent: nothing of the file is in force. */
  readonly standing?: Built;
  /** Its last good state: what it may keep. */
  readonly last?: Built;
  /** The newest state stands, and may lose. */
  readonly isNewest: boolean;
  /** The service and node that a file stands for of which nothing is in force, as far as they are known. */
  readonly service?: string;
  readonly node?: string;
}

export interface WaitFault {
  readonly path: string;
  readonly finding: Finding;
}

/**
 * What is wrong with `after` between files: names that are no service of the node, and rings. Who brought an edge of the
 * ring loses; where none did all do. A file that is bad is there all the same: it holds back nobody else (L33).
 */
export function judgeWaits(waiters: readonly Waiter[]): WaitFault[] {
  const newest = waiters.filter(({ isNewest, standing }) => isNewest && afterOf(standing).length > 0);
  if (newest.length === 0) return [];
  return [...strangers(newest, waiters), ...rings(waiters)];
}

/** Services that are not waited for, although a file says so. */
export function idleWaits(waiters: readonly Waiter[]): WaitFault[] {
  const idle = new Map<string, string>();
  for (const { standing } of waiters) {
    if (standing === undefined) continue;
    const { node, name, active, paused } = standing.service;
    if (!active) idle.set(`${node} ${name}`, 'inactive');
    else if (paused === true) idle.set(`${node} ${name}`, 'paused');
  }
  return waiters.flatMap(({ path, standing, isNewest }) =>
    afterOf(isNewest ? standing : undefined).flatMap((name, at) => {
      const why = idle.get(`${standing?.service.node ?? ''} ${name}`);
      const message = `"${name}" is ${why ?? ''}, and not waited for`;
      return why === undefined
        ? []
        : [{ path, finding: finding('service/after-inactive', ['after', at], message) }];
    }),
  );
}

function afterOf(built: Built | undefined): readonly string[] {
  return built?.service.after ?? [];
}

function strangers(newest: readonly Waiter[], waiters: readonly Waiter[]): WaitFault[] {
  const there = new Map<string, Set<string>>();
  const anywhere = new Set<string>();
  for (const { standing, service, node } of waiters) {
    const name = standing?.service.name ?? service;
    const home = standing?.service.node ?? node;
    if (name === undefined) continue;
    if (home === undefined) anywhere.add(name);
    else there.set(home, (there.get(home) ?? new Set()).add(name));
  }
  return newest.flatMap(({ path, standing }) => {
    const node = standing?.service.node ?? '';
    const names = there.get(node) ?? new Set();
    return afterOf(standing).flatMap((name, at) => {
      if (names.has(name) || anywhere.has(name)) return [];
      // It does not wait for itself.
      const meant = nearest(
        name,
        [...names].filter((one) => one !== standing?.service.name),
      );
      const elsewhere = [...there].find(([, others]) => others.has(name));
      const where = elsewhere === undefined ? '' : `; it is one of ${elsewhere[0]}`;
      const hint = meant === undefined ? undefined : `Did you mean "${meant}"?`;
      const message = `${quote(name)} is no service of ${node}${where}`;
      return [{ path, finding: finding('service/after', ['after', at], message, hint) }];
    });
  });
}

function rings(waiters: readonly Waiter[]): WaitFault[] {
  const nodes = new Map<string, Map<string, Waiter>>();
  for (const waiter of waiters) {
    const service = waiter.standing?.service;
    if (service === undefined) continue;
    const services = nodes.get(service.node) ?? new Map<string, Waiter>();
    nodes.set(service.node, services.set(service.name, waiter));
  }
  return [...nodes.values()].flatMap((services) => {
    const edges = new Map([...services].map(([name, { standing }]) => [name, afterOf(standing)]));
    return cyclesOf(edges).flatMap((ring) => {
      const members = [...ring].sort(order).flatMap((name) => services.get(name) ?? []);
      const newest = members.filter(({ isNewest }) => isNewest);
      const guilty = newest.filter((one) =>
        edgesIn(ring, one.standing?.service).some((name) => !afterOf(one.last).includes(name)),
      );
      const shown = [...ring].sort(order).slice(0, 10).join(', ');
      return (guilty.length > 0 ? guilty : newest).map(({ path, standing }) => {
        const at = afterOf(standing).findIndex((name) => ring.has(name));
        const message = `each of these waits for another of them: ${shown}${ring.size > 10 ? ', …' : ''}`;
        return { path, finding: finding('service/after-cycle', ['after', at], message) };
      });
    });
  });
}

function edgesIn(ring: ReadonlySet<string>, service: Service | undefined): string[] {
  return (service?.after ?? []).filter((name) => ring.has(name));
}
