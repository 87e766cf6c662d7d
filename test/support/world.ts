import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { known, ok, unknown, type Failure, type Outcome } from '../../src/base/outcome.ts';
import type { Desired } from '../../src/definitions/types.ts';
import { execute } from '../../src/execute/execute.ts';
import type { NodeWriter, StepResult, Tools } from '../../src/execute/types.ts';
import type { CertificateState } from '../../src/node/certs/types.ts';
import type {
  ContainerParts,
  Handshake,
  Observed,
  ObservedContainer,
  ObservedRoute,
  ProbeState,
  ServerRecord,
} from '../../src/node/types.ts';
import type { ImageState, PushState } from '../../src/node/images/state.ts';
import type { Facts } from '../../src/plan/facts.ts';
import { namedServices, removableServices } from '../../src/plan/guard.ts';
import { probeTargets } from '../../src/plan/look.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { rebuild } from '../../src/plan/rebuild.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { Plan, PlanSettings } from '../../src/plan/types.ts';
import type { EngineIdentity } from '../../src/registry/types.ts';
import { desiredOf, SUFFIX } from './definitions.ts';
import { Ledger } from './ledger.ts';
import { certificatesSeen, outdatedRoutes } from './worldcertificates.ts';
import { dnsFacts, type NotTaken } from './worldnames.ts';
import { writerOf } from './worldwriter.ts';

/** A node that lives in memory: registry, engine, images, proxy and CA, with time that only moves when told. */
export class World extends Ledger {
  /** Two worlds of other names are two nodes. */
  nodeName = 'n1';
  now = Date.UTC(2026, 0, 1);
  /** When its agent saw the engine last. */
  lookedAt: number | undefined;
  containers: ObservedContainer[] = [];
  networks: string[] = [];
  images: Record<string, ImageState> = {};
  table: ObservedRoute[] = [];
  certificates: Record<string, CertificateState> = {};
  missingMounts = new Set<string>();
  listening: { ip: string; port: number; protocol: 'tcp' | 'udp' }[] = [];
  /** Container names that never become ready. */
  unready = new Set<string>();
  /** References of images whose containers never become ready. */
  bad = new Set<string>();
  /** What the engine says when a container of this image is started. */
  startErrors = new Map<string, Failure>();
  /** What containers of this image print. */
  prints = new Map<string, readonly string[]>();
  /** Container names that run and are unwell, until they are started again; how often in a row. */
  unwell = new Map<string, number>();
  engineUp = true;
  engineKind: 'docker' | 'podman' = 'docker';
  /** By image reference: is it in its registry too? */
  pushes: Record<string, PushState> = {};
  /** Builds and pulls under way that nobody asked for. */
  strayWork: NonNullable<Observed['strayWork']> = {};
  /** Hosts of the settings' registries. */
  registries: string[] | undefined;
  /** As it was measured last. */
  disk: Observed['disk'];
  buildCacheBytes: number | undefined;
  /** Versions of a repository that are kept. */
  keepImages: number | undefined;
  /** As images name it. */
  architecture: string | undefined;
  proxyRuns = true;
  /** The route table can be read. */
  proxyKnown = true;
  /** What a handshake through the proxy shows; none is tried while this is undefined. */
  handshakes: Record<string, Handshake> | undefined;
  /** Where certificates come from; of `acme` an order is under way until `sign`. */
  certificateDriver: PlanSettings['certificates'] = 'local';
  acmeChallenge: NonNullable<PlanSettings['acmeChallenge']> = 'http-01';
  /** Zones of the DNS driver; none: no driver. */
  zones: string[] = [];
  addresses: string[] = [];
  /** What the name server has, by host name. */
  names: Record<string, ServerRecord> = {};
  /** What the second name server has; undefined: there is only one. */
  secondNames: Record<string, ServerRecord> | undefined;
  /** False: none of them does. */
  dnsAnswers = true;
  /** Name servers (`ns`, `ns2`) that do not answer. */
  readonly silent = new Set<string>();
  /** Those that answer, and refuse each update. */
  readonly refusing = new Set<string>();
  /** By host name; as long as the agent lives. */
  readonly notTaken = new Map<string, NotTaken>();
  /** Host names whose certificate the proxy has not taken up yet. */
  readonly staleRoutes = new Set<string>();
  /** By host name: the fingerprint that the proxy took up with its route; undefined: nobody asks. */
  takenUp: Map<string, string> | undefined;
  /** The listening sockets can be read. */
  portsKnown = true;
  /** By container id: when the engine started it again. */
  exits: Record<string, number[]> = {};
  /** What the engine says it is. */
  engineIdentity: EngineIdentity = { id: 'e', storageRoot: '/x' };
  protect: string[] = [];
  mode: 'observe' | undefined;
  engineId: string | undefined;
  /** A step kind that fails, with what it says. */
  failing = new Map<string, Outcome<undefined>>();
  desired: Desired = desiredOf([]);
  removable: string[] = [];
  windows: PlanSettings['windows'] = [];
  logMaxSize = '10m';
  /** Connections under way, by backend. */
  connections: Record<string, number> = {};
  #ids = 0;
  #readySince = new Map<string, number>();
  #unwellSince = new Map<string, number>();

  settings(): PlanSettings {
    return {
      node: this.nodeName,
      owner: `${this.nodeName}/main`,
      portRange: [10000, 10050],
      publishIp: '127.0.0.1',
      logMaxSize: this.logMaxSize,
      logMaxFiles: 3,
      timeoutMs: 60_000,
      drainMs: 30_000,
      stableForMs: 5_000,
      windows: this.windows,
      stopTimeoutS: 10,
      proxy: true,
      hostnameSuffix: SUFFIX,
      ...(this.addresses.length === 0 ? {} : { addresses: this.addresses }),
      certificates: this.certificateDriver,
      ...(this.certificateDriver === 'acme' ? { acmeChallenge: this.acmeChallenge } : {}),
      canBuild: true,
      ...(this.keepImages === undefined ? {} : { keepImages: this.keepImages }),
      ...(this.buildCacheBytes === undefined ? {} : { buildCacheBytes: this.buildCacheBytes }),
      ...(this.registries === undefined ? {} : { registries: this.registries }),
      removable: removableServices(this.desired, [...this.named, ...this.removable]),
      protect: this.protect,
      budgetShare: 0.2,
      ...(this.mode === undefined ? {} : { mode: this.mode }),
      ...(this.engineId === undefined ? {} : { engineId: this.engineId }),
      keyId: 'k1',
    };
  }

  facts(): Facts {
    const facts: Facts = {
      desired: this.desired,
      promised: this.promised(),
      observed: this.observed(),
      settings: this.settings(),
      now: this.now,
      ...(this.lookedAt === undefined ? {} : { lookedAt: this.lookedAt }),
    };
    if (!facts.observed.engine.known) return facts;
    const probes = Object.fromEntries(
      probeTargets(facts).map((target) => [target.containerId, this.probe(target.containerId)]),
    );
    return { ...facts, observed: { ...facts.observed, probes } };
  }

  plan(): Plan {
    return makePlan(this.facts());
  }

  /** The desired services count as accepted. */
  accept(): void {
    this.named = namedServices([this.desired.commit], this.desired, this.promised());
    if (this.lostAt !== this.desired.commit.oid) this.lostAt = undefined;
    for (const entry of this.desired.services) {
      const name = entry.service.name;
      this.orphans = this.orphans.filter((orphan) => orphan.service !== name);
      this.files = this.files.filter((file) => file.service !== name);
      this.files.push({
        service: name,
        file: entry.file,
        oid: entry.oid,
        commit: entry.commit,
        ...(entry.service.prune === false ? { prune: false } : {}),
      });
    }
    for (const { service, file, oid, commit } of this.desired.edges ?? []) {
      this.files = this.files.filter((entry) => entry.service !== service.name);
      this.files.push({ service: service.name, file, oid, commit });
    }
  }

  /** The registry's file is gone. `kept`: the file beside it is not. */
  loseRegistry(kept: boolean): void {
    Object.assign(this, { applied: [], leases: [], routes: [], records: [], failures: [], fresh: { kept } });
    if (!kept) Object.assign(this, { files: [], orphans: [], named: [], engine: undefined, dnsRecords: [] });
  }

  /** What a pass does before it plans. */
  private takeUp(): void {
    const rebuilt = rebuild(this.facts());
    if (rebuilt === undefined) return;
    this.fresh = undefined;
    this.lostAt = rebuilt.lostAt;
    // Lists that were facts once stay as they were.
    this.applied = [...this.applied, ...rebuilt.applied];
    this.leases = [...this.leases, ...rebuilt.leases];
    this.routes = [...this.routes, ...rebuilt.routes];
  }

  tools(): Tools {
    return {
      node: this.node(),
      registry: this,
      values: new Map(),
      valuesOf: async () => ok(new Map()),
      clock: { ...systemClock, now: () => this.now },
      log: makeLog('silent'),
      parallel: 4,
    };
  }

  /** One pass; the desired services count as accepted first. */
  async pass(): Promise<{ plan: Plan; results: StepResult[] }> {
    this.accept();
    this.takeUp();
    const plan = this.plan();
    if (this.engineUp) this.lookedAt = this.now;
    this.engine = plan.engine ?? this.engine;
    const turned = inTurn(this.desired, this.promised(), this.now);
    const all = [...turned.services, ...(turned.edges ?? [])];
    const digests = new Map(all.map((entry) => [entry.service.name, entry.digest]));
    const outcome = await execute(
      plan,
      this.tools(),
      { trigger: 'test', commit: 'c', digests },
      new AbortController().signal,
    );
    if (outcome.kind !== 'ok') throw new Error(outcome.why);
    return { plan, results: outcome.value };
  }

  /** Passes until nothing is left to do, letting the time run to each wake. Returns the step lines taken. */
  async converge(maxPasses = 40): Promise<string[]> {
    const from = this.journal.length;
    for (let i = 0; i < maxPasses; i += 1) {
      const { plan } = await this.pass();
      if (plan.steps.length === 0) {
        if (plan.wakeAt === undefined) return this.journal.slice(from);
        this.now = Math.max(this.now, plan.wakeAt);
      }
    }
    throw new Error(
      `not converged after ${maxPasses} passes; last steps: ${this.journal.slice(-6).join(', ')}`,
    );
  }

  observed(): Observed {
    // A look stands as it was taken: what happens to the node later is none of it.
    const table = [...this.table];
    const live = this.proxyRuns ? known(table) : unknown('the proxy does not run');
    return {
      at: this.now,
      engine: this.engineUp
        ? known({
            kind: this.engineKind,
            version: '1',
            ...this.engineIdentity,
            ...(this.architecture === undefined ? {} : { architecture: this.architecture }),
            containers: [...this.containers],
            networks: this.networks,
          })
        : unknown('engine unreachable'),
      images: this.images,
      pushes: this.pushes,
      ...(Object.keys(this.strayWork).length === 0 ? {} : { strayWork: this.strayWork }),
      ...(this.disk === undefined ? {} : { disk: this.disk }),
      ports: this.portsKnown
        ? known({ listening: [...this.listening, ...this.published()], ephemeral: [32768, 60999] })
        : unknown('/proc/net cannot be read'),
      proxy: this.proxyKnown
        ? known({
            listenerPorts: [443, 8443, 9443],
            table,
            live,
            connections: this.connections,
            stale: outdatedRoutes(this),
          })
        : unknown('the route table cannot be read'),
      certificates: certificatesSeen(this),
      ...(this.handshakes === undefined ? {} : { handshakes: this.handshakes }),
      dns: dnsFacts(this),
      mounts: new Proxy(
        {},
        {
          get: (_all, source) =>
            this.missingMounts.has(String(source)) ? { kind: 'missing' } : { kind: 'present' },
        },
      ),
      probes: {},
      ...(Object.keys(this.exits).length === 0 ? {} : { exits: this.exits }),
    };
  }

  node(): NodeWriter {
    return writerOf(this);
  }

  /** Of the next container. */
  nextId(): string {
    return `${String((this.#ids += 1)).padStart(8, '0')}dead`;
  }

  container(name: string): ObservedContainer | undefined {
    return this.containers.find((container) => container.name === name);
  }

  /** Somebody made it again by hand, or updated it: other parts under the same labels. */
  edit(name: string, change: Partial<ContainerParts>, more: Partial<ObservedContainer> = {}): void {
    const parts = this.container(name)?.parts;
    if (parts === undefined) throw new Error(`nothing is known of ${name}`);
    this.update(name, { parts: { ...parts, ...change }, ...more });
  }

  kill(name: string): void {
    this.update(name, { state: 'exited', exitCode: 137, finishedAt: this.now });
  }

  present(...references: string[]): void {
    for (const reference of references)
      this.images[reference] = { kind: 'present', imageId: `sha256:${reference}`, user: '', volumes: [] };
  }

  /** The CA begins to look at an order. */
  order(hostname: string): void {
    const there = this.certificates[hostname];
    const order = { kind: 'ordered', since: this.now } as const;
    this.certificates[hostname] =
      there?.kind === 'valid'
        ? { ...there, renewal: order }
        : { ...order, certPath: `/certs/${hostname}.pem` };
  }

  /** A certificate is there, new from now on. */
  sign(hostname: string): void {
    this.certificates[hostname] = {
      kind: 'valid',
      certPath: `/certs/${hostname}.pem`,
      keyPath: `/certs/${hostname}.key`,
      notAfter: this.now + 90 * 86_400_000,
      fingerprint256: `${hostname} ${this.now}`,
    };
  }

  update(name: string, change: Partial<ObservedContainer>): void {
    this.containers = this.containers.map((container) =>
      container.name === name ? { ...container, ...change } : container,
    );
  }

  end(id: string): void {
    this.containers = this.containers.map((c) =>
      c.id === id && (c.state === 'running' || c.state === 'restarting')
        ? { ...c, state: 'exited', exitCode: 0, finishedAt: this.now }
        : c,
    );
  }

  published(except?: string): { ip: string; port: number; protocol: 'tcp' | 'udp' }[] {
    return this.containers
      .filter((container) => container.state === 'running' && container.id !== except)
      .flatMap((container) =>
        container.publish.map((p) => ({ ip: p.ip, port: p.host, protocol: p.protocol })),
      );
  }

  probe(id: string): ProbeState {
    const container = this.containers.find((c) => c.id === id);
    if (container === undefined || this.unready.has(container.name) || this.bad.has(container.image)) {
      return { kind: 'starting', since: container?.startedAt ?? 0, last: 'nothing answers' };
    }
    const key = `${id}@${container.startedAt ?? 0}`;
    const times = this.unwell.get(container.name);
    if (times !== undefined) {
      const since = this.#unwellSince.get(key) ?? this.now;
      this.#unwellSince.set(key, since);
      return { kind: 'unwell', since, last: 'status 503', times };
    }
    const since = this.#readySince.get(key) ?? this.now;
    this.#readySince.set(key, since);
    return { kind: 'ready', since };
  }
}
