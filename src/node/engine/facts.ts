import { setTimeout as delay } from 'node:timers/promises';
import { retry } from '../../base/outcome.ts';
import { LABELS, type EngineFacts, type ObservedContainer } from '../types.ts';
import type { Api } from './api.ts';
import type { EventStream } from './events.ts';
import { EngineError, Refusal, isMissing } from './failure.ts';
import { allMounts, partsOf, type ImageConfig } from './parts.ts';
import {
  listedName,
  observedFromInspection,
  observedFromList,
  type Inspection,
  type Listed,
} from './inspect.ts';

/** Podman tells of no network that was made or removed. */
const NETWORKS_AGE_MS = 60_000;
/** How exact the words of a list are, and how far apart two clocks may look at one start. */
const SLACK_MS = 5_000;
const PARALLEL = 16;
/** An inspection that takes longer is not waited for: engines may hold one container for as long as something hangs in it. */
const PATIENCE_MS = 2_000;
const MAX_IMAGES = 1_000;

export interface EngineIdentity {
  readonly kind: 'docker' | 'podman';
  readonly version: string;
  readonly id: string;
  readonly storageRoot: string;
  /** As images name it: `amd64`, `arm64`. */
  readonly architecture?: string;
}

interface Remembered<T> {
  readonly value: T;
  readonly at: number;
}

interface RememberedContainer extends Remembered<ObservedContainer> {
  /** What the list said when it was inspected. */
  readonly key: string;
}

/**
 * Reads what the engine has. While the event stream is open, what it has not mentioned is remembered, so that a pass
 * without changes is one list call, and a container is inspected once in its life; without the stream everything is asked
 * anew each time. Should an event be lost all the same, the list tells a start, an end, another name or other ports; a
 * change of limits or variables whose event was lost is not seen before the stream or the agent begins anew.
 */
export class FactsReader {
  readonly #api: Api;
  readonly #owner: string;
  readonly #events: EventStream;
  readonly #inspections = new Map<string, RememberedContainer>();
  readonly #mentioned = new Map<string, number>();
  /** With which each container ended last. */
  readonly #codes = new Map<string, number>();
  /** By id: the same image never has another configuration. */
  readonly #images = new Map<string, ImageConfig>();
  readonly #hash: ((value: string) => string) | undefined;
  /** Inspections that were not waited for, by container: none is asked twice at once. */
  readonly #late = new Set<string>();
  /** Ours that were listed last, with their names. */
  #listed: ReadonlyMap<string, string> = new Map();
  #identity: EngineIdentity | undefined;
  #networks: Remembered<readonly string[]> | undefined;
  #sequence = 0;
  #forgotAt = 0;

  constructor(api: Api, owner: string, events: EventStream, hash?: (value: string) => string) {
    this.#hash = hash;
    this.#api = api;
    this.#owner = owner;
    this.#events = events;
    events.listen({
      event: ({ type, id, container, exitCode }) => {
        this.#sequence++;
        if (exitCode !== undefined) this.#codes.set(id, exitCode);
        if (type === 'network') this.#networks = undefined;
        const about = type === 'container' ? id : container;
        if (about === undefined) return;
        this.#inspections.delete(about);
        this.#mentioned.set(about, this.#sequence);
      },
      gap: () => this.#forget(),
    });
  }

  async read(replaced: readonly string[] = []): Promise<EngineFacts> {
    if (!this.#events.live) this.#forget();
    const [identity, networks, listed] = await Promise.all([
      this.#readIdentity(),
      this.#readNetworks(),
      this.#api.call<Listed[]>('list containers', 'GET', '/containers/json', { query: { all: true } }),
    ]);
    const ids = new Set(listed.map(({ Id }) => Id));
    await this.#demandWhole(ids);
    const containers = await inParallel(listed, (one) => this.#observe(one, replaced));
    const mine = listed.filter((one) => this.#isOurs(one));
    this.#listed = new Map(mine.map((one) => [one.Id, listedName(one)]));
    for (const id of this.#inspections.keys()) if (!ids.has(id)) this.#inspections.delete(id);
    for (const id of this.#mentioned.keys()) if (!ids.has(id)) this.#mentioned.delete(id);
    for (const id of this.#codes.keys()) if (!ids.has(id)) this.#codes.delete(id);
    return {
      ...identity,
      networks,
      containers: containers
        .filter((one) => one !== undefined)
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    };
  }

  /**
   * A container of ours that is not listed any more is asked for, once: a list that leaves out what is there must not be
   * taken for the loss of it (G21, L02).
   */
  async #demandWhole(ids: ReadonlySet<string>): Promise<void> {
    const gone = [...this.#listed].filter(([id]) => !ids.has(id));
    const still = await inParallel(gone, async ([id, name]) => ((await this.#isThere(id, name)) ? name : ''));
    const names = still.filter((name) => name !== '');
    if (names.length === 0) return;
    throw new Refusal(
      retry(
        `the engine's list of containers lacks ${names.join(', ')}, which it has when it is asked for`,
        'Nothing is done by a list that is not whole; it is asked for again.',
      ),
    );
  }

  async #isThere(id: string, name: string): Promise<boolean> {
    try {
      const seen = await this.#api.call<Inspection>(`inspect ${name}`, 'GET', `/containers/${id}/json`);
      return seen.Id === id && seen.State.Status !== 'removing';
    } catch (error) {
      // What it says of this one alone; all else is about the engine.
      if (error instanceof EngineError && (isMissing(error) || error.statusCode >= 500)) return false;
      throw error;
    }
  }

  #isOurs({ Labels }: Listed): boolean {
    return Labels?.[LABELS.owner] === this.#owner;
  }

  #forget(): void {
    this.#forgotAt = ++this.#sequence;
    this.#inspections.clear();
    this.#identity = undefined;
    this.#networks = undefined;
  }

  async #readIdentity(): Promise<EngineIdentity> {
    // An engine that became another one has cut the stream, and all is forgotten.
    if (this.#identity !== undefined) return this.#identity;
    const asked = this.#sequence;
    const value = await readIdentity(this.#api);
    if (asked === this.#sequence) this.#identity = value;
    return value;
  }

  async #readNetworks(): Promise<readonly string[]> {
    if (this.#networks !== undefined && ageOf(this.#networks) < NETWORKS_AGE_MS) return this.#networks.value;
    const asked = this.#sequence;
    const found = await this.#api.call<{ Name: string }[]>('list networks', 'GET', '/networks');
    const value = found.map(({ Name }) => Name).sort();
    if (asked === this.#sequence) this.#networks = { value, at: performance.now() };
    return value;
  }

  /**
   * Ours by inspection, foreign ones from the list alone, but for what one that is to be replaced is made of; undefined when it vanished in between. One that the engine does not
   * tell of is as the list has it, and says so: it must not hide all the others (L40).
   */
  async #observe(listed: Listed, replaced: readonly string[]): Promise<ObservedContainer | undefined> {
    const isMine = this.#isOurs(listed);
    const isMeant =
      replaced.includes(listedName(listed)) && Object.keys(observedFromList(listed).labels).length === 0;
    if (!isMine && !isMeant) return observedFromList(listed);
    const key = keyOf(listed);
    const known = this.#inspections.get(listed.Id);
    if (known?.key === key && !hasStartedSince(listed, known)) return known.value;
    const unseen = (why: string): ObservedContainer => ({
      ...observedFromList(listed),
      // Nothing of a foreign one depends on it.
      ...(isMine ? { unseen: why } : {}),
    });
    const hangs = unseen('the engine does not answer when it is asked for it');
    if (this.#late.has(listed.Id)) return hangs;
    const answer = this.#inspect(listed, key).catch((error: unknown) => {
      // An answer that says what is wrong with this one; all else is about the engine.
      if (error instanceof EngineError && error.statusCode >= 500) return unseen(error.message);
      throw error;
    });
    return soon(answer, hangs, (late) => {
      this.#late.add(listed.Id);
      void late.finally(() => this.#late.delete(listed.Id));
    });
  }

  async #inspect(listed: Listed, key: string): Promise<ObservedContainer | undefined> {
    const asked = this.#sequence;
    try {
      const path = `/containers/${listed.Id}/json`;
      const seen = await this.#api.call<Inspection>(`inspect ${listedName(listed)}`, 'GET', path);
      const config = this.#hash === undefined ? undefined : await this.#imageConfig(seen.Image);
      const isMine = this.#isOurs(listed);
      const plain = isMine ? this.#withLastCode(observedFromInspection(seen)) : observedFromList(listed);
      const parts = this.#hash === undefined ? undefined : partsOf(seen, config, this.#hash);
      const whole = parts === undefined || isMine ? parts : { ...parts, labels: {}, mounts: allMounts(seen) };
      const value = whole === undefined ? plain : { ...plain, parts: whole };
      // An event that came while the answer was under way: it may be older than the event.
      const overtaken = Math.max(this.#mentioned.get(listed.Id) ?? 0, this.#forgotAt) > asked;
      if (this.#events.live && !overtaken) {
        this.#inspections.set(listed.Id, { key, value, at: performance.now() });
      }
      return value;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** One that was started again does not show any more with which code it ended. */
  #withLastCode(seen: ObservedContainer): ObservedContainer {
    if (seen.exitCode !== undefined) this.#codes.set(seen.id, seen.exitCode);
    const code = this.#codes.get(seen.id);
    if (seen.state !== 'running' || seen.restartCount === 0 || code === undefined) return seen;
    return { ...seen, lastExitCode: code };
  }

  /** Undefined while it cannot be had: an image that was removed by force leaves its containers behind. */
  async #imageConfig(id: string): Promise<ImageConfig | undefined> {
    const known = this.#images.get(id);
    if (known !== undefined) return known;
    try {
      const path = `/images/${encodeURIComponent(id)}/json`;
      const image = await this.#api.call<{ Config?: ImageConfig | null }>('inspect an image', 'GET', path);
      if (this.#images.size > MAX_IMAGES) this.#images.clear();
      this.#images.set(id, image.Config ?? {});
      return image.Config ?? {};
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
}

/** What `/info` says of an engine; Docker's own is without `BuildahVersion`. */
interface About {
  readonly ID?: string;
  readonly DockerRootDir?: string;
  readonly BuildahVersion?: string;
  readonly ServerVersion?: string;
  readonly Architecture?: string;
}

/**
 * Which engine this is. Podman's `info` draws a new id for each call: there the storage root is the identity (L05). It is asked for
 * nothing else: on Debian, Podman starts about six processes of the package manager for each `/info`, and as many for each `/version`.
 */
export async function readIdentity(api: Api): Promise<EngineIdentity> {
  const info = await api.call<About>('ask info', 'GET', '/info');
  const storageRoot = info.DockerRootDir ?? '';
  if (info.BuildahVersion !== undefined)
    return identityOf(
      { kind: 'podman', id: `podman:${storageRoot}`, storageRoot },
      info.ServerVersion,
      info.Architecture,
    );
  // Its `info` has the machine's own word for the processor, `x86_64`.
  const version = await api.call<{ Version?: string; Arch?: string }>('ask version', 'GET', '/version');
  return identityOf({ kind: 'docker', id: info.ID ?? '', storageRoot }, version.Version, version.Arch);
}

function identityOf(
  engine: Pick<EngineIdentity, 'kind' | 'id' | 'storageRoot'>,
  version: string | undefined,
  architecture: string | undefined,
): EngineIdentity {
  return {
    ...engine,
    version: version ?? 'unknown',
    ...(architecture === undefined ? {} : { architecture }),
  };
}

function ageOf(remembered: { readonly at: number }): number {
  return performance.now() - remembered.at;
}

/** What of a line of the list changes only when something happened to the container. */
function keyOf(listed: Listed): string {
  const code = /^Exited \((\d+)\)/.exec(listed.Status ?? '')?.[1] ?? '';
  const ports = (listed.Ports ?? []).map(
    ({ IP, PublicPort, PrivatePort }) => `${IP}:${PublicPort}:${PrivatePort}`,
  );
  return [listed.State, listedName(listed), code, listed.ImageID, ...ports.sort()].join(' ');
}

/** `Up 3 seconds`, of a container that was inspected ten seconds ago: its start was not heard of. */
function hasStartedSince({ Status = '' }: Listed, inspected: { readonly at: number }): boolean {
  const [, seconds] = /^Up (\d+) seconds?\b/.exec(Status.replace('Less than a second', '0 seconds')) ?? [];
  return seconds !== undefined && Number(seconds) * 1000 + SLACK_MS < ageOf(inspected);
}

/** The answer, or `instead` when it takes too long; then `onLate` has what is still to come, which never rejects. */
async function soon<T>(answer: Promise<T>, instead: T, onLate: (late: Promise<unknown>) => void): Promise<T> {
  const patience = new AbortController();
  const over = delay(PATIENCE_MS, 'over' as const, { signal: patience.signal }).catch(() => 'over' as const);
  try {
    const first = await Promise.race([answer.then((value) => ({ value })), over]);
    if (first !== 'over') return first.value;
    onLate(answer.catch(() => undefined));
    return instead;
  } finally {
    patience.abort();
  }
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += PARALLEL) {
    results.push(...(await Promise.all(items.slice(at, at + PARALLEL).map(work))));
  }
  return results;
}
