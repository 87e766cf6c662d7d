import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.ts';
import { blocked, ok, type Outcome } from '../base/outcome.ts';
import { parseAddress, routeTableDigest, type Route, type RouteTable } from '../base/routetable.ts';
import { makeBackends } from './backends.ts';
import { serveable, type RouteFault, type Served } from './certificates.ts';
import { challengeKey, makeChallengeGate } from './challenges.ts';
import type { Forwarding } from './forward1.ts';
import { makeGate, type Gate } from './gate.ts';
import type { Lookup } from './l7.ts';
import type { Limits } from './limits.ts';
import type { CertificateStatus } from './status.ts';

/** The listeners, the connections and the table in force. */
export interface Router {
  /**
   * Puts the table in force, or nothing of it when it cannot be as a whole (an address is in use). A route whose certificate is at
   * fault concerns no other one: see `faults`.
   */
  apply(table: RouteTable): Promise<Outcome<'changed' | 'same'>>;
  view(): RouterView;
  close(): Promise<void>;
}

interface RouterView {
  /** As it was written. */
  readonly table: RouteTable;
  readonly digest: string | null;
  /** What of it is served. */
  readonly live: RouteTable;
  readonly faults: readonly RouteFault[];
  readonly connections: number;
  readonly backends: Readonly<Record<string, number>>;
  readonly listeners: readonly { addr: string; bound: boolean }[];
  readonly certificates: readonly CertificateStatus[];
}

interface Live {
  readonly table: RouteTable;
  readonly digest: string | null;
  readonly served: Served;
  /** By listener, then by host name. */
  readonly routes: ReadonlyMap<string, ReadonlyMap<string, Route>>;
}

const NOTHING: Live = {
  table: { listeners: [] },
  digest: null,
  served: { table: { listeners: [] }, certificates: new Map(), faults: [] },
  routes: new Map(),
};
const DRAIN_LOOK_MS = 20;
/** A client sends its first request at once; one that does not holds nothing up for longer. */
const FIRST_REQUEST_MS = 1_000;

export function makeRouter(limits: Limits, log: Log): Router {
  let live = NOTHING;
  const gates = new Map<string, Gate>();
  const retired = new Set<Gate>();
  const connections = new Set<Socket>();
  const underWay = new Map<string, number>();
  const backends = makeBackends(limits);
  const forwarding: Forwarding = { backends, limits, log };

  const admit = (socket: Socket): boolean => {
    if (connections.size >= limits.maxConnections) return false;
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    return true;
  };
  const lookupOf = (addr: string): Lookup => ({
    find: (name) => live.routes.get(addr)?.get(name),
    context: (route) => live.served.certificates.get(route)?.context,
    begin: (backend) => countIn(underWay, backend),
  });

  const makers: Makers = {
    tls: (addr) => makeGate(addr, lookupOf(addr), forwarding, admit),
    clear: (addr) => makeChallengeGate(addr, () => live.table.challenges?.backend, limits, admit),
  };

  const apply = async (table: RouteTable): Promise<Outcome<'changed' | 'same'>> => {
    const served = await serveable(table, live.served);
    const next: Live = { table, digest: routeTableDigest(table), served, routes: indexOf(served.table) };
    const bound = await rebind(gates, wantedGates(table, makers));
    if (bound.kind !== 'ok') return bound;
    const before = live;
    // From here on nothing can fail, and nothing waits: the switch is one assignment.
    live = next;
    for (const gate of bound.value.added) {
      const lost = gates.get(gate.key);
      if (lost !== undefined) retired.add(lost);
      gates.set(gate.key, gate);
    }
    for (const gate of bound.value.removed) {
      gates.delete(gate.key);
      if (gate.listening()) gate.stop();
      gate.drain();
      retired.add(gate);
    }
    tellFaults(before.served.faults, next, log);
    return ok(isSame(before, next) ? 'same' : 'changed');
  };

  return {
    apply,
    view: () => ({
      table: live.table,
      digest: live.digest,
      live: live.served.table,
      faults: live.served.faults,
      connections: connections.size,
      backends: Object.fromEntries(underWay),
      listeners: [...gates.values()].map((gate) => ({ addr: gate.addr, bound: gate.listening() })),
      certificates: certificatesOf(live.served),
    }),
    close: async () => {
      const all = [...gates.values(), ...retired];
      for (const gate of all) {
        if (gate.listening()) gate.stop();
        gate.drain();
      }
      const begun = performance.now();
      const isUnderWay = (forMs: number): boolean =>
        underWay.size > 0 || (forMs < FIRST_REQUEST_MS && all.some((gate) => gate.waiting() > 0));
      for (
        let forMs = 0;
        forMs < limits.drainTimeoutMs && isUnderWay(forMs);
        forMs = performance.now() - begun
      )
        await delay(DRAIN_LOOK_MS);
      for (const gate of all) gate.close();
      for (const socket of connections) socket.destroy();
      backends.close();
      gates.clear();
    },
  };
}

/** One more under way; call the result when it is over, as often as you like. */
function countIn(underWay: Map<string, number>, backend: string): () => void {
  underWay.set(backend, (underWay.get(backend) ?? 0) + 1);
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    const left = (underWay.get(backend) ?? 1) - 1;
    if (left === 0) underWay.delete(backend);
    else underWay.set(backend, left);
  };
}

type Makers = Readonly<Record<'tls' | 'clear', (addr: string) => Gate>>;

/** What makes each gate that a table asks for, by its key. */
function wantedGates({ listeners, challenges }: RouteTable, make: Makers): ReadonlyMap<string, () => Gate> {
  const wanted = new Map<string, () => Gate>(listeners.map(({ addr }) => [addr, () => make.tls(addr)]));
  if (challenges !== undefined) wanted.set(challengeKey(challenges.addr), () => make.clear(challenges.addr));
  return wanted;
}

/**
 * Binds what is new before anything is given up. Only when an old listener has the same port (`127.0.0.1:443` becomes `:443`) does it
 * have to let go first; it comes back when the new one cannot be had.
 */
async function rebind(
  gates: ReadonlyMap<string, Gate>,
  wanted: ReadonlyMap<string, () => Gate>,
): Promise<Outcome<{ added: Gate[]; removed: Gate[] }>> {
  const removed = [...gates.values()].filter((gate) => !wanted.has(gate.key));
  const added = [...wanted].filter(([key]) => gates.get(key)?.listening() !== true).map(([, make]) => make());
  const ports = new Set(added.map((gate) => portOf(gate.addr)));
  const inTheWay = removed.filter((gate) => ports.has(portOf(gate.addr)));
  for (const gate of inTheWay) gate.stop();
  for (const gate of added) {
    const listening = await gate.listen();
    if (listening.kind === 'ok') continue;
    for (const other of added) other.close();
    for (const gone of inTheWay) {
      const back = await gone.listen();
      if (back.kind !== 'ok')
        return blocked(`${listening.why}; and not back to the old one: ${back.why}`, back.hint);
    }
    return listening;
  }
  return ok({ added, removed });
}

function portOf(addr: string): number | undefined {
  return parseAddress(addr)?.port;
}

function indexOf(table: RouteTable): Live['routes'] {
  return new Map(
    table.listeners.map(({ addr, routes }) => [
      addr,
      new Map(routes.map((route) => [route.hostname, route])),
    ]),
  );
}

function isSame(a: Live, b: Live): boolean {
  return (
    a.digest === b.digest &&
    a.table.generation === b.table.generation &&
    isDeepStrictEqual(a.served.faults, b.served.faults) &&
    isDeepStrictEqual(digestsOf(a.served), digestsOf(b.served))
  );
}

function digestsOf({ certificates }: Served): string[] {
  return [...certificates.values()].map(({ digest }) => digest).sort();
}

/** Once a fault, however often its files are looked at; a fault that has become another one is told again. */
function tellFaults(before: readonly RouteFault[], { table, served: { faults } }: Live, log: Log): void {
  const same = (a: RouteFault, b: RouteFault): boolean => a.addr === b.addr && a.hostname === b.hostname;
  for (const fault of faults) {
    if (!before.some((earlier) => same(earlier, fault) && earlier.why === fault.why))
      log.error(
        { ...fault, hint: 'Put a certificate for this name and its key there; no other route is concerned.' },
        'certificate of a route at fault',
      );
  }
  for (const { addr, hostname } of before.filter((fault) => !faults.some((now) => same(now, fault)))) {
    const routes = table.listeners.find((listener) => listener.addr === addr)?.routes ?? [];
    if (routes.some((route) => route.hostname === hostname))
      log.info({ addr, hostname }, 'certificate of a route good again');
  }
}

function certificatesOf({ certificates }: Served): CertificateStatus[] {
  const seen = new Map<string, CertificateStatus>();
  for (const [{ hostname }, { leaf }] of certificates) {
    seen.set(`${hostname} ${leaf.fingerprint256}`, {
      hostname,
      fingerprint256: leaf.fingerprint256,
      notAfter: new Date(leaf.validTo).toISOString(),
    });
  }
  return [...seen.values()];
}
