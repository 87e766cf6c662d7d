import type { IncomingHttpHeaders } from 'node:http';

/** Header lines as `[name, value, name, value, …]`, the form of `rawHeaders`: order, case and repetitions survive. */
export type RawHeaders = string[];

/** What the router itself knows of the client and tells the service. */
export interface Forwarded {
  readonly clientIp: string;
  /** Host, with the port if the client named one. */
  readonly authority: string;
}

// RFC 9110, section 7.6.1, and what is in use besides: they are about one connection only.
const HOP_BY_HOP = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'proxy-authenticate',
  'proxy-authorization',
  'http2-settings',
]);

/**
 * The client's request headers as the service gets them: without those about the connection (also the ones that
 * `Connection` names), without any claim about who the client is, with our own claim, the host first.
 * The body's framing is the caller's to add: nothing that the client said about it goes through.
 */
export function requestHeaders(raw: readonly string[], forwarded: Forwarded): RawHeaders {
  const out = ['Host', forwarded.authority];
  const named = namedByConnection(raw);
  eachHeader(raw, (name, value, original) => {
    const dropped =
      name.startsWith(':') ||
      name === 'host' ||
      name === 'content-length' ||
      name === 'expect' ||
      HOP_BY_HOP.has(name) ||
      named.has(name) ||
      isClaim(name);
    if (!dropped) out.push(original, value);
  });
  out.push(...forwardedHeaders(forwarded));
  return out;
}

/** A service's answer as an HTTP/1.1 client gets it. `Trailer` stays: it announces what follows the body. */
export function responseHeaders(raw: readonly string[]): RawHeaders {
  const out: RawHeaders = [];
  const named = namedByConnection(raw);
  eachHeader(raw, (name, value, original) => {
    if (name === 'trailer' || !(HOP_BY_HOP.has(name) || named.has(name))) out.push(original, value);
  });
  return out;
}

/** Header lines as an object with names in lower case, for HTTP/2; repeated ones become an array. */
export function headerObject(raw: readonly string[]): Record<string, string | string[]> {
  const out: Record<string, string | string[]> = {};
  eachHeader(raw, (name, value) => {
    const before = out[name];
    if (before === undefined) out[name] = value;
    else if (name === 'cookie') out[name] = `${String(before)}; ${value}`;
    else if (Array.isArray(before)) before.push(value);
    else out[name] = [before, value];
  });
  return out;
}

/** Header lines of an HTTP/2 header object. */
export function rawOf(headers: IncomingHttpHeaders): RawHeaders {
  const out: RawHeaders = [];
  for (const [name, value] of Object.entries(headers)) {
    if (Array.isArray(value)) for (const one of value) out.push(name, one);
    else if (value !== undefined) out.push(name, value);
  }
  return out;
}

/** The host of `authority` in lower case, without port, brackets kept. */
export function hostOf(authority: string): string {
  return authority.replace(/:\d*$/, '').toLowerCase();
}

function forwardedHeaders({ clientIp, authority }: Forwarded): RawHeaders {
  return [
    'X-Forwarded-For',
    clientIp,
    'X-Forwarded-Proto',
    'https',
    'X-Forwarded-Host',
    authority,
    'X-Real-IP',
    clientIp,
  ];
}

/** `X_Forwarded_For` is the same variable to a CGI-like service, so it is the same claim to us. */
function isClaim(name: string): boolean {
  const dashed = name.replaceAll('_', '-');
  return dashed === 'forwarded' || dashed === 'x-real-ip' || dashed.startsWith('x-forwarded-');
}

function namedByConnection(raw: readonly string[]): Set<string> {
  const named = new Set<string>();
  eachHeader(raw, (name, value) => {
    if (name !== 'connection' && name !== 'proxy-connection') return;
    for (const token of value.split(',')) named.add(token.trim().toLowerCase());
  });
  return named;
}

function eachHeader(
  raw: readonly string[],
  visit: (name: string, value: string, original: string) => void,
): void {
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const original = raw[index] ?? '';
    visit(original.toLowerCase(), raw[index + 1] ?? '', original);
  }
}
