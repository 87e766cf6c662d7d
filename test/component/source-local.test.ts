import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { closeHttp } from '../../src/base/http.ts';
import { openMirror } from '../../src/base/git/mirror.ts';
import { until } from '../support/until.ts';
import { git, makeRepository, openTestSource, serveGit, type Repository } from './source-support.ts';

describe('source on the local disk', () => {
  let repository: Repository;
  beforeEach(async () => {
    repository = await makeRepository();
  });
  afterEach(() => repository.close());

  const data = (): string => join(repository.root, 'data');

  it('reads a bare repository, a work tree and a file:// address, and copies nothing', async () => {
    const oid = await repository.push({ 'services/a.toml': 'a\n' });
    const linked = join(repository.root, 'linked');
    await repository.git('worktree', 'add', '--quiet', '-b', 'side', linked);
    for (const url of [
      repository.bare,
      `file://${repository.bare}`,
      repository.work,
      join(repository.work, '.git'),
    ]) {
      const { source } = openTestSource([url], data());
      const state = await source.poll();
      expect(state).to.have.nested.property('value.commit.oid', oid);
      expect(await source.files(oid)).to.have.nested.property('value.files.length', 1);
    }
    expect(await openTestSource([linked], data(), { branch: 'side' }).source.poll()).to.have.property(
      'kind',
      'ok',
    );
    expect(await git(repository.root, 'init', '--quiet', 'check')).to.equal('');
    const { existsSync } = await import('node:fs');
    expect(existsSync(data())).to.equal(false);
  });

  it('L02 gives what is in force also when the repository is gone and the agent was restarted; damaged bytes are not believed', async () => {
    const first = await repository.push({ 'services/a.toml': 'good\n' });
    const { source } = openTestSource([repository.bare], data());
    const before = await source.files(first);
    const lastGood = before.kind === 'ok' ? (before.value.files[0]?.oid ?? '') : '';
    const oid = await repository.push({ 'services/a.toml': 'bad\n', 'services/b.toml': 'b\n' });
    const inForce = await source.files(oid);
    await source.keep(oid, [lastGood]);
    const kept = join(data(), 'in-force.json');
    const { mode, ino } = await stat(kept);
    expect(mode & 0o777).to.equal(0o600);
    await source.keep(oid, [lastGood]);
    expect((await stat(kept)).ino, 'written once').to.equal(ino);

    await rename(repository.bare, `${repository.bare}.gone`);
    const { source: restarted } = openTestSource([repository.bare], data());
    expect(await restarted.files(oid)).to.deep.equal(inForce);
    expect(await restarted.readFile(lastGood)).to.deep.equal({ kind: 'ok', value: Buffer.from('good\n') });
    expect(await restarted.files(first)).to.have.property('kind', 'retry');

    const text = await readFile(kept, 'utf8');
    await writeFile(
      kept,
      text.replace(Buffer.from('b\n').toString('base64'), Buffer.from('x\n').toString('base64')),
    );
    const { source: damaged } = openTestSource([repository.bare], data());
    expect(await damaged.files(oid)).to.have.property('kind', 'retry');
  });

  it('sees a push at once', async () => {
    const first = await repository.push({ 'services/a.toml': 'a\n' });
    const { source } = openTestSource([repository.bare], data());
    await source.poll();
    let signals = 0;
    const watch = await source.watch(() => (signals += 1));
    try {
      const next = await repository.push({ 'services/a.toml': 'b\n' });
      await until('the signal of a push', () => signals > 0, 5_000);
      expect(await source.poll(first)).to.have.nested.property('value.commit.oid', next);
      await git(repository.bare, 'pack-refs', '--all');
      signals = 0;
      const packed = await repository.push({ 'services/a.toml': 'c\n' });
      await until('the signal of a push after pack-refs', () => signals > 0, 5_000);
      expect(await source.poll(next)).to.have.nested.property('value.commit.oid', packed);
    } finally {
      await watch.close();
    }
  });

  it('reads on while git gc moves everything below it', async () => {
    let accepted = await repository.push({ 'services/a.toml': 'a\n', 'services/b.toml': 'b\n' });
    const { source, again } = openTestSource([repository.bare], data());
    await source.poll();
    for (let i = 0; i < 4; i += 1) {
      const next = await repository.push({ 'services/a.toml': `${i}\n` });
      const collecting = git(repository.bare, 'gc', '--quiet', '--prune=now');
      for (let read = 0; read < 20; read += 1) {
        const reader = read % 2 === 0 ? source : again();
        expect(await reader.poll(accepted)).to.have.nested.property('value.commit.oid', next);
        expect(await reader.files(next)).to.have.nested.property('value.files.length', 2);
      }
      await collecting;
      expect(await source.poll(accepted)).to.have.property('kind', 'ok');
      accepted = next;
    }
  });

  it('says what is wrong with a folder that is gone, is no repository, or borrows its objects', async () => {
    const oid = await repository.push({ 'services/a.toml': 'a\n' });
    const { source } = openTestSource([repository.bare], data());
    await source.poll();
    await source.files(oid);
    await rename(repository.bare, `${repository.bare}.away`);
    expect(await source.poll(oid))
      .to.include({ kind: 'retry' })
      .and.have.property('why')
      .that.contains('does not exist');
    expect(source.health().reachable).to.equal(false);
    expect(await source.files(oid)).to.have.property('kind', 'ok');
    await rename(`${repository.bare}.away`, repository.bare);
    expect(await source.poll(oid)).to.have.property('kind', 'ok');
    expect(await openTestSource(['/etc'], data()).source.poll()).to.have.property('kind', 'blocked');
    await writeFile(join(repository.bare, 'objects/info/alternates'), '/somewhere\n');
    expect(await source.poll(oid))
      .to.have.property('why')
      .that.contains('alternates');
    await rm(join(repository.bare, 'objects/info/alternates'));
    for (const url of [
      'ext::sh -c id',
      '--upload-pack=id',
      'relative/path',
      'git@-oProxyCommand:x',
      'ssh://-x/y',
      'https://',
    ]) {
      expect(await openTestSource([url], data()).source.poll()).to.have.property('kind', 'blocked');
    }
    expect(
      await openTestSource([repository.bare], data(), { branch: '../x' }).source.poll(),
    ).to.have.property('kind', 'blocked');
  });

  it('reads the folder that the settings name, and reports one that is gone or is no folder (L31)', async () => {
    const oid = await repository.push({
      'infra/prod/services/a.toml': 'a\n',
      'services/b.toml': 'b\n',
      file: 'x',
    });
    const read = async (path: string): Promise<[string[], string[]]> => {
      const { source } = openTestSource([repository.bare], data(), { path });
      await source.poll();
      const result = await source.files(oid);
      if (result.kind !== 'ok') throw new Error(result.why);
      return [
        result.value.files.map((file) => file.path),
        result.value.refused.map(({ path: at, why }) => `${at}: ${why}`),
      ];
    };
    for (const path of ['infra/prod', '/infra/prod/']) {
      expect(await read(path)).to.deep.equal([['infra/prod/services/a.toml'], []]);
    }
    expect((await read('infra/test'))[1][0]).to.match(/^infra\/test: .*the commit does not have it/);
    expect((await read('file'))[1][0]).to.match(/^file: .*it is no folder/);
  });

  it('is not drowned by folders in folders, or by the same folder a million times (G44)', async () => {
    await repository.push({ 'services/good.toml': 'x' });
    const mktree = async (lines: string): Promise<string> => repository.gitInput(['mktree'], lines);
    let tree = await repository.git('rev-parse', 'HEAD:services');
    for (let depth = 0; depth < 40; depth += 1) tree = await mktree(`040000 tree ${tree}\tdeep\n`);
    const deep = await repository.git(
      'commit-tree',
      await mktree(`040000 tree ${tree}\tservices\n`),
      '-m',
      'deep',
    );
    let wide = await repository.git('rev-parse', 'HEAD:services');
    for (let level = 0; level < 4; level += 1) {
      wide = await mktree(
        Array.from({ length: 50 }, (_unused, i) => `040000 tree ${wide}\tf${i}\n`).join(''),
      );
    }
    const flood = await repository.git(
      'commit-tree',
      await mktree(`040000 tree ${wide}\tservices\n`),
      '-m',
      'wide',
    );
    await repository.git(
      'push',
      '--quiet',
      '--force',
      'origin',
      `${deep}:refs/heads/deep`,
      `${flood}:refs/heads/flood`,
    );
    const one = openTestSource([repository.bare], data(), { branch: 'deep' }).source;
    await one.poll();
    expect(await one.files(deep))
      .to.have.nested.property('value.refused[0].why')
      .that.contains('deeper than 32');
    const two = openTestSource([repository.bare], data(), { branch: 'flood', maxFiles: 1_000 }).source;
    await two.poll();
    expect(await two.files(flood))
      .to.have.property('why')
      .that.contains('more than 2000 files');
  });

  it('resolves a tag to its commit, annotated or not, and tells when there is none', async () => {
    const oid = await repository.push({ Dockerfile: 'FROM scratch\n', 'cmd/main.go': 'package main\n' });
    await repository.git('tag', 'v1.0.0');
    await repository.git('tag', '-a', 'v1.1.0', '-m', 'one');
    const mirror = openMirror({
      dir: data(),
      url: repository.work,
      deadlineMs: 5_000,
      maxPackBytes: 1 << 20,
    });
    expect(await mirror.resolveTag('v1.0.0')).to.deep.equal({
      kind: 'ok',
      value: { tag: oid, commit: oid, fresh: true },
    });
    const annotated = await mirror.resolveTag('v1.1.0');
    expect(annotated).to.have.nested.property('value.commit', oid);
    expect(annotated).to.have.nested.property('value.tag', await repository.git('rev-parse', 'v1.1.0'));
    expect(await mirror.resolveTag('v9.9.9')).to.deep.equal({ kind: 'ok', value: undefined });
    expect(await mirror.resolveTag('../v1')).to.have.property('kind', 'blocked');
    const tree = await mirror.readTree(oid, '', { maxEntries: 100 });
    expect(tree).to.have.nested.property('value[0].path', 'Dockerfile');
    expect(tree).to.have.nested.property('value[1].path', 'cmd/main.go');
  });
});

describe('tags of a remote source repository', () => {
  it('brings one tag without the history, later ones on top, and knows them while the server is down (L02, L19)', async () => {
    const repository = await makeRepository();
    const host = await serveGit(repository.root);
    try {
      await repository.push({ 'large.bin': 'x'.repeat(50_000), Dockerfile: 'FROM scratch\n' }, 'old');
      const one = await repository.push({ 'large.bin': 'y', Dockerfile: 'FROM scratch\nCOPY a /\n' });
      await repository.git('tag', '-a', 'v1.0.0', '-m', 'one');
      const two = await repository.push({ Dockerfile: 'FROM scratch\nCOPY b /\n' });
      await repository.git('tag', 'v1.1.0');
      await repository.git('push', '--quiet', '--tags', 'origin');
      const dir = join(repository.root, 'tags');
      const mirror = openMirror({ dir, url: host.url, deadlineMs: 5_000, maxPackBytes: 1 << 20 });
      const tag = await repository.git('rev-parse', 'v1.0.0');
      expect(await mirror.resolveTag('v1.0.0')).to.deep.equal({
        kind: 'ok',
        value: { tag, commit: one, fresh: true },
      });
      expect(await mirror.has(await repository.git('rev-parse', 'HEAD~2:large.bin'))).to.equal(false);
      expect(await mirror.resolveTag('v1.1.0')).to.deep.equal({
        kind: 'ok',
        value: { tag: two, commit: two, fresh: true },
      });
      const before = host.requests.length;
      expect(await mirror.resolveTag('v1.0.0')).to.have.nested.property('value.commit', one);
      expect(host.requests.length - before).to.equal(1);
      expect(await mirror.resolveTag('v2.0.0')).to.deep.equal({ kind: 'ok', value: undefined });
      const blob = await repository.git('rev-parse', 'v1.1.0:Dockerfile');
      expect(await mirror.readBlob(blob, 100)).to.have.property('kind', 'ok');
      await host.close();
      const restarted = openMirror({ dir, url: host.url, deadlineMs: 5_000, maxPackBytes: 1 << 20 });
      expect(await restarted.resolveTag('v1.0.0')).to.deep.equal({
        kind: 'ok',
        value: { tag, commit: one, fresh: false },
      });
      expect(await restarted.resolveTag('v3.0.0')).to.have.property('kind', 'retry');
    } finally {
      await closeHttp();
      await repository.close();
    }
  });
});
