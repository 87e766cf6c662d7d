import { readFile } from 'node:fs/promises';
import type { Clock } from '../../base/clock.ts';
import { httpRequest, type HttpRequest, type HttpResponse } from '../../base/http.ts';
import { blocked, messageOf, retry, type Failure, type Outcome } from '../../base/outcome.ts';
import { isLoopback } from './reference.ts';

/** One registry of the settings, `[registries."host:port"]`. */
export interface RegistryEntry {
  readonly credentialsFile?: string;
  /** Path of a PEM file: certificate authorities instead of the system's. */
  readonly caCert?: string;
  /** Hosts (with port) besides the registry itself that may be given its credentials for a token. */
  readonly realmHosts?: readonly string[];
  /** Ask without TLS. Loopback hosts only, and their default unless `caCert` is given. */
  readonly plainHttp?: boolean;
}

/** Where a request goes: everything that a registry and its token server have in common. */
export interface Endpoint {
  readonly host: string;
  readonly entry: RegistryEntry;
  readonly base: string;
  readonly ca?: string;
  readonly ask: (request: Omit<HttpRequest, 'ca' | 'deadlineMs' | 'maxBytes'>) => Promise<HttpResponse>;
}

/** `registry`: it cannot be asked at all at the moment, so that no other image of it need be tried. */
export type Answer = Outcome<string | undefined> & { readonly registry?: boolean };

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** Looks at the settings of one registry; a failure when it may not be asked as they say. */
export async function endpointOf(
  host: string,
  entry: RegistryEntry,
  { clock, timeoutMs }: { clock: Clock; timeoutMs: number },
): Promise<Endpoint | Failure> {
  const loopback = isLoopback(host);
  if (entry.plainHttp === true && !loopback) {
    return blocked(
      `registry ${host} is to be asked without TLS, which is allowed for loopback hosts only`,
      `Give the registry a certificate, and set registries."${host}".ca_cert.`,
    );
  }
  let ca: string | undefined;
  if (entry.caCert !== undefined) {
    try {
      ca = await readFile(entry.caCert, 'utf8');
    } catch (error) {
      return blocked(
        `the certificate authority ${entry.caCert} of registry ${host} cannot be read: ${messageOf(error)}`,
        `Mend registries."${host}".ca_cert in the settings, or the file.`,
      );
    }
  }
  const plain = entry.plainHttp ?? (loopback && entry.caCert === undefined);
  // One budget for the whole conversation: a registry that is slow at each of four requests is slow once.
  const endAt = clock.monotonic() + timeoutMs;
  return {
    host,
    entry,
    base: `${plain ? 'http' : 'https'}://${host}`,
    ...(ca === undefined ? {} : { ca }),
    ask: (request) =>
      httpRequest({
        ...request,
        ...(ca === undefined ? {} : { ca }),
        deadlineMs: Math.max(1, Math.round(endAt - clock.monotonic())),
        maxBytes: MAX_ANSWER_BYTES,
      }),
  };
}

/** The registry or its token server does not let us in. Names the file in which the account stands. */
export function denied(endpoint: Endpoint, status: number, what: string): Failure {
  const file = endpoint.entry.credentialsFile;
  if (file === undefined) {
    return blocked(
      `registry ${endpoint.host} asks for an account for ${what} (status ${status})`,
      `Set registries."${endpoint.host}".credentials_file in the settings.`,
    );
  }
  return blocked(
    `registry ${endpoint.host} refuses the account of ${file} for ${what} (status ${status})`,
    `Renew the account in ${file}, or give it the right to pull.`,
  );
}

/** Any other status that is no answer to the question. `whole`: what it was asked for whatever the image, told when all of it is down. */
export function refused(
  host: string,
  response: HttpResponse,
  what: string,
  clock: Clock,
  whole?: string,
): Answer {
  const { status, headers } = response;
  const isWhole = status === 429 || status >= 500;
  const afterMs = isWhole ? retryAfterMs(headers['retry-after'], clock.now()) : undefined;
  const hint =
    status >= 300 && status < 400
      ? 'It redirects, which is not followed: use the address it redirects to, if you trust it.'
      : 'It is asked again by itself; images that are here go on running.';
  // Told of every image of it: that one which was asked for says nothing about the others.
  const named = isWhole ? whole : what;
  const asked = named === undefined ? '' : ` when asked for ${named}`;
  const failure = retry(`registry ${host} answers with status ${status}${asked}`, hint, afterMs);
  return isWhole ? { ...failure, registry: true } : failure;
}

/** `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), at most one hour. */
function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isFinite(ms) && ms > 0 ? Math.min(ms, LONGEST_RETRY_AFTER_MS) : undefined;
}
