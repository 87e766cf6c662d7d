import { httpRequest, httpStream, type HttpStream } from '../base/http.ts';
import { blocked, messageOf, ok, retry, type Outcome } from '../base/outcome.ts';
import { loadSettings } from '../settings.ts';

/** Exit code of a command whose agent does not answer. */
export const UNREACHABLE = 3;

const MAX_BYTES = 64 * 1024 * 1024;
const DEADLINE_MS = 10_000;
/** The agent says something at least every 15 s. */
const SILENCE_MS = 60_000;

export interface AgentOptions {
  readonly url?: string;
  readonly config: string;
}

/** What the agent at `--url`, else at the address of the settings, answers on one of its read-only paths. */
export async function askJson<T>(options: AgentOptions, path: string): Promise<Outcome<T>> {
  const base = baseOf(options);
  if (base.kind !== 'ok') return base;
  try {
    const url = new URL(path, base.value).href;
    const answer = await httpRequest({ method: 'GET', url, deadlineMs: DEADLINE_MS, maxBytes: MAX_BYTES });
    const text = Buffer.from(answer.body).toString('utf8');
    if (answer.status === 200) return ok(JSON.parse(text) as T);
    return (
      refusalIn(text) ?? retry(`the agent at ${base.value} answered ${answer.status}`, 'Its log says more.')
    );
  } catch (error) {
    return nobody(base.value, error);
  }
}

/** The same for an answer that goes on. Its body throws when the agent ends. */
export async function followAgent(options: AgentOptions, path: string): Promise<Outcome<HttpStream>> {
  const base = baseOf(options);
  if (base.kind !== 'ok') return base;
  try {
    const url = new URL(path, base.value).href;
    const answer = await httpStream({
      method: 'GET',
      url,
      headers: { accept: 'text/event-stream' },
      deadlineMs: SILENCE_MS,
      maxBytes: Number.MAX_SAFE_INTEGER,
    });
    if (answer.status === 200) return ok(answer);
    answer.discard();
    return retry(`the agent at ${base.value} answered ${answer.status}`, 'Its log says more.');
  } catch (error) {
    return nobody(base.value, error);
  }
}

function baseOf(options: AgentOptions): Outcome<string> {
  if (options.url !== undefined) {
    return URL.canParse(options.url)
      ? ok(options.url)
      : blocked(`--url ${options.url} is no address`, 'For example http://127.0.0.1:8077');
  }
  const settings = loadSettings(options.config, process.env);
  if (settings.kind !== 'ok') return settings;
  const address = settings.value.server.listen_addr;
  return ok(`http://${address.replace(/^:/, '127.0.0.1:').replace(/^0\.0\.0\.0:/, '127.0.0.1:')}`);
}

/** What the agent itself says of a question it cannot answer. */
function refusalIn(text: string): Outcome<never> | undefined {
  try {
    const { error, hint } = JSON.parse(text) as { error?: unknown; hint?: unknown };
    if (typeof error === 'string') return blocked(error, typeof hint === 'string' ? hint : undefined);
  } catch {
    // No JSON: it was not the agent that answered.
  }
  return undefined;
}

function nobody(base: string, error: unknown): Outcome<never> {
  return retry(
    `no agent answers at ${base}: ${messageOf(error)}`,
    'Is `mc-gitops agent` running? Name its address with --url.',
  );
}
