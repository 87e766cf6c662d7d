import { visibleAll } from './shown.ts';
import type { NewEvent } from './told.ts';
import type { AgentEvent } from './types.ts';

const KEPT = 500;

/** The last events of this run of the agent. Nothing waits for a listener. */
export interface EventFeed {
  add(event: NewEvent): void;
  /** Oldest first; only those after `id` when it is given. */
  recent(after?: number): readonly AgentEvent[];
  subscribe(listener: (event: AgentEvent) => void): () => void;
}

export function openFeed(): EventFeed {
  const kept: AgentEvent[] = [];
  const listeners = new Set<(event: AgentEvent) => void>();
  let id = 0;
  return {
    add: (event) => {
      const shown = visibleAll({ ...event, id: (id += 1) });
      kept.push(shown);
      if (kept.length > KEPT) kept.shift();
      for (const listener of listeners) listener(shown);
    },
    recent: (after = 0) => kept.filter((event) => event.id > after),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** One line of `mc-gitops events`. */
export function formatEvent(event: AgentEvent): string {
  const time = new Date(event.at).toISOString().replace(/\.\d+Z$/, 'Z');
  const result = event.result === undefined || event.result === 'ok' ? '' : ` [${event.result}]`;
  return `${time}  ${event.kind.padEnd(8)} ${event.text}${result}${event.hint === undefined ? '' : `  (${event.hint})`}`;
}
