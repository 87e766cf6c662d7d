import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate as Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import {
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  webcrypto,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../base/files.ts';
import { blocked, ok, retry, type Outcome } from '../../base/outcome.ts';
import { writeFailure } from '../writing.ts';
import { endOf, parseChain, parseKey, readBounded, startOf } from './check.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const CA_LIFE_MS = 3_650 * DAY_MS;
const LEAF_LIFE_MS = 90 * DAY_MS;
/** Clocks of clients may be behind. */
const BACKDATE_MS = HOUR_MS;
const EC = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;

export interface LocalCa {
  readonly rootPem: string;
  readonly root: X509Certificate;
  /** A full chain for one host name and the given key: 90 days, P-256 signature, never longer than the root. */
  issue(hostname: string, key: KeyObject, now: number): Promise<string>;
}

/**
 * The CA in `caDir` (`ca.pem`, `ca.key`); undefined when there is none yet, which also holds for a key alone: the agent
 * ended while it made the CA. Never made anew over a broken one.
 */
export async function loadLocalCa(caDir: string): Promise<Outcome<LocalCa | undefined>> {
  const read = await readCaFiles(caDir);
  if (read.kind !== 'ok') return read;
  const { pem, key } = read.value;
  if (pem === undefined) return ok(undefined);
  const root = parseChain(pem)[0];
  if (root === undefined || key === undefined || !root.checkPrivateKey(key)) return broken(caDir);
  return ok({
    rootPem: pem,
    root,
    issue: (hostname, leafKey, now) => issueLeaf(pem, root, key, { hostname, key: leafKey, now }),
  });
}

/** The CA in `caDir`, made when there is none: P-256, 10 years, no CA below it; key 0600 in a directory 0700. */
export async function ensureLocalCa(caDir: string, label: string, now: number): Promise<Outcome<LocalCa>> {
  const loaded = await loadLocalCa(caDir);
  if (loaded.kind !== 'ok') return loaded;
  if (loaded.value !== undefined) return refuseEnded(loaded.value, caDir, now) ?? ok(loaded.value);
  const read = await readCaFiles(caDir);
  if (read.kind !== 'ok') return read;
  const [certPath, keyPath] = pathsOf(caDir);
  try {
    const key = read.value.key ?? makeKey();
    const pem = await makeRoot(key, label, now);
    await mkdir(caDir, { recursive: true, mode: 0o700 });
    // The certificate last: until it is there the key has signed nothing, and a new start goes on with it.
    if (read.value.key === undefined) await writeFileAtomic(keyPath, pemOfKey(key), 0o600);
    await writeFileAtomic(certPath, pem, 0o644);
  } catch (error) {
    return writeFailure(error, certPath);
  }
  const made = await loadLocalCa(caDir);
  if (made.kind !== 'ok') return made;
  return made.value === undefined ? retry(`the local CA in ${caDir} vanished`) : ok(made.value);
}

async function readCaFiles(caDir: string): Promise<Outcome<{ pem?: string; key?: KeyObject }>> {
  const [certPath, keyPath] = pathsOf(caDir);
  const [pem, keyText] = await Promise.all([readBounded(certPath), readBounded(keyPath)]);
  if (pem.kind === 'unknown') return retry(pem.why);
  if (keyText.kind === 'unknown') return retry(keyText.why);
  const key = keyText.kind === 'text' ? parseKey(keyText.text) : undefined;
  const isUsable = key?.asymmetricKeyDetails?.namedCurve === 'prime256v1';
  if (keyText.kind === 'text' && !isUsable) return broken(caDir);
  return ok({ ...(pem.kind === 'text' ? { pem: pem.text } : {}), ...(key === undefined ? {} : { key }) });
}

function broken(caDir: string): Outcome<never> {
  return blocked(
    `the local CA in ${caDir} is broken: ca.pem and ca.key must be a certificate and its P-256 key`,
    'Restore both files, or remove both to have a new CA made (clients then need its root).',
  );
}

function refuseEnded({ root }: LocalCa, caDir: string, now: number): Outcome<never> | undefined {
  if (now >= startOf(root) && now < endOf(root)) return undefined;
  return blocked(
    `the root of the local CA in ${caDir} is not valid now (${root.validFrom} to ${root.validTo})`,
    "Look at the node's clock; when the root has expired remove ca.pem and ca.key to have a new CA made.",
  );
}

export function makeKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: EC.namedCurve }).privateKey;
}

export function pemOfKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function pathsOf(caDir: string): readonly [string, string] {
  return [join(caDir, 'ca.pem'), join(caDir, 'ca.key')];
}

async function makeRoot(key: KeyObject, label: string, now: number): Promise<string> {
  const publicKey = publicKeyOf(key);
  const tail = ` ${randomBytes(3).toString('hex')}`;
  // A common name has at most 64 characters (RFC 5280, appendix A.1); the tail tells two CAs of one label apart.
  const name =
    `mc-gitops local CA ${label.replaceAll(/[^a-zA-Z0-9./-]/g, '')}`.slice(0, 64 - tail.length) + tail;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [{ O: ['mc-gitops'] }, { CN: [name] }],
    issuer: [{ O: ['mc-gitops'] }, { CN: [name] }],
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + CA_LIFE_MS),
    publicKey,
    signingKey: await signingKeyOf(key),
    signingAlgorithm: SIGNING,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return pemOfCertificate(certificate);
}

async function issueLeaf(
  rootPem: string,
  root: X509Certificate,
  rootKey: KeyObject,
  { hostname, key, now }: { hostname: string; key: KeyObject; now: number },
): Promise<string> {
  const issuer = new Certificate(rootPem);
  const publicKey = publicKeyOf(key);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    // Names are in the subject alternative name alone (RFC 9525, section 2): a long host name does not fit a common name.
    subject: [{ O: ['mc-gitops'] }],
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(Math.max(now - BACKDATE_MS, startOf(root))),
    notAfter: new Date(Math.min(now + LEAF_LIFE_MS, endOf(root))),
    publicKey,
    signingKey: await signingKeyOf(rootKey),
    signingAlgorithm: SIGNING,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([{ type: 'dns', value: hostname }]),
      await AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return pemOfCertificate(certificate) + rootPem;
}

function publicKeyOf(key: KeyObject): PublicKey {
  return new PublicKey(createPublicKey(key).export({ type: 'spki', format: 'der' }));
}

function signingKeyOf(key: KeyObject): Promise<CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), EC, false, [
    'sign',
  ]);
}

function pemOfCertificate(certificate: Certificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}

/** 127 random bits, positive (RFC 5280, section 4.1.2.2). */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}
