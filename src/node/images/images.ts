import pLimit from 'p-limit';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import type { ImageRef, Issue } from '../../definitions/types.ts';
import { openJobs, type Jobs } from '../jobs.ts';
import type { ImageState, PushState, StrayWork } from './state.ts';
import { buildWork, pullWork, pushWork, unbuildable, type Workshop } from './work.ts';
import { openBuildLogs } from './buildlog.ts';
import type { RegistryEntry } from './endpoint.ts';
import { openLints, type Lints } from './lint.ts';
import { openLocal } from './local.ts';
import { openLookup } from './lookup.ts';
import { imageKey, makeLook, pushKey, referenceOf } from './look.ts';
import type { BuildOrder, ImageEngine, LintDockerfile, Sources, WantedImage } from './types.ts';

interface ImageFacts {
  /** All by reference. */
  readonly images: Readonly<Record<string, ImageState>>;
  readonly pushes: Readonly<Record<string, PushState>>;
  /** What the rules say of their Dockerfiles; only where they say something. */
  readonly findings: Readonly<Record<string, readonly Issue[]>>;
  /** Builds and pulls under way of images that are not wanted. */
  readonly strayWork: Readonly<Record<string, StrayWork>>;
}

export interface Images {
  /** Asks the engine, and for what it has not the registries of the settings; remembered answers are used. Never throws. */
  observe(wanted: readonly WantedImage[]): Promise<ImageFacts>;
  /** These begin a job and return at once; how it goes is observed. */
  startPull(image: ImageRef): Outcome<undefined>;
  startBuild(order: BuildOrder): Outcome<undefined>;
  startPush(image: ImageRef): Outcome<undefined>;
  /** Ends a build or pull; nothing to end is as good. */
  cancel(reference: string): Outcome<undefined>;
  /** Gone is as good; a reference that names another image by now stays as it is. */
  remove(reference: string, imageId: string): Promise<Outcome<undefined>>;
  /** What the newest build of this reference printed, secrets masked. */
  buildLog(reference: string): string[];
  /** The engine told of a change of images: what is remembered of its store is dropped. */
  imagesChanged(): void;
  stop(): Promise<void>;
}

export interface ImagesOptions {
  readonly engine: ImageEngine;
  /** By host with port, as the settings have them. Other hosts are never called. */
  readonly registries: Readonly<Record<string, RegistryEntry>>;
  readonly build: {
    readonly concurrency: number;
    readonly timeoutMs: number;
    readonly maxContextBytes: number;
    readonly maxFiles: number;
    readonly maxLogBytes: number;
    readonly memoryBytes?: number;
    readonly cpus?: number;
    readonly minFreeBytes?: number;
  };
  /** Where images are built from; absent: nothing is built here. */
  readonly sources?: Sources;
  /** The rules for Dockerfiles. */
  readonly lint: LintDockerfile;
  readonly clock: Clock;
  readonly log: Log;
  /** Something changed that a pass should look at. */
  readonly onSignal: () => void;
  /** For tests; else the file system is asked. */
  readonly freeBytes?: (path: string) => Promise<number | undefined>;
  readonly registryTimeoutMs?: number;
  readonly transferTimeoutMs?: number;
  /** How long an observation waits for a registry; a later answer is signalled. */
  readonly patienceMs?: number;
  /** How long an image that is here is taken to stay here without asking, as long as no event says otherwise. */
  readonly localTtlMs?: number;
  /** How long a registry's "yes" or "no" holds. */
  readonly answerTtlMs?: number;
  readonly retryMs?: { readonly first: number; readonly longest: number };
}

const RETRY_MS = { first: 10_000, longest: 300_000 };
const AT_ONCE = 8;

/** Images of the node: what is here, what its registries have, and the jobs that pull, build and push. */
export function openImages(options: ImagesOptions): Images {
  const { clock, build, onSignal, engine, log, sources, lint, freeBytes } = options;
  const retryMs = options.retryMs ?? RETRY_MS;
  const transferTimeoutMs = options.transferTimeoutMs ?? 600_000;
  const jobs = openJobs({
    lanes: {
      build: { concurrency: build.concurrency, timeoutMs: build.timeoutMs },
      pull: { concurrency: 3, timeoutMs: transferTimeoutMs },
      push: { concurrency: 2, timeoutMs: transferTimeoutMs },
    },
    clock,
    retryMs,
    onChange: onSignal,
  });
  const lookup = openLookup({
    registries: options.registries,
    clock,
    timeoutMs: options.registryTimeoutMs ?? 10_000,
    answerTtlMs: options.answerTtlMs ?? 30_000,
    retryMs,
    patienceMs: options.patienceMs ?? 2_000,
    onLate: onSignal,
  });
  const local = openLocal(engine, clock, options.localTtlMs ?? 600_000);
  const logs = openBuildLogs(build.maxLogBytes);
  const lints = openLints({ lint, sources, log, onNews: onSignal });
  const workshop: Workshop = {
    ...{ engine, lookup, local, logs, lints, log, build, sources },
    ...(freeBytes === undefined ? {} : { freeBytes }),
  };
  const look = makeLook({ jobs, lookup, local, clock, retryFirstMs: retryMs.first });

  return {
    observe: async (wanted) => ({
      ...(await observe(wanted, look, lints)),
      strayWork: strayWork(wanted, jobs.underWay()),
    }),
    startPull: (image) =>
      jobs.start({
        key: imageKey(image),
        lane: 'pull',
        what: `pull of ${image.reference}`,
        work: (context) => pullWork(workshop, image, context),
      }),
    startBuild: (order) => {
      if (order.image.digest !== undefined) return pinned(order);
      if (sources === undefined) return unbuildable(order);
      return jobs.start({
        key: imageKey(order.image),
        lane: 'build',
        what: `build of ${order.image.reference}`,
        work: (context) => buildWork(workshop, order, context),
      });
    },
    startPush: (image) => {
      if (!lookup.knows(image.host) || image.digest !== undefined) return unpushable(image);
      return jobs.start({
        key: pushKey(image),
        lane: 'push',
        what: `push of ${image.reference}`,
        work: (context) => pushWork(workshop, image, context),
      });
    },
    cancel: (reference) => {
      jobs.cancel(imageKey({ reference }));
      return ok();
    },
    remove: (reference, imageId) => removeIfSame(engine, reference, imageId).finally(() => local.forgetAll()),
    buildLog: (reference) => logs.lines(reference),
    imagesChanged: () => local.forgetAll(),
    stop: async () => {
      await Promise.all([jobs.stop(), lints.stop()]);
    },
  };
}

async function removeIfSame(
  engine: ImageEngine,
  reference: string,
  imageId: string,
): Promise<Outcome<undefined>> {
  const here = await engine.inspectImage(reference);
  if (here.kind !== 'ok') return here;
  return here.value?.imageId === imageId ? engine.removeImage(reference) : ok();
}

async function observe(
  wanted: readonly WantedImage[],
  look: ReturnType<typeof makeLook>,
  lints: Lints,
): Promise<Omit<ImageFacts, 'strayWork'>> {
  const limit = pLimit(AT_ONCE);
  const seen = await Promise.all(
    wanted.map((one) => limit(async () => ({ reference: one.image.reference, ...(await look(one)) }))),
  );
  // A build judges by itself, and what is still to be built needs no judgement before it.
  const judged = wanted.map((one, at) => {
    const kind = seen[at]?.state.kind;
    const issues = kind === 'present' || kind === 'failed' ? lints.of(one) : [];
    return { reference: one.image.reference, issues };
  });
  return {
    images: Object.fromEntries(seen.map(({ reference, state }) => [reference, state])),
    pushes: Object.fromEntries(seen.map(({ reference, push }) => [reference, push])),
    findings: Object.fromEntries(
      judged.flatMap(({ reference, issues }) => (issues.length === 0 ? [] : [[reference, issues]])),
    ),
  };
}

function strayWork(
  wanted: readonly WantedImage[],
  underWay: ReturnType<Jobs<'build' | 'pull' | 'push'>['underWay']>,
): ImageFacts['strayWork'] {
  const asked = new Set(wanted.map(({ image }) => image.reference));
  return Object.fromEntries(
    underWay.flatMap(({ key, lane, since }) => {
      const reference = referenceOf(key);
      if (reference === undefined || asked.has(reference)) return [];
      return [[reference, { kind: lane === 'build' ? ('building' as const) : ('pulling' as const), since }]];
    }),
  );
}

function pinned({ image }: BuildOrder): Outcome<undefined> {
  return blocked(
    `image ${image.reference} is pinned to a digest and cannot be built here`,
    'Push it to its registry, or take the digest out of the reference.',
  );
}

function unpushable(image: ImageRef): Outcome<undefined> {
  const because =
    image.digest === undefined ? 'the settings have no registry for it' : 'it is pinned to a digest';
  return blocked(
    `image ${image.reference} is not pushed: ${because}`,
    'Only images that are built here are pushed, to the registries of the settings.',
  );
}
