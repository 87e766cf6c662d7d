import { messageOf, type Failure } from '../base/outcome.ts';
import { formatEvent } from '../report/events.ts';
import { formatHistory } from '../report/history.ts';
import { visible } from '../report/shown.ts';
import type { AgentEvent, HistoryEntry, LogView } from '../report/types.ts';
import { askJson, followAgent, UNREACHABLE, type AgentOptions } from './ask.ts';
import { fail } from './fail.ts';

interface Options extends AgentOptions {
  readonly json?: boolean;
}

/** `mc-gitops history [SERVICE]`: when, which commit, who, why, what changed, how long, with which result. */
export async function runHistory(
  service: string | undefined,
  options: Options & { readonly limit: number },
): Promise<void> {
  const query = new URLSearchParams({
    limit: String(options.limit),
    ...(service === undefined ? {} : { service }),
  });
  const entries = await askJson<HistoryEntry[]>(options, `/api/v1/history?${query}`);
  if (entries.kind !== 'ok') {
    failed(entries);
    return;
  }
  if (entries.value.length === 0 && service !== undefined) {
    fail({
      kind: 'blocked',
      why: `nothing was ever done for a service ${service} here, or it was so long ago that the journal has let go of it`,
      hint: '`mc-gitops status` lists the services of this node.',
    });
    return;
  }
  print(options.json, entries.value, () => formatHistory(entries.value));
}

/** `mc-gitops events [--follow]`: what begins, changes and ends, and every step. */
export async function runEvents(options: Options & { readonly follow?: boolean }): Promise<void> {
  if (options.follow === true) return follow(options);
  const events = await askJson<AgentEvent[]>(options, '/api/v1/events');
  if (events.kind !== 'ok') {
    failed(events);
    return;
  }
  for (const event of events.value) printEvent(event, options.json);
}

/**
 * `mc-gitops logs SERVICE[/COMPONENT]`: the end of its log, or of that of its build. An empty one is said so, and is exit code 1
 * (L21).
 */
export async function runLogs(
  name: string,
  options: Options & { readonly tail: number; readonly build?: boolean },
): Promise<void> {
  const [service = '', component, ...rest] = name.split('/');
  if (service === '' || component === '' || rest.length > 0) {
    fail({ kind: 'blocked', why: `"${name}" is no SERVICE[/COMPONENT]`, hint: 'For example hello/web.' }, 2);
    return;
  }
  const path = [service, ...(component === undefined ? [] : [component])].map(encodeURIComponent).join('/');
  const log = await askJson<LogView>(
    options,
    `/api/v1/logs/${path}?tail=${options.tail}${options.build === true ? '&build' : ''}`,
  );
  if (log.kind !== 'ok') {
    failed(log);
    return;
  }
  const { note } = log.value;
  if (note !== undefined) process.stderr.write(`${visible(note)}\n`);
  print(options.json, log.value, () => log.value.lines.map(visible).join('\n'));
  if (log.value.empty !== undefined) {
    fail({
      kind: 'blocked',
      why: log.value.empty,
      hint:
        log.value.build === undefined
          ? 'Does it write to a file of its own? `mc-gitops status` says whether it runs.'
          : '`mc-gitops status` says why it failed.',
    });
  }
}

async function follow(options: Options): Promise<void> {
  const stream = await followAgent(options, '/api/v1/events?follow');
  if (stream.kind !== 'ok') {
    failed(stream);
    return;
  }
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for await (const piece of stream.value.body) {
      rest += decoder.decode(piece, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines)
        if (line.startsWith('data: ')) printEvent(JSON.parse(line.slice(6)) as AgentEvent, options.json);
    }
    fail({ kind: 'retry', why: 'the agent ended the stream of events' }, UNREACHABLE);
  } catch (error) {
    fail({ kind: 'retry', why: `the stream of events broke off: ${messageOf(error)}` }, UNREACHABLE);
  }
}

function printEvent(event: AgentEvent, json: boolean | undefined): void {
  process.stdout.write(`${json === true ? JSON.stringify(event) : visible(formatEvent(event))}\n`);
}

function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(`${json === true ? JSON.stringify(value, null, 2) : text()}\n`);
}

/** What the agent refuses is a finding; an agent that does not answer is not. */
function failed(failure: Failure): void {
  fail(failure, failure.kind === 'retry' ? UNREACHABLE : 1);
}
