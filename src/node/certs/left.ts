import type { X509Certificate } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { blocked, messageOf, ok, retry, type Outcome } from '../../base/outcome.ts';
import { parseChain, readBounded } from './check.ts';

/** Whether a certificate for this host name was issued here. */
export type IsIssuedHere = (hostname: string, leaf: X509Certificate) => Promise<boolean>;

interface LeftOver {
  readonly hostname: string;
  /** Of the file, without `.pem`. */
  readonly name: string;
}

const SUFFIX = '.pem';

/** Certificates in `certDir` that were issued here, and whose file is none of `used`. What cannot be read is nobody's to take away. */
export async function leftOver(
  certDir: string,
  used: ReadonlySet<string>,
  isIssuedHere: IsIssuedHere,
): Promise<LeftOver[]> {
  const files = await readdir(certDir).catch(() => []);
  const found: LeftOver[] = [];
  for (const file of files.filter((one) => one.endsWith(SUFFIX) && !used.has(join(certDir, one))).sort()) {
    const leaf = await leafIn(join(certDir, file));
    const hostname = leaf === undefined ? undefined : hostnameOf(leaf);
    if (leaf === undefined || hostname === undefined || !(await isIssuedHere(hostname, leaf))) continue;
    found.push({ hostname, name: file.slice(0, -SUFFIX.length) });
  }
  return found;
}

/** Takes the file away if it still is what it was: issued here, for this name. Its key stays: a person may have made it. */
export async function removeIssued(
  certPath: string,
  hostname: string,
  isIssuedHere: IsIssuedHere,
): Promise<Outcome<undefined>> {
  const read = await readBounded(certPath);
  if (read.kind === 'missing') return ok();
  if (read.kind === 'unknown') return retry(read.why, 'Let the agent read the file.');
  const leaf = parseChain(read.text)[0];
  if (leaf === undefined || hostnameOf(leaf) !== hostname || !(await isIssuedHere(hostname, leaf)))
    return blocked(`${certPath} is no certificate for ${hostname} that was issued here`, 'It is left alone.');
  try {
    await rm(certPath, { force: true });
    return ok();
  } catch (error) {
    return retry(
      `${certPath} cannot be removed: ${messageOf(error)}`,
      'Let the agent write in its directory.',
    );
  }
}

async function leafIn(path: string): Promise<X509Certificate | undefined> {
  const read = await readBounded(path);
  return read.kind === 'text' ? parseChain(read.text)[0] : undefined;
}

/** What is issued here has one name. */
function hostnameOf({ subjectAltName }: X509Certificate): string | undefined {
  return /^DNS:([a-z0-9_-]+(?:\.[a-z0-9_-]+)*)$/.exec(subjectAltName ?? '')?.[1];
}
