import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { closeHttp } from '../../src/base/http.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { makeRepository, openTestSource, serveGit, type GitHost, type Repository } from './source-support.ts';

const DEFINITION = 'name = "hello"\n';

function okOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

function whyOf(outcome: Outcome<unknown>): string {
  if (outcome.kind === 'ok') throw new Error('it worked');
  return `${outcome.kind}: ${outcome.why}`;
}

describe('source over http', () => {
  let repository: Repository;
  let host: GitHost;

  beforeEach(async () => {
    repository = await makeRepository();
    host = await serveGit(repository.root);
  });
  afterEach(async () => {
    await closeHttp();
    await host.close();
    await repository.close();
  });

  const open = (changes = {}): ReturnType<typeof openTestSource> =>
    openTestSource([host.url], join(repository.root, 'data'), changes);

  it('reads a first clone: commit, definitions in the order of their paths, nothing else', async () => {
    const oid = await repository.push(
      {
        'services/b.toml': 'b\n',
        'services/a/deep/c.toml': 'c\n',
        'services/README.md': 'no definition',
        'nodes/n1.toml': 'n\n',
        'nodes/old/n2.toml': 'not read',
        'removals.toml': 'r\n',
        'other.toml': 'not read',
      },
      'First\n\nRemove-Services: a\n',
    );
    const { source } = open();
    const state = okOf(await source.poll());
    expect(state.commit).to.include({ oid, author: 'Ada', email: 'ada@example.org' });
    expect(state.commit.message).to.contain('Remove-Services: a');
    expect(state.changed).to.equal(true);
    expect(state.commit.at).to.be.greaterThan(Date.now() - 60_000);
    const { files, refused, commit } = okOf(await source.files(oid));
    expect(files.map(({ path }) => path)).to.deep.equal([
      'nodes/n1.toml',
      'removals.toml',
      'services/a/deep/c.toml',
      'services/b.toml',
    ]);
    expect(refused).to.deep.equal([]);
    expect(commit.oid).to.equal(oid);
    expect(Buffer.from(files[3]?.bytes ?? []).toString()).to.equal('b\n');
    const blob = await repository.git('rev-parse', 'HEAD:services/b.toml');
    expect(files[3]?.oid).to.equal(blob);
    expect(Buffer.from(okOf(await source.readFile(blob))).toString()).to.equal('b\n');
  });

  it('asks exactly once when there is no news, with and without a branch in the settings', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    for (const changes of [{}, { branch: 'main' }]) {
      const { source } = open(changes);
      okOf(await source.poll());
      const before = host.requests.length;
      const state = okOf(await source.poll(oid));
      expect(host.requests.length - before).to.equal(1);
      expect(state.changed).to.equal(false);
    }
  });

  it('sees a push, and reads only what it changed', async () => {
    const first = await repository.push({ 'services/a.toml': 'a1\n', 'services/b.toml': 'b1\n' });
    const { source } = open();
    okOf(await source.poll());
    const before = okOf(await source.files(first));
    for (let i = 0; i < 5; i += 1) {
      const oid = await repository.push({ 'services/a.toml': `a${i + 2}\n` });
      const state = okOf(await source.poll(first));
      expect(state.commit.oid).to.equal(oid);
      const { files } = okOf(await source.files(oid));
      expect(Buffer.from(files[0]?.bytes ?? []).toString()).to.equal(`a${i + 2}\n`);
      expect(files[1]?.bytes).to.equal(before.files[1]?.bytes);
    }
  });

  it('sends a token from a file, keeps it out of every message and of the mirror (G10)', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const token = 'tok-3f9c-planted-canary';
    const seen: string[] = [];
    host.intercept = (req, res) => {
      const wanted = `Basic ${Buffer.from(`git:${token}`).toString('base64')}`;
      seen.push(req.headers.authorization ?? '');
      if (req.headers.authorization === wanted) return false;
      res
        .writeHead(401, { 'www-authenticate': 'Basic realm="x"' })
        .end(`no: ${req.headers.authorization ?? ''}`);
      return true;
    };
    const tokenFile = join(repository.root, 'token');
    await writeFile(tokenFile, `${token}\n`, { mode: 0o644 });
    const { source, lines } = open({ tokenFile });
    expect(okOf(await source.poll()).commit.oid).to.equal(oid);
    expect(lines.join('')).to.contain('chmod 600');

    const wrong = `${token}-wrong`;
    await writeFile(tokenFile, `${wrong}\n`);
    const refused = await source.poll(oid);
    expect(whyOf(refused)).to.match(
      /^blocked: http:\/\/127\.0\.0\.1:\d+\/repo\.git: the server refuses our credentials \(HTTP 401\)$/,
    );
    const user = openTestSource([host.url.replace('//', `//me:${token}@`)], join(repository.root, 'data2'), {
      tokenFile: undefined as never,
    });
    const everything = JSON.stringify([
      refused,
      await user.source.poll(),
      source.health(),
      lines,
      user.lines,
    ]);
    for (const form of [
      token,
      Buffer.from(token).toString('base64'),
      Buffer.from(`git:${wrong}`).toString('base64'),
    ]) {
      expect(everything).not.to.contain(form);
    }
    const { stdout } = await promisify(execFile)('grep', [
      '-r',
      token,
      join(repository.root, 'data'),
      join(repository.root, 'data2'),
    ]).catch((error: unknown) => error as { stdout: string });
    expect(stdout).to.equal('');
    await writeFile(tokenFile, `git:${token}\n`);
    expect(okOf(await source.poll(oid)).changed).to.equal(false);
  });

  it('goes on with the last accepted commit while the server is down, says since when, and comes back (G24, L02)', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const { source, again } = open();
    okOf(await source.poll());
    const { port } = host;
    await host.close();
    const before = Date.now();
    expect(whyOf(await source.poll(oid))).to.match(/^retry: .*refused the connection/);
    const { reachable, since, why } = source.health();
    expect(reachable).to.equal(false);
    expect(since).to.be.within(before, Date.now());
    expect(why).to.contain('refused');
    expect(okOf(await source.files(oid)).files).to.have.length(1);
    const restarted = again();
    await restarted.poll(oid);
    expect(okOf(await restarted.files(oid)).files).to.have.length(1);
    expect(source.health().since).to.equal(since);
    host = await serveGit(repository.root, port);
    expect(okOf(await source.poll(oid)).commit.oid).to.equal(oid);
    expect(source.health()).to.include({ reachable: true }).and.not.have.property('since');
  });

  it('refuses a force-push and a rewind, and the accepted commit stays readable (G26)', async () => {
    const first = await repository.push({ 'services/a.toml': 'one\n' });
    const accepted = await repository.push({ 'services/a.toml': 'two\n' });
    const { source, again } = open();
    okOf(await source.poll());
    await repository.git('reset', '--quiet', '--hard', first);
    await repository.push({ 'services/a.toml': 'three\n' });
    expect(whyOf(await source.poll(accepted))).to.match(/^blocked: .*the branch was rewritten/);
    const requests = host.requests.length;
    expect(whyOf(await source.poll(accepted))).to.match(/^blocked: /);
    expect(host.requests.length - requests).to.equal(1);
    expect(source.health().reachable).to.equal(true);
    expect(Buffer.from(okOf(await again().files(accepted)).files[0]?.bytes ?? []).toString()).to.equal(
      'two\n',
    );

    await repository.git('push', '--quiet', '--force', 'origin', `${first}:main`);
    expect(whyOf(await source.poll(accepted))).to.match(/^blocked: .*the branch was set back/);
    await repository.git('checkout', '--quiet', '--orphan', 'unrelated');
    await repository.push({ 'services/a.toml': 'four\n' });
    expect(whyOf(await source.poll(accepted))).to.match(/^blocked: .*rewritten/);
    await repository.git('reset', '--quiet', '--hard', accepted);
    const next = await repository.push({ 'services/a.toml': 'five\n' });
    expect(okOf(await source.poll(accepted)).commit.oid).to.equal(next);
  });
});
