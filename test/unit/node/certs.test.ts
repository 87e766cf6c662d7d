import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import type { Clock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { openCertificates, type Certificates } from '../../../src/node/certs/certificates.ts';

const DAY_MS = 86_400_000;
const HOST = 'hello.svc.example.net';
const log = makeLog('silent');

describe('node/certs', () => {
  let root: string;
  let certDir: string;
  let caDir: string;
  let nowMs: number;
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs, sleep: () => Promise.resolve() };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'certs-'));
    certDir = join(root, 'certs');
    caDir = join(root, 'ca');
    await mkdir(certDir);
    // Ahead of the seconds in which openssl makes its certificates.
    nowMs = Date.now() + 5_000;
  });
  afterEach(() => rm(root, { recursive: true }));

  const open = (driver: 'files' | 'local'): Certificates =>
    openCertificates({ driver, certDir, caDir, hostnameSuffix: 'svc.example.net', clock, log });
  const look = async (certificates: Certificates, hostname = HOST) =>
    (await certificates.observe([{ hostname, service: 'hello', isDefault: hostname === HOST }]))[hostname]!;
  const openssl = (...args: string[]): string =>
    execFileSync('openssl', args, { encoding: 'utf8', cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

  /** An operator's own root, intermediate and leaf, made with openssl. */
  const makeChain = async (
    days = '30',
  ): Promise<{ leaf: string; middle: string; root: string; key: string }> => {
    const make = async (name: string, issuer: string | undefined, extensions: string): Promise<string> => {
      await writeFile(join(root, `${name}.ext`), extensions);
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
      return readFile(join(root, `${name}.crt`), 'utf8');
    };
    const ca = 'basicConstraints=critical,CA:TRUE';
    const rootPem = await make('root', undefined, ca);
    const middle = await make('middle', 'root', ca);
    const leaf = await make('leaf', 'middle', `subjectAltName=DNS:${HOST}`);
    return { leaf, middle, root: rootPem, key: await readFile(join(root, 'leaf.key'), 'utf8') };
  };
  const place = async (chain: string, key?: string): Promise<void> => {
    await writeFile(join(certDir, 'hello.pem'), chain);
    if (key !== undefined) await writeFile(join(certDir, 'hello.key'), key, { mode: 0o600 });
  };

  describe('driver files', () => {
    it('a full chain with its key is valid, with and without its root', async () => {
      const chain = await makeChain();
      for (const pem of [chain.leaf + chain.middle + chain.root, chain.leaf + chain.middle]) {
        await place(pem, chain.key);
        const state = await look(open('files'));
        expect(state, JSON.stringify(state)).to.include({
          kind: 'valid',
          certPath: join(certDir, 'hello.pem'),
          keyPath: join(certDir, 'hello.key'),
          fingerprint256: new X509Certificate(chain.leaf).fingerprint256,
        });
      }
    });

    it('a certificate without its intermediates is invalid (L10)', async () => {
      const chain = await makeChain();
      await place(chain.leaf, chain.key);
      const state = await look(open('files'));
      expect(state.kind).to.equal('invalid');
      expect(state).to.have.property('why').that.includes('certificate alone');
      expect(state).to.have.property('hint').that.includes('full chain');
    });

    it('a gap or a wrong order in the chain is invalid (L10)', async () => {
      const chain = await makeChain();
      for (const pem of [chain.leaf + chain.root, chain.leaf + chain.root + chain.middle]) {
        await place(pem, chain.key);
        expect(await look(open('files')))
          .to.have.property('why')
          .that.includes('did not sign certificate 1');
      }
    });

    it('another host name, another key, a missing key, an encrypted key, rubbish: invalid, each with its reason', async () => {
      const chain = await makeChain();
      const full = chain.leaf + chain.middle;
      const why = async (): Promise<string> => {
        const state = await look(open('files'));
        expect(state.kind).to.equal('invalid');
        return state.kind === 'invalid' ? state.why : '';
      };
      await place(full);
      expect(await why()).to.include('hello.key is missing');
      await place(full, await readFile(join(root, 'middle.key'), 'utf8'));
      expect(await why()).to.include('does not belong');
      openssl('pkcs8', '-topk8', '-in', 'leaf.key', '-passout', 'pass:x', '-out', 'locked.key');
      await place(full, await readFile(join(root, 'locked.key'), 'utf8'));
      expect(await why()).to.include('no usable private key');
      await place('rubbish', chain.key);
      expect(await why()).to.include('holds no certificate');
      await writeFile(join(certDir, 'other.example.net.pem'), full);
      await writeFile(join(certDir, 'other.example.net.key'), chain.key);
      expect(await look(open('files'), 'other.example.net'))
        .to.have.property('why')
        .that.includes('is not for other.example.net')
        .and.includes(HOST);
    });

    it('an expired chain, and one of the future, are invalid', async () => {
      const chain = await makeChain();
      await place(chain.leaf + chain.middle, chain.key);
      nowMs += 31 * DAY_MS;
      expect(await look(open('files')))
        .to.have.property('why')
        .that.includes('expired');
      nowMs -= 62 * DAY_MS;
      expect(await look(open('files')))
        .to.have.property('why')
        .that.includes('valid only from');
    });

    it('one that was valid is seen with another key, mended, and expired, by the same observer (L10)', async () => {
      const certificates = open('files');
      const kind = async (): Promise<string> => (await look(certificates)).kind;
      const { leaf, middle, key } = await makeChain();
      await place(leaf + middle, key);
      expect([await kind(), await kind()]).to.deep.equal(['valid', 'valid']);
      const middleKey = await readFile(join(root, 'middle.key'), 'utf8');
      await place(leaf + middle, middleKey);
      expect(await kind()).to.equal('invalid');
      await place(leaf + middle, key);
      expect(await kind()).to.equal('valid');
      nowMs = Date.parse(new X509Certificate(leaf).validTo);
      expect(await kind()).to.equal('invalid');
      nowMs = Date.parse(new X509Certificate(leaf).validFrom) - 1_000;
      expect(await kind()).to.equal('invalid');
    });

    it('no file is absent; issue says where to put it and writes nothing', async () => {
      const certificates = open('files');
      expect(await look(certificates)).to.include({ kind: 'absent', certPath: join(certDir, 'hello.pem') });
      const outcome = await certificates.issue(HOST, 'hello', true);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('hint').that.includes(join(certDir, 'hello.key'));
      expect(await readdir(certDir)).to.deep.equal([]);
      expect((await certificates.rootPem()).kind).to.equal('blocked');
    });

    it('what cannot be judged is unknown: a directory, a huge file, a name with a slash', async () => {
      await mkdir(join(certDir, 'hello.pem'));
      expect((await look(open('files'))).kind).to.equal('unknown');
      await writeFile(join(certDir, 'big.example.net.pem'), Buffer.alloc(2 * 1024 * 1024));
      expect((await look(open('files'), 'big.example.net')).kind).to.equal('unknown');
      expect((await look(open('files'), '../../etc/x')).kind).to.equal('unknown');
    });
  });

  describe('driver local', () => {
    it('issues a chain that openssl verifies for the host name, key 0600, nothing left over', async () => {
      const certificates = open('local');
      expect((await look(certificates)).kind).to.equal('absent');
      expect((await certificates.rootPem()).kind).to.equal('wait');
      expect(await certificates.issue(HOST, 'hello', true)).to.include({ kind: 'ok' });
      const state = await look(certificates);
      expect(state.kind, JSON.stringify(state)).to.equal('valid');
      const [pem, key] = [join(certDir, 'hello.pem'), join(certDir, 'hello.key')];
      const verify = (host: string): string =>
        openssl('verify', '-x509_strict', '-CAfile', join(caDir, 'ca.pem'), '-verify_hostname', host, pem);
      expect(verify(HOST)).to.include(': OK');
      expect(() => verify('other.example.net')).to.throw(/hostname mismatch/i);
      expect(await modeOf(key)).to.equal(0o600);
      expect(await modeOf(join(caDir, 'ca.key'))).to.equal(0o600);
      expect(await modeOf(caDir)).to.equal(0o700);
      expect((await readdir(certDir)).sort()).to.deep.equal(['hello.key', 'hello.pem']);
      const text = openssl('x509', '-in', pem, '-noout', '-text');
      expect(text).to.include('CA:FALSE').and.include('TLS Web Server Authentication');
      expect(openssl('x509', '-in', join(caDir, 'ca.pem'), '-noout', '-text')).to.include(
        'CA:TRUE, pathlen:0',
      );
      expect(state.kind === 'valid' && state.notAfter - nowMs).to.be.within(89.9 * DAY_MS, 90 * DAY_MS);
    });

    it('its certificate serves a TLS 1.3 client that trusts the root alone', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      const ca = await certificates.rootPem();
      if (ca.kind !== 'ok') throw new Error(ca.why);
      const server = createServer({
        cert: await readFile(join(certDir, 'hello.pem')),
        key: await readFile(join(certDir, 'hello.key')),
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      try {
        const { port } = server.address() as AddressInfo;
        const socket = connect({
          host: '127.0.0.1',
          port,
          servername: HOST,
          ca: ca.value,
          minVersion: 'TLSv1.3',
        });
        await once(socket, 'secureConnect');
        expect(socket.authorized).to.equal(true);
        socket.destroy();
      } finally {
        server.close();
      }
    });

    it('twice is once: a second issue changes no byte', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      const before = await readFile(join(certDir, 'hello.pem'), 'utf8');
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
      expect(await readFile(join(certDir, 'hello.pem'), 'utf8')).to.equal(before);
    });

    it('renews with a third of its life left, with the same key: one rename (L15)', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      const key = await readFile(join(certDir, 'hello.key'), 'utf8');
      nowMs += 59 * DAY_MS;
      const early = await look(certificates);
      if (early.kind !== 'valid') throw new Error(early.kind);
      expect(early.renewsAt).to.be.closeTo(nowMs + DAY_MS, 3_600_000);
      // What is not ours is renewed by somebody else.
      expect(await look(open('files'))).not.to.have.property('renewsAt');
      nowMs += 2 * DAY_MS;
      expect(await look(certificates))
        .to.have.property('hint')
        .that.includes('renewal');
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
      const state = await look(certificates);
      expect(state.kind === 'valid' && state.notAfter - nowMs).to.be.greaterThan(89 * DAY_MS);
      expect(await readFile(join(certDir, 'hello.key'), 'utf8')).to.equal(key);
    });

    it('a renewal that fails leaves the old certificate in use, and is tried again later', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      nowMs += 61 * DAY_MS;
      // A directory in the way of the CA's key: root may write everywhere, so permissions show nothing here.
      await rm(join(caDir, 'ca.key'));
      await mkdir(join(caDir, 'ca.key'));
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('retry');
      expect((await look(certificates)).kind).to.equal('valid');
    });

    it('expired or with a lost key, its own certificate is issued again', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      nowMs += 100 * DAY_MS;
      expect(await look(certificates))
        .to.have.property('hint')
        .that.includes('expired');
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
      await rm(join(certDir, 'hello.key'));
      expect(await look(certificates))
        .to.have.property('hint')
        .that.includes('missing');
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
      expect((await look(certificates)).kind).to.equal('valid');
      expect(await modeOf(join(certDir, 'hello.key'))).to.equal(0o600);
    });

    it("never overwrites an operator's certificate or key", async () => {
      const chain = await makeChain();
      const certificates = open('local');
      await certificates.issue('other.example.net', 'other', false);
      await place(chain.leaf + chain.middle, chain.key);
      expect((await look(certificates)).kind).to.equal('valid');
      nowMs += 25 * DAY_MS;
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
      nowMs += 10 * DAY_MS;
      expect((await look(certificates)).kind).to.equal('invalid');
      expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('blocked');
      expect(await readFile(join(certDir, 'hello.pem'), 'utf8')).to.equal(chain.leaf + chain.middle);
      expect(await readFile(join(certDir, 'hello.key'), 'utf8')).to.equal(chain.key);
    });

    it('a key that is there already is used, also an RSA one, never replaced', async () => {
      openssl('genrsa', '-out', join(certDir, 'hello.key'), '2048');
      const key = await readFile(join(certDir, 'hello.key'), 'utf8');
      expect((await open('local').issue(HOST, 'hello', true)).kind).to.equal('ok');
      expect(await readFile(join(certDir, 'hello.key'), 'utf8')).to.equal(key);
      const leaf = new X509Certificate(await readFile(join(certDir, 'hello.pem')));
      expect(leaf.checkPrivateKey(createPrivateKey(key))).to.equal(true);
    });

    it('a key that is none blocks with its path', async () => {
      await writeFile(join(certDir, 'hello.key'), 'rubbish');
      const outcome = await open('local').issue(HOST, 'hello', true);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(join(certDir, 'hello.key'));
    });

    it('a directory that cannot be written blocks with path and errno', async () => {
      await writeFile(join(root, 'file'), '');
      certDir = join(root, 'file/below');
      const outcome = await open('local').issue(HOST, 'hello', true);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(certDir).and.includes('ENOTDIR');
    });

    it('a broken CA is never replaced: blocked, and what is issued stays valid', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      await writeFile(join(caDir, 'ca.key'), 'rubbish');
      expect((await look(certificates)).kind).to.equal('valid');
      const outcome = await certificates.issue('new.example.net', 'new', false);
      expect(outcome.kind).to.equal('blocked');
      expect(outcome).to.have.property('why').that.includes(caDir);
      expect(await readFile(join(caDir, 'ca.key'), 'utf8')).to.equal('rubbish');
    });

    it('goes on with a CA whose making was cut off after the key', async () => {
      await mkdir(caDir);
      openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', join(caDir, 'ca.key'));
      const key = await readFile(join(caDir, 'ca.key'), 'utf8');
      expect((await open('local').issue(HOST, 'hello', true)).kind).to.equal('ok');
      expect(await readFile(join(caDir, 'ca.key'), 'utf8')).to.equal(key);
    });

    it('many at once make one CA', async () => {
      const certificates = open('local');
      const hosts = Array.from({ length: 10 }, (_, index) => `h${index}.example.net`);
      const outcomes = await Promise.all(hosts.map((host) => certificates.issue(host, 'x', false)));
      expect(outcomes.every(({ kind }) => kind === 'ok')).to.equal(true);
      const states = await certificates.observe(
        hosts.map((hostname) => ({ hostname, service: 'x', isDefault: false })),
      );
      expect(Object.values(states).every(({ kind }) => kind === 'valid')).to.equal(true);
    });

    it('a host name whose file is that of another service is invalid, the service keeps it', async () => {
      const certificates = open('local');
      await certificates.issue(HOST, 'hello', true);
      const states = await certificates.observe([
        { hostname: 'hello', service: 'other', isDefault: false },
        { hostname: HOST, service: 'hello', isDefault: true },
      ]);
      expect(states[HOST]!.kind).to.equal('valid');
      expect(states['hello']!.kind).to.equal('invalid');
    });

    it('a long host name is issued (a common name would not fit)', async () => {
      const host = `${'a'.repeat(60)}.${'b'.repeat(60)}.example.net`;
      expect((await open('local').issue(host, 'x', false)).kind).to.equal('ok');
      expect((await look(open('local'), host)).kind).to.equal('valid');
    });

    it('a file that cannot be read is unknown with the reason', async function () {
      if (process.getuid?.() === 0) {
        // Root reads everything: a socket-like obstacle stands in for a closed file.
        await mkdir(join(certDir, 'hello.pem'));
      } else {
        await writeFile(join(certDir, 'hello.pem'), '');
        await chmod(join(certDir, 'hello.pem'), 0o000);
      }
      const state = await look(open('local'));
      expect(state.kind).to.equal('unknown');
      expect(state).to.have.property('why').that.includes('hello.pem');
    });
  });

  it('what was issued here and is not wanted is told as left, and goes when it is asked to; what is not ours never does', async () => {
    const certificates = open('local');
    expect(await certificates.issue(HOST, 'hello', true)).to.have.property('kind', 'ok');
    expect(await certificates.issue('old.svc.example.net', 'hello', false)).to.have.property('kind', 'ok');
    const chain = await makeChain();
    await writeFile(join(certDir, 'operator.pem'), chain.leaf + chain.middle);
    await writeFile(join(certDir, 'rubbish.pem'), 'rubbish');
    const wanted = { hostname: HOST, service: 'hello', isDefault: true };
    const { [HOST]: kept, ...rest } = await certificates.observe([wanted]);
    expect(kept).to.have.property('kind', 'valid');
    expect(rest).to.deep.equal({ 'old.svc.example.net': { kind: 'left', name: 'old.svc.example.net' } });
    for (const [hostname, name] of [
      ['old.svc.example.net', 'hello'],
      [HOST, 'operator'],
      ['old.svc.example.net', '../ca/ca'],
      ['old.svc.example.net', 'rubbish'],
    ] as const)
      expect(await certificates.remove(hostname, name), name).to.have.property('kind', 'blocked');
    for (let twice = 0; twice < 2; twice += 1)
      expect(await certificates.remove('old.svc.example.net', 'old.svc.example.net')).to.have.property(
        'kind',
        'ok',
      );
    expect((await readdir(certDir)).sort()).to.deep.equal([
      ...['hello.key', 'hello.pem', 'old.svc.example.net.key', 'operator.pem', 'rubbish.pem'],
    ]);
    expect(await open('files').observe([]), 'with files all is the operator’s').to.deep.equal({});
  });
});
