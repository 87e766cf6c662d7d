import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../base/outcome.ts';
import type { Log } from '../../base/log.ts';
import type { Api } from './api.ts';

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;
/** Podman sends no header before the first event: a stream that was not refused for so long counts as open. */
const OPEN_AFTER_MS = 2_000;
const MAX_LINE = 1_000_000;

interface EngineEvent {
  readonly type: string;
  readonly action: string;
  readonly id: string;
  /** Of a network that a container joined or left. */
  readonly container?: string;
  /** With which a container ended. */
  readonly exitCode?: number;
}

/** What a stream of events tells its listeners; `gap`: events may have been missed, so nothing remembered counts. */
export interface EventListener {
  event(event: EngineEvent): void;
  gap(): void;
}

/**
 * The engine's event stream, which reconnects by itself. An event is never trusted for its content: it says "look now"
 * and which remembered inspection is no longer good. The code with which a container ended is told, and nothing goes by it: no
 * look shows it any more once the engine has started the container again.
 */
export class EventStream {
  readonly #api: Api;
  readonly #log: Log;
  readonly #listeners = new Set<EventListener>();
  #stop: AbortController | undefined;
  #live = false;

  constructor(api: Api, log: Log) {
    this.#api = api;
    this.#log = log;
  }

  /** True while every change is heard of. */
  get live(): boolean {
    return this.#live;
  }

  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  start(): void {
    if (this.#stop !== undefined) return;
    this.#stop = new AbortController();
    void this.#run(this.#stop.signal);
  }

  close(): void {
    this.#stop?.abort();
    this.#stop = undefined;
    this.#live = false;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const isClosed = (): boolean => signal.aborted;
    let waitMs = FIRST_WAIT_MS;
    while (!isClosed()) {
      const begunAt = performance.now();
      try {
        await this.#follow(signal);
      } catch (error) {
        if (!isClosed()) this.#log.debug({ error: messageOf(error) }, 'engine events interrupted');
      }
      if (isClosed()) return;
      if (this.#live) this.#setLive(false);
      // A stream that is opened and lost again and again must not make the loop spin.
      if (performance.now() - begunAt > LONGEST_WAIT_MS) waitMs = FIRST_WAIT_MS;
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const open = (): void => {
      if (!this.#live && !signal.aborted) this.#setLive(true);
    };
    const quiet = setTimeout(open, OPEN_AFTER_MS);
    try {
      const filters = JSON.stringify({ type: ['container', 'network', 'image'] });
      const answer = await this.#api.stream('GET', '/events', { query: { filters }, signal });
      open();
      for await (const item of jsonLines(answer)) this.#tell(item);
    } finally {
      clearTimeout(quiet);
    }
  }

  /** A new stream starts without the past, and a lost one without the present: both are a reason to look. */
  #setLive(live: boolean): void {
    this.#live = live;
    for (const listener of this.#listeners) listener.gap();
  }

  #tell(item: unknown): void {
    const event = eventOf(item);
    // Health checks by exec would otherwise wake the agent every few seconds for each container.
    if (event === undefined || event.action.startsWith('exec')) return;
    for (const listener of this.#listeners) listener.event(event);
  }
}

/** Objects of a stream that has one JSON object a line, as events and progress reports have. */
export async function* jsonLines(stream: NodeJS.ReadableStream): AsyncGenerator {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) throw new Error('the engine sent a line of more than 1 MB');
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as unknown;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as unknown;
}

function eventOf(item: unknown): EngineEvent | undefined {
  if (item === null || typeof item !== 'object') return undefined;
  const { Type, Action, Actor } = item as {
    Type?: unknown;
    Action?: unknown;
    Actor?: { ID?: unknown; Attributes?: Readonly<Record<string, unknown>> | null } | null;
  };
  if (typeof Type !== 'string' || typeof Action !== 'string') return undefined;
  const container = Type === 'network' ? Actor?.Attributes?.container : undefined;
  // Docker's word, and Podman's.
  const code = Actor?.Attributes?.exitCode ?? Actor?.Attributes?.containerExitCode;
  const hasEnded = Type === 'container' && Action.startsWith('die') && /^\d{1,3}$/.test(String(code));
  return {
    type: Type,
    action: Action,
    id: typeof Actor?.ID === 'string' ? Actor.ID : '',
    ...(typeof container === 'string' ? { container } : {}),
    ...(hasEnded ? { exitCode: Number(code) } : {}),
  };
}
