import { randomBytes } from 'node:crypto';
import { rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { run } from '../../src/demo/process.ts';
import type { Images } from '../../src/node/images/images.ts';
import { until } from '../support/until.ts';
import { DOCKERFILE, ENGINES, imagesRig, okOf } from './images.kit.ts';

for (const { name, start } of ENGINES) {
  describe(`images on ${name}`, () => {
    const rig = imagesRig(start);

    it('builds from the tag and not from the work tree, with VERSION, and nothing of a dirty tree gets in (L19)', async () => {
      const directory = await rig.source({ 'src/changed': 'as tagged' });
      await rig.write(directory, { 'src/changed': 'DIRTY', 'src/untracked': 'DIRTY' });
      await rig.write(directory, { 'src/staged': 'DIRTY' });
      await rig.git(directory, 'add', 'src/staged');
      await rm(join(directory, 'busybox'));
      const images = rig.open();
      const image = rig.wanted();
      expect((await rig.look(images, image)).kind).to.equal('absent');
      const state = await rig.build(images, image);
      expect(state.kind, JSON.stringify(state)).to.equal('present');
      const log = images.buildLog(image.reference);
      expect(log.filter((line) => line.startsWith('there: '))).to.deep.equal([
        'there: /src/changed',
        'there: /src/kept',
      ]);
      expect(log).to.include('version: v1.0.0');
      const labels = JSON.parse(
        (
          await run('docker', [
            ...['-H', `unix://${rig.machine.socketPath}`, 'image', 'inspect'],
            ...['--format', '{{json .Config.Labels}}', image.reference],
          ])
        ).stdout,
      ) as Record<string, string>;
      expect(labels['org.opencontainers.image.version']).to.equal('v1.0.0');
      expect(labels['org.opencontainers.image.created']).to.equal('2026-01-02T03:04:05Z');
      expect(labels['org.opencontainers.image.revision']).to.match(/^[0-9a-f]{40}$/);
    });

    it('a git tag without the leading v is found too; a missing tag, repository or Dockerfile is named (L19)', async () => {
      await rig.source({}, '1.0.0');
      const images = rig.open();
      expect((await rig.build(images, rig.wanted())).kind).to.equal('present');
      const missing = await rig.failureOf(images, rig.wanted('hello', 'v9.9.9'));
      expect(missing)
        .to.contain(`Dockerfile of git tag v9.9.9 of ${rig.workspace}/hello`)
        .and.contain('no such tag');
      for (const [dockerfile, path, why] of [
        ['Dockerfile.api', 'hello', 'git tag 1.0.0 of hello has no Dockerfile Dockerfile.api'],
        ['../Dockerfile', 'hello', 'lies outside of the repository'],
        ['Dockerfile', 'none', 'but there is no such repository'],
        ['Dockerfile', '../etc', 'leaves the workspace'],
        ['Dockerfile', 'link', 'outside of the workspace'],
      ] as const) {
        if (path === 'link') await symlink(tmpdir(), join(rig.workspace, 'link'));
        const image = rig.wanted(`odd-${randomBytes(3).toString('hex')}`);
        okOf(images.startBuild({ image, dockerfile, path, service: 'hello' }));
        const state = await rig.ended(images, image);
        expect(state.kind === 'failed' ? state.why : '').to.contain(why);
      }
    });

    it('a Dockerfile that breaks a rule is not built, with file and line; silenced, it is; a later agent finds the warnings again (L18)', async () => {
      await rig.source({ Dockerfile: `${DOCKERFILE}USER 1000\nENTRYPOINT sh\n` });
      const images = rig.open();
      const image = rig.wanted('linted');
      expect(await rig.failureOf(images, image)).to.equal(
        'hello@v1.0.0:Dockerfile:8: USER 1000 [dockerfile/user]',
      );
      const recipe = {
        dockerfile: 'Dockerfile',
        path: 'hello',
        service: 'hello',
        silenced: ['dockerfile/user'],
      };
      const findings = async (of: Images): Promise<string[]> =>
        ((await of.observe([{ image, build: true, recipe }])).findings[image.reference] ?? []).map(
          ({ rule, line }) => `${rule}:${line}`,
        );
      const other = rig.open();
      okOf(other.startBuild({ image, ...recipe }));
      expect((await rig.ended(other, image)).kind).to.equal('present');
      expect(await findings(other)).to.deep.equal(['dockerfile/entrypoint:9']);
      let signals = 0;
      const later = rig.open({}, {}, { onSignal: () => (signals += 1) });
      expect(await findings(later)).to.deep.equal([]);
      await until('the findings to be signalled', () => signals > 0);
      expect(await findings(later)).to.deep.equal(['dockerfile/entrypoint:9']);
    });

    it('.dockerignore is honoured, upper and lower case told apart', async () => {
      await rig.source({
        '.dockerignore': '**/*.log\nsrc/secret\n!src/important.log\nsrc/KEPT\n',
        'src/a.log': 'x',
        'src/important.log': 'x',
        'src/secret': 'x',
      });
      const images = rig.open();
      const image = rig.wanted('ignore');
      const state = await rig.build(images, image);
      expect(state.kind, JSON.stringify(state)).to.equal('present');
      expect(images.buildLog(image.reference).filter((line) => line.startsWith('there: '))).to.deep.equal([
        'there: /src/important.log',
        'there: /src/kept',
      ]);
    });

    it('a failed build keeps its log, says the step, and is tried again after a growing wait', async () => {
      await rig.source({ Dockerfile: `${DOCKERFILE}RUN echo about-to-fail; exit 7\n` });
      const images = rig.open({}, {}, { retryMs: { first: 200, longest: 5_000 } });
      const image = rig.wanted('failing');
      const first = await rig.build(images, image);
      if (first.kind !== 'failed') throw new Error(JSON.stringify(first));
      expect(first.why)
        .to.match(/^build of .* failed at step \d+ of \d+: /)
        .and.contain('7');
      // At least as long as it ran.
      expect(first.retryAt - first.at).to.be.at.least(200);
      expect(images.buildLog(image.reference)).to.include('about-to-fail');
      await until('the wait to be over', async () => (await rig.look(images, image)).kind === 'absent');
      const second = await rig.build(images, image);
      expect(second.kind === 'failed' ? second.retryAt - second.at : 0).to.be.at.least(400);
      expect(okOf(await rig.engine.inspectImage(image.reference))).to.equal(undefined);
    });

    it('a rebuild gives the same image id while the builder remembers its steps; of a tag that was moved in git nothing is built (L19)', async () => {
      // Bytes of its own: Podman takes any image with equal steps for its memory, and several may match.
      await rig.source({ 'src/again': rig.unique });
      const images = rig.open();
      const image = rig.wanted('again');
      const first = await rig.build(images, image);
      const keep = rig.wanted('again', 'v1.0.0-keep');
      okOf(await rig.engine.tagImage(image.reference, keep.reference));
      await rig.remove(images, image.reference);
      const second = await rig.build(images, image);
      expect(second).to.deep.equal(first);
      // Somebody moves the tag: nothing is built under the name any more, until it is moved back.
      if (first.kind !== 'present' || first.revision === undefined) throw new Error(JSON.stringify(first));
      await rig.remove(images, image.reference);
      await rig.git(`${rig.workspace}/hello`, 'tag', '-d', 'v1.0.0');
      await rig.commit({ 'src/again': 'other bytes' }, 'v1.0.0');
      const order = { image, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' };
      okOf(images.startBuild({ ...order, revision: first.revision }));
      const moved = await rig.ended(images, image);
      expect(moved).to.include({ kind: 'failed', moved: true });
      expect(moved.kind === 'failed' && moved.why)
        .to.contain(`was built from commit ${first.revision.slice(0, 12)}`)
        .and.contain('[image/tag-moved]');
      expect(okOf(await rig.engine.inspectImage(image.reference)), 'nothing has the name').to.equal(
        undefined,
      );
    });

    it('what a symbolic link, a submodule or Git LFS leaves out is named, nothing is built', async () => {
      const directory = await rig.source({
        'src/big.bin': 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n',
      });
      const images = rig.open();
      expect(await rig.failureOf(images, rig.wanted('lfs'))).to.match(
        /src\/big\.bin of git tag v1\.0\.0 of hello is a pointer to Git LFS/,
      );
      await symlink('/etc/passwd', join(directory, 'src/out'));
      await rig.git(directory, 'add', '-A');
      await rig.git(directory, 'commit', '-q', '-m', 'link');
      await rig.git(directory, 'tag', 'v1.1.0');
      expect(await rig.failureOf(images, rig.wanted('link', 'v1.1.0'))).to.match(
        /symbolic links that leave it: "src\/out"/,
      );
      await rig.git(directory, 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},lib`);
      await rig.git(directory, 'commit', '-q', '-m', 'module');
      await rig.git(directory, 'tag', 'v1.2.0');
      expect(await rig.failureOf(images, rig.wanted('module', 'v1.2.0'))).to.match(/submodules, .*: "lib"/);
    });
  });
}
