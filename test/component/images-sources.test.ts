import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { run } from '../../src/demo/process.ts';
import { startGitServer, type GitServer } from '../../src/demo/gitserver.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { Secret } from '../../src/base/secret.ts';
import { remoteSources, urlOf } from '../../src/node/images/remotesource.ts';
import { signedOnly } from '../../src/node/images/signature.ts';
import { openSource, workspaceSources } from '../../src/node/images/source.ts';
import type { Sources, TagTree } from '../../src/node/images/types.ts';
import { makeRepository, type Repository } from './source-support.ts';

const LIMITS = { deadlineMs: 20_000, maxPackBytes: 64 << 20 };

function open(sources: Sources, tag = 'v1.0.0'): Promise<Outcome<TagTree>> {
  const request = { path: 'mc/hello', tag, dockerfile: 'Dockerfile', reference: `hello:${tag}` };
  return openSource(request, sources);
}

function whyOf(outcome: Outcome<unknown>): string {
  return outcome.kind === 'ok' ? 'ok' : outcome.why;
}

describe('sources of builds', () => {
  let repository: Repository;
  let dir: string;
  beforeEach(async () => {
    repository = await makeRepository();
    dir = await mkdtemp(join(tmpdir(), 'mc-sources-'));
    await mkdir(join(repository.root, 'mc'));
    await repository.push({ Dockerfile: 'FROM scratch\n', 'src/a': 'as tagged' });
  });
  afterEach(async () => {
    await repository.close();
    await rm(dir, { recursive: true, force: true });
  });
  const publish = async (): Promise<void> => {
    const published = join(repository.root, 'mc/hello.git');
    await repository.git('push', '--quiet', 'origin', '--tags', '--force');
    await rename(repository.bare, published);
    await repository.git('remote', 'set-url', 'origin', published);
  };

  describe('[build] sources: a template of addresses', () => {
    let server: GitServer;
    beforeEach(async () => {
      server = await startGitServer({ root: repository.root, auth: { user: 'bot', password: 'hunter22' } });
    });
    afterEach(() => server.stop());
    const remote = (password = 'hunter22'): Sources =>
      remoteSources({
        ...LIMITS,
        template: `${server.url}/{path}.git`,
        dir,
        access: async () => ({ user: 'bot', token: new Secret(password) }),
      });

    it('opens the tree of the tag from a mirror, with the date of the tag; a tag that is here is not fetched again', async () => {
      await repository.git('tag', '-a', 'v1.0.0', '-m', 'v1.0.0');
      await publish();
      await repository.push({ 'src/a': 'later' });
      const sources = remote();
      const tree = await open(sources);
      if (tree.kind !== 'ok') throw new Error(tree.why);
      expect(tree.value.files.map(({ path }) => path)).to.deep.equal(['Dockerfile', 'src/a']);
      const blob = tree.value.files[1]?.oid ?? '';
      const content = await tree.value.readBlob(blob, 1_000);
      expect(content.kind === 'ok' && Buffer.from(content.value).toString()).to.equal('as tagged');
      const date = await repository.git('for-each-ref', '--format=%(taggerdate:unix)', 'refs/tags/v1.0.0');
      expect(tree.value.taggedAt).to.equal(Number(date) * 1000);
      const before = server.requests.filter((line) => line.startsWith('POST')).length;
      expect((await open(sources)).kind).to.equal('ok');
      const after = server.requests.filter((line) => line.startsWith('POST')).length;
      expect(after - before, 'one question for the ref, no fetch').to.be.at.most(1);
    });

    it('a tag that is not there, a server that refuses and one that is gone are told apart; what was fetched stays good (L02)', async () => {
      await repository.git('tag', 'v1.0.0');
      await publish();
      expect(whyOf(await open(remote(), 'v9.9.9'))).to.contain(
        `of ${server.url}/mc/hello.git, but there is no such tag`,
      );
      expect(whyOf(await open(remote('wrong')))).to.match(
        /which cannot be read: .*401|which cannot be read: .*refused/,
      );
      expect((await open(remote())).kind).to.equal('ok');
      await server.stop();
      expect((await open(remote())).kind, 'from the mirror of an earlier run').to.equal('ok');
      expect(whyOf(await open(remote(), 'v2.0.0'))).to.contain('which cannot be read');
    });

    it('a path reaches no other place of the server', () => {
      const template = 'https://git.example.net/mc/{path}.git';
      expect(urlOf(template, 'a/b')).to.equal('https://git.example.net/mc/a/b.git');
      expect(urlOf(template, 'a?x=#@')).to.equal('https://git.example.net/mc/a%3Fx%3D%23%40.git');
    });
  });

  describe('[build] require_signed_tag', () => {
    const sshKey = async (name: string): Promise<string> => {
      const path = join(dir, name);
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', path]);
      return path;
    };
    const sign = (tag: string, key: string): Promise<string> =>
      repository.git('-c', 'gpg.format=ssh', '-c', `user.signingkey=${key}.pub`, 'tag', '-s', tag, '-m', tag);
    const allow = async (key: string): Promise<string> => {
      const path = join(dir, 'allowed-signers');
      await writeFile(path, `ada@example.org namespaces="git" ${await readFile(`${key}.pub`, 'utf8')}`);
      return path;
    };
    /** The clone of the source repository lies in a workspace, as `mc/hello`. */
    const workspace = async (): Promise<Sources> => {
      await repository.git('push', '--quiet', 'origin', '--tags', '--force');
      await symlink(repository.bare, join(repository.root, 'mc/hello'));
      return workspaceSources(repository.root);
    };

    it('ssh: a tag by an allowed key is taken; by another, unsigned, lightweight or under another name it is refused (L19)', async () => {
      const [good, bad] = [await sshKey('good'), await sshKey('bad')];
      await sign('v1.0.0', good);
      await sign('v1.1.0', bad);
      await repository.git('tag', '-a', 'v1.2.0', '-m', 'not signed');
      await repository.git('tag', 'v1.3.0');
      await repository.git('update-ref', 'refs/tags/v1.4.0', await repository.git('rev-parse', 'v1.0.0'));
      const signed = signedOnly(await workspace(), { allowedSignersFile: await allow(good) });
      expect(whyOf(await open(signed))).to.equal('ok');
      for (const [tag, why] of [
        ['v1.1.0', 'it is not by a key of'],
        ['v1.2.0', 'is not signed'],
        ['v1.3.0', 'is lightweight and cannot be signed'],
        ['v1.4.0', 'what is signed is not tag v1.4.0'],
      ] as const) {
        const refused = await open(signed, tag);
        expect(refused.kind).to.equal('blocked');
        expect(whyOf(refused)).to.contain(why).and.contain('[source/signature]');
      }
    });

    it('gpg: the same, with the keyring of the settings; a byte that was changed is seen', async () => {
      const home = join(dir, 'gnupg');
      await mkdir(home, { mode: 0o700 });
      const env = { PATH: process.env['PATH'], GNUPGHOME: home, HOME: dir };
      const gpg = (...args: string[]): Promise<unknown> =>
        run('gpg', ['--batch', '--quiet', ...args], { env });
      await gpg(
        '--passphrase',
        '',
        '--quick-generate-key',
        'Ada <ada@example.org>',
        'ed25519',
        'sign',
        'never',
      );
      const keyringFile = join(dir, 'signers.gpg');
      await gpg('--output', keyringFile, '--export', 'ada@example.org');
      await run(
        'git',
        [
          '-C',
          repository.work,
          '-c',
          'user.name=Ada',
          '-c',
          'user.email=ada@example.org',
          'tag',
          '-s',
          'v1.0.0',
          '-m',
          'one',
        ],
        { env },
      );
      const object = await repository.git('cat-file', 'tag', 'v1.0.0');
      const changed = await repository.gitInput(
        ['hash-object', '-t', 'tag', '-w', '--stdin'],
        `${object.replace('\n\none\n', '\n\nTWO\n')}\n`,
      );
      await run('gpgconf', ['--kill', 'all'], { env });
      const local = await workspace();
      expect(whyOf(await open(signedOnly(local, { keyringFile })))).to.equal('ok');
      expect(whyOf(await open(signedOnly(local, { allowedSignersFile: keyringFile })))).to.contain(
        'the settings have no [build] keyring_file',
      );
      await repository.git('update-ref', 'refs/tags/v1.0.0', changed);
      await repository.git('push', '--quiet', 'origin', '--tags', '--force');
      expect(whyOf(await open(signedOnly(local, { keyringFile })))).to.contain('or not of these bytes');
    });
  });
});
