import { isIP } from 'node:net';
import { quote } from './findings.ts';
import type { Fault } from './mounts.ts';
import { LIMITS } from './shape.ts';
import type { FixedPort } from './types.ts';

export type ReadPort = { readonly ok: true; readonly port: FixedPort } | ({ readonly ok: false } & Fault);

/** Reads `[ip:]host:container[/tcp|udp]`; an IPv6 address stands in brackets. */
export function readPort(text: string): ReadPort {
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  if (match === null) return { ok: false, rule: 'ports/syntax', message: `${quote(text)} is no fixed port` };
  const [, address, host, container, protocol] = match;
  const ip = address?.replace(/^\[(.*)\]$/, '$1');
  if (ip !== undefined && (isIP(ip) === 0 || (isIP(ip) === 6) !== address?.startsWith('['))) {
    return {
      ok: false,
      rule: 'ports/syntax',
      message: `${quote(text)}: ${quote(address ?? '')} is no address`,
    };
  }
  const port: FixedPort = {
    ...(ip === undefined ? {} : { ip: isIP(ip) === 6 ? shortened(ip) : ip }),
    host: Number(host),
    container: Number(container),
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
  };
  if (!isPort(port.host) || !isPort(port.container)) {
    return { ok: false, rule: 'ports/syntax', message: `${quote(text)}: a port is between 1 and 65535` };
  }
  return { ok: true, port };
}

/** The one spelling of an IPv6 address (RFC 5952), so that two spellings compare equal. */
function shortened(ip: string): string {
  return new URL(`http://[${ip}]`).hostname.slice(1, -1);
}

/** Does the host address of one fixed port take that of the other? No address means all of them. */
export function overlaps(a: string | undefined, b: string | undefined): boolean {
  return a === b || isWildcard(a) || isWildcard(b);
}

function isWildcard(ip: string | undefined): boolean {
  return ip === undefined || ip === '0.0.0.0' || ip === '::';
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}

export type ReadEnv =
  { readonly ok: true; readonly name: string; readonly value: string } | ({ readonly ok: false } & Fault);

/** Reads `KEY=VALUE`. No message ever has the value, nor a text that may be one. */
export function readEnv(text: string): ReadEnv {
  if (Buffer.byteLength(text) > LIMITS.envBytes) {
    return { ok: false, rule: 'env/limit', message: `the entry has more than ${LIMITS.envBytes} bytes` };
  }
  const at = text.indexOf('=');
  if (at === -1) return { ok: false, rule: 'env/syntax', message: 'the entry has no "="' };
  const name = text.slice(0, at);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    return { ok: false, rule: 'env/syntax', message: 'what stands before the "=" is no name of a variable' };
  }
  const value = text.slice(at + 1);
  // An engine takes a newline, and an env file read back would make two variables of it.
  if (/[\n\r\0]/.test(value)) {
    return { ok: false, rule: 'env/value', message: `the value of ${name} has a newline or NUL` };
  }
  if (name === 'PORT' || /^(?:PORT|PEER)_/.test(name)) {
    return { ok: false, rule: 'env/reserved', message: `${name} is set by the agent` };
  }
  return { ok: true, name, value };
}

/** A host name in lower case, or why it is none (RFC 1123, section 2.1). */
export function readHostname(
  text: string,
): { readonly ok: true; readonly hostname: string } | { readonly ok: false; readonly why: string } {
  const shown = quote(text);
  const bad = (why: string): { ok: false; why: string } => ({ ok: false, why: `${shown} ${why}` });
  if (text.includes('*')) return bad('is a wildcard: the proxy matches names exactly');
  if (/[^\x21-\x7e]/.test(text)) return bad('has characters that no host name has');
  if (text.length > 253) return bad('is longer than 253 characters');
  if (text.endsWith('.')) return bad('ends with a dot');
  if (isIP(text) !== 0) return bad('is an address');
  const labels = text.toLowerCase().split('.');
  if (labels.length < 2) return bad('has only one label');
  if (!labels.every((part) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(part))) {
    return bad('is no DNS name');
  }
  if (/^\d+$/.test(labels.at(-1) ?? '')) return bad('ends with a number, as an address does');
  return { ok: true, hostname: labels.join('.') };
}

/** `hostname` is `domain` or lies inside it, compared label by label: evilexample.net is not inside example.net. */
export function isInside(hostname: string, domain: string): boolean {
  const wanted = domain.toLowerCase().replace(/^\./, '');
  return hostname === wanted || hostname.endsWith(`.${wanted}`);
}

/** A relative path that stays where it begins, without `.` parts; undefined when it does not. */
export function insidePath(text: string): string | undefined {
  if (text === '' || text.length > 1024 || text.startsWith('/') || text.includes('\\')) return undefined;
  if (/[^\x20-\x7e]/.test(text)) return undefined;
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0 || parts.some((part) => part === '..' || part.length > 255)) return undefined;
  // A source repository's own `.git` is no source.
  if (parts.some((part) => part.toLowerCase() === '.git')) return undefined;
  return parts.join('/');
}
