import { Readable } from 'node:stream';
import { Agent, request as undiciRequest, type Dispatcher } from 'undici';
import { DeadlineError } from './deadline.ts';

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Give `content-length` in the headers with an iterable of known length; otherwise it is sent in chunks. */
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** Certificate authorities (PEM) instead of the system's. */
  readonly ca?: string;
  /** For the whole exchange; with `httpStream` for the silence before the headers and between two pieces. */
  readonly deadlineMs: number;
  /** Cap of the answer's body. */
  readonly maxBytes: number;
  /** `none` (default): a 3xx answer is the answer. `same-host`: followed up to 5 times, same scheme, host and port only. */
  readonly redirects?: 'none' | 'same-host';
  readonly signal?: AbortSignal;
}

interface HttpHead {
  readonly status: number;
  /** Names in lower case; repeated ones joined by `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** Where the answer came from, after redirects. */
  readonly url: string;
}

export interface HttpResponse extends HttpHead {
  readonly body: Uint8Array;
}

export interface HttpStream extends HttpHead {
  /** To be read once. Throws `HttpError`. Leaving the loop early ends the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Throws the answer's body away. */
  readonly discard: () => void;
}

export type HttpFault =
  'url' | 'dns' | 'refused' | 'timeout' | 'tls' | 'reset' | 'too-large' | 'redirect' | 'aborted';

/** What went wrong with a peer. The message names the peer and the real cause (L20), and never has a body, a query or a credential. */
export class HttpError extends Error {
  readonly fault: HttpFault;
  readonly peer: string;

  constructor(fault: HttpFault, peer: string, what: string) {
    super(`${peer} ${what}`);
    this.name = 'HttpError';
    this.fault = fault;
    this.peer = peer;
  }
}

/** One exchange, its body in memory. Any status is an answer; throws `HttpError` where there is none. */
export async function httpRequest(options: HttpRequest): Promise<HttpResponse> {
  const expired = new AbortController();
  const timer = setTimeout(
    () => expired.abort(new DeadlineError('the exchange', options.deadlineMs)),
    options.deadlineMs,
  );
  try {
    const signal = options.signal ? AbortSignal.any([options.signal, expired.signal]) : expired.signal;
    const { body, status, headers, url } = await httpStream({ ...options, signal });
    const pieces: Uint8Array[] = [];
    for await (const piece of body) pieces.push(piece);
    return { status, headers, url, body: Buffer.concat(pieces) };
  } finally {
    clearTimeout(timer);
  }
}

/** One exchange whose body is read piece by piece. Throws `HttpError`, here and while the body is read. */
export async function httpStream(options: HttpRequest): Promise<HttpStream> {
  let url = parseUrl(options.url);
  let current = options;
  for (let hops = 0; ; hops += 1) {
    const answer = await exchange(url, current);
    const location = answer.headers.location;
    if (options.redirects !== 'same-host' || !isRedirect(answer.status) || location === undefined)
      return answer;
    answer.discard();
    const target = redirectTarget(url, location, hops);
    current = redirected(current, answer.status, url);
    url = target;
  }
}

/** Ends all kept connections. Later requests open new ones. */
export async function closeHttp(): Promise<void> {
  const open = [...agents.values()];
  agents.clear();
  await Promise.all(open.map((agent) => agent.destroy()));
}

/** A URL that may be shown: without user info, query and fragment. */
export function shownUrl(url: string): string {
  // A path, or user@host:path of ssh: neither can hold a password.
  if (/^(\/|[\w.-]+@[\w.-]+:)/.test(url)) return url;
  if (!URL.canParse(url)) return '(a url that cannot be read)';
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

async function exchange(url: URL, options: HttpRequest): Promise<HttpStream> {
  const peer = peerOf(url);
  const watchdog = startWatchdog(options.deadlineMs, options.signal);
  let answer: Dispatcher.ResponseData;
  try {
    watchdog.signal.throwIfAborted();
    answer = await undiciRequest(url, {
      method: options.method,
      headers: { ...options.headers },
      body: outgoing(options.body, watchdog.touch),
      dispatcher: agentFor(options.ca),
      signal: watchdog.signal,
    });
  } catch (error) {
    watchdog.stop();
    throw httpErrorOf(error, peer);
  }
  watchdog.touch();
  const discard = (): void => {
    watchdog.stop();
    // An ended connection is what we want here: its error has no reader.
    answer.body.on('error', () => undefined).destroy();
  };
  return {
    status: answer.statusCode,
    headers: flatHeaders(answer.headers),
    url: url.href,
    body: incoming(answer, peer, options.maxBytes, watchdog),
    discard,
  };
}

interface Watchdog {
  readonly signal: AbortSignal;
  readonly touch: () => void;
  readonly stop: () => void;
}

/** Aborts when nothing has moved for `idleMs`: Node's and undici's own timers are off, so that a slow server is no dead one (G30). */
function startWatchdog(idleMs: number, outer?: AbortSignal): Watchdog {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new DeadlineError('the peer', idleMs)), idleMs);
  return {
    signal: outer ? AbortSignal.any([controller.signal, outer]) : controller.signal,
    touch: () => void timer.refresh(),
    stop: () => clearTimeout(timer),
  };
}

async function* incoming(
  answer: Dispatcher.ResponseData,
  peer: string,
  maxBytes: number,
  watchdog: Watchdog,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  try {
    for await (const piece of answer.body as AsyncIterable<Uint8Array>) {
      watchdog.touch();
      received += piece.length;
      if (received > maxBytes) throw new HttpError('too-large', peer, `sent more than ${maxBytes} bytes`);
      yield piece;
    }
  } catch (error) {
    throw httpErrorOf(error, peer);
  } finally {
    watchdog.stop();
  }
}

function outgoing(body: HttpRequest['body'], touch: () => void): string | Uint8Array | Readable | null {
  if (body === undefined) return null;
  if (typeof body === 'string' || body instanceof Uint8Array) return body;
  return Readable.from(watched(body, touch), { objectMode: false });
}

async function* watched(body: AsyncIterable<Uint8Array>, touch: () => void): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    touch();
    yield piece;
  }
}

const MAX_AGENTS = 16;
const agents = new Map<string, Agent>();

function agentFor(ca: string | undefined): Agent {
  const key = ca ?? '';
  const existing = agents.get(key);
  if (existing !== undefined) return existing;
  // A CA file that is renewed again and again must not collect pools.
  for (const [oldKey, old] of agents) {
    if (agents.size < MAX_AGENTS) break;
    agents.delete(oldKey);
    void old.close();
  }
  const agent = new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: 30_000, ...(ca === undefined ? {} : { ca }) },
  });
  agents.set(key, agent);
  return agent;
}

function parseUrl(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    throw new HttpError('url', shownUrl(url), 'is not an http(s) address');
  }
  return parsed;
}

function peerOf(url: URL): string {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return `${url.hostname}:${port}`;
}

function flatHeaders(headers: Dispatcher.ResponseData['headers']): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name.toLowerCase()] = Array.isArray(value) ? value.join(', ') : value;
  }
  return flat;
}

function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

function redirectTarget(from: URL, location: string, hops: number): URL {
  const peer = peerOf(from);
  if (!URL.canParse(location, from))
    throw new HttpError('redirect', peer, 'redirects to an unreadable address');
  const target = new URL(location, from);
  if (target.origin !== from.origin) {
    throw new HttpError(
      'redirect',
      peer,
      `redirects to another host (${target.host}), which is not followed`,
    );
  }
  if (hops >= 5) throw new HttpError('redirect', peer, 'redirects in a circle');
  return target;
}

function redirected(options: HttpRequest, status: number, from: URL): HttpRequest {
  const keeps = status === 307 || status === 308 || options.method === 'GET' || options.method === 'HEAD';
  if (!keeps) {
    const bare = { ...options, method: 'GET' as const };
    delete bare.body;
    return bare;
  }
  if (
    options.body !== undefined &&
    typeof options.body !== 'string' &&
    !(options.body instanceof Uint8Array)
  ) {
    throw new HttpError('redirect', peerOf(from), 'redirects a stream, which cannot be sent twice');
  }
  return options;
}

const TLS_CAUSES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet (look at the clock)',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate authority is not trusted',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate authority is not trusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate authority is not trusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate authority is not trusted, or the chain is incomplete',
  CERT_SIGNATURE_FAILURE: 'its certificate was not signed by the trusted authority of that name',
  CERT_REVOKED: 'its certificate is revoked',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS on this port',
  EPROTO: 'the TLS handshake failed',
};

/** The library's errors can hold addresses and headers: only their code is taken over. */
function httpErrorOf(error: unknown, peer: string): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof DeadlineError) {
    return new HttpError('timeout', peer, `did not answer within ${shownMs(error.ms)}`);
  }
  const code = codeOf(error);
  const tls =
    TLS_CAUSES[code] ?? (/^(ERR_SSL|ERR_TLS|CERT_|UNABLE_TO_)/.test(code) ? 'the TLS handshake failed' : '');
  if (tls !== '') return new HttpError('tls', peer, `cannot be trusted over TLS: ${tls} (${code})`);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return new HttpError('dns', peer, `cannot be found: name resolution failed (${code})`);
  }
  if (code === 'ECONNREFUSED') return new HttpError('refused', peer, 'refused the connection');
  if (['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'].includes(code)) {
    return new HttpError('refused', peer, `cannot be reached (${code})`);
  }
  if (['UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT'].includes(code)) {
    return new HttpError('timeout', peer, 'did not take the connection in time');
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return new HttpError('aborted', peer, 'was not asked further: the request was taken back');
  }
  // The library's own codes say nothing to a person.
  const shown = /^(UND_|$)/.test(code) ? '' : ` (${code})`;
  return new HttpError('reset', peer, `broke the exchange off${shown}`);
}

function shownMs(ms: number): string {
  return ms < 1_000 ? `${Math.ceil(ms)} ms` : `${Number((ms / 1_000).toFixed(1))} s`;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  if (error instanceof AggregateError) return codeOf(error.errors[0]);
  return codeOf(error.cause);
}
