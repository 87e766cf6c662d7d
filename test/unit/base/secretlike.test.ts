import { expect } from 'chai';
import { withoutSecretWords } from '../../../src/base/secretlike.ts';

describe('G10 lines that others print have no words that look like secrets', () => {
  const token = `ghp_${'a1'.repeat(18)}`;
  const cases: readonly (readonly [string, string])[] = [
    [`RUN echo API_TOKEN=${token}; exit 7`, 'RUN echo API_TOKEN=•••; exit 7'],
    ['echo password=hunter22secret', 'echo password=•••'],
    ['ENV DB_PASSWORD="two words" MODE=fast', 'ENV DB_PASSWORD=••• MODE=fast'],
    ['login --password hunter22secret --user me', 'login --password ••• --user me'],
    ['login --api-key=hunter22secret', 'login --api-key=•••'],
    [`git clone https://me:${token}@git.example.net/x`, 'git clone https://me:•••@git.example.net/x'],
    ['GET /list?token=hunter22secret&page=2', 'GET /list?token=•••&page=2'],
    ['curl -H "Authorization: Bearer abc.def"', 'curl -H "Authorization: Bearer •••"'],
    [`found ${token} here`, 'found ••• here'],
    ['a -----BEGIN RSA PRIVATE KEY----- | MIIE | xx', 'a •••'],
  ];
  for (const [line, shown] of cases)
    it(shown, () => {
      expect(withoutSecretWords(line)).to.equal(shown);
      // What is covered stays so.
      expect(withoutSecretWords(shown)).to.equal(shown);
    });

  it('everything else stays as it is', () => {
    for (const line of [
      'RUN TOKEN=$TOKEN make SECRET=/run/secrets/x PASS=1 && echo "--token is needed"',
      'Step 3/9 : ARG VERSION=v1.0.0',
      'npm warn deprecated har-validator@5.1.5: this library is no longer supported',
      'sha256:5345a34f6c2ba78e75b985f42a352ef8767bec6853f751404807d7058eead4ad',
    ])
      expect(withoutSecretWords(line)).to.equal(line);
  });

  it('a line made to be slow is not', () => {
    const begun = performance.now();
    for (const bit of [
      'a',
      '-',
      'a=',
      'a://',
      '--a ',
      'X-',
      '-----BEGIN PRIVATE KEY-----',
      '"',
      'Authorization: ',
    ])
      withoutSecretWords(bit.repeat(100_000).slice(0, 100_000));
    expect(performance.now() - begun).to.be.below(20_000);
  });
});
