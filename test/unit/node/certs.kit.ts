import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { openCertificates, type Certificates } from '../../../src/node/certs/certificates.ts';
export const DAY_MS = 86_400_000;
export const HOST = 'hello.svc.example.net';
const log = makeLog('silent');

/** Directories and a clock of its own for each test, and what an operator would do with openssl. */
export function useCertificates() {
  const at = { root: '', certDir: '', caDir: '', nowMs: 0 };
  const clock: Clock = { now: () => at.nowMs, monotonic: () => at.nowMs, sleep: () => Promise.resolve() };

  beforeEach(async () => {
    at.root = await mkdtemp(join(tmpdir(), 'certs-'));
    at.certDir = join(at.root, 'certs');
    at.caDir = join(at.root, 'ca');
    await mkdir(at.certDir);
    // Ahead of the seconds in which openssl makes its certificates.
    at.nowMs = Date.now() + 5_000;
  });
  afterEach(() => rm(at.root, { recursive: true }));

  const open = (driver: 'files' | 'local'): Certificates =>
    openCertificates({
      driver,
      certDir: at.certDir,
      caDir: at.caDir,
      hostnameSuffix: 'svc.example.net',
      clock,
      log,
    });
  const look = async (certificates: Certificates, hostname = HOST) =>
    (await certificates.observe([{ hostname, service: 'hello', isDefault: hostname === HOST }]))[hostname]!;
  const openssl = (...args: string[]): string =>
    execFileSync('openssl', args, { encoding: 'utf8', cwd: at.root, stdio: ['ignore', 'pipe', 'pipe'] });
  const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

  /** An operator's own root, intermediate and leaf, made with openssl. */
  const makeChain = async (
    days = '30',
  ): Promise<{ leaf: string; middle: string; root: string; key: string }> => {
    const make = async (name: string, issuer: string | undefined, extensions: string): Promise<string> => {
      await writeFile(join(at.root, `${name}.ext`), extensions);
      openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
      openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=test ${name}`, '-out', `${name}.csr`);
      const signer =
        issuer === undefined
          ? ['-signkey', `${name}.key`]
          : ['-CA', `${issuer}.crt`, '-CAkey', `${issuer}.key`, '-CAcreateserial'];
      openssl(
        ...['x509', '-req', '-in', `${name}.csr`, '-days', days, '-extfile', `${name}.ext`],
        ...[...signer, '-out', `${name}.crt`],
      );
      return readFile(join(at.root, `${name}.crt`), 'utf8');
    };
    const ca = 'basicConstraints=critical,CA:TRUE';
    const rootPem = await make('root', undefined, ca);
    const middle = await make('middle', 'root', ca);
    const leaf = await make('leaf', 'middle', `subjectAltName=DNS:${HOST}`);
    return { leaf, middle, root: rootPem, key: await readFile(join(at.root, 'leaf.key'), 'utf8') };
  };
  const place = async (chain: string, key?: string): Promise<void> => {
    await writeFile(join(at.certDir, 'hello.pem'), chain);
    if (key !== undefined) await writeFile(join(at.certDir, 'hello.key'), key, { mode: 0o600 });
  };
  return { at, open, look, openssl, modeOf, makeChain, place };
}
