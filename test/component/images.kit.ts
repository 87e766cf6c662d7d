import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { lintDockerfile } from '../../src/definitions/dockerfile/lint.ts';
import type { ImageRef } from '../../src/definitions/types.ts';
import { endProcesses, findProcesses, procFile } from '../../src/demo/leftovers.ts';
import { run } from '../../src/demo/process.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { RegistryEntry } from '../../src/node/images/endpoint.ts';
import { workspaceSources } from '../../src/node/images/source.ts';
import { openImages, type Images, type ImagesOptions } from '../../src/node/images/images.ts';
import type { ImageState } from '../../src/node/images/state.ts';
import { startDocker, startPodman, type TestEngine } from '../support/engines.ts';
import { startRegistry, type RegistryOptions, type TestRegistry } from '../support/registry.ts';
import { until } from '../support/until.ts';
import { imageRef } from '../unit/node/images-support.ts';

export const DOCKERFILE = `FROM scratch
ARG VERSION
COPY busybox /bin/sh
COPY src /src
ENV VERSION=$VERSION
RUN for f in $(/bin/sh -c 'echo /src/*'); do echo "there: $f"; done; echo "version: $VERSION"
CMD ["/bin/sh"]
`;
const GIT_ENV = { GIT_AUTHOR_DATE: '2026-01-02T03:04:05Z', GIT_COMMITTER_DATE: '2026-01-02T03:04:05Z' };

export const ENGINES = [
  { name: 'docker', start: startDocker },
  { name: 'podman', start: startPodman },
] as const;

export function okOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

/** Images on a real engine, with source repositories in a workspace of each test. */
export interface ImagesRig {
  /** Part of every repository's name. */
  readonly unique: string;
  readonly engine: Engine;
  readonly machine: TestEngine;
  readonly workspace: string;
  /** Processes of build steps that are about `unique`. */
  steps(): number[];
  open(
    registries?: Record<string, RegistryEntry>,
    build?: Partial<ImagesOptions['build']>,
    more?: Partial<ImagesOptions>,
  ): Images;
  git(directory: string, ...args: string[]): Promise<unknown>;
  write(directory: string, files: Record<string, string>): Promise<void>;
  /** A source repository in the workspace with busybox and these files, tagged. */
  source(files?: Record<string, string>, tag?: string, path?: string): Promise<string>;
  /** Another commit of `hello`, tagged. */
  commit(files: Record<string, string>, tag: string): Promise<void>;
  wanted(repository?: string, tag?: string, host?: string): ImageRef;
  look(images: Images, image: ImageRef, build?: boolean): Promise<ImageState>;
  pushOf(images: Images, image: ImageRef): Promise<string | undefined>;
  push(images: Images, image: ImageRef): Promise<void>;
  start(images: Images, image: ImageRef, dockerfile?: string): void;
  ended(images: Images, image: ImageRef, withinMs?: number): Promise<ImageState>;
  build(images: Images, image: ImageRef, dockerfile?: string): Promise<ImageState>;
  failureOf(images: Images, image: ImageRef, dockerfile?: string): Promise<string>;
  remove(images: Images, reference: string): Promise<void>;
  /** A real registry until the end of the tests, and its entry of the settings. */
  registry(options?: RegistryOptions): Promise<[TestRegistry, RegistryEntry]>;
}

/** Called inside `describe`: what it needs is started before its tests, and cleared away after them. */
export function imagesRig(startEngine: () => Promise<TestEngine>): ImagesRig {
  let machine: TestEngine;
  let engine: Engine;
  let workspace: string;
  let opened: Images[] = [];
  const registries: TestRegistry[] = [];
  const made = new Set<string>();
  const unique = `mcgit-${randomBytes(4).toString('hex')}`;
  const steps = (): number[] => findProcesses((pid) => procFile(pid, 'cmdline').includes(unique));

  before(async () => {
    machine = await startEngine();
    const log = makeLog('silent');
    const socket = machine.socketPath;
    engine = okOf(await openEngine({ socket, owner: `test/${unique}`, callDeadlineMs: 30_000, log }));
  });
  after(async () => {
    await endProcesses(steps);
    for (const reference of made) await engine.removeImage(reference);
    engine.close();
    await Promise.all(registries.map((registry) => registry.stop()));
  });
  beforeEach(async () => {
    workspace = await mkdtemp(join(tmpdir(), 'mc-workspace-'));
    opened = [];
  });
  afterEach(async () => {
    await Promise.all(opened.map((images) => images.stop()));
    await rm(workspace, { recursive: true, force: true });
  });

  const rig: ImagesRig = {
    unique,
    get engine() {
      return engine;
    },
    get machine() {
      return machine;
    },
    get workspace() {
      return workspace;
    },
    steps,
    open: (entries = {}, build = {}, more = {}) => {
      const images = openImages({
        engine,
        registries: entries,
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
    },
    git: (directory, ...args) =>
      run('git', ['-C', directory, '-c', 'user.name=t', '-c', 'user.email=t@example.net', ...args], {
        env: { PATH: process.env['PATH'], HOME: workspace, ...GIT_ENV },
      }),
    write: async (directory, files) => {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(directory, path)), { recursive: true });
        await writeFile(join(directory, path), content);
      }
    },
    source: async (files = {}, tag = 'v1.0.0', path = 'hello') => {
      const directory = join(workspace, path);
      await mkdir(directory);
      await rig.git(directory, 'init', '-q', '-b', 'main');
      await copyFile('/bin/busybox', join(directory, 'busybox'));
      await rig.write(directory, { Dockerfile: DOCKERFILE, 'src/kept': 'kept', ...files });
      await rig.git(directory, 'add', '-A');
      await rig.git(directory, 'commit', '-q', '-m', 'first');
      await rig.git(directory, 'tag', '-a', tag, '-m', tag);
      return directory;
    },
    commit: async (files, tag) => {
      const directory = join(workspace, 'hello');
      await rig.write(directory, files);
      await rig.git(directory, 'add', '-A');
      await rig.git(directory, 'commit', '-q', '-m', tag);
      await rig.git(directory, 'tag', '-a', tag, '-m', tag);
    },
    wanted: (repository = 'hello', tag = 'v1.0.0', host?: string) => {
      const ref = imageRef(host, `${unique}/${repository}`, tag);
      made.add(ref.reference);
      return ref;
    },
    look: async (images, image, build = true) => {
      const state = (await images.observe([{ image, build }])).images[image.reference];
      if (state === undefined) throw new Error('not observed');
      return state;
    },
    pushOf: async (images, image) =>
      (await images.observe([{ image, build: true }])).pushes[image.reference]?.kind,
    push: async (images, image) => {
      okOf(images.startPush(image));
      await until('the push', async () => (await rig.pushOf(images, image)) === 'pushed', 30_000);
    },
    start: (images, image, dockerfile = 'Dockerfile') => {
      okOf(images.startBuild({ image, dockerfile, path: 'hello', service: 'hello' }));
    },
    ended: (images, image, withinMs = 60_000) =>
      until(
        'the job to end',
        async () => {
          const state = await rig.look(images, image);
          return state.kind === 'building' || state.kind === 'pulling' ? undefined : state;
        },
        withinMs,
      ),
    build: async (images, image, dockerfile) => {
      rig.start(images, image, dockerfile);
      return rig.ended(images, image);
    },
    failureOf: async (images, image, dockerfile) => {
      const state = await rig.build(images, image, dockerfile);
      return state.kind === 'failed' ? state.why : JSON.stringify(state);
    },
    remove: async (images, reference) => {
      okOf(await engine.removeImage(reference));
      images.imagesChanged();
    },
    registry: async (options = {}) => {
      const registry = await startRegistry(options);
      registries.push(registry);
      const { credentials, caPem } = registry;
      const own = registry.host.replace(':', '-');
      const [credentialsFile, caCert] = [join(workspace, `${own}.account`), join(workspace, `${own}.pem`)];
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
    },
  };
  return rig;
}
