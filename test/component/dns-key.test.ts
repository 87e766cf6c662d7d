import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Dns } from '../../src/node/dns/dns.ts';
import { openRfc2136 } from '../../src/node/dns/rfc2136.ts';
import { sendUpdate } from '../../src/node/dns/update.ts';

describe('a TSIG key file that cannot be read', () => {
  const script = 'server 127.0.0.1 1\nzone svc.test\nupdate add a.svc.test 60 TXT "x"\nsend\n';
  let dir: string;
  const good = 'key "rift" { algorithm hmac-sha256; secret "a2VwdDBRdWlldA=="; };\n';
  const open = (keyFile: string): Dns =>
    openRfc2136({
      ...{ owner: 'n1/main', servers: ['127.0.0.1:1'], zones: ['svc.test'], ttlS: 60, keyFile },
      ...{ clock: systemClock, log: makeLog('silent') },
    });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mc-key-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  for (const [title, content] of [
    [
      'a secret that is no base64',
      'key "rift" {\n  algorithm hmac-sha256;\n  secret "kept0Quiet!andMore==";\n};\n',
    ],
    ['a brace that is missing', 'key "rift"\n  algorithm hmac-sha256;\n  secret "kept0Quiet!andMore==";\n'],
    ['a word where none is known', 'secret kept0Quiet!andMore==;\n'],
    // nsupdate cuts what it repeats at 30 characters.
    ['the secret alone', 'kept0Quietkept0Quietkept0QuietandMoreandMoreandMore==\n'],
    ['the form of `nsupdate -y`', 'hmac-sha256:rift:kept0Quietkept0QuietandMore==\n'],
    ['a good key and the secret alone', `${good}kept0Quietkept0Quietkept0QuietandMore==\n`],
  ] as const)
    it(`G10 ${title}: that it is no key is told, and nothing of the secret`, async () => {
      const keyFile = join(dir, 'tsig.key');
      await writeFile(keyFile, content, { mode: 0o600 });
      const refused = await sendUpdate(script, keyFile);
      expect(refused).to.equal(`nsupdate does not understand the key file ${keyFile}`);
      const outcome = await open(keyFile).put('a', [{ hostname: 'a.svc.test', addresses: ['10.0.0.1'] }]);
      for (const told of [refused, JSON.stringify(outcome)])
        for (const part of ['kept0', 'Quiet', 'andMore']) expect(told).to.not.contain(part);
    });

  it('one that is not there is named', async () => {
    const keyFile = join(dir, 'none.key');
    expect(await sendUpdate(script, keyFile)).to.contain(keyFile);
  });

  for (const [title, content, mode, told] of [
    ['one that is not there', undefined, 0o600, 'is not there'],
    ['one that others may read', good, 0o640, 'can be read by others'],
    ['an empty one', '', 0o600, 'holds no TSIG key'],
    ['another file', 'kept0Quiet!andMore==\n', 0o600, 'holds no TSIG key'],
    ['no secret', 'key "rift" { algorithm hmac-sha256; };\n', 0o600, 'holds a key without a secret'],
    [
      'a secret that is no base64',
      good.replace('a2Vw', 'a!Vw'),
      0o600,
      'holds a key whose secret is no base64',
    ],
    ['no algorithm', good.replace('algorithm hmac-sha256;', ''), 0o600, 'holds a key without an algorithm'],
  ] as const)
    it(`${title}: the condition and every update say so, no server is asked, and it is used as soon as it is mended`, async () => {
      const keyFile = join(dir, 'tsig.key');
      if (content !== undefined) await writeFile(keyFile, content);
      if (content !== undefined) await chmod(keyFile, mode);
      const dns = open(keyFile);
      const facts = await dns.observe([]);
      expect(facts.keyFault?.why).to.equal(`[mcns] key_file ${keyFile} ${told}`);
      for (const outcome of [
        await dns.put('a', [{ hostname: 'a.svc.test', addresses: ['10.0.0.1'] }]),
        await dns.putText('_acme-challenge.a.svc.test', 'x'),
      ])
        expect(outcome).to.deep.equal({ kind: 'wait', ...facts.keyFault });
      expect(JSON.stringify(facts)).to.not.match(/kept0Quiet|Q0RdWll|QdWlldA|andMore/);
      await writeFile(keyFile, good);
      await chmod(keyFile, 0o600);
      expect(await dns.observe([])).to.not.have.property('keyFault');
    });

  it('what tsig-keygen and dnssec-keygen write is taken', async () => {
    const keyFile = join(dir, 'tsig.key');
    for (const text of [
      good,
      '# of mc\nkey mc. {\n\talgorithm HMAC-SHA512;\n\tsecret a2VwdDBRdWlldA==;\n};\n',
      'Private-key-format: v1.3\nAlgorithm: 163 (HMAC_SHA256)\nKey: a2VwdDBRdWlldA==\n',
    ]) {
      await writeFile(keyFile, text, { mode: 0o600 });
      expect(await open(keyFile).observe([])).to.not.have.property('keyFault');
    }
  });
});
