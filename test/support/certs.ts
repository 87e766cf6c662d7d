import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type X509Certificate,
} from '@peculiar/x509';

export interface TestCertificate {
  /** PEM, leaf first, with the chain below the root. */
  readonly cert: string;
  /** PEM, PKCS#8. */
  readonly key: string;
}

/** A certificate authority of one test. */
export interface TestCa {
  /** PEM of the root. */
  readonly cert: string;
  issue(
    hostnames: readonly string[],
    options?: { notBefore?: Date; notAfter?: Date },
  ): Promise<TestCertificate>;
}

const KEY = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGN = { name: 'ECDSA', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
let serial = Date.now();

export async function makeCa(name = 'test root'): Promise<TestCa> {
  const keys = await newKeys();
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: nextSerial(),
      name: `CN=${name}`,
      ...validity(),
      keys,
      signingAlgorithm: SIGN,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    },
    crypto(),
  );
  return {
    cert: root.toString('pem'),
    issue: (hostnames, options) => issue(root, keys.privateKey, hostnames, options),
  };
}

async function issue(
  root: X509Certificate,
  signingKey: CryptoKey,
  hostnames: readonly string[],
  options: { notBefore?: Date; notAfter?: Date } = {},
): Promise<TestCertificate> {
  const keys = await newKeys();
  const leaf = await X509CertificateGenerator.create(
    {
      serialNumber: nextSerial(),
      subject: `CN=${hostnames[0]}`,
      issuer: root.subject,
      ...validity(),
      ...options,
      signingKey,
      publicKey: keys.publicKey,
      signingAlgorithm: SIGN,
      extensions: [
        new SubjectAlternativeNameExtension(hostnames.map((value) => ({ type: 'dns' as const, value }))),
      ],
    },
    crypto(),
  );
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replaceAll(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
  return { cert: leaf.toString('pem'), key };
}

function newKeys(): Promise<CryptoKeyPair> {
  return webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify']);
}

function validity(): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + 90 * DAY_MS) };
}

function nextSerial(): string {
  return (serial++).toString(16).padStart(16, '0');
}

function crypto(): Crypto {
  return webcrypto as unknown as Crypto;
}
