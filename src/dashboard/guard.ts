import { isIP } from 'node:net';

/** On every answer: no script, no frame, no form, nothing from elsewhere, nothing kept. */
export const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
};

const LOOPBACK: readonly string[] = ['localhost', '127.0.0.1', '::1'];

export interface HostRules {
  /** The host of the listen address; empty for all addresses. */
  readonly listenHost: string;
  /** Names under which the operator reaches it, from the settings. */
  readonly hosts: readonly string[];
}

/**
 * Is the `Host` header one of ours? A page of another origin whose name was made to point here (DNS rebinding) sends its
 * own name and gets nothing. `localAddress` is the address on which the connection arrived: a name cannot forge it.
 */
export function isOurHost(header: string | undefined, localAddress: string, rules: HostRules): boolean {
  const host = hostOf(header);
  if (host === undefined) return false;
  if (LOOPBACK.includes(host)) return true;
  if (isIP(host) !== 0 && host === bare(localAddress)) return true;
  return [rules.listenHost, ...rules.hosts].some((name) => name !== '' && host === bare(name));
}

/** Host of `host[:port]`, lower case, without brackets and a trailing dot; undefined when it is none (RFC 9110, 7.2). */
function hostOf(header: string | undefined): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/i.exec(header ?? '');
  return match?.[1] === undefined ? undefined : bare(match[1]);
}

function bare(host: string): string {
  return host
    .toLowerCase()
    .replaceAll(/^\[|\]$/g, '')
    .replace(/^::ffff:(?=\d+\.)/, '')
    .replace(/\.$/, '');
}
