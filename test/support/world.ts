import { systemClock } from '../../src/base/clock.ts';
import { digestOf } from '../../src/base/json.ts';
import { makeLog } from '../../src/base/log.ts';
import {
  blocked,
  known,
  ok,
  retry,
  unknown,
  wait,
  type Failure,
  type Outcome,
} from '../../src/base/outcome.ts';
import type { Component, Desired, DesiredService, Service } from '../../src/definitions/types.ts';
import { execute } from '../../src/execute/execute.ts';
import type { NodeWriter, RegistryWriter, StepResult, Tools } from '../../src/execute/types.ts';
import type {
  CertificateState,
  Handshake,
  ImageState,
  NameFacts,
  Observed,
  ObservedContainer,
  ObservedRoute,
  ProbeState,
  ServerRecord,
} from '../../src/node/types.ts';
import type { Facts } from '../../src/plan/facts.ts';
import { namedServices, removableServices } from '../../src/plan/guard.ts';
import { probeTargets } from '../../src/plan/look.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { rebuild } from '../../src/plan/rebuild.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { Plan, PlanSettings } from '../../src/plan/types.ts';
import type {
  AcceptedFile,
  Applied,
  DnsRecord,
  EngineIdentity,
  FailureRecord,
  FlapRecord,
  ImageRecord,
  Lease,
  OrphanRecord,
  Promised,
  RouteRecord,
  Trial,
} from '../../src/registry/types.ts';

export const SUFFIX = 'svc.example.net';

/** A node that lives in memory: registry, engine, images, proxy and CA, with time that only moves when told. */
export class World implements RegistryWriter {
  now = Date.UTC(2026, 0, 1);
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
  /** Container names that run and are unwell, until they are started again; how often in a row. */
  unwell = new Map<string, number>();
  engineUp = true;
  /** Versions of a repository that are kept. */
  keepImages: number | undefined;
  /** As images name it. */
  architecture: string | undefined;
  proxyRuns = true;
  /** The route table can be read. */
  proxyKnown = true;
  /** What a handshake through the proxy shows; none is tried while this is undefined. */
  handshakes: Record<string, Handshake> | undefined;
  /** Zones of the DNS driver; none: no driver. */
  zones: string[] = [];
  addresses: string[] = [];
  /** What the name server has, by host name. */
  names: Record<string, ServerRecord> = {};
  dnsAnswers = true;
  dnsRecords: DnsRecord[] = [];
  /** Host names whose certificate the proxy has not taken up yet. */
  readonly staleRoutes = new Set<string>();
  /** The listening sockets can be read. */
  portsKnown = true;
  /** A step kind (`start`, `retire`, `put-routes`) in the middle of which the agent dies, once. */
  cutInside: string | undefined;
  applied: Applied[] = [];
  leases: Lease[] = [];
  routes: RouteRecord[] = [];
  records: ImageRecord[] = [];
  files: AcceptedFile[] = [];
  failures: FailureRecord[] = [];
  flaps: FlapRecord[] = [];
  /** By container id: when the engine started it again. */
  exits: Record<string, number[]> = {};
  orphans: OrphanRecord[] = [];
  engine: EngineIdentity | undefined;
  named: string[] = [];
  /** The registry was made anew; `kept`: the file beside it was there. */
  fresh: Promised['fresh'];
  lostAt: string | undefined;
  /** What the engine says it is. */
  engineIdentity: EngineIdentity = { id: 'e', storageRoot: '/x' };
  protect: string[] = [];
  mode: 'observe' | undefined;
  engineId: string | undefined;
  trials: Trial[] = [];
  /** Step kinds with their subject, in the order in which they were begun. */
  journal: string[] = [];
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
      node: 'n1',
      owner: 'n1/main',
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
      certificates: 'local',
      canBuild: true,
      ...(this.keepImages === undefined ? {} : { keepImages: this.keepImages }),
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
  }

  /** The registry's file is gone. `kept`: the file beside it is not. */
  loseRegistry(kept: boolean): void {
    Object.assign(this, { applied: [], leases: [], routes: [], records: [], failures: [], fresh: { kept } });
    if (!kept) Object.assign(this, { files: [], orphans: [], named: [], engine: undefined });
  }

  /** What a pass does before it plans. */
  private takeUp(): void {
    const rebuilt = rebuild(this.facts());
    if (rebuilt === undefined) return;
    this.fresh = undefined;
    this.lostAt = rebuilt.lostAt;
    this.applied.push(...rebuilt.applied);
    this.leases.push(...rebuilt.leases);
    this.routes.push(...rebuilt.routes);
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
    this.engine = plan.engine ?? this.engine;
    const turned = inTurn(this.desired, this.promised(), this.now);
    const digests = new Map(turned.services.map((entry) => [entry.service.name, entry.digest]));
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

  promised(): Promised {
    const {
      applied,
      leases,
      routes,
      records,
      files,
      failures,
      trials,
      orphans,
      engine,
      named,
      fresh,
      lostAt,
    } = this;
    return {
      applied,
      leases,
      routes,
      images: records,
      files,
      failures,
      trials,
      ...(this.dnsRecords.length === 0 ? {} : { records: this.dnsRecords }),
      ...(orphans.length === 0 ? {} : { orphans }),
      ...(this.flaps.length === 0 ? {} : { flaps: this.flaps }),
      ...(engine === undefined ? {} : { engine }),
      ...(named.length === 0 ? {} : { named }),
      ...(fresh === undefined ? {} : { fresh }),
      ...(lostAt === undefined ? {} : { lostAt }),
    };
  }

  observed(): Observed {
    const table = this.table;
    const live = this.proxyRuns ? known(table) : unknown('the proxy does not run');
    return {
      at: this.now,
      engine: this.engineUp
        ? known({
            kind: 'docker',
            version: '1',
            ...this.engineIdentity,
            ...(this.architecture === undefined ? {} : { architecture: this.architecture }),
            containers: this.containers,
            networks: this.networks,
          })
        : unknown('engine unreachable'),
      images: this.images,
      pushes: {},
      ports: this.portsKnown
        ? known({ listening: [...this.listening, ...this.published()], ephemeral: [32768, 60999] })
        : unknown('/proc/net cannot be read'),
      proxy: this.proxyKnown
        ? known({
            listenerPorts: [443, 8443, 9443],
            table,
            live,
            connections: this.connections,
            stale: table.filter((route) => this.staleRoutes.has(route.hostname)),
          })
        : unknown('the route table cannot be read'),
      certificates: new Proxy(this.certificates, {
        get: (all, name) =>
          all[String(name)] ?? { kind: 'absent', certPath: `/certs/${String(name)}.pem`, hint: 'issue it' },
      }),
      ...(this.handshakes === undefined ? {} : { handshakes: this.handshakes }),
      dns: {
        driver: this.zones.length === 0 ? 'none' : 'rfc2136',
        zones: this.zones,
        names: new Proxy(
          {},
          {
            get: (_all, name): NameFacts => {
              const zone = this.zones.find((one) => String(name).endsWith(`.${one}`));
              if (zone === undefined) return { elsewhere: known([]) };
              const seen = this.dnsAnswers
                ? known(this.names[String(name)] ?? { addresses: [] })
                : unknown('name server ns does not answer');
              return { zone, servers: [{ server: 'ns', seen }] };
            },
          },
        ),
      },
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

  container(name: string): ObservedContainer | undefined {
    return this.containers.find((container) => container.name === name);
  }

  kill(name: string): void {
    this.update(name, { state: 'exited', exitCode: 137, finishedAt: this.now });
  }

  present(...references: string[]): void {
    for (const reference of references)
      this.images[reference] = { kind: 'present', imageId: `sha256:${reference}`, user: '', volumes: [] };
  }

  node(): NodeWriter {
    const { owner } = this.settings();
    const act = async (
      kind: string,
      subject: string,
      work: () => Outcome<undefined>,
    ): Promise<Outcome<undefined>> => {
      this.journal.push(`${kind} ${subject}`);
      return this.failing.get(kind) ?? work();
    };
    const nameOf = (id: string): string => this.containers.find((c) => c.id === id)?.name ?? id;
    return {
      engine: {
        createNetwork: (name) =>
          act('create-network', name, () => ((this.networks = [...new Set([...this.networks, name])]), ok())),
        removeNetwork: (name) =>
          act(
            'remove-network',
            name,
            () => ((this.networks = this.networks.filter((n) => n !== name)), ok()),
          ),
        create: async (spec, specDigest, name) => {
          this.journal.push(`create ${name}`);
          const failure = this.failing.get('create');
          if (failure !== undefined && failure.kind !== 'ok') return failure;
          const there = this.container(name);
          if (there !== undefined && there.identity?.spec === specDigest) return ok({ id: there.id });
          if (there !== undefined) return blocked(`the name ${name} is taken`);
          const id = `${String((this.#ids += 1)).padStart(8, '0')}dead`;
          this.containers.push({
            id,
            name,
            image: spec.image,
            imageId: imageIdIn(this.images[spec.image]) ?? `sha256:${spec.image}`,
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
          });
          return ok({ id });
        },
        start: async (from, name, specDigest) => {
          this.journal.push(`start ${name}`);
          const failure = this.failing.get('start');
          if (failure !== undefined && failure.kind !== 'ok') return failure;
          const container = this.container(from) ?? this.container(name);
          if (container === undefined) return retry(`no container ${from}`);
          const error = this.startErrors.get(container.image);
          if (container.identity?.spec !== specDigest) return retry(`${from} is made from another spec`);
          if (name !== container.name && this.container(name) !== undefined)
            return retry(`the name ${name} is held`);
          this.update(container.name, { name });
          this.cutHere('start');
          if (error !== undefined) return error;
          const others = this.published(container.id).concat(this.listening);
          const taken = container.publish.find((p) => others.some((l) => l.port === p.host));
          if (taken !== undefined)
            return { ...retry(`port ${taken.host} is already allocated`), cause: 'outside' };
          if (container.state !== 'running') this.update(name, { state: 'running', startedAt: this.now });
          return ok({ id: container.id });
        },
        rename: (id, renameTo) =>
          act('set-aside', nameOf(id), () => (this.update(nameOf(id), { name: renameTo }), ok())),
        retire: (id, renameTo) =>
          act('retire', nameOf(id), () => {
            this.end(id);
            this.cutHere('retire');
            this.update(nameOf(id), { name: renameTo });
            return ok();
          }),
        takeOver: (id, renameTo) =>
          act('take-over', nameOf(id), () => {
            this.end(id);
            this.update(nameOf(id), { name: renameTo });
            return ok();
          }),
        giveBack: (id, renameTo) =>
          act('give-back', nameOf(id), () => {
            if (nameOf(id) !== renameTo && this.container(renameTo) !== undefined)
              return retry(`the name ${renameTo} is held`);
            this.update(nameOf(id), { name: renameTo });
            this.update(renameTo, { state: 'running', startedAt: this.now });
            return ok();
          }),
        stop: (id) => act('stop', nameOf(id), () => (this.end(id), ok())),
        remove: (id) =>
          act(
            'remove',
            nameOf(id),
            () => ((this.containers = this.containers.filter((c) => c.id !== id)), ok()),
          ),
      },
      images: {
        startPull: (image) => this.begin('pull', image.reference),
        startBuild: ({ image }) => this.begin('build', image.reference),
        startPush: (image) => this.begin('push', image.reference),
        remove: (reference) =>
          act('remove-image', reference, () => {
            const rest = Object.entries(this.images).filter(([name]) => name !== reference);
            this.images = Object.fromEntries(rest);
            return ok();
          }),
      },
      proxy: {
        put: (routes) =>
          act(
            'route',
            routes.map((r) => `${r.hostname}:${r.listenerPort}>${r.backend.split(':')[1] ?? ''}`).join(),
            () => {
              const same = (a: ObservedRoute, b: ObservedRoute): boolean =>
                a.hostname === b.hostname && a.listenerPort === b.listenerPort;
              this.table = [
                ...this.table.filter((old) => !routes.some((route) => same(old, route))),
                ...routes,
              ];
              for (const { hostname } of routes) this.staleRoutes.delete(hostname);
              return ok();
            },
          ),
        remove: (routes) =>
          act('unroute', routes.map((r) => `${r.hostname}:${r.listenerPort}`).join(), () => {
            this.table = this.table.filter(
              (old) =>
                !routes.some(
                  (r) =>
                    r.hostname === old.hostname && r.listenerPort === old.listenerPort && r.mark === old.mark,
                ),
            );
            return ok();
          }),
      },
      dns: {
        put: (service, records) =>
          act('name', records.map((r) => r.hostname).join(), () => {
            for (const { hostname, addresses, before = [] } of records) {
              const there = this.names[hostname];
              const isOurs =
                there?.mark?.owner === owner || there?.addresses.every((ip) => before.includes(ip));
              if (there !== undefined && isOurs !== true) return wait(`${hostname} is not ours`);
              this.names[hostname] = { addresses, mark: { owner, service, addresses } };
            }
            return ok();
          }),
        remove: (_service, records) =>
          act('unname', records.map((r) => r.hostname).join(), () => {
            const goes = (name: string): boolean =>
              records.some((r) => r.hostname === name && this.names[name]?.mark?.owner === owner);
            this.names = Object.fromEntries(Object.entries(this.names).filter(([name]) => !goes(name)));
            return ok();
          }),
      },
      certificates: {
        issue: (hostname) =>
          act('certificate', hostname, () => {
            this.certificates[hostname] = {
              kind: 'valid',
              certPath: `/certs/${hostname}.pem`,
              keyPath: `/certs/${hostname}.key`,
              notAfter: this.now + 90 * 86_400_000,
              fingerprint256: hostname,
            };
            return ok();
          }),
      },
    };
  }

  lease(leases: readonly Lease[]): Outcome<undefined> {
    const slot = (l: Lease): string => [l.service, l.component, l.route, l.slot].join('/');
    const rest = this.leases.filter((old) => !leases.some((l) => slot(l) === slot(old)));
    if (rest.some((old) => leases.some((l) => l.port === old.port)))
      return blocked('UNIQUE constraint failed: leases.port');
    this.leases = [...rest, ...leases];
    return ok();
  }
  releaseLeases(leases: readonly Lease[]): Outcome<undefined> {
    this.leases = this.leases.filter((old) => !leases.some((l) => digestOf(l) === digestOf(old)));
    return ok();
  }
  recordImage(image: Omit<ImageRecord, 'firstSeenAt'>, at: number): Outcome<undefined> {
    this.records = [
      ...this.records.filter((r) => r.reference !== image.reference),
      { ...image, firstSeenAt: at },
    ];
    return ok();
  }
  imageRemoved(reference: string): Outcome<undefined> {
    this.records = this.records.map((record) =>
      record.reference === reference ? { ...record, removed: true as const } : record,
    );
    return ok();
  }
  putRoutes(_service: string, routes: readonly RouteRecord[]): Outcome<undefined> {
    const same = (a: RouteRecord, b: RouteRecord): boolean => a.hostname === b.hostname && a.port === b.port;
    this.routes = [...this.routes.filter((old) => !routes.some((r) => same(old, r))), ...routes];
    this.cutHere('put-routes');
    return ok();
  }
  removeRoutes(service: string, keys: readonly { hostname: string; port: number }[]): Outcome<undefined> {
    this.routes = this.routes.filter(
      (r) => r.service !== service || !keys.some((k) => k.hostname === r.hostname && k.port === r.port),
    );
    return ok();
  }
  putRecords(records: readonly DnsRecord[]): Outcome<undefined> {
    this.removeRecords(records);
    this.dnsRecords = [...this.dnsRecords, ...records];
    this.cutHere('put-records');
    return ok();
  }
  removeRecords(records: readonly DnsRecord[]): Outcome<undefined> {
    this.dnsRecords = this.dnsRecords.filter((old) => !records.some((r) => r.hostname === old.hostname));
    return ok();
  }
  recordApplied(applied: Applied): Outcome<undefined> {
    this.journal.push(`applied ${applied.service.name} ${applied.state}`);
    this.applied = [...this.applied.filter((a) => a.service.name !== applied.service.name), applied];
    this.trials = this.trials.filter((trial) => trial.service !== applied.service.name);
    return ok();
  }
  recordOrphan(orphan: OrphanRecord): Outcome<undefined> {
    this.journal.push(`orphan ${orphan.service}`);
    this.orphans = [...this.orphans.filter((old) => old.service !== orphan.service), orphan];
    return ok();
  }
  forgetService(service: string): Outcome<undefined> {
    this.journal.push(`forget ${service}`);
    this.applied = this.applied.filter((a) => a.service.name !== service);
    this.leases = this.leases.filter((l) => l.service !== service);
    this.routes = this.routes.filter((r) => r.service !== service);
    this.dnsRecords = this.dnsRecords.filter((r) => r.service !== service);
    this.files = this.files.filter((f) => f.service !== service);
    this.orphans = this.orphans.filter((o) => o.service !== service);
    this.failures = this.failures.filter((f) => f.service !== service);
    this.trials = this.trials.filter((trial) => trial.service !== service);
    this.flaps = this.flaps.filter((f) => f.service !== service);
    return ok();
  }
  recordTrial(trial: Trial): Outcome<undefined> {
    this.journal.push(`${trial.phase} ${trial.service}`);
    this.trials = [...this.trials.filter((old) => old.service !== trial.service), trial];
    this.failures = this.failures.filter((f) => f.service !== trial.service);
    return ok();
  }
  recordFailure(failure: Omit<FailureRecord, 'count'>): Outcome<undefined> {
    const before = this.failures.find((f) => f.service === failure.service && f.digest === failure.digest);
    this.failures = [
      ...this.failures.filter((f) => f.service !== failure.service),
      { ...failure, count: (before?.count ?? 0) + 1 },
    ];
    return ok();
  }
  recordFlap(flap: FlapRecord): Outcome<undefined> {
    this.flaps = [
      ...this.flaps.filter((f) => f.service !== flap.service || f.component !== flap.component),
      flap,
    ];
    return ok();
  }
  clearFailure(service: string): Outcome<undefined> {
    this.failures = this.failures.filter((f) => f.service !== service);
    return ok();
  }
  beginPass(): Outcome<number> {
    return ok(1);
  }
  endPass(): Outcome<undefined> {
    return ok();
  }
  planKey(): string | undefined {
    return undefined;
  }
  storePlan(): Outcome<undefined> {
    return ok();
  }
  intend(): Outcome<number> {
    return ok(1);
  }
  conclude(): Outcome<undefined> {
    return ok();
  }

  private begin(kind: string, reference: string): Outcome<undefined> {
    this.journal.push(`${kind} ${reference}`);
    const failure = this.failing.get(kind);
    if (failure !== undefined) return failure;
    this.present(reference);
    return ok();
  }

  private update(name: string, change: Partial<ObservedContainer>): void {
    this.containers = this.containers.map((container) =>
      container.name === name ? { ...container, ...change } : container,
    );
  }

  /** The agent dies in the middle of this kind of step, once. */
  private cutHere(kind: string): void {
    if (this.cutInside !== kind) return;
    this.cutInside = undefined;
    throw new Error(`cut inside ${kind}`);
  }

  private end(id: string): void {
    this.containers = this.containers.map((c) =>
      c.id === id && (c.state === 'running' || c.state === 'restarting')
        ? { ...c, state: 'exited', exitCode: 0, finishedAt: this.now }
        : c,
    );
  }

  private published(except?: string): { ip: string; port: number; protocol: 'tcp' | 'udp' }[] {
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

function imageIdIn(state: ImageState | undefined): string | undefined {
  return state?.kind === 'present' ? state.imageId : undefined;
}

export function component(name: string, change: Partial<Component> = {}): Component {
  return {
    name,
    container: name,
    image: {
      reference: `mcr.example.net/${name}:v1.0.0`,
      host: 'mcr.example.net',
      repository: name,
      tag: 'v1.0.0',
    },
    env: [],
    mounts: [],
    network: 'mcpnet',
    restart: 'unless-stopped',
    routes: [],
    ports: [],
    ...change,
  };
}

export function service(name: string, components: Component[], change: Partial<Service> = {}): Service {
  const named = components.map((c) => ({ ...c, container: c.name === name ? name : `${name}-${c.name}` }));
  return { name, node: 'n1', active: true, path: name, components: named, ...change };
}

export function desiredOf(services: readonly Service[], change: Partial<Desired> = {}): Desired {
  return {
    node: 'n1',
    commit: { oid: 'c'.repeat(40), author: 'a', email: 'a@example.net', at: 0, message: 'm', parents: [] },
    services: services.map((s): DesiredService => ({
      service: s,
      file: `services/${s.name}.toml`,
      oid: digestOf(s).slice(0, 40),
      digest: digestOf(s),
      commit: 'c'.repeat(40),
      heldBack: false,
    })),
    refused: [],
    unreadable: false,
    removals: [],
    issues: [],
    ...change,
  };
}
