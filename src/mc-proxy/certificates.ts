import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { blocked, messageOf, ok, type Outcome } from '../base/outcome.ts';
import type { RouteTable, TerminatedRoute } from '../base/routetable.ts';

export interface Certificate {
  /** Of the content of both files: the same digest is the same context, so that a reload costs nothing. */
  readonly digest: string;
  readonly context: SecureContext;
  readonly leaf: X509Certificate;
}

/** By `certificateKey`. */
export type Certificates = ReadonlyMap<string, Certificate>;

const READ_AT_ONCE = 32;

export function certificateKey(route: TerminatedRoute): string {
  return `${route.tlsCert}\n${route.tlsKey}`;
}

export function terminatedRoutes(table: RouteTable): TerminatedRoute[] {
  return table.listeners.flatMap(({ routes }) => routes.filter((route) => route.mode === 'l7'));
}

/**
 * Reads every certificate that the table uses. One that is missing, does not fit its key or does not name its host
 * refuses the whole table: served, it would only fail later and in the client (L10). An expired one is served: its
 * date is in the status, and to stop serving all the others would help nobody.
 */
export async function loadCertificates(
  table: RouteTable,
  known: Certificates,
): Promise<Outcome<Certificates>> {
  const byDigest = new Map([...known.values()].map((certificate) => [certificate.digest, certificate]));
  const loaded = new Map<string, Certificate>();
  const routes = terminatedRoutes(table);
  for (let first = 0; first < routes.length; first += READ_AT_ONCE) {
    const group = routes.slice(first, first + READ_AT_ONCE);
    const results = await Promise.all(
      group.map(async (route) => ({ route, result: await loadOne(route, byDigest) })),
    );
    for (const { route, result } of results) {
      if (result.kind !== 'ok') return result;
      loaded.set(certificateKey(route), result.value);
    }
  }
  return ok(loaded);
}

async function loadOne(
  route: TerminatedRoute,
  byDigest: Map<string, Certificate>,
): Promise<Outcome<Certificate>> {
  try {
    const certificate = await readOne(route, byDigest);
    if (certificate.leaf.checkHost(route.hostname) === undefined) {
      throw new Error(`it is not for ${route.hostname}`);
    }
    return ok(certificate);
  } catch (error) {
    return blocked(
      `route ${route.hostname}: the certificate ${route.tlsCert} with the key ${route.tlsKey} cannot be served: ${messageOf(error)}`,
      'Put a certificate for this name and its key there; the last good table stays in force.',
    );
  }
}

async function readOne(route: TerminatedRoute, byDigest: Map<string, Certificate>): Promise<Certificate> {
  const [cert, key] = await Promise.all([readFile(route.tlsCert), readFile(route.tlsKey)]);
  const digest = createHash('sha256').update(`${cert.length}\n`).update(cert).update(key).digest('hex');
  const same = byDigest.get(digest);
  if (same !== undefined) return same;
  const leaf = new X509Certificate(cert);
  if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error('the key belongs to another certificate');
  const certificate = { digest, leaf, context: createSecureContext({ cert, key, minVersion: 'TLSv1.3' }) };
  byDigest.set(digest, certificate);
  return certificate;
}
