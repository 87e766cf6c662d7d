import { Agent } from 'node:http';
import type { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { withDeadline } from '../../base/deadline.ts';
import { ClosedError, EngineError } from './failure.ts';

type Method = 'GET' | 'POST' | 'DELETE';
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

interface CallOptions {
  readonly query?: Query;
  readonly body?: object;
  /** On top of the usual call deadline: for a stop that is allowed to take its time. */
  readonly extraMs?: number;
}

interface StreamOptions {
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object;
  /** A request body that is streamed, for example a build context. */
  readonly upload?: NodeJS.ReadableStream;
  readonly signal: AbortSignal;
}

/** Calls of the engine's HTTP API over its Unix socket. Everything here rejects; `attempt` makes outcomes of it. */
export interface Api {
  readonly socketPath: string;
  call<T>(what: string, method: Method, path: string, options?: CallOptions): Promise<T>;
  /** Resolves with the open answer; no deadline of its own, the signal ends it. */
  stream(method: Method, path: string, options: StreamOptions): Promise<NodeJS.ReadableStream>;
  /** Takes the connection over after the engine agreed to another protocol on it. */
  upgrade(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Duplex>;
  close(): void;
}

export function openApi(socketPath: string, callDeadlineMs: number): Api {
  // No kept connections: one that the engine closed by its restart would fail the next call for nothing.
  const agent = new Agent({ keepAlive: false });
  // The transport writes out the options of each request for a log that is off, all that hangs on them: with other
  // requests open, tens of milliseconds a call.
  Object.defineProperty(agent, inspect.custom, { value: () => '[agent of the engine]' });
  // `host` is named because dockerode would take it from DOCKER_HOST and prefer it to the socket.
  const docker = new Docker({ socketPath, agent, host: undefined } as unknown as Docker.DockerOptions);
  const modem = docker.modem as Modem;
  const closing = new AbortController();

  return {
    socketPath,
    call: <T>(what: string, method: Method, path: string, options: CallOptions = {}) => {
      const deadlineMs = callDeadlineMs + (options.extraMs ?? 0);
      const work = (signal: AbortSignal): Promise<T> =>
        dial<T>(modem, method, path, signal, { ...options, isStream: false });
      return withDeadline(`the engine (${what})`, deadlineMs, work, closing.signal);
    },
    stream: (method, path, { signal, ...options }) =>
      dial(modem, method, path, AbortSignal.any([signal, closing.signal]), { ...options, isStream: true }),
    upgrade: (path, headers, signal) =>
      dial(modem, 'POST', path, AbortSignal.any([signal, closing.signal]), {
        headers,
        isStream: true,
        isUpgrade: true,
      }),
    close: () => {
      closing.abort(new ClosedError());
      agent.destroy();
    },
  };
}

/** A path segment of an image reference: slashes stay, everything that could end the path does not. */
export function imagePath(reference: string): string {
  return reference.split('/').map(encodeURIComponent).join('/');
}

/** What dockerode's transport takes; its own types leave it `any`. */
interface Modem {
  dial(request: ModemRequest, done: (error: ModemError | null, answer: unknown) => void): void;
}

interface ModemRequest {
  readonly method: Method;
  /** Must end with `?`: the transport puts the query behind it. */
  readonly path: string;
  readonly options: { readonly _query: Query; readonly _body: object };
  readonly headers: Record<string, string>;
  readonly statusCodes: Readonly<Record<number, boolean>>;
  readonly abortSignal: AbortSignal;
  readonly isStream: boolean;
  readonly hijack?: boolean;
  readonly file?: NodeJS.ReadableStream;
}

interface ModemError extends Error {
  readonly statusCode?: number;
  readonly json?: unknown;
}

const GOOD = { 101: true, 200: true, 201: true, 204: true, 304: true };

function dial<T>(
  modem: Modem,
  method: Method,
  path: string,
  signal: AbortSignal,
  options: CallOptions &
    Omit<StreamOptions, 'signal'> & { readonly isStream: boolean; readonly isUpgrade?: boolean },
): Promise<T> {
  return new Promise((resolve, reject) => {
    // An answer that is cut off in the middle calls nobody back: the signal settles the promise in any case.
    const aborted = (): void => reject(asError(signal.reason));
    if (signal.aborted) {
      aborted();
      return;
    }
    signal.addEventListener('abort', aborted, { once: true });
    const request: ModemRequest = {
      method,
      path: `${path}?`,
      options: { _query: withoutUndefined(options.query ?? {}), _body: options.body ?? {} },
      headers: { ...options.headers },
      statusCodes: GOOD,
      abortSignal: signal,
      isStream: options.isStream,
      ...(options.isUpgrade === true ? { hijack: true } : {}),
      ...(options.upload === undefined ? {} : { file: options.upload }),
    };
    modem.dial(request, (error, answer) => {
      signal.removeEventListener('abort', aborted);
      if (error === null) resolve(answer as T);
      else if (error.statusCode === undefined) reject(error);
      else reject(new EngineError(error.statusCode, messageIn(error)));
    });
  });
}

function withoutUndefined(query: Query): Query {
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined));
}

function messageIn(error: ModemError): string {
  const json = error.json;
  if (json !== null && typeof json === 'object' && 'message' in json && typeof json.message === 'string') {
    return json.message;
  }
  // The transport's own frame around the engine's words.
  return (
    error.message.replace(/^\(HTTP code \d+\) [\w ]* - /, '').trim() || `status ${error.statusCode ?? ''}`
  );
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
