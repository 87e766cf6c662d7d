import pLimit from 'p-limit';
import type { Clock } from '../../base/clock.ts';
import type { Log } from '../../base/log.ts';
import { blocked, type Outcome } from '../../base/outcome.ts';
import type { ImageRef } from '../../definitions/types.ts';
import { openJobs } from '../jobs.ts';
import type { ImageState, PushState } from '../types.ts';
import { buildWork, pullWork, pushWork, type Workshop } from './work.ts';
import { openBuildLogs } from './buildlog.ts';
import type { RegistryEntry } from './endpoint.ts';
import { openGitTag } from './gittree.ts';
import { openLocal } from './local.ts';
import { openLookup } from './lookup.ts';
import { imageKey, makeLook, pushKey } from './look.ts';
import type { BuildOrder, ImageEngine, OpenTag, WantedImage } from './types.ts';

interface ImageFacts {
  /** Both by reference. */
  readonly images: Readonly<Record<string, ImageState>>;
  readonly pushes: Readonly<Record<string, PushState>>;
}

export interface Images {
  /** Asks the engine, and for what it has not the registries of the settings; remembered answers are used. Never throws. */
  observe(wanted: readonly WantedImage[]): Promise<ImageFacts>;
  /** These begin a job and return at once; how it goes is observed. */
  startPull(image: ImageRef): Outcome<undefined>;
  startBuild(order: BuildOrder): Outcome<undefined>;
  startPush(image: ImageRef): Outcome<undefined>;
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
    readonly workspace?: string;
    readonly concurrency: number;
    readonly timeoutMs: number;
    readonly maxContextBytes: number;
    readonly maxFiles: number;
    readonly maxLogBytes: number;
  };
  readonly clock: Clock;
  readonly log: Log;
  /** Something changed that a pass should look at. */
  readonly onSignal: () => void;
  readonly registryTimeoutMs?: number;
  readonly transferTimeoutMs?: number;
  /** How long an observation waits for a registry; a later answer is signalled. */
  readonly patienceMs?: number;
  /** How long an image that is here is taken to stay here without asking. */
  readonly localTtlMs?: number;
  /** How long a registry's "yes" or "no" holds. */
  readonly answerTtlMs?: number;
  readonly retryMs?: { readonly first: number; readonly longest: number };
  readonly openTag?: OpenTag;
}

const RETRY_MS = { first: 10_000, longest: 300_000 };
const AT_ONCE = 8;

/** Images of the node: what is here, what its registries have, and the jobs that pull, build and push. */
export function openImages(options: ImagesOptions): Images {
  const { clock, build, onSignal } = options;
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
  const local = openLocal(options.engine, clock, options.localTtlMs ?? 30_000);
  const logs = openBuildLogs(build.maxLogBytes);
  const workshop: Workshop = {
    engine: options.engine,
    lookup,
    local,
    logs,
    log: options.log,
    build,
    openTag: options.openTag ?? openGitTag,
  };
  const look = makeLook({ jobs, lookup, local, clock, retryFirstMs: retryMs.first });

  return {
    observe: async (wanted) => {
      const limit = pLimit(AT_ONCE);
      const seen = await Promise.all(
        wanted.map((one) => limit(async () => ({ reference: one.image.reference, ...(await look(one)) }))),
      );
      return {
        images: Object.fromEntries(seen.map(({ reference, state }) => [reference, state])),
        pushes: Object.fromEntries(seen.map(({ reference, push }) => [reference, push])),
      };
    },
    startPull: (image) =>
      jobs.start({
        key: imageKey(image),
        lane: 'pull',
        what: `pull of ${image.reference}`,
        work: (context) => pullWork(workshop, image, context),
      }),
    startBuild: (order) => {
      const refused = unbuildable(order, build.workspace);
      if (refused !== undefined) return refused;
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
    buildLog: (reference) => logs.lines(reference),
    imagesChanged: () => local.forgetAll(),
    stop: () => jobs.stop(),
  };
}

function unbuildable(
  { image, dockerfile, path }: BuildOrder,
  workspace: string | undefined,
): Outcome<undefined> | undefined {
  if (image.digest !== undefined) {
    return blocked(
      `image ${image.reference} is pinned to a digest and cannot be built here`,
      'Push it to its registry, or take the digest out of the reference.',
    );
  }
  if (workspace === undefined) {
    return blocked(
      `image ${image.reference} is to be built from ${dockerfile} of ${path}, but the settings name no workspace`,
      'Set [build] workspace to the directory of the source repositories, or push the image to its registry.',
    );
  }
  return undefined;
}

function unpushable(image: ImageRef): Outcome<undefined> {
  const because =
    image.digest === undefined ? 'the settings have no registry for it' : 'it is pinned to a digest';
  return blocked(
    `image ${image.reference} is not pushed: ${because}`,
    'Only images that are built here are pushed, to the registries of the settings.',
  );
}
