import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Outcome } from '../base/outcome.ts';
import type { AgentEvent, HistoryEntry, LogView } from '../report/types.ts';
import { HEADERS } from './guard.ts';

const MAX_ENTRIES = 500;
const DEFAULT_ENTRIES = 50;
const MAX_STREAMS = 20;
const HEARTBEAT_MS = 15_000;
/** A reader that does not read is let go: nothing piles up for it. */
const MAX_BACKLOG_BYTES = 256 * 1024;
const JSON_TYPE = 'application/json; charset=utf-8';

/** What programs may ask for beyond the view. Everything is read-only. */
export interface ApiSources {
  /** Newest first; of one service, or of all. */
  readonly history: (service: string | undefined, limit: number) => HistoryEntry[];
  readonly logs: (question: {
    readonly service: string;
    readonly component?: string;
    readonly tail?: number;
    readonly build?: boolean;
  }) => Promise<Outcome<LogView>>;
  readonly events: {
    readonly recent: (after?: number) => readonly AgentEvent[];
    readonly subscribe: (listener: (event: AgentEvent) => void) => () => void;
  };
}

export function addApi(app: FastifyInstance, { history, logs, events }: ApiSources): void {
  app.get('/api/v1/history', async (request, reply) => {
    const query = request.query as Record<string, unknown>;
    const service = textIn(query['service']);
    const entries = history(service, countIn(query['limit'], MAX_ENTRIES) ?? DEFAULT_ENTRIES);
    return reply.type(JSON_TYPE).send(JSON.stringify(entries));
  });
  app.get('/api/v1/logs/:service', async (request, reply) => logs_(request, reply));
  app.get('/api/v1/logs/:service/:component', async (request, reply) => logs_(request, reply));
  addEvents(app, events);

  async function logs_(request: { params: unknown; query: unknown }, reply: FastifyReply): Promise<unknown> {
    const { service = '', component } = request.params as { service?: string; component?: string };
    const query = request.query as Record<string, unknown>;
    const tail = countIn(query['tail'], Number.MAX_SAFE_INTEGER);
    const log = await logs({
      service,
      ...(component === undefined ? {} : { component }),
      ...(tail === undefined ? {} : { tail }),
      ...(Object.hasOwn(query, 'build') ? { build: true } : {}),
    });
    reply.type(JSON_TYPE);
    if (log.kind === 'ok') return reply.send(JSON.stringify(log.value));
    const status = log.kind === 'blocked' ? 404 : 503;
    return reply.code(status).send(JSON.stringify({ error: log.why, hint: log.hint }));
  }
}

/** `text/event-stream` (HTML Living Standard, "Server-sent events"). Without `follow`, what happened so far, as JSON. */
function addEvents(app: FastifyInstance, { recent, subscribe }: ApiSources['events']): void {
  const open = new Set<ServerResponse>();
  app.addHook('onClose', async () => {
    for (const response of open) response.end();
  });
  app.get('/api/v1/events', { exposeHeadRoute: false }, async (request, reply) => {
    const query = request.query as Record<string, unknown>;
    const after = countIn(request.headers['last-event-id'] ?? query['after'], Number.MAX_SAFE_INTEGER);
    const follow = Object.hasOwn(query, 'follow') || request.headers.accept?.includes('text/event-stream');
    if (follow !== true) return reply.type(JSON_TYPE).send(JSON.stringify(recent(after)));
    if (open.size >= MAX_STREAMS)
      return reply
        .code(503)
        .type(JSON_TYPE)
        .send(JSON.stringify({ error: `${MAX_STREAMS} readers follow the events already` }));
    reply.hijack();
    const response = reply.raw;
    response.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream; charset=utf-8' });
    open.add(response);
    const write = (text: string): void => {
      if (response.writableLength > MAX_BACKLOG_BYTES) response.destroy();
      else response.write(text);
    };
    write(': the events of this agent\n\n');
    for (const event of recent(after)) write(frameOf(event));
    const unsubscribe = subscribe((event) => write(frameOf(event)));
    const heartbeat = setInterval(() => write(': still here\n\n'), HEARTBEAT_MS);
    response.on('error', () => response.destroy());
    response.on('close', () => {
      clearInterval(heartbeat);
      unsubscribe();
      open.delete(response);
    });
    return reply;
  });
}

function frameOf(event: AgentEvent): string {
  // JSON has no line feed of its own: one event is one data line.
  return `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;
}

function textIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function countIn(value: unknown, most: number): number | undefined {
  if (typeof value !== 'string' || !/^\d{1,15}$/.test(value)) return undefined;
  return Math.min(most, Number(value));
}
