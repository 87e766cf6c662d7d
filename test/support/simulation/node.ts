import { known, ok, retry, unknown, wait, type Outcome } from '../../../src/base/outcome.ts';
import type { NodeWriter } from '../../../src/execute/types.ts';
import type { Node } from '../../../src/node/node.ts';
import type { Observed, ObservedContainer, ProbeState, ProbeTarget } from '../../../src/node/types.ts';
import type { ImageState, PushState } from '../../../src/node/images/state.ts';
import type { Wanted } from '../../../src/plan/types.ts';
import type { World } from '../world.ts';
import { endingOf, type CallFault, type Weather } from './faults.ts';
import type { Dice } from './random.ts';
import type { VirtualTime } from './time.ts';

/** What the node asks of the run: which call fails, and what is hidden from the next look. */
export interface Trouble {
  /** The fault of this call, when it has one. */
  call(method: string): CallFault | undefined;
  /** Does the agent die in the middle of this call? */
  dies(method: string): boolean;
  /** Hidden from this look. */
  hidden(): ReadonlySet<Weather>;
  /** How long this look takes: what it sees may be newer than its pass. */
  lookMs(): number;
}

/** What a call can be cut in the middle of. */
export const TWO_HALVES: readonly string[] = ['start', 'retire', 'takeOver', 'giveBack', 'put'];

const READY_AFTER_MS = 700;
const MOMENT_MS = 5;
const JOB_MS = 4_000;

/** The machine that outlives its agents: containers, images, routes, and time. */
export class Machine {
  readonly world: World;
  readonly time: VirtualTime;
  readonly dice: Dice;
  readonly pushes: Record<string, PushState> = {};
  /** References that their registry has. */
  readonly remote = new Set<string>();
  /** Called when an engine event, a probe or an image has news. */
  onNews: (trigger: string) => void = () => undefined;
  /** Each call takes so long. */
  latencyMs = 0;
  /** Calls under way. */
  pending = 0;
  /** Jobs and probes that will have news by themselves. */
  jobs = 0;
  /** A host name whose certificate is to end within a pass: after a look that finds it good, and before what is done then. */
  endNext: string | undefined;
  /** Called when one has ended so. */
  onEnded: (hostname: string) => void = () => undefined;
  #ending: { readonly hostname: string; readonly at: number } | undefined;
  readonly #readyAt = new Map<string, number>();
  #lastSeen: Pick<Observed, 'engine' | 'ports' | 'proxy'> | undefined;

  constructor(world: World, time: VirtualTime, dice: Dice) {
    this.world = world;
    this.time = time;
    this.dice = dice;
  }

  tick(): void {
    this.world.now = this.time.wall();
  }

  /** The node as one agent has it: once that is dead, its calls do nothing and never return. */
  node(isAlive: () => boolean, trouble: Trouble, startedAt: number): Node {
    const writer = this.world.node();
    const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
    const wrapped = (actor: string, group: object): object =>
      methods(group, (name, work) => async () => {
        if (!isAlive()) return never();
        await this.#end();
        if (!isAlive()) return never();
        this.tick();
        const call = `${actor}.${name}`;
        if (trouble.dies(call)) {
          await this.#half(name, work);
          return never();
        }
        const fault = trouble.call(call);
        const outcome =
          fault === undefined ? await this.#plain(work) : await this.#faulty(actor, name, fault, work);
        this.onNews(`${actor} event`);
        return isAlive() ? outcome : never();
      });
    const jobs = methods(this.#images(isAlive), (name, work) => () => {
      if (!isAlive()) return retry('dead');
      this.tick();
      const fault = trouble.call(`images.${name}`);
      if (fault === undefined) return work();
      const ending = endingOf(fault, false);
      return ending.said ?? ok();
    });
    const engine = wrapped('engine', writer.engine) as NodeWriter['engine'];
    const node = {
      engine: async () => ok(engine),
      images: () => jobs,
      proxy: wrapped('proxy', writer.proxy),
      certificates: wrapped('certificates', writer.certificates),
      dns: wrapped('dns', writer.dns),
      observe: async (sight: Wanted, targetsOf: (seen: Observed) => ProbeTarget[]) => {
        if (!isAlive()) return never();
        const ms = trouble.lookMs();
        if (ms > 0) await this.sleep(ms);
        if (!isAlive()) return never();
        this.tick();
        this.#endSoon(sight);
        return this.#observe(sight, targetsOf, trouble.hidden(), startedAt);
      },
      stop: async () => undefined,
    };
    // The pass asks a node for nothing else.
    return node as unknown as Node;
  }

  /** The look that follows still finds a certificate that may be used, for a moment. */
  #endSoon({ certificates }: Wanted): void {
    const { endNext: hostname, world } = this;
    this.#ending = undefined;
    const state = certificates.some((one) => one.hostname === hostname)
      ? world.certificates[hostname ?? '']
      : undefined;
    if (hostname === undefined || state?.kind !== 'valid' || state.notAfter <= world.now) return;
    this.#ending = { hostname, at: world.now + MOMENT_MS };
    world.certificates[hostname] = { ...state, notAfter: this.#ending.at };
  }

  /** What is done after that look takes longer. Where nothing is done it ends too, and the next one that is good is taken. */
  async #end(): Promise<void> {
    const ending = this.#ending;
    if (ending === undefined) return;
    this.#ending = undefined;
    this.endNext = undefined;
    if (this.time.wall() < ending.at) await this.sleep(ending.at - this.time.wall());
    this.onEnded(ending.hostname);
  }

  async #plain(work: () => unknown): Promise<unknown> {
    if (this.latencyMs > 0) await this.sleep(this.dice.below(this.latencyMs));
    this.tick();
    return work();
  }

  async #faulty(actor: string, name: string, fault: CallFault, work: () => unknown): Promise<unknown> {
    const ending = endingOf(fault, this.dice.chance(0.5));
    // An update of a name server that is done only after its name was taken away again would be found by nobody: it cannot be listed.
    const effect = ending.effect === 'later' && actor === 'dns' ? 'done' : ending.effect;
    // After each update the adapter looks again, and says what is not so (`rfc2136.ts`).
    const isSeen = actor === 'dns' && fault === 'success, not done';
    let said: unknown = isSeen ? wait('the name server does not have it yet') : ok({ id: 'nobody' });
    if (effect === 'half') await this.#half(name, work);
    if (effect === 'done') said = await work();
    if (effect === 'later')
      this.#later(ending.takesMs + this.dice.below(20_000), () => {
        this.tick();
        void Promise.resolve(work()).then(() => this.onNews('engine event'));
      });
    if (ending.takesMs > 0) await this.sleep(ending.takesMs);
    return ending.said ?? said;
  }

  /** The first half of what consists of two, or nothing. */
  async #half(name: string, work: () => unknown): Promise<void> {
    if (TWO_HALVES.includes(name)) {
      this.world.cutInside = name;
      await Promise.resolve(work()).catch(() => undefined);
      this.world.cutInside = undefined;
    } else if (this.dice.chance(0.5)) await work();
  }

  #later(ms: number, run: () => void): void {
    this.jobs += 1;
    this.time.after(ms, () => {
      this.jobs -= 1;
      run();
    });
  }

  async sleep(ms: number): Promise<void> {
    this.pending += 1;
    await this.time.sleep(ms);
    this.pending -= 1;
  }

  /** Pulls, builds and pushes run beside the passes, and die with their agent. */
  #images(isAlive: () => boolean): NodeWriter['images'] {
    const begin = (kind: 'pulling' | 'building', reference: string): Outcome<undefined> => {
      const before = this.world.images[reference] ?? { kind: 'absent' };
      if (before.kind === kind) return ok();
      const fails = this.dice.chance(0.15);
      this.world.images[reference] = { kind, since: this.time.wall() };
      this.#later(JOB_MS, () => {
        if (this.world.images[reference]?.kind !== kind) return;
        const at = this.time.wall();
        if (!isAlive()) this.world.images[reference] = before;
        else if (fails)
          this.world.images[reference] = {
            kind: 'failed',
            at,
            why: 'no space',
            hint: 'free some',
            retryAt: at + 5_000,
          };
        else {
          this.world.present(reference);
          if (kind === 'building') this.pushes[reference] = { kind: 'pending' };
        }
        this.onNews('image');
      });
      return ok();
    };
    return {
      startPull: (image) => begin('pulling', image.reference),
      startBuild: ({ image }) => begin('building', image.reference),
      startPush: (image) => {
        this.pushes[image.reference] = { kind: 'pushing', since: this.time.wall() };
        this.#later(JOB_MS, () => {
          const at = this.time.wall();
          this.pushes[image.reference] = !isAlive()
            ? { kind: 'pending' }
            : this.dice.chance(0.2)
              ? { kind: 'failed', at, why: 'registry down', retryAt: at + 5_000 }
              : { kind: 'pushed' };
          if (this.pushes[image.reference]?.kind === 'pushed') this.remote.add(image.reference);
          this.onNews('image');
        });
        return ok();
      },
      cancel: (reference) => {
        const kind = this.world.images[reference]?.kind;
        if (kind === 'building' || kind === 'pulling') Reflect.deleteProperty(this.world.images, reference);
        return ok();
      },
      remove: async (reference) => {
        this.world.images[reference] = { kind: 'absent' };
        return ok();
      },
    };
  }

  #elsewhere(reference: string): ImageState {
    return this.remote.has(reference)
      ? { kind: 'remote', manifestDigest: `sha256:${reference}` }
      : { kind: 'absent' };
  }

  #observe(
    sight: Wanted,
    targetsOf: (seen: Observed) => ProbeTarget[],
    hidden: ReadonlySet<Weather>,
    startedAt: number,
  ): Observed {
    const { world } = this;
    for (const { image } of sight.images) world.images[image.reference] ??= this.#elsewhere(image.reference);
    for (const [reference, state] of Object.entries(world.images))
      if (state.kind === 'failed' && state.retryAt <= this.time.wall())
        world.images[reference] = this.#elsewhere(reference);
    const base = world.observed();
    const images = hidden.has('images unseen')
      ? Object.fromEntries(
          Object.keys(world.images).map((name) => [name, { kind: 'unknown', why: 'hidden' } as const]),
        )
      : { ...world.images };
    const asked = new Set(sight.images.map(({ image }) => image.reference));
    const strayWork: NonNullable<Observed['strayWork']> = Object.fromEntries(
      Object.entries(world.images).flatMap(([reference, state]) =>
        (state.kind === 'building' || state.kind === 'pulling') && !asked.has(reference)
          ? [[reference, { kind: state.kind, since: state.since }] as const]
          : [],
      ),
    );
    const seen: Observed = {
      ...base,
      images,
      ...(Object.keys(strayWork).length === 0 ? {} : { strayWork }),
      pushes: { ...this.pushes },
      // As they are now: the world changes while a pass goes on.
      mounts: Object.fromEntries(sight.mounts.map((one) => [one, base.mounts[one] ?? { kind: 'missing' }])),
      certificates: Object.fromEntries([
        ...Object.keys(world.certificates).map(
          (hostname) => [hostname, { kind: 'left', name: hostname } as const] as const,
        ),
        ...sight.certificates.flatMap(({ hostname }) => {
          const state = base.certificates[hostname];
          return state === undefined ? [] : [[hostname, state] as const];
        }),
      ]),
      engine:
        hidden.has('engine unseen') || !base.engine.known
          ? unknown('the engine does not answer')
          : known({ ...base.engine.value, containers: this.#listed(base.engine.value.containers, hidden) }),
      dns: this.#names(sight, base),
      proxy: hidden.has('proxy unseen') ? unknown('the table cannot be read') : base.proxy,
      ports: hidden.has('ports unseen') ? unknown('/proc/net cannot be read') : base.ports,
    };
    // What a look missed it missed altogether: an old list and new sockets would be two views that never were one.
    const stale = hidden.has('stale list') ? this.#lastSeen : undefined;
    this.#lastSeen = { engine: seen.engine, ports: seen.ports, proxy: seen.proxy };
    if (stale !== undefined) return this.#probed({ ...seen, ...stale }, targetsOf, startedAt);
    return this.#probed(seen, targetsOf, startedAt);
  }

  /** The records of the host names that are asked for. */
  #names({ names }: Wanted, { dns }: Observed): NonNullable<Observed['dns']> {
    if (dns === undefined) throw new Error('every node in memory has name servers');
    const seen = names.flatMap((name) => {
      const facts = dns.names[name];
      return facts === undefined ? [] : [[name, facts] as const];
    });
    return { ...dns, names: Object.fromEntries(seen) };
  }

  #probed(seen: Observed, targetsOf: (seen: Observed) => ProbeTarget[], startedAt: number): Observed {
    if (!seen.engine.known) return seen;
    const probes = Object.fromEntries(
      targetsOf(seen).map((target) => [target.containerId, this.#probe(target.containerId, startedAt)]),
    );
    return { ...seen, probes };
  }

  #listed(all: readonly ObservedContainer[], hidden: ReadonlySet<Weather>): readonly ObservedContainer[] {
    if (hidden.has('partial list')) return all.filter((_, index) => index % 2 === 0);
    return [...all];
  }

  /** Ready a moment after its start, as far as an agent that looks since `startedAt` can say. */
  #probe(id: string, startedAt: number): ProbeState {
    const container = this.world.containers.find((one) => one.id === id);
    const started = container?.startedAt;
    const isBad = container === undefined || container.image.endsWith('-bad');
    if (isBad || started === undefined || this.world.unready.has(container.name))
      return { kind: 'starting', since: started ?? 0, last: 'nothing answers' };
    const key = `${id}@${started}`;
    const readyAt = this.#readyAt.get(key) ?? this.time.monotonic() + READY_AFTER_MS;
    this.#readyAt.set(key, readyAt);
    const leftMs = readyAt - this.time.monotonic();
    if (leftMs <= 0) return { kind: 'ready', since: Math.max(startedAt, this.time.wall() + leftMs) };
    this.#later(leftMs, () => this.onNews('probe'));
    return { kind: 'starting', since: started, last: 'not yet' };
  }
}

/** The same object with each method called through `around`. */
export function methods<T extends object>(
  target: T,
  around: (name: string, work: () => unknown, args: readonly unknown[]) => () => unknown,
): T {
  const wrapped = Object.entries(target).map(([name, found]: [string, unknown]) => [
    name,
    typeof found !== 'function'
      ? found
      : (...args: unknown[]) => around(name, () => Reflect.apply(found, target, args), args)(),
  ]);
  return Object.fromEntries(wrapped) as T;
}
