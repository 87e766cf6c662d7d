import { expect } from 'chai';
import { blocked, retry } from '../../../src/base/outcome.ts';
import { Secret } from '../../../src/base/secret.ts';
import { transferFailure } from '../../../src/node/images/transferfault.ts';
import { imageRef } from './images-support.ts';

const HOST = 'reg.example.net:5000';
const REF = `${HOST}/mc/hello:v1.0.0`;

describe('node: what a push that failed means (G37)', () => {
  const image = imageRef(HOST);
  const told = (
    text: string,
    { verb = 'push', account = '/etc/mc/account' }: { verb?: 'push' | 'pull'; account?: string | null } = {},
  ): string => {
    const about = { image, engine: 'docker', account: account ?? undefined } as const;
    const { why, hint } = transferFailure(verb, retry(`${verb} image ${REF}: ${text}`), about);
    return `${why} | ${hint ?? ''}`;
  };

  const cases: readonly [string, string, string, string][] = [
    [
      'a read-only registry',
      'unsupported: The operation is unsupported.',
      `registry ${HOST} takes no pushes: it is read-only`,
      'End its maintenance',
    ],
    [
      'an account without the right',
      'denied: requested access to the resource is denied',
      `registry ${HOST} does not let the account of /etc/mc/account push mc/hello`,
      'give it the right to push',
    ],
    [
      'a CA that the engine does not know',
      `Get "https://${HOST}/v2/": x509: certificate signed by unknown authority`,
      `docker does not trust the certificate of registry ${HOST}`,
      `/etc/docker/certs.d/${HOST}/ca.crt`,
    ],
    [
      'a registry without TLS',
      `Get "https://${HOST}/v2/": http: server gave HTTP response to HTTPS client`,
      `registry ${HOST} speaks HTTP without TLS`,
      'Give the registry a certificate',
    ],
    [
      'nobody listens',
      `Get "https://${HOST}/v2/": dial tcp 192.0.2.1:5000: connect: connection refused`,
      `docker cannot reach registry ${HOST}`,
      'as seen from the engine',
    ],
    ['asked too often', 'toomanyrequests: slow down', 'was asked too often', 'later and later'],
    ['too large', 'unexpected status: 413 Request Entity Too Large', 'has no room for it', 'raise the size'],
    [
      'a repository that is not there',
      'name unknown: The repository does not exist',
      `registry ${HOST} does not know the repository mc/hello, and makes none`,
      'Make the repository there',
    ],
    [
      'a fault of the registry',
      'received unexpected HTTP status: 500 Internal Server Error',
      'has a fault of its own',
      'Look at its log.',
    ],
  ];
  for (const [title, text, what, hint] of cases)
    it(`${title}: what, where and what to do, the words of the engine behind it`, () => {
      const whole = told(text);
      expect(whole).to.match(new RegExp(`^${REF.replaceAll('.', '\\.')} was not pushed: `));
      expect(whole).to.contain(what).and.contain(`(docker says: ${text})`);
      expect(whole.split(' | ')[1]).to.contain(hint);
    });

  it('without an account it names the setting; an engine that does not answer is no fault of the registry', () => {
    expect(told('unauthorized: authentication required', { account: null }))
      .to.contain(`registry ${HOST} asks for an account to push mc/hello`)
      .and.contain(`Set registries."${HOST}".credentials_file`);
    const down = blocked('engine unreachable at /run/docker.sock (ECONNREFUSED)', 'Start it.');
    expect(transferFailure('push', down, { image, engine: 'docker', account: undefined })).to.deep.equal({
      ...down,
      why: `push of ${REF}: engine unreachable at /run/docker.sock (ECONNREFUSED)`,
    });
  });

  it('an image that is not on the engine is no word about a repository', () => {
    for (const text of ['unable to find image: image not known', 'executable file not found in $PATH'])
      expect(told(text)).to.contain(text).and.not.contain('does not know the repository');
  });

  it('of a pull the hint that fits is kept; what nobody knows is said in the words of the engine', () => {
    const about = { image, engine: 'podman', account: undefined } as const;
    const foreign = blocked(
      `pull image ${REF}: no matching manifest for linux/amd64`,
      'Build it for this platform.',
    );
    expect(transferFailure('pull', foreign, about)).to.deep.equal({
      ...foreign,
      why: `${REF} was not pulled from ${HOST} (podman says: no matching manifest for linux/amd64)`,
    });
  });

  it('G10 has no secret: neither an account, nor the user of an address, nor the query of a signed one', () => {
    const password = new Secret('correct-horse-battery');
    const text = `Put "https://me:pw@${HOST}/v2/x?_state=signed": token ${password.reveal()} EOF`;
    expect(told(text))
      .to.contain(`Put "https://${HOST}/v2/x?…": token ••• EOF`)
      .and.not.match(/correct-horse|me:pw|signed/);
  });
});
