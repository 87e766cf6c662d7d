import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { sendUpdate } from '../../src/node/dns/update.ts';

describe('a TSIG key file that cannot be read', () => {
  const script = 'server 127.0.0.1 1\nzone svc.test\nupdate add a.svc.test 60 TXT "x"\nsend\n';
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mc-key-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  for (const [title, content, told] of [
    [
      'a secret that is no base64',
      'key "rift" {\n  algorithm hmac-sha256;\n  secret "kept0Quiet!andMore==";\n};\n',
      /base64/,
    ],
    [
      'a brace that is missing',
      'key "rift"\n  algorithm hmac-sha256;\n  secret "kept0Quiet!andMore==";\n',
      /expected|near|read/,
    ],
    ['a word where none is known', 'secret kept0Quiet!andMore==;\n', /option|read|unknown/],
  ] as const)
    it(`G10 ${title}: the reason is told, and nothing of the secret`, async () => {
      const keyFile = join(dir, 'tsig.key');
      await writeFile(keyFile, content, { mode: 0o600 });
      const refused = await sendUpdate(script, keyFile);
      expect(refused).to.match(told);
      for (const part of ['kept0Quiet!andMore==', 'kept0Quiet', 'andMore'])
        expect(refused).to.not.contain(part);
    });

  it('one that is not there is named', async () => {
    const keyFile = join(dir, 'none.key');
    expect(await sendUpdate(script, keyFile))
      .to.contain('could not read key from')
      .and.contain(dir);
  });
});
