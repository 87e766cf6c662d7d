import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DAY_MS, HOST, useCertificates } from './certs.kit.ts';

describe('node/certs, driver files', () => {
  const { at, open, look, openssl, makeChain, place } = useCertificates();

  it('a full chain with its key is valid, with and without its root', async () => {
    const chain = await makeChain();
    for (const pem of [chain.leaf + chain.middle + chain.root, chain.leaf + chain.middle]) {
      await place(pem, chain.key);
      const state = await look(open('files'));
      expect(state, JSON.stringify(state)).to.include({
        kind: 'valid',
        certPath: join(at.certDir, 'hello.pem'),
        keyPath: join(at.certDir, 'hello.key'),
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
    await place(full, await readFile(join(at.root, 'middle.key'), 'utf8'));
    expect(await why()).to.include('does not belong');
    openssl('pkcs8', '-topk8', '-in', 'leaf.key', '-passout', 'pass:x', '-out', 'locked.key');
    await place(full, await readFile(join(at.root, 'locked.key'), 'utf8'));
    expect(await why()).to.include('no usable private key');
    await place('rubbish', chain.key);
    expect(await why()).to.include('holds no certificate');
    await writeFile(join(at.certDir, 'other.example.net.pem'), full);
    await writeFile(join(at.certDir, 'other.example.net.key'), chain.key);
    expect(await look(open('files'), 'other.example.net'))
      .to.have.property('why')
      .that.includes('is not for other.example.net')
      .and.includes(HOST);
  });

  it('an expired chain, and one of the future, are invalid', async () => {
    const chain = await makeChain();
    await place(chain.leaf + chain.middle, chain.key);
    at.nowMs += 31 * DAY_MS;
    expect(await look(open('files')))
      .to.have.property('why')
      .that.includes('expired');
    at.nowMs -= 62 * DAY_MS;
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
    const middleKey = await readFile(join(at.root, 'middle.key'), 'utf8');
    await place(leaf + middle, middleKey);
    expect(await kind()).to.equal('invalid');
    await place(leaf + middle, key);
    expect(await kind()).to.equal('valid');
    at.nowMs = Date.parse(new X509Certificate(leaf).validTo);
    expect(await kind()).to.equal('invalid');
    at.nowMs = Date.parse(new X509Certificate(leaf).validFrom) - 1_000;
    expect(await kind()).to.equal('invalid');
  });

  it('no file is absent; issue says where to put it and writes nothing', async () => {
    const certificates = open('files');
    expect(await look(certificates)).to.include({ kind: 'absent', certPath: join(at.certDir, 'hello.pem') });
    const outcome = await certificates.issue(HOST, 'hello', true);
    expect(outcome.kind).to.equal('blocked');
    expect(outcome).to.have.property('hint').that.includes(join(at.certDir, 'hello.key'));
    expect(await readdir(at.certDir)).to.deep.equal([]);
    expect((await certificates.rootPem()).kind).to.equal('blocked');
  });

  it('what cannot be judged is unknown: a directory, a huge file, a name with a slash', async () => {
    await mkdir(join(at.certDir, 'hello.pem'));
    expect((await look(open('files'))).kind).to.equal('unknown');
    await writeFile(join(at.certDir, 'big.example.net.pem'), Buffer.alloc(2 * 1024 * 1024));
    expect((await look(open('files'), 'big.example.net')).kind).to.equal('unknown');
    expect((await look(open('files'), '../../etc/x')).kind).to.equal('unknown');
  });
});
