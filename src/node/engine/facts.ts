import { LABELS, type EngineFacts, type ObservedContainer } from '../types.ts';
import type { Api } from './api.ts';
import type { EventStream } from './events.ts';
import { isMissing } from './failure.ts';
import {
  listedName,
  observedFromInspection,
  observedFromList,
  type Inspection,
  type Listed,
} from './inspect.ts';

/** Should an event be lost all the same, nothing remembered is believed for longer than this. */
const MAX_AGE_MS = 60_000;
const PARALLEL = 16;

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
  /** State and names of the list it belongs to. */
  readonly key: string;
}

/**
 * Reads what the engine has. While the event stream is open, what it has not mentioned is remembered, so that a pass
 * without changes is one list call; without the stream everything is asked anew each time.
 */
export class FactsReader {
  readonly #api: Api;
  readonly #owner: string;
  readonly #events: EventStream;
  readonly #inspections = new Map<string, RememberedContainer>();
  readonly #mentioned = new Map<string, number>();
  #identity: Remembered<EngineIdentity> | undefined;
  #networks: Remembered<readonly string[]> | undefined;
  #sequence = 0;
  #forgotAt = 0;

  constructor(api: Api, owner: string, events: EventStream) {
    this.#api = api;
    this.#owner = owner;
    this.#events = events;
    events.listen({
      event: ({ type, id }) => {
        this.#sequence++;
        if (type === 'network') this.#networks = undefined;
        if (type !== 'container') return;
        this.#inspections.delete(id);
        this.#mentioned.set(id, this.#sequence);
      },
      gap: () => this.#forget(),
    });
  }

  async read(): Promise<EngineFacts> {
    if (!this.#events.live) this.#forget();
    const [identity, networks, listed] = await Promise.all([
      this.#readIdentity(),
      this.#readNetworks(),
      this.#api.call<Listed[]>('list containers', 'GET', '/containers/json', { query: { all: true } }),
    ]);
    const containers = await inParallel(listed, (one) => this.#observe(one));
    const ids = new Set(listed.map(({ Id }) => Id));
    for (const id of this.#inspections.keys()) if (!ids.has(id)) this.#inspections.delete(id);
    for (const id of this.#mentioned.keys()) if (!ids.has(id)) this.#mentioned.delete(id);
    return {
      ...identity,
      networks,
      containers: containers
        .filter((one) => one !== undefined)
        .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    };
  }

  #forget(): void {
    this.#forgotAt = ++this.#sequence;
    this.#inspections.clear();
    this.#identity = undefined;
    this.#networks = undefined;
  }

  async #readIdentity(): Promise<EngineIdentity> {
    if (this.#identity !== undefined && isFresh(this.#identity)) return this.#identity.value;
    const asked = this.#sequence;
    const value = await readIdentity(this.#api);
    if (asked === this.#sequence) this.#identity = { value, at: performance.now() };
    return value;
  }

  async #readNetworks(): Promise<readonly string[]> {
    if (this.#networks !== undefined && isFresh(this.#networks)) return this.#networks.value;
    const asked = this.#sequence;
    const found = await this.#api.call<{ Name: string }[]>('list networks', 'GET', '/networks');
    const value = found.map(({ Name }) => Name).sort();
    if (asked === this.#sequence) this.#networks = { value, at: performance.now() };
    return value;
  }

  /** Ours by inspection, foreign ones from the list alone; undefined when it vanished in between. */
  async #observe(listed: Listed): Promise<ObservedContainer | undefined> {
    if (listed.Labels?.[LABELS.owner] !== this.#owner) return observedFromList(listed);
    const key = `${listed.State ?? ''} ${listedName(listed)}`;
    const known = this.#inspections.get(listed.Id);
    if (known?.key === key && isFresh(known)) return known.value;
    const asked = this.#sequence;
    try {
      const path = `/containers/${listed.Id}/json`;
      const seen = await this.#api.call<Inspection>(`inspect ${listedName(listed)}`, 'GET', path);
      const value = observedFromInspection(seen);
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
}

/** Which engine this is. Podman's `info` draws a new id for each call: there the storage root is the identity (L05). */
export async function readIdentity(api: Api): Promise<EngineIdentity> {
  const [version, info] = await Promise.all([
    api.call<{ Version?: string; Arch?: string; Components?: { Name?: string }[] }>(
      'ask version',
      'GET',
      '/version',
    ),
    api.call<{ ID?: string; DockerRootDir?: string }>('ask info', 'GET', '/info'),
  ]);
  const kind = version.Components?.some(({ Name }) => Name?.startsWith('Podman')) ? 'podman' : 'docker';
  const storageRoot = info.DockerRootDir ?? '';
  return {
    kind,
    version: version.Version ?? 'unknown',
    id: kind === 'podman' ? `podman:${storageRoot}` : (info.ID ?? ''),
    storageRoot,
    ...(version.Arch === undefined ? {} : { architecture: version.Arch }),
  };
}

function isFresh(remembered: { readonly at: number }): boolean {
  return performance.now() - remembered.at < MAX_AGE_MS;
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += PARALLEL) {
    results.push(...(await Promise.all(items.slice(at, at + PARALLEL).map(work))));
  }
  return results;
}
