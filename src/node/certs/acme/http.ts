import acme from 'acme-client';
import { AsyncLocalStorage } from 'node:async_hooks';
import { HttpError, httpRequest } from '../../../base/http.ts';
import { v } from '../../../base/shape.ts';

const CALL_DEADLINE_MS = 20_000;
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What one exchange with a CA goes by; the library keeps nothing of it. */
export interface AcmeCall {
  readonly signal: AbortSignal;
  /** Roots (PEM) of the CA's own server instead of the system's. */
  readonly ca?: string;
  /** The last refusal that the CA gave in this exchange (RFC 8555, section 6.7). */
  problem?: Problem;
  /** When the last answer that was none wants to be asked again (section 7.5.1). */
  retryAfterMs?: number;
}

interface Problem {
  readonly status: number;
  /** After `urn:ietf:params:acme:error:`; empty: not an ACME problem. */
  readonly type: string;
  readonly detail: string;
  readonly retryAfterMs?: number;
}

const PROBLEM = v.object({ type: v.optional(v.string(), ''), detail: v.optional(v.string(), '') });
const PREFIX = 'urn:ietf:params:acme:error:';

const calls = new AsyncLocalStorage<AcmeCall>();

/** Runs work of the library under the deadline, roots and signal of one call. */
export function withAcmeCall<T>(call: AcmeCall, work: () => Promise<T>): Promise<T> {
  return calls.run(call, work);
}

// The library's own client would retry by sleeping, follow no signal, and lose Retry-After: it speaks through ours instead.
acme.axios.defaults.adapter = async (config) => {
  const call = calls.getStore();
  const { url = '', method = 'get' } = config;
  const data: unknown = config.data;
  delete call?.problem;
  delete call?.retryAfterMs;
  const response = await httpRequest({
    method: methodOf(method),
    url,
    headers: headersOf(config.headers),
    ...(typeof data === 'string' ? { body: data } : {}),
    ...(call?.ca === undefined ? {} : { ca: call.ca }),
    ...(call === undefined ? {} : { signal: call.signal }),
    deadlineMs: CALL_DEADLINE_MS,
    maxBytes: MAX_ANSWER_BYTES,
  });
  const text = Buffer.from(response.body).toString('utf8');
  const problem = response.status >= 400 ? problemOf(response.status, response.headers, text) : undefined;
  if (call !== undefined && problem !== undefined) call.problem = problem;
  const retryAfterMs = retryAfterOf(response.headers['retry-after']);
  if (call !== undefined && retryAfterMs !== undefined) call.retryAfterMs = retryAfterMs;
  // 4xx the library has to see: it asks for another nonce by itself.
  if (problem !== undefined && (problem.status === 429 || problem.status >= 500))
    throw new HttpError('refused', new URL(url).host, `answers HTTP status ${problem.status}`);
  const type = response.headers['content-type'] ?? '';
  const answered = parsedOf(text, type);
  // Taken for an answer, it would be waited for that what was never heard comes about.
  if (problem === undefined && text !== '' && isJson(type) && typeof answered === 'string')
    throw new HttpError('refused', new URL(url).host, 'answers with what is no JSON');
  return {
    data: answered,
    status: response.status,
    statusText: '',
    headers: response.headers,
    config,
  };
};

function methodOf(method: string): 'GET' | 'HEAD' | 'POST' {
  const upper = method.toUpperCase();
  return upper === 'HEAD' || upper === 'POST' ? upper : 'GET';
}

function headersOf(headers: { toJSON(): object }): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers.toJSON()).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value]] : [],
    ),
  );
}

function isJson(type: string): boolean {
  return /\bjson\b/.test(type);
}

function parsedOf(text: string, type: string): unknown {
  if (!isJson(type)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function problemOf(status: number, headers: Readonly<Record<string, string>>, text: string): Problem {
  const parsed = v.safeParse(PROBLEM, parsedOf(text, 'json'));
  const { type, detail } = parsed.success ? parsed.output : { type: '', detail: '' };
  const retryAfterMs = retryAfterOf(headers['retry-after']);
  return {
    status,
    type: type.startsWith(PREFIX) ? type.slice(PREFIX.length) : '',
    // A server's words are shown to people: one line, and not for ever.
    detail: detail.replaceAll(/\s+/g, ' ').slice(0, 300),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** Seconds, or a date (RFC 9110, section 10.2.3). */
function retryAfterOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
