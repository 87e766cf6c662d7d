import { execFile } from 'node:child_process';
import { rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { openMirror } from '../../src/base/git/mirror.ts';
import { closeHttp } from '../../src/base/http.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import type { SourceState } from '../../src/source/types.ts';
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

describe('source over http: faults and bad input', () => {
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

  it('says what is wrong with a branch that is gone, an empty repository and a SHA-256 one (G27)', async () => {
    const { source } = open();
    expect(whyOf(await source.poll())).to.match(/^blocked: .*the repository is empty/);
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    expect(okOf(await source.poll()).commit.oid).to.equal(oid);
    expect(whyOf(await open({ branch: 'gone' }).source.poll())).to.match(/^blocked: .*no branch "gone"/);
    await repository.git('push', '--quiet', 'origin', 'HEAD:other');
    await repository.git('--git-dir', repository.bare, 'update-ref', '-d', 'refs/heads/main');
    expect(whyOf(await source.poll(oid))).to.match(/^blocked: .*HEAD names a branch that does not exist/);
    expect(okOf(await source.files(oid)).files).to.have.length(1);

    const modern = await makeRepository(['--object-format=sha256']);
    await modern.push({ 'services/a.toml': DEFINITION });
    const modernHost = await serveGit(modern.root);
    const data = join(modern.root, 'data');
    expect(whyOf(await openTestSource([modernHost.url], data).source.poll())).to.match(/^blocked: .*SHA-256/);
    expect(whyOf(await openTestSource([modern.bare], data).source.poll())).to.match(/^blocked: .*SHA-256/);
    await modernHost.close();
    await modern.close();
  });

  it('takes no login page and no redirect for git, and shows no body (G27)', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const { source } = open();
    okOf(await source.poll());
    const answers: [number, Record<string, string>, RegExp][] = [
      [200, { 'content-type': 'text/html' }, /a web page instead of git data/],
      [203, { 'content-type': 'text/html' }, /refuses our credentials/],
      [
        302,
        { location: 'https://elsewhere.example/login?token=body-canary' },
        /redirects to elsewhere\.example; /,
      ],
      [404, {}, /no repository here/],
      [500, {}, /HTTP 500/],
      [429, {}, /HTTP 429/],
    ];
    for (const [status, headers, pattern] of answers) {
      host.intercept = (_req, res) => {
        res.writeHead(status, headers).end('<html>body-canary</html>');
        return true;
      };
      const result = await source.poll(oid);
      expect(whyOf(result)).to.match(pattern);
      expect(JSON.stringify(result)).not.to.contain('body-canary');
      expect(okOf(await source.files(oid)).files).to.have.length(1);
    }
    host.intercept = undefined;
    expect(okOf(await source.poll(oid)).changed).to.equal(false);
  });

  it('survives truncated, flipped, stalled and dropped packs, and the next good fetch works (G25)', async () => {
    let accepted = await repository.push({ 'services/a.toml': DEFINITION.repeat(50) });
    const { source } = open({ deadlineMs: 1_500 });
    okOf(await source.poll());
    type Fault = (body: Buffer, at: number) => Buffer;
    const faults: Record<string, Fault> = {
      truncated: (body, at) => body.subarray(0, at),
      flipped: (body, at) => {
        const copy = Buffer.from(body);
        copy[at] = (copy[at] ?? 0) ^ 0x10;
        return copy;
      },
    };
    let failed = 0;
    for (const [name, fault] of Object.entries(faults)) {
      for (const share of [0.02, 0.3, 0.6, 0.97]) {
        const next = await repository.push({
          'services/a.toml': `${name} ${share}\n`,
          [`services/${name}${share}.toml`]: 'x',
        });
        host.change = (req, body) =>
          req.url?.endsWith('/git-upload-pack') === true && body.includes('PACK')
            ? fault(body, Math.floor(body.length * share))
            : body;
        const result: Outcome<SourceState> = await source.poll(accepted);
        if (result.kind === 'ok') expect(result.value.commit.oid).to.equal(next);
        else {
          failed += 1;
          expect(result.kind).to.equal('retry');
        }
        expect(okOf(await source.files(accepted)).files.length).to.be.greaterThan(0);
        host.change = undefined;
        expect(okOf(await source.poll(accepted)).commit.oid).to.equal(next);
        expect(okOf(await source.files(next)).refused).to.deep.equal([]);
        accepted = next;
      }
    }
    expect(failed).to.be.greaterThan(4);

    for (const stall of [true, false]) {
      const next = await repository.push({ 'services/a.toml': `stall ${stall}\n` });
      host.intercept = (req, res) => {
        if (!(req.url ?? '').endsWith('/git-upload-pack') || req.headers['git-protocol'] !== undefined)
          return false;
        res.writeHead(200, { 'content-type': 'application/x-git-upload-pack-result' });
        res.write('0008NAK\n');
        if (!stall) setImmediate(() => res.destroy());
        return true;
      };
      expect(whyOf(await source.poll(accepted))).to.match(
        stall ? /^retry: .*within 1500 ms/ : /^retry: .*broke the exchange off/,
      );
      host.intercept = undefined;
      expect(okOf(await source.poll(accepted)).commit.oid).to.equal(next);
      accepted = next;
    }
  });

  it('makes a damaged mirror anew by itself (G29)', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const damages: ((gitdir: string) => Promise<unknown>)[] = [
      (gitdir) => rm(join(gitdir, 'objects'), { recursive: true }),
      (gitdir) => rm(join(gitdir, 'HEAD')),
      (gitdir) => writeFile(join(gitdir, 'refs/mc/have'), 'garbage'),
      async (gitdir) => {
        const { stdout } = await promisify(execFile)('find', [gitdir, '-name', '*.pack']);
        await writeFile(stdout.trim(), 'PACK, but not really');
      },
      async (gitdir) => {
        const { stdout } = await promisify(execFile)('find', [gitdir, '-name', '*.idx']);
        await writeFile(stdout.trim(), '');
      },
    ];
    const { source, again, settings } = open();
    okOf(await source.poll());
    for (const damage of damages) {
      const { stdout } = await promisify(execFile)('find', [
        settings.dataDir,
        '-maxdepth',
        '3',
        '-name',
        'g-*',
      ]);
      await damage(stdout.trim());
      const restarted = again();
      // At most two passes: one that meets the damage, one that has mended it.
      for (let pass = 1; pass <= 2; pass += 1) {
        await restarted.poll(oid);
        const read = await restarted.files(oid);
        if (read.kind === 'ok') break;
        expect(pass, read.why).to.equal(1);
      }
    }
  });

  it('waits for a server that is silent for 6 s (G30), and not longer than the deadline', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const slow = open();
    okOf(await slow.source.poll());
    host.intercept = () => new Promise((done) => setTimeout(() => done(false), 6_000));
    const started = Date.now();
    expect(okOf(await slow.source.poll(oid)).changed).to.equal(false);
    expect(Date.now() - started).to.be.greaterThan(5_900);
    const hasty = openTestSource([host.url], join(repository.root, 'data3'), { deadlineMs: 300 });
    expect(whyOf(await hasty.source.poll())).to.match(/^retry: .*within 300 ms/);
  });

  it('reports symbolic links, submodules, unsafe names and what is too large, and reads the rest (G44)', async () => {
    await repository.push({ 'services/good.toml': DEFINITION, 'services/large.toml': 'x'.repeat(2_000) });
    await symlink('/etc/passwd', join(repository.work, 'services/link.toml'));
    await symlink('/etc', join(repository.work, 'services/folder'));
    await repository.git('add', '-A');
    await repository.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},services/module`);
    const tree = await repository.git('write-tree');
    const evil = await repository.tree(tree, 'services', ['..', '.git', 'a\\b.toml']);
    const oid = await repository.git('commit-tree', evil, '-m', 'evil');
    await repository.git('push', '--quiet', '--force', 'origin', `${oid}:main`);
    const { source } = open({ maxFileBytes: 1_000 });
    okOf(await source.poll());
    const { files, refused } = okOf(await source.files(oid));
    expect(files.map(({ path }) => path)).to.deep.equal(['services/good.toml']);
    expect(refused.map(({ path, why }) => `${path}: ${why.slice(0, 24)}`)).to.deep.equal([
      'services/..: the name is empty or a d',
      'services/.git: the name is .git',
      'services/a\\b.toml: the name has a slash or ',
      'services/folder: it is a symbolic link; d',
      'services/large.toml: it has 2000 bytes, more ',
      'services/link.toml: it is a symbolic link; d',
      'services/module: it is a submodule; defin',
    ]);
  });

  it('keeps the caps at the limit and one above (G46)', async () => {
    const oid = await repository.push({
      'services/a.toml': 'x'.repeat(100),
      'services/b.toml': 'y'.repeat(100),
    });
    const limits: [object, RegExp | undefined][] = [
      [{ maxFiles: 2, maxFileBytes: 100, maxTotalBytes: 200 }, undefined],
      [{ maxFiles: 1 }, /^blocked: .*more than/],
      [{ maxTotalBytes: 199 }, /^blocked: .*more than 199 bytes together/],
    ];
    for (const [changes, pattern] of limits) {
      const { source } = open(changes);
      okOf(await source.poll());
      const read = await source.files(oid);
      if (pattern === undefined) expect(okOf(read).files).to.have.length(2);
      else expect(whyOf(read)).to.match(pattern);
    }
    const capped = openTestSource([host.url], join(repository.root, 'data4'), { maxPackBytes: 50 });
    expect(whyOf(await capped.source.poll())).to.match(/^retry: .*sent more than 50 bytes/);
  });

  it('says when the data directory cannot be made or written', async () => {
    await repository.push({ 'services/a.toml': DEFINITION });
    await writeFile(join(repository.root, 'blocker'), '');
    const { source } = openTestSource([host.url], join(repository.root, 'blocker', 'data'));
    expect(whyOf(await source.poll())).to.match(/^retry: .*\(ENOTDIR\)/);
    expect(source.health().reachable).to.equal(false);
  });

  it('takes the second url while the first is down, but not when it only lags behind', async () => {
    const oid = await repository.push({ 'services/a.toml': DEFINITION });
    const lag = join(repository.root, 'lag.git');
    await repository.git('clone', '--quiet', '--bare', repository.bare, lag);
    const next = await repository.push({ 'services/a.toml': 'two\n' });
    const { source } = openTestSource([host.url, lag], join(repository.root, 'data'));
    expect(okOf(await source.poll(oid)).commit.oid).to.equal(next);
    await host.close();
    expect(whyOf(await source.poll(next))).to.match(/^retry: .*this fallback lags behind/);
    await repository.git('push', '--quiet', lag, 'HEAD:main');
    expect(okOf(await source.poll(next))).to.deep.include({ changed: false, url: lag });
    await repository.git('commit', '--quiet', '--allow-empty', '-m', 'break-glass');
    await repository.git('push', '--quiet', lag, 'HEAD:main');
    expect(okOf(await source.poll(next)).changed).to.equal(true);
    host = await serveGit(repository.root);
  });

  it('makes the mirror anew when fetches have left too many packs, and loses no accepted commit (G26)', async () => {
    await repository.push({ 'services/a.toml': '0\n' });
    const dir = join(repository.root, 'packs');
    const mirror = openMirror({ dir, url: host.url, deadlineMs: 20_000, maxPackBytes: 1 << 24, maxPacks: 3 });
    const packs = async (): Promise<number> => {
      const { stdout } = await promisify(execFile)('find', [dir, '-name', '*.pack']);
      return stdout.trim().split('\n').length;
    };
    let accepted = '';
    const counts: number[] = [];
    for (let i = 1; i <= 6; i += 1) {
      accepted = await repository.push({ 'services/a.toml': `${i}\n` });
      expect(okOf(await mirror.update(accepted)).oid).to.equal(accepted);
      counts.push(await packs());
    }
    expect(counts).to.deep.equal([1, 2, 3, 4, 1, 2]);
    // After a force-push only the old copy has the accepted commit: then it is not tidied away, nor tried each time.
    const requests: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      await repository.git('checkout', '--quiet', '--orphan', `o${i}`);
      const head = await repository.push({ 'services/a.toml': `o${i}\n` });
      const before = host.requests.length;
      expect(okOf(await mirror.update(accepted)).oid).to.equal(head);
      requests.push(host.requests.length - before);
      expect(await mirror.has(accepted)).to.equal(true);
    }
    expect(requests).to.deep.equal([3, 3, 5, 3, 3]);
  });
});
