import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { lintDockerfile } from '../../src/definitions/dockerfile/lint.ts';
import { endProcesses, findProcesses, procFile } from '../../src/demo/leftovers.ts';
import { run } from '../../src/demo/process.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { RegistryEntry } from '../../src/node/images/endpoint.ts';
import { workspaceSources } from '../../src/node/images/source.ts';
import { openImages, type Images, type ImagesOptions } from '../../src/node/images/images.ts';
import type { ImageState } from '../../src/node/types.ts';
import { startDocker, startPodman, type TestEngine } from '../support/engines.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';
import { imageRef } from '../unit/node/images-support.ts';

const DOCKERFILE = `FROM scratch
ARG VERSION
COPY busybox /bin/sh
COPY src /src
ENV VERSION=$VERSION
RUN for f in $(/bin/sh -c 'echo /src/*'); do echo "there: $f"; done; echo "version: $VERSION"
CMD ["/bin/sh"]
`;
const GIT_ENV = { GIT_AUTHOR_DATE: '2026-01-02T03:04:05Z', GIT_COMMITTER_DATE: '2026-01-02T03:04:05Z' };

function okOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

for (const { name, start } of [
  { name: 'docker', start: startDocker },
  { name: 'podman', start: startPodman },
] as const) {
  describe(`images on ${name}`, () => {
    let machine: TestEngine;
    let engine: Engine;
    let workspace: string;
    let opened: Images[];
    const made = new Set<string>();
    const unique = `mcgit-${randomBytes(4).toString('hex')}`;

    before(async () => {
      machine = await start();
      engine = okOf(
        await openEngine({
          socket: machine.socketPath,
          owner: `test/${unique}`,
          callDeadlineMs: 30_000,
          log: makeLog('silent'),
        }),
      );
    });
    after(async () => {
      await endProcesses(steps);
      for (const reference of made) await engine.removeImage(reference);
      engine.close();
    });
    beforeEach(async () => {
      workspace = await mkdtemp(join(tmpdir(), 'mc-workspace-'));
      opened = [];
    });
    afterEach(async () => {
      await Promise.all(opened.map((images) => images.stop()));
      await rm(workspace, { recursive: true, force: true });
    });

    const steps = (): number[] => findProcesses((pid) => procFile(pid, 'cmdline').includes(unique));
    const open = (
      registries: Record<string, RegistryEntry> = {},
      build: Partial<ImagesOptions['build']> = {},
      more: Partial<ImagesOptions> = {},
    ): Images => {
      const images = openImages({
        engine,
        registries,
        build: {
          concurrency: 1,
          timeoutMs: 60_000,
          maxContextBytes: 64 << 20,
          maxFiles: 1_000,
          maxLogBytes: 1 << 20,
          ...build,
        },
        sources: workspaceSources(workspace),
        lint: lintDockerfile,
        clock: systemClock,
        log: makeLog('silent'),
        onSignal: () => undefined,
        ...more,
      });
      opened.push(images);
      return images;
    };
    const git = (directory: string, ...args: string[]): Promise<unknown> =>
      run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args], {
        env: { PATH: process.env['PATH'], HOME: workspace, ...GIT_ENV },
      });
    const write = async (directory: string, files: Record<string, string>): Promise<void> => {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(directory, path)), { recursive: true });
        await writeFile(join(directory, path), content);
      }
    };
    /** A source repository in the workspace with busybox and these files, tagged. */
    const source = async (
      files: Record<string, string> = {},
      tag = 'v1.0.0',
      path = 'hello',
    ): Promise<string> => {
      const directory = join(workspace, path);
      await mkdir(directory);
      await git(directory, 'init', '-q', '-b', 'main');
      await copyFile('/bin/busybox', join(directory, 'busybox'));
      await write(directory, { Dockerfile: DOCKERFILE, 'src/kept': 'kept', ...files });
      await git(directory, 'add', '-A');
      await git(directory, 'commit', '-q', '-m', 'first');
      await git(directory, 'tag', '-a', tag, '-m', tag);
      return directory;
    };
    const commit = async (files: Record<string, string>, tag: string): Promise<void> => {
      const directory = join(workspace, 'hello');
      await write(directory, files);
      await git(directory, 'add', '-A');
      await git(directory, 'commit', '-q', '-m', tag);
      await git(directory, 'tag', '-a', tag, '-m', tag);
    };
    const wanted = (repository = 'hello', tag = 'v1.0.0', host?: string): ReturnType<typeof imageRef> => {
      const ref = imageRef(host, `${unique}/${repository}`, tag);
      made.add(ref.reference);
      return ref;
    };
    const look = async (
      images: Images,
      image: ReturnType<typeof imageRef>,
      build = true,
    ): Promise<ImageState> => {
      const state = (await images.observe([{ image, build }])).images[image.reference];
      if (state === undefined) throw new Error('not observed');
      return state;
    };
    const pushOf = async (images: Images, image: ReturnType<typeof imageRef>): Promise<string | undefined> =>
      (await images.observe([{ image, build: true }])).pushes[image.reference]?.kind;
    const ended = (images: Images, image: ReturnType<typeof imageRef>): Promise<ImageState> =>
      until(
        'the job to end',
        async () => {
          const state = await look(images, image);
          return state.kind === 'building' || state.kind === 'pulling' ? undefined : state;
        },
        60_000,
      );
    const build = async (images: Images, image: ReturnType<typeof imageRef>): Promise<ImageState> => {
      okOf(images.startBuild({ image, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      return ended(images, image);
    };
    const failureOf = async (images: Images, image: ReturnType<typeof imageRef>): Promise<string> => {
      const state = await build(images, image);
      return state.kind === 'failed' ? state.why : JSON.stringify(state);
    };
    const remove = async (images: Images, reference: string): Promise<void> => {
      okOf(await engine.removeImage(reference));
      images.imagesChanged();
    };

    it('builds from the tag and not from the work tree, with VERSION, and nothing of a dirty tree gets in (L19)', async () => {
      const directory = await source({ 'src/changed': 'as tagged' });
      await write(directory, { 'src/changed': 'DIRTY', 'src/untracked': 'DIRTY' });
      await write(directory, { 'src/staged': 'DIRTY' });
      await git(directory, 'add', 'src/staged');
      await rm(join(directory, 'busybox'));
      const images = open();
      const image = wanted();
      expect((await look(images, image)).kind).to.equal('absent');
      const state = await build(images, image);
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
            ...['-H', `unix://${machine.socketPath}`, 'image', 'inspect'],
            ...['--format', '{{json .Config.Labels}}', image.reference],
          ])
        ).stdout,
      ) as Record<string, string>;
      expect(labels['org.opencontainers.image.version']).to.equal('v1.0.0');
      expect(labels['org.opencontainers.image.created']).to.equal('2026-01-02T03:04:05Z');
      expect(labels['org.opencontainers.image.revision']).to.match(/^[0-9a-f]{40}$/);
    });

    it('a git tag without the leading v is found too; a missing tag, repository or Dockerfile is named (L19)', async () => {
      await source({}, '1.0.0');
      const images = open();
      expect((await build(images, wanted())).kind).to.equal('present');
      const missing = await failureOf(images, wanted('hello', 'v9.9.9'));
      expect(missing)
        .to.contain(`Dockerfile of git tag v9.9.9 of ${workspace}/hello`)
        .and.contain('no such tag');
      for (const [dockerfile, path, why] of [
        ['Dockerfile.api', 'hello', 'git tag 1.0.0 of hello has no Dockerfile Dockerfile.api'],
        ['../Dockerfile', 'hello', 'lies outside of the repository'],
        ['Dockerfile', 'none', 'but there is no such repository'],
        ['Dockerfile', '../etc', 'leaves the workspace'],
        ['Dockerfile', 'link', 'outside of the workspace'],
      ] as const) {
        if (path === 'link') await symlink(tmpdir(), join(workspace, 'link'));
        const image = wanted(`odd-${randomBytes(3).toString('hex')}`);
        okOf(images.startBuild({ image, dockerfile, path, service: 'hello' }));
        const state = await ended(images, image);
        expect(state.kind === 'failed' ? state.why : '').to.contain(why);
      }
    });

    it('a Dockerfile that breaks a rule is not built, with file and line; silenced, it is; a later agent finds the warnings again (L18)', async () => {
      await source({ Dockerfile: `${DOCKERFILE}USER 1000\nENTRYPOINT sh\n` });
      const images = open();
      const image = wanted('linted');
      expect(await failureOf(images, image)).to.equal(
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
      const other = open();
      okOf(other.startBuild({ image, ...recipe }));
      expect((await ended(other, image)).kind).to.equal('present');
      expect(await findings(other)).to.deep.equal(['dockerfile/entrypoint:9']);
      let signals = 0;
      const later = open({}, {}, { onSignal: () => (signals += 1) });
      expect(await findings(later)).to.deep.equal([]);
      await until('the findings to be signalled', () => signals > 0);
      expect(await findings(later)).to.deep.equal(['dockerfile/entrypoint:9']);
    });

    it('.dockerignore is honoured, upper and lower case told apart', async () => {
      await source({
        '.dockerignore': '**/*.log\nsrc/secret\n!src/important.log\nsrc/KEPT\n',
        'src/a.log': 'x',
        'src/important.log': 'x',
        'src/secret': 'x',
      });
      const images = open();
      const image = wanted('ignore');
      const state = await build(images, image);
      expect(state.kind, JSON.stringify(state)).to.equal('present');
      expect(images.buildLog(image.reference).filter((line) => line.startsWith('there: '))).to.deep.equal([
        'there: /src/important.log',
        'there: /src/kept',
      ]);
    });

    it('a failed build keeps its log, says the step, and is tried again after a growing wait', async () => {
      await source({ Dockerfile: `${DOCKERFILE}RUN echo about-to-fail; exit 7\n` });
      const images = open({}, {}, { retryMs: { first: 200, longest: 5_000 } });
      const image = wanted('failing');
      const first = await build(images, image);
      if (first.kind !== 'failed') throw new Error(JSON.stringify(first));
      expect(first.why)
        .to.match(/^build of .* failed at step \d+ of \d+: /)
        .and.contain('7');
      expect(first.retryAt - first.at).to.equal(200);
      expect(images.buildLog(image.reference)).to.include('about-to-fail');
      await until('the wait to be over', async () => (await look(images, image)).kind === 'absent');
      const second = await build(images, image);
      expect(second.kind === 'failed' && second.retryAt - second.at).to.equal(400);
      expect(okOf(await engine.inspectImage(image.reference))).to.equal(undefined);
    });

    it('a build at its deadline is ended, and a stop ends one at once', async () => {
      await source({ Dockerfile: `${DOCKERFILE}RUN while :; do : ${unique}; done\n` });
      const images = open({}, { timeoutMs: 3_000 });
      const state = await build(images, wanted('endless'));
      expect(state.kind === 'failed' ? state.why : JSON.stringify(state)).to.match(/deadline of 3 s/);
      const other = open();
      const image = wanted('endless', 'v1.0.0');
      okOf(other.startBuild({ image, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      await until('the endless step', async () => {
        const seen = await look(other, image);
        return seen.kind === 'building' && seen.progress?.startsWith('step 8 of ') === true;
      });
      const begun = performance.now();
      await other.stop();
      expect(performance.now() - begun).to.be.below(2_000);
      if (name === 'docker') await until('the builder to end the step', () => steps().length === 0, 30_000);
      // Podman lets a step that nobody waits for run on: only its client is gone.
      else await endProcesses(steps);
    });

    it('memory, CPU, files and bytes of the context, free disk: each limit is held by a build that exceeds it (L46)', async () => {
      const hungry = 'RUN dd if=/dev/zero of=/dev/null bs=200M count=1 && echo was-not-limited';
      await source({ Dockerfile: `${DOCKERFILE}COPY busybox /bin/dd\n${hungry}\n` });
      const memory = open({}, { memoryBytes: 64 << 20 });
      expect(await failureOf(memory, wanted('memory'))).to.match(/failed at step 9 of \d+: /);
      expect(memory.buildLog(wanted('memory').reference)).to.not.include('was-not-limited');
      expect((await build(open(), wanted('memory'))).kind, 'without the limit').to.equal('present');
      const cpu = 'RUN cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null; true';
      await commit({ Dockerfile: `${DOCKERFILE}COPY busybox /bin/cat\n${cpu}\n` }, 'v1.1.0');
      const slow = open({}, { cpus: 0.5 });
      await build(slow, wanted('cpu', 'v1.1.0'));
      expect(slow.buildLog(wanted('cpu', 'v1.1.0').reference).join('\n')).to.match(/^(50000|50000 100000)$/m);
      expect(await failureOf(open({}, { maxFiles: 1 }), wanted('files'))).to.contain('more than 1');
      expect(await failureOf(open({}, { maxContextBytes: 1_000 }), wanted('bytes'))).to.contain(
        'more than 1000 bytes together',
      );
      const full = open({}, { minFreeBytes: 2 ** 30 }, { freeBytes: async () => 5 << 20 });
      const state = await build(full, wanted('disk'));
      if (state.kind !== 'failed') throw new Error(JSON.stringify(state));
      expect(state.why).to.contain(
        'has 5 MiB free, and a build begins with at least 1024 MiB [disk/shortage]',
      );
      expect(state.retryAt - state.at).to.equal(60_000);
    });

    it('a build that prints without end keeps the last MiB of its log', async () => {
      const lines =
        'RUN i=0; while [ $i -lt 30000 ]; do echo "line $i: some words that fill the log"; i=$((i+1)); done';
      await source({ Dockerfile: `${DOCKERFILE}${lines}\n` });
      const images = open({}, { maxLogBytes: 64 << 10 });
      const image = wanted('chatter');
      expect((await build(images, image)).kind).to.equal('present');
      const log = images.buildLog(image.reference);
      expect(Buffer.byteLength(log.join('\n'))).to.be.below(80 << 10);
      expect(log[0]).to.match(/^… \d+ earlier lines are not kept$/);
      expect(log.join()).to.contain('line 29999');
    });

    it('one build at once: the second waits as "queued"; a second start of the same is refused', async () => {
      await source({ Dockerfile: `${DOCKERFILE}RUN i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done\n` });
      const images = open();
      const [a, b] = [wanted('queue-a'), wanted('queue-b')];
      okOf(images.startBuild({ image: a, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      okOf(images.startBuild({ image: b, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }));
      expect(
        images.startBuild({ image: a, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' }).kind,
      ).to.equal('wait');
      expect(await look(images, b)).to.include({ kind: 'building', progress: 'queued' });
      expect((await ended(images, a)).kind).to.equal('present');
      expect((await ended(images, b)).kind).to.equal('present');
    });

    it('a rebuild gives the same image id while the builder remembers its steps', async () => {
      // Bytes of its own: Podman takes any image with equal steps for its memory, and several may match.
      await source({ 'src/again': unique });
      const images = open();
      const image = wanted('again');
      const first = await build(images, image);
      const keep = wanted('again', 'v1.0.0-keep');
      okOf(await engine.tagImage(image.reference, keep.reference));
      await remove(images, image.reference);
      const second = await build(images, image);
      expect(second).to.deep.equal(first);
    });

    it('what a symbolic link, a submodule or Git LFS leaves out is named, nothing is built', async () => {
      const directory = await source({
        'src/big.bin': 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n',
      });
      const images = open();
      expect(await failureOf(images, wanted('lfs'))).to.match(
        /src\/big\.bin of git tag v1\.0\.0 of hello is a pointer to Git LFS/,
      );
      await symlink('/etc/passwd', join(directory, 'src/out'));
      await git(directory, 'add', '-A');
      await git(directory, 'commit', '-q', '-m', 'link');
      await git(directory, 'tag', 'v1.1.0');
      expect(await failureOf(images, wanted('link', 'v1.1.0'))).to.match(
        /symbolic links that leave it: "src\/out"/,
      );
      await git(directory, 'update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},lib`);
      await git(directory, 'commit', '-q', '-m', 'module');
      await git(directory, 'tag', 'v1.2.0');
      expect(await failureOf(images, wanted('module', 'v1.2.0'))).to.match(/submodules, .*: "lib"/);
    });

    describe('with a registry', () => {
      const registries: TestRegistry[] = [];
      after(() => Promise.all(registries.map((registry) => registry.stop())));

      const entryOf = async (options: {
        auth?: boolean;
        tls?: boolean;
      }): Promise<[TestRegistry, RegistryEntry]> => {
        const registry = await startRegistry(options);
        registries.push(registry);
        const { credentials, caPem } = registry;
        const [credentialsFile, caCert] = [join(workspace, 'account'), join(workspace, 'ca.pem')];
        if (credentials !== undefined)
          await writeFile(credentialsFile, `${credentials.username}:${credentials.password}\n`, {
            mode: 0o600,
          });
        if (caPem !== undefined) await writeFile(caCert, caPem);
        return [
          registry,
          {
            ...(credentials === undefined ? {} : { credentialsFile }),
            ...(caPem === undefined ? {} : { caCert }),
          },
        ];
      };

      for (const options of [{}, { auth: true }, { auth: true, tls: true }]) {
        const kind = `${options.tls === true ? 'TLS with its own CA' : 'plain'}, ${options.auth === true ? 'Basic' : 'no account'}`;
        it(`absent → built → pushed → removed here → remote → pulled (${kind})`, async () => {
          const [registry, entry] = await entryOf(options);
          await source();
          const images = open({ [registry.host]: entry });
          const image = wanted('pushed', 'v1.0.0', registry.host);
          expect((await look(images, image)).kind).to.equal('absent');
          const built = await build(images, image);
          expect(built.kind, JSON.stringify(built)).to.equal('present');
          expect(built).to.not.have.property('manifestDigest');
          expect(await pushOf(images, image)).to.equal('pending');
          okOf(images.startPush(image));
          await until('the push', async () => (await pushOf(images, image)) === 'pushed', 30_000);
          const pushed = await look(images, image);
          if (pushed.kind !== 'present' || built.kind !== 'present') throw new Error('not present');
          expect(pushed.imageId).to.equal(built.imageId);
          expect(pushed.manifestDigest).to.match(/^sha256:/);
          await remove(images, image.reference);
          const other = open({ [registry.host]: entry });
          expect(await look(other, image)).to.deep.equal({
            kind: 'remote',
            manifestDigest: pushed.manifestDigest,
          });
          okOf(other.startPull(image));
          expect(await ended(other, image)).to.deep.equal(pushed);
          const pinned = imageRef(registry.host, image.repository, image.tag, pushed.manifestDigest);
          expect(await look(other, pinned, false)).to.include({
            kind: 'present',
            manifestDigest: pushed.manifestDigest,
          });
        });
      }

      it('a pinned image is pulled by its digest, and never built', async () => {
        const [registry, entry] = await entryOf({});
        // Bytes of its own: another tag of the same image would keep it here.
        await source({ 'src/pinned': unique });
        const images = open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
        const image = wanted('pinned', 'v1.0.0', registry.host);
        await build(images, image);
        okOf(images.startPush(image));
        await until('the push', async () => (await pushOf(images, image)) === 'pushed', 30_000);
        const state = await look(images, image);
        const digest = state.kind === 'present' ? state.manifestDigest : undefined;
        await remove(images, image.reference);
        const pinned = imageRef(registry.host, image.repository, image.tag, digest);
        made.add(pinned.reference);
        expect(
          images.startBuild({ image: pinned, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' })
            .kind,
        ).to.equal('blocked');
        expect(await look(images, pinned)).to.deep.equal({ kind: 'remote', manifestDigest: digest });
        okOf(images.startPull(pinned));
        await ended(images, pinned);
        expect(await look(images, pinned)).to.include({ kind: 'present', manifestDigest: digest });
        const wrong = imageRef(registry.host, image.repository, image.tag, `sha256:${'0'.repeat(64)}`);
        expect((await look(images, wrong, false)).kind).to.equal('absent');
      });

      it('a tag that the registry has by now is not moved by a push (L19); a registry that is down holds nothing', async () => {
        const [registry, entry] = await entryOf({});
        await source();
        const images = open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
        const image = wanted('moved', 'v1.0.0', registry.host);
        await build(images, image);
        okOf(images.startPush(image));
        await until('the push', async () => (await pushOf(images, image)) === 'pushed', 30_000);
        const manifest = async (): Promise<string | null> =>
          (
            await fetch(`${registry.url}/v2/${image.repository}/manifests/${image.tag}`, {
              headers: {
                accept:
                  'application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json',
              },
            })
          ).headers.get('docker-content-digest');
        const before = await manifest();
        await remove(images, image.reference);
        await git(join(workspace, 'hello'), 'tag', '-d', 'v1.0.0');
        await write(join(workspace, 'hello'), { 'src/new': 'other bytes' });
        await git(join(workspace, 'hello'), 'add', '-A');
        await git(join(workspace, 'hello'), 'commit', '-q', '-m', 'other');
        await git(join(workspace, 'hello'), 'tag', 'v1.0.0');
        const other = open({ [registry.host]: entry }, {}, { answerTtlMs: 0 });
        await build(other, image);
        okOf(other.startPush(image));
        await until('the push', async () => (await pushOf(other, image)) === 'pushed', 30_000);
        expect(await manifest()).to.equal(before);
        await registry.stop();
        const late = open({ [registry.host]: entry });
        expect((await look(late, image)).kind).to.equal('present');
        expect(await look(late, wanted('nowhere', 'v1.0.0', registry.host))).to.have.property(
          'kind',
          'unknown',
        );
      });
    });
  });
}
