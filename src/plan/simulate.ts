import { digestOf } from '../base/json.ts';
import { known } from '../base/outcome.ts';
import type { CertificateState } from '../node/certs/types.ts';
import type { Handshake, NameFacts, ObservedContainer, ObservedRoute, ServerRecord } from '../node/types.ts';
import type { RouteRecord } from '../registry/types.ts';
import type { Facts } from './facts.ts';
import { makePlan } from './plan.ts';
import { promisedAfter, type Of } from './promisedafter.ts';
import type { Plan, Step, Waiting } from './types.ts';

const MAX_ROUNDS = 60;
const CERTIFICATE_LIFE_MS = 90 * 86_400_000;

/** Waits that a person who reads a plan has to know of, although they end by themselves. */
const TOLD = ['window', 'turn'];

/** Begin of the ids that only this world has; a name has eight characters of an id. */
const MADE_UP = 'simulated';

export interface Chain {
  /** Every step until nothing is left to do, in order. */
  readonly steps: readonly Step[];
  /** What the node would plan first. */
  readonly begin: Plan;
  /** Waits that ended by themselves on the way: the steps of these services come after them. */
  readonly waited: readonly Waiting[];
  /** What is still waited for, or refused, at the end. */
  readonly end: Plan;
  /** The facts at the end. */
  readonly facts: Facts;
}

/**
 * The whole chain of a change: the same planner, on a world where each step succeeds, each image builds and each
 * container becomes ready at once. Pure.
 */
export function simulate(start: Facts): Chain {
  let facts = start;
  const steps: Step[] = [];
  const waited = new Map<string, Waiting>();
  let begin: Plan | undefined;
  for (let round = 0; ; round += 1) {
    const plan = makePlan(facts);
    begin ??= plan;
    for (const entry of plan.waiting.filter(({ for: what }) => TOLD.includes(what))) {
      const key = `${entry.service} ${entry.for}`;
      if (!waited.has(key)) waited.set(key, entry);
    }
    const chain = (): Chain => {
      const still = new Set(plan.waiting.map((entry) => `${entry.service} ${entry.for}`));
      const over = [...waited].flatMap(([key, entry]) => (still.has(key) ? [] : [entry]));
      return { steps, begin: begin ?? plan, waited: over, end: plan, facts };
    };
    if (plan.steps.length === 0) {
      // Only waits with an end (proved, a retry) are waited out; all others need the world.
      if (plan.wakeAt === undefined || plan.wakeAt <= facts.now || round >= MAX_ROUNDS) return chain();
      facts = { ...facts, now: plan.wakeAt };
      continue;
    }
    if (round >= MAX_ROUNDS) return chain();
    steps.push(...plan.steps);
    facts = plan.steps.reduce(applyStep, facts);
  }
}

/** A text of this world for people: a name that has the id of a container which no engine has made yet has none. */
export function withoutMadeUp(text: string): string {
  return text.replaceAll(`.prev-${MADE_UP.slice(0, 8)}`, '.prev-…');
}

/** An image that is recorded is the same one again when it is had again; of any other nothing is known. */
function imageIdOf({ observed, promised }: Facts, reference: string): string {
  const state = observed.images[reference];
  if (state?.kind === 'present') return state.imageId;
  const record = promised.images.find((image) => image.reference === reference);
  return record?.imageId ?? `${MADE_UP}:${reference}`;
}

/** The facts after a step that succeeded. */
function applyStep(facts: Facts, step: Step): Facts {
  switch (step.kind) {
    case 'pull-image':
    case 'build-image': {
      const { reference } = step.image;
      const revision = facts.promised.images.find((image) => image.reference === reference)?.revision;
      const state = {
        kind: 'present',
        imageId: imageIdOf(facts, reference),
        ...(revision === undefined ? {} : { revision }),
        user: '',
        volumes: [],
      } as const;
      return observe(facts, { images: { ...facts.observed.images, [reference]: state } });
    }
    case 'push-image':
      return observe(facts, {
        pushes: { ...facts.observed.pushes, [step.image.reference]: { kind: 'pushed' } },
      });
    case 'cancel-image': {
      const { strayWork = {} } = facts.observed;
      const rest = Object.entries(strayWork).filter(([reference]) => reference !== step.reference);
      return observe(facts, { strayWork: Object.fromEntries(rest) });
    }
    case 'prune-build-cache': {
      const { disk } = facts.observed;
      return disk === undefined ? facts : observe(facts, { disk: { ...disk, cacheBytes: step.keepBytes } });
    }
    case 'issue-certificate':
      return observe(facts, {
        certificates: { ...facts.observed.certificates, [step.hostname]: issued(step.hostname, facts.now) },
      });
    case 'remove-certificate': {
      const rest = Object.entries(facts.observed.certificates).filter(([name]) => name !== step.hostname);
      return observe(facts, { certificates: Object.fromEntries(rest) });
    }
    case 'create-network':
      return onEngine(facts, (engine) => ({ ...engine, networks: [...engine.networks, step.name].sort() }));
    case 'remove-network':
      return onEngine(facts, (engine) => ({
        ...engine,
        networks: engine.networks.filter((name) => name !== step.name),
      }));
    case 'put-routes':
    case 'remove-routes':
      return onRoutes(facts, step);
    case 'put-records':
    case 'remove-records':
      return onRecords(facts, step);
    case 'create-container':
    case 'start-container':
    case 'set-aside-container':
    case 'retire-container':
    case 'rest-container':
    case 'stop-container':
    case 'take-over-container':
    case 'give-back-container':
    case 'remove-container':
      return onContainers(facts, step);
    case 'lease-ports':
    case 'release-leases':
    case 'record-image':
    case 'record-trial':
    case 'remove-image':
    case 'record-applied':
    case 'record-orphan':
    case 'forget-service':
      return { ...facts, promised: promisedAfter(facts, step) };
  }
}

function onContainers(
  facts: Facts,
  step: Of<
    | 'create-container'
    | 'start-container'
    | 'set-aside-container'
    | 'retire-container'
    | 'rest-container'
    | 'stop-container'
    | 'take-over-container'
    | 'give-back-container'
    | 'remove-container'
  >,
): Facts {
  const { now } = facts;
  const change = (containers: readonly ObservedContainer[]): ObservedContainer[] => {
    switch (step.kind) {
      case 'create-container':
        return [...containers, created(facts, step)];
      case 'start-container':
        return containers.map((c) =>
          c.name !== step.from
            ? c
            : {
                ...c,
                name: step.name,
                ...(c.state === 'running' ? {} : { state: 'running', startedAt: now }),
              },
        );
      case 'set-aside-container':
        return containers.map((c) => (c.id === step.containerId ? { ...c, name: step.renameTo } : c));
      case 'retire-container':
        return containers.map((c) =>
          c.id === step.containerId ? { ...ended(c, now), name: step.renameTo } : c,
        );
      case 'take-over-container':
        return containers.map((c) =>
          c.id === step.containerId ? { ...ended(c, now), name: step.renameTo } : c,
        );
      case 'give-back-container':
        return containers.map((c) =>
          c.id === step.containerId ? { ...c, name: step.renameTo, state: 'running', startedAt: now } : c,
        );
      case 'rest-container':
      case 'stop-container':
        return containers.map((c) => (c.id === step.containerId ? ended(c, now) : c));
      case 'remove-container':
        return containers.filter((c) => c.id !== step.containerId);
    }
  };
  const isTouched = (container: ObservedContainer): boolean =>
    'containerId' in step
      ? container.id === step.containerId
      : step.kind === 'start-container' && (container.name === step.from || container.name === step.name);
  const after = withPorts(
    facts,
    onEngine(facts, (engine) => ({ ...engine, containers: change(engine.containers) })),
    isTouched,
  );
  if (step.kind === 'rest-container')
    return { ...after, promised: { ...after.promised, flaps: [...(after.promised.flaps ?? []), step.flap] } };
  if (step.kind !== 'start-container' || !after.observed.engine.known) return after;
  const started = after.observed.engine.value.containers.find((container) => container.name === step.name);
  if (started === undefined) return after;
  return observe(after, {
    probes: { ...after.observed.probes, [started.id]: { kind: 'ready', since: now } },
  });
}

/** Who stops gives its published ports free, and who starts listens on them: another service may be waiting for one. */
function withPorts(before: Facts, after: Facts, isTouched: (container: ObservedContainer) => boolean): Facts {
  const { ports } = after.observed;
  if (!ports.known) return after;
  // Only what the step touched: there may be hundreds of others.
  const ended = socketsOf(containersOf(before).filter(isTouched));
  const begun = socketsOf(containersOf(after).filter(isTouched));
  if (ended.length === 0 && begun.length === 0) return after;
  const key = (port: { port: number; protocol: string }): string => `${port.port}/${port.protocol}`;
  const kept = new Set(ended.length === 0 ? [] : socketsOf(containersOf(after)).map(key));
  const freed = new Set(ended.map(key).filter((port) => !kept.has(port)));
  const there = ports.value.listening.filter((socket) => !freed.has(key(socket)));
  const heard = new Set(there.map(key));
  const listening = [...there, ...begun.filter((socket) => !heard.has(key(socket)))];
  return observe(after, { ports: known({ ...ports.value, listening }) });
}

function containersOf({ observed }: Facts): readonly ObservedContainer[] {
  return observed.engine.known ? observed.engine.value.containers : [];
}

function socketsOf(
  containers: readonly ObservedContainer[],
): { ip: string; port: number; protocol: 'tcp' | 'udp' }[] {
  return containers
    .filter((container) => container.state === 'running')
    .flatMap(({ publish }) => publish.map(({ ip, host, protocol }) => ({ ip, port: host, protocol })));
}

function created(facts: Facts, step: Of<'create-container'>): ObservedContainer {
  const { spec, specDigest, stagingName } = step;
  return {
    id: `${MADE_UP}-${stagingName}`,
    name: stagingName,
    image: spec.image,
    imageId: imageIdOf(facts, spec.image),
    state: 'created',
    restartCount: 0,
    labels: {},
    identity: {
      owner: spec.owner,
      service: spec.service,
      component: spec.component,
      spec: specDigest,
      leases: spec.leases,
      format: '1',
    },
    publish: spec.publish,
  };
}

function ended(container: ObservedContainer, now: number): ObservedContainer {
  // What ended long ago lets go of nothing now.
  const isUp = container.state === 'running' || container.state === 'restarting';
  return isUp ? { ...container, state: 'exited', finishedAt: now } : container;
}

function onRoutes(facts: Facts, step: Of<'put-routes' | 'remove-routes'>): Facts {
  const { proxy } = facts.observed;
  if (!proxy.known) return facts;
  const same = (
    a: { listenerPort: number; hostname: string },
    b: { listenerPort: number; hostname: string },
  ): boolean => a.listenerPort === b.listenerPort && a.hostname === b.hostname;
  const change = (table: readonly ObservedRoute[]): ObservedRoute[] =>
    step.kind === 'put-routes'
      ? [...table.filter((old) => !step.routes.some((route) => same(old, route))), ...step.routes]
      : table.filter((old) => !step.routes.some((route) => same(old, route) && route.mark === old.mark));
  const { live, table, stale = [] } = proxy.value;
  const after = {
    ...proxy.value,
    table: change(table),
    live: live.known ? known(change(live.value)) : live,
    stale: stale.filter((old) => !step.routes.some((route) => same(old, route))),
  };
  const records =
    step.kind === 'put-routes' ? step.records.map((record) => asWritten(record, step.routes)) : [];
  const kept = facts.promised.routes.filter((record) =>
    step.kind === 'put-routes'
      ? !records.some((r) => r.hostname === record.hostname && r.port === record.port)
      : !step.routes.some((r) => r.hostname === record.hostname && r.listenerPort === record.port),
  );
  return observe(
    { ...facts, promised: { ...facts.promised, routes: [...kept, ...records] } },
    { proxy: known(after), ...shaken(facts, step) },
  );
}

function asWritten(record: RouteRecord, routes: readonly ObservedRoute[]): RouteRecord {
  const put = routes.find((one) => one.hostname === record.hostname && one.listenerPort === record.port);
  return put === undefined ? record : { ...record, written: digestOf(put) };
}

/** What was put is shown, with the certificate that it has. */
function shaken(
  { observed, now }: Facts,
  step: Of<'put-routes' | 'remove-routes'>,
): Pick<Facts['observed'], 'handshakes'> {
  const { handshakes, certificates } = observed;
  if (handshakes === undefined || step.kind === 'remove-routes') return {};
  const shown = step.routes.map(({ hostname, listenerPort }): [string, Handshake] => {
    const certificate = certificates[hostname];
    const { fingerprint256, notAfter } =
      certificate?.kind === 'valid' ? certificate : { fingerprint256: '', notAfter: now };
    return [`${hostname}:${listenerPort}`, { kind: 'ok', fingerprint256, notAfter }];
  });
  return { handshakes: { ...handshakes, ...Object.fromEntries(shown) } };
}

function onRecords(facts: Facts, step: Of<'put-records' | 'remove-records'>): Facts {
  const { dns } = facts.observed;
  if (dns === undefined) return facts;
  const { owner } = facts.settings;
  const isPut = step.kind === 'put-records';
  const names = step.records.map((record): [string, NameFacts] => {
    const before = dns.names[record.hostname];
    const { service, addresses } = record;
    const seen: ServerRecord = isPut ? { addresses, mark: { owner, service, addresses } } : { addresses: [] };
    if (before === undefined || 'elsewhere' in before) return [record.hostname, { elsewhere: known([]) }];
    const servers = before.servers.map(({ server }) => ({ server, seen: known(seen) }));
    return [record.hostname, { zone: before.zone, servers }];
  });
  const others = (facts.promised.records ?? []).filter(
    (old) => !step.records.some((record) => record.hostname === old.hostname),
  );
  const put = step.records.map(({ service, hostname, addresses }) => ({ service, hostname, addresses }));
  const records = isPut ? [...others, ...put] : others;
  const left = Object.entries(dns.left ?? {}).filter(
    ([hostname]) => !step.records.some((record) => record.hostname === hostname),
  );
  return observe(
    { ...facts, promised: { ...facts.promised, records } },
    {
      dns: {
        ...dns,
        names: { ...dns.names, ...Object.fromEntries(names) },
        ...(dns.left === undefined ? {} : { left: Object.fromEntries(left) }),
      },
    },
  );
}

function issued(hostname: string, now: number): CertificateState {
  const certPath = `${MADE_UP}/${hostname}.pem`;
  return {
    kind: 'valid',
    certPath,
    keyPath: certPath,
    notAfter: now + CERTIFICATE_LIFE_MS,
    fingerprint256: '',
  };
}

function observe(facts: Facts, change: Partial<Facts['observed']>): Facts {
  return { ...facts, observed: { ...facts.observed, ...change } };
}

type Engine = Extract<Facts['observed']['engine'], { known: true }>['value'];

function onEngine(facts: Facts, change: (engine: Engine) => Engine): Facts {
  const { engine } = facts.observed;
  return engine.known ? observe(facts, { engine: known(change(engine.value)) }) : facts;
}
