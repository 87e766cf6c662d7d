import { createHash, createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { constants, open, readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates } from 'node:tls';
import { messageOf } from '../../base/outcome.ts';

const MAX_BYTES = 1024 * 1024;
const SYSTEM_ROOTS = '/etc/ssl/certs/ca-certificates.crt';
/** Group and all others, whatever they may do with it. */
const OF_OTHERS = 0o077;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const FULL_CHAIN =
  'Write the full chain into it: the certificate first, then the one that signed it, and so on.';

export interface CertificateFiles {
  readonly certPath: string;
  readonly keyPath: string;
  readonly hostname: string;
}

export type Verdict =
  | { readonly kind: 'absent' }
  | { readonly kind: 'unknown'; readonly why: string }
  | {
      readonly kind: 'valid';
      readonly leaf: X509Certificate;
      /** The first moment at which something in the chain ends, milliseconds since the epoch. */
      readonly notAfter: number;
      /** Mode of the key's file, as `0644`, where others than its owner may read or write it. */
      readonly keyMode?: string;
    }
  /** `leaf` when the file holds one that can be read. */
  | {
      readonly kind: 'invalid';
      readonly why: string;
      readonly hint: string;
      readonly leaf?: X509Certificate;
    };

/**
 * Everything that must hold before a certificate may be used (L10): the names match, the key matches, the chain is
 * complete as far as the file goes, all of it is valid now, and a TLS 1.3 server can be made of it.
 */
export async function checkCertificate(files: CertificateFiles, now: number): Promise<Verdict> {
  const texts = await readBoth(files);
  if ('kind' in texts) return texts;
  return withMode(await judgeCertificate(texts.pem, texts.key, files, now), texts.keyMode);
}

/**
 * The same for one who asks each pass: files that have the same bytes as before are judged anew only when the clock leaves the
 * time in which all of the chain is valid. What was at fault is always judged anew.
 */
export function openCheck(): typeof checkCertificate {
  const known = new Map<
    string,
    { readonly bytes: string; readonly from: number; readonly verdict: Verdict }
  >();
  return async (files, now) => {
    const place = `${files.hostname} ${files.certPath}`;
    const texts = await readBoth(files);
    if ('kind' in texts) {
      known.delete(place);
      return texts;
    }
    const { pem, key = '', keyMode } = texts;
    // A digest: the key itself is not kept.
    const bytes = createHash('sha256').update(`${pem}\0${key}`).digest('hex');
    const before = known.get(place);
    if (before?.bytes === bytes && before.verdict.kind === 'valid') {
      if (now >= before.from && now < before.verdict.notAfter) return withMode(before.verdict, keyMode);
    }
    const verdict = await judgeCertificate(pem, texts.key, files, now);
    known.set(place, { bytes, from: Math.max(...parseChain(pem).map(startOf)), verdict });
    return withMode(verdict, keyMode);
  };
}

function withMode(verdict: Verdict, mode = 0): Verdict {
  const isOpen = verdict.kind === 'valid' && (mode & OF_OTHERS) !== 0;
  return isOpen ? { ...verdict, keyMode: (mode & 0o7777).toString(8).padStart(4, '0') } : verdict;
}

async function readBoth(
  files: CertificateFiles,
): Promise<
  | { readonly pem: string; readonly key: string | undefined; readonly keyMode?: number }
  | Extract<Verdict, { kind: 'absent' | 'unknown' }>
> {
  const pem = await readBounded(files.certPath);
  if (pem.kind !== 'text') return pem.kind === 'missing' ? { kind: 'absent' } : pem;
  const key = await readBounded(files.keyPath);
  if (key.kind === 'unknown') return key;
  return key.kind === 'text'
    ? { pem: pem.text, key: key.text, keyMode: key.mode }
    : { pem: pem.text, key: undefined };
}

/**
 * The same of texts that are not in their place yet. With `roots` (PEM, may be empty) the chain must end in one of them or
 * of those that this node trusts.
 */
export async function judgeCertificate(
  pem: string,
  key: string | undefined,
  files: CertificateFiles,
  now: number,
  roots?: string,
): Promise<Verdict> {
  const chain = parseChain(pem);
  const leaf = chain[0];
  if (leaf === undefined) {
    return {
      kind: 'invalid',
      why: `${files.certPath} holds no certificate that can be read`,
      hint: FULL_CHAIN,
    };
  }
  const finding =
    findNameFault(leaf, files) ??
    findTimeFault(chain, files.certPath, now) ??
    (await findChainFault(chain, files.certPath)) ??
    (roots === undefined ? undefined : await findRootFault(chain, roots)) ??
    findKeyFault(leaf, key, files.keyPath) ??
    findUseFault(pem, key ?? '', files.certPath);
  if (finding !== undefined) return { kind: 'invalid', ...finding, leaf };
  return { kind: 'valid', leaf, notAfter: Math.min(...chain.map((certificate) => endOf(certificate))) };
}

/** The certificates of a PEM text in their order; empty when one of them cannot be read. */
export function parseChain(text: string): X509Certificate[] {
  try {
    return (text.match(PEM_CERTIFICATE) ?? []).map((block) => new X509Certificate(block));
  } catch {
    return [];
  }
}

/** The private key of a PEM text; undefined when it is none or is encrypted. */
export function parseKey(text: string): KeyObject | undefined {
  try {
    return createPrivateKey(text);
  } catch {
    return undefined;
  }
}

/** Start and end of validity, milliseconds since the epoch. */
export function startOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validFrom);
}

export function endOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

interface Fault {
  readonly why: string;
  readonly hint: string;
}

function findNameFault(leaf: X509Certificate, { certPath, hostname }: CertificateFiles): Fault | undefined {
  if (leaf.checkHost(hostname, { subject: 'never' }) === undefined) {
    const names = leaf.subjectAltName ?? 'no names at all';
    return {
      why: `${certPath} is not for ${hostname}: it names ${names}`,
      hint: `Put a certificate there whose subject alternative names have ${hostname}.`,
    };
  }
  // Node types it as always there; a certificate without the extension has none.
  const uses = leaf.keyUsage as string[] | undefined;
  if (uses !== undefined && !uses.includes(SERVER_AUTH)) {
    return { why: `${certPath} is not for servers`, hint: 'Its extended key usage must have serverAuth.' };
  }
  return undefined;
}

function findTimeFault(chain: readonly X509Certificate[], path: string, now: number): Fault | undefined {
  for (const [index, certificate] of chain.entries()) {
    const which = `certificate ${index + 1} of ${path} (${oneLine(certificate.subject)})`;
    if (now < startOf(certificate)) {
      return {
        why: `${which} is valid only from ${certificate.validFrom}`,
        hint: "Look at the node's clock.",
      };
    }
    if (now >= endOf(certificate)) {
      return { why: `${which} expired at ${certificate.validTo}`, hint: 'Put a renewed chain in its place.' };
    }
  }
  return undefined;
}

async function findChainFault(chain: readonly X509Certificate[], path: string): Promise<Fault | undefined> {
  for (const [index, certificate] of chain.entries()) {
    if (isSelfSigned(certificate)) return undefined;
    const issuer = chain[index + 1];
    if (issuer === undefined) break;
    if (!issuer.ca || !signed(issuer, certificate)) {
      return {
        why: `in ${path} certificate ${index + 2} (${oneLine(issuer.subject)}) did not sign certificate ${index + 1} (${oneLine(certificate.subject)})`,
        hint: FULL_CHAIN,
      };
    }
  }
  const [leaf, ...more] = chain;
  // With an intermediate in the file its root may stay outside; a leaf alone is the fault nobody sees (L10).
  if (leaf === undefined || more.length > 0 || (await isSignedByRoot(leaf))) return undefined;
  return {
    why: `${path} holds the certificate alone, and its issuer (${oneLine(leaf.issuer)}) is no root that this node trusts`,
    hint: `${FULL_CHAIN} When the issuer is a private root, append that root.`,
  };
}

async function findRootFault(chain: readonly X509Certificate[], roots: string): Promise<Fault | undefined> {
  const last = chain.at(-1);
  if (last === undefined) return undefined;
  const known = [...(await trustedRoots()), ...(roots.match(PEM_CERTIFICATE) ?? [])];
  if (known.some((pem) => parseChain(pem).some((root) => root.raw.equals(last.raw) || signed(root, last))))
    return undefined;
  return {
    why: `the chain ends in ${oneLine(last.issuer)}, which is no root that this node trusts`,
    hint: 'Put the root of a private CA into a file, and name it in [certs] acme_roots.',
  };
}

function findKeyFault(leaf: X509Certificate, key: string | undefined, path: string): Fault | undefined {
  if (key === undefined) {
    return { why: `the private key ${path} is missing`, hint: 'Put the key there, mode 0600.' };
  }
  const parsed = parseKey(key);
  if (parsed === undefined) {
    return { why: `${path} holds no usable private key`, hint: 'It must be PEM, without a passphrase.' };
  }
  return leaf.checkPrivateKey(parsed)
    ? undefined
    : { why: `the key ${path} does not belong to its certificate`, hint: 'Put both in place together.' };
}

function findUseFault(cert: string, key: string, path: string): Fault | undefined {
  try {
    createSecureContext({ cert, key, minVersion: 'TLSv1.3' });
    return undefined;
  } catch (error) {
    return {
      why: `TLS refuses ${path}: ${messageOf(error)}`,
      hint: 'Use P-256, or RSA with 2048 bits or more.',
    };
  }
}

async function isSignedByRoot(leaf: X509Certificate): Promise<boolean> {
  return (await trustedRoots()).some((pem) => {
    const [root] = parseChain(pem);
    return root !== undefined && signed(root, leaf);
  });
}

async function trustedRoots(): Promise<string[]> {
  const system = await readBounded(SYSTEM_ROOTS, 16 * MAX_BYTES);
  return [...rootCertificates, ...(system.kind === 'text' ? (system.text.match(PEM_CERTIFICATE) ?? []) : [])];
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return signed(certificate, certificate);
}

/** True when `issuer` signed `certificate`, by name and by key. */
export function signed(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.issuer === issuer.subject && certificate.verify(issuer.publicKey);
}

type Content =
  | { readonly kind: 'text'; readonly text: string; readonly mode: number }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unknown'; readonly why: string };

/** Reads a small regular file; a pipe or an endless file must not hold a pass. */
export async function readBounded(path: string, maxBytes = MAX_BYTES): Promise<Content> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) return { kind: 'unknown', why: `${path} is not a file` };
      if (stat.size > maxBytes) return { kind: 'unknown', why: `${path} is larger than ${maxBytes} bytes` };
      return { kind: 'text', text: await readFile(file, 'utf8'), mode: stat.mode };
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return { kind: 'missing' };
    return { kind: 'unknown', why: `${path} cannot be read: ${messageOf(error)}` };
  }
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ');
}
