import { expect } from 'chai';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { DAY_MS, HOST, useCertificates } from './certs.kit.ts';

describe('node/certs, driver local', () => {
  const { at, open, look, openssl, modeOf, makeChain, place } = useCertificates();

  it('issues a chain that openssl verifies for the host name, key 0600, nothing left over', async () => {
    const certificates = open('local');
    expect((await look(certificates)).kind).to.equal('absent');
    expect((await certificates.rootPem()).kind).to.equal('wait');
    expect(await certificates.issue(HOST, 'hello', true)).to.include({ kind: 'ok' });
    const state = await look(certificates);
    expect(state.kind, JSON.stringify(state)).to.equal('valid');
    const [pem, key] = [join(at.certDir, 'hello.pem'), join(at.certDir, 'hello.key')];
    const verify = (host: string): string =>
      openssl('verify', '-x509_strict', '-CAfile', join(at.caDir, 'ca.pem'), '-verify_hostname', host, pem);
    expect(verify(HOST)).to.include(': OK');
    expect(() => verify('other.example.net')).to.throw(/hostname mismatch/i);
    expect(await modeOf(key)).to.equal(0o600);
    expect(await modeOf(join(at.caDir, 'ca.key'))).to.equal(0o600);
    expect(await modeOf(at.caDir)).to.equal(0o700);
    expect((await readdir(at.certDir)).sort()).to.deep.equal(['hello.key', 'hello.pem']);
    const text = openssl('x509', '-in', pem, '-noout', '-text');
    expect(text).to.include('CA:FALSE').and.include('TLS Web Server Authentication');
    expect(openssl('x509', '-in', join(at.caDir, 'ca.pem'), '-noout', '-text')).to.include(
      'CA:TRUE, pathlen:0',
    );
    expect(state.kind === 'valid' && state.notAfter - at.nowMs).to.be.within(89.9 * DAY_MS, 90 * DAY_MS);
  });

  it('its certificate serves a TLS 1.3 client that trusts the root alone', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    const ca = await certificates.rootPem();
    if (ca.kind !== 'ok') throw new Error(ca.why);
    const server = createServer({
      cert: await readFile(join(at.certDir, 'hello.pem')),
      key: await readFile(join(at.certDir, 'hello.key')),
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

  it('a key that others than its owner may read is used all the same, and told with its mode until that is mended', async () => {
    const { leaf, middle, root, key } = await makeChain();
    await place(`${leaf}${middle}${root}`, key);
    const certificates = open('files');
    const path = join(at.certDir, 'hello.key');
    for (const mode of [0o644, 0o640, 0o606]) {
      await chmod(path, mode);
      expect(await look(certificates)).to.include({ kind: 'valid', keyMode: `0${mode.toString(8)}` });
      expect(await modeOf(path), 'it is the operator’s').to.equal(mode);
    }
    await chmod(path, 0o600);
    expect(await look(certificates))
      .to.include({ kind: 'valid' })
      .and.not.to.have.property('keyMode');
  });

  it('twice is once: a second issue changes no byte', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    const before = await readFile(join(at.certDir, 'hello.pem'), 'utf8');
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
    expect(await readFile(join(at.certDir, 'hello.pem'), 'utf8')).to.equal(before);
  });

  it('renews with a third of its life left, with the same key: one rename (L15)', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    const key = await readFile(join(at.certDir, 'hello.key'), 'utf8');
    at.nowMs += 59 * DAY_MS;
    const early = await look(certificates);
    if (early.kind !== 'valid') throw new Error(early.kind);
    expect(early.renewsAt).to.be.closeTo(at.nowMs + DAY_MS, 3_600_000);
    // What is not ours is renewed by somebody else.
    expect(await look(open('files'))).not.to.have.property('renewsAt');
    at.nowMs += 2 * DAY_MS;
    expect(await look(certificates))
      .to.have.property('hint')
      .that.includes('renewal');
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
    const state = await look(certificates);
    expect(state.kind === 'valid' && state.notAfter - at.nowMs).to.be.greaterThan(89 * DAY_MS);
    expect(await readFile(join(at.certDir, 'hello.key'), 'utf8')).to.equal(key);
  });

  it('a renewal that fails leaves the old certificate in use, and is tried again later', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    at.nowMs += 61 * DAY_MS;
    // A directory in the way of the CA's key: root may write everywhere, so permissions show nothing here.
    await rm(join(at.caDir, 'ca.key'));
    await mkdir(join(at.caDir, 'ca.key'));
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('retry');
    expect((await look(certificates)).kind).to.equal('valid');
  });

  it('expired or with a lost key, its own certificate is issued again', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    at.nowMs += 100 * DAY_MS;
    expect(await look(certificates))
      .to.have.property('hint')
      .that.includes('expired');
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
    await rm(join(at.certDir, 'hello.key'));
    expect(await look(certificates))
      .to.have.property('hint')
      .that.includes('missing');
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
    expect((await look(certificates)).kind).to.equal('valid');
    expect(await modeOf(join(at.certDir, 'hello.key'))).to.equal(0o600);
  });

  it("never overwrites an operator's certificate or key", async () => {
    const chain = await makeChain();
    const certificates = open('local');
    await certificates.issue('other.example.net', 'other', false);
    await place(chain.leaf + chain.middle, chain.key);
    expect((await look(certificates)).kind).to.equal('valid');
    at.nowMs += 25 * DAY_MS;
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('ok');
    at.nowMs += 10 * DAY_MS;
    expect((await look(certificates)).kind).to.equal('invalid');
    expect((await certificates.issue(HOST, 'hello', true)).kind).to.equal('blocked');
    expect(await readFile(join(at.certDir, 'hello.pem'), 'utf8')).to.equal(chain.leaf + chain.middle);
    expect(await readFile(join(at.certDir, 'hello.key'), 'utf8')).to.equal(chain.key);
  });

  it('a key that is there already is used, also an RSA one, never replaced', async () => {
    openssl('genrsa', '-out', join(at.certDir, 'hello.key'), '2048');
    const key = await readFile(join(at.certDir, 'hello.key'), 'utf8');
    expect((await open('local').issue(HOST, 'hello', true)).kind).to.equal('ok');
    expect(await readFile(join(at.certDir, 'hello.key'), 'utf8')).to.equal(key);
    const leaf = new X509Certificate(await readFile(join(at.certDir, 'hello.pem')));
    expect(leaf.checkPrivateKey(createPrivateKey(key))).to.equal(true);
  });

  it('a key that is none blocks with its path', async () => {
    await writeFile(join(at.certDir, 'hello.key'), 'rubbish');
    const outcome = await open('local').issue(HOST, 'hello', true);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes(join(at.certDir, 'hello.key'));
  });

  it('a directory that cannot be written blocks with path and errno', async () => {
    await writeFile(join(at.root, 'file'), '');
    at.certDir = join(at.root, 'file/below');
    const outcome = await open('local').issue(HOST, 'hello', true);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes(at.certDir).and.includes('ENOTDIR');
  });

  it('a broken CA is never replaced: blocked, and what is issued stays valid', async () => {
    const certificates = open('local');
    await certificates.issue(HOST, 'hello', true);
    await writeFile(join(at.caDir, 'ca.key'), 'rubbish');
    expect((await look(certificates)).kind).to.equal('valid');
    const outcome = await certificates.issue('new.example.net', 'new', false);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('why').that.includes(at.caDir);
    expect(await readFile(join(at.caDir, 'ca.key'), 'utf8')).to.equal('rubbish');
  });

  it('goes on with a CA whose making was cut off after the key', async () => {
    await mkdir(at.caDir);
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', join(at.caDir, 'ca.key'));
    const key = await readFile(join(at.caDir, 'ca.key'), 'utf8');
    expect((await open('local').issue(HOST, 'hello', true)).kind).to.equal('ok');
    expect(await readFile(join(at.caDir, 'ca.key'), 'utf8')).to.equal(key);
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
      await mkdir(join(at.certDir, 'hello.pem'));
    } else {
      await writeFile(join(at.certDir, 'hello.pem'), '');
      await chmod(join(at.certDir, 'hello.pem'), 0o000);
    }
    const state = await look(open('local'));
    expect(state.kind).to.equal('unknown');
    expect(state).to.have.property('why').that.includes('hello.pem');
  });

  it('what was issued here and is not wanted is told as left, and goes when it is asked to; what is not ours never does', async () => {
    const certificates = open('local');
    expect(await certificates.issue(HOST, 'hello', true)).to.have.property('kind', 'ok');
    expect(await certificates.issue('old.svc.example.net', 'hello', false)).to.have.property('kind', 'ok');
    const chain = await makeChain();
    await writeFile(join(at.certDir, 'operator.pem'), chain.leaf + chain.middle);
    await writeFile(join(at.certDir, 'rubbish.pem'), 'rubbish');
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
    expect((await readdir(at.certDir)).sort()).to.deep.equal([
      ...['hello.key', 'hello.pem', 'old.svc.example.net.key', 'operator.pem', 'rubbish.pem'],
    ]);
    expect(await open('files').observe([]), 'with files all is the operator’s').to.deep.equal({});
  });
});
