import type { Clock } from '../../base/clock.ts';
import type { Failure } from '../../base/outcome.ts';
import type { ImageRef } from '../../definitions/types.ts';
import type { Jobs, JobState } from '../jobs.ts';
import type { ImageFailure, ImageState, PushState } from './state.ts';
import { TAG_MOVED } from './work.ts';
import type { Local, LocalState } from './local.ts';
import type { Found, Lookup } from './lookup.ts';
import type { WantedImage } from './types.ts';

type Lane = 'build' | 'pull' | 'push';

export interface Sight {
  readonly jobs: Pick<Jobs<Lane>, 'state'>;
  readonly lookup: Lookup;
  readonly local: Local;
  readonly clock: Clock;
  readonly retryFirstMs: number;
}

interface Look {
  readonly state: ImageState;
  readonly push: PushState;
}

type Present = LocalState & { readonly kind: 'present' };

export function imageKey(image: Pick<ImageRef, 'reference'>): string {
  return `image ${image.reference}`;
}

/** The reference of a key of `imageKey`; undefined: another key. */
export function referenceOf(key: string): string | undefined {
  return key.startsWith('image ') ? key.slice('image '.length) : undefined;
}

export function pushKey(image: ImageRef): string {
  return `push ${image.reference}`;
}

/**
 * How one image stands: a job under way, else the engine's store, else a job that failed a moment ago, else its
 * registry. An image that is here is never asked for elsewhere (L02).
 */
export function makeLook(sight: Sight): (wanted: WantedImage) => Promise<Look> {
  const { jobs, lookup, local } = sight;
  return async ({ image, build, recorded }) => {
    const job = jobs.state(imageKey(image));
    // Only what is built here is pushed: an account may be good for reading alone.
    const owed = build && image.digest === undefined && lookup.knows(image.host);
    const notYet: PushState = { kind: owed ? 'pending' : 'none' };
    if (job?.kind === 'queued' || job?.kind === 'running') return { state: underWay(job), push: notYet };
    const here = await local.find(image);
    if (here.kind === 'unknown') return { state: here, push: notYet };
    if (here.kind === 'absent') {
      const state = await elsewhere(sight, image, build);
      return { state, push: owed && state.kind === 'remote' ? { kind: 'pushed' } : notYet };
    }
    // The registry said so once, and what it says of a digest cannot change: it is not asked again after a restart.
    if (
      recorded?.imageId === here.imageId &&
      recorded.manifestDigest !== undefined &&
      local.confirmed(image.reference, here.imageId) === undefined &&
      !local.isLost(image.reference)
    )
      local.confirm(image.reference, here.imageId, recorded.manifestDigest);
    const push = owed ? await pushState(sight, image, here) : notYet;
    return { state: presentState(sight, image, build, here), push };
  };
}

function underWay(job: JobState<Lane> & { readonly kind: 'queued' | 'running' }): ImageState {
  const progress = job.kind === 'queued' ? 'queued' : job.progress;
  return {
    kind: job.lane === 'build' ? 'building' : 'pulling',
    since: job.since,
    ...(progress === undefined ? {} : { progress }),
    ...(job.before === undefined ? {} : { failed: failureTold(job.before) }),
  };
}

/** A build that is refused names the rule in its sentence; the planner must not read sentences. */
function failureTold(failure: Failure): ImageFailure {
  return {
    why: failure.why,
    hint: failure.hint ?? 'It is tried again by itself.',
    ...(failure.rule === TAG_MOVED ? { moved: true } : {}),
    ...(failure.kind === 'retry' || failure.kind === 'wait' ? { passing: true } : {}),
  };
}

function presentState({ local }: Sight, image: ImageRef, build: boolean, here: Present): ImageState {
  const isTold = !build || (here.proved && !local.isLost(image.reference));
  const recorded = isTold ? here.manifestDigest : undefined;
  const manifestDigest = local.confirmed(image.reference, here.imageId) ?? recorded;
  return {
    kind: 'present',
    imageId: here.imageId,
    ...(manifestDigest === undefined ? {} : { manifestDigest }),
    user: here.user,
    volumes: here.volumes,
    runnable: here.runnable,
    ...(here.architecture === '' ? {} : { architecture: here.architecture }),
    ...(here.revision === undefined ? {} : { revision: here.revision }),
  };
}

async function elsewhere(sight: Sight, image: ImageRef, build: boolean): Promise<ImageState> {
  const { jobs, lookup, clock } = sight;
  const job = jobs.state(imageKey(image));
  if (job?.kind === 'failed' && clock.now() < job.retryAt)
    return { kind: 'failed', at: job.at, ...failureTold(job.failure), retryAt: job.retryAt };
  const before = job?.kind === 'failed' ? { failed: failureTold(job.failure) } : {};
  const found = lookup.knows(image.host) ? await lookup.findSoon(image) : { kind: 'absent' as const };
  if (found.kind === 'found') return { kind: 'remote', manifestDigest: found.digest, ...before };
  // Not `failed`, which is answered by a build: other bytes would get the name of those in the registry (L19).
  if (found.kind === 'failed') {
    const { why, hint } = found.failure;
    return {
      kind: 'unknown',
      why,
      ...(hint === undefined ? {} : { hint }),
      ...(found.late === true ? {} : { at: found.at, retryAt: found.retryAt }),
    };
  }
  const lookAgainAt = clock.now() + sight.retryFirstMs;
  return build && image.digest !== undefined ? pinnedAway(image, lookAgainAt) : { kind: 'absent', ...before };
}

function pinnedAway(image: ImageRef, lookAgainAt: number): ImageState {
  return {
    kind: 'failed',
    at: lookAgainAt,
    why: `image ${image.reference} is pinned to a digest that ${image.host ?? 'no registry'} does not have`,
    hint: 'Push it, or take the digest out of the reference: a build cannot be told which digest to give.',
    retryAt: lookAgainAt,
  };
}

async function pushState(sight: Sight, image: ImageRef, here: Present): Promise<PushState> {
  const { jobs, lookup, local, clock } = sight;
  const { reference } = image;
  const job = jobs.state(pushKey(image));
  if (job?.kind === 'queued' || job?.kind === 'running') return { kind: 'pushing', since: job.since };
  const isThere = here.proved || local.confirmed(reference, here.imageId) !== undefined;
  if (isThere && !local.isLost(reference)) return stillPushed(sight, image, here);
  if (job?.kind === 'failed' && clock.now() < job.retryAt) return failedPush(job);
  const found = await lookup.findSoon(image);
  if (found.kind === 'absent') return owed(local, reference);
  if (found.kind === 'failed') return failedPush(found);
  local.confirm(reference, here.imageId, found.digest);
  return { kind: 'pushed' };
}

/** What is known to be in its registry is asked for again once an hour: a registry may lose what it had, and a tag be moved. */
async function stillPushed(sight: Sight, image: ImageRef, here: Present): Promise<PushState> {
  const { lookup, local } = sight;
  const { reference } = image;
  if (!local.isDue(reference)) return asKnown(local, reference, here);
  const found = await lookup.findSoon(image);
  // A registry that does not answer has lost nothing (L02).
  if (found.kind === 'failed') return asKnown(local, reference, here);
  local.asked(reference);
  if (found.kind === 'absent') {
    local.lose(reference);
    return owed(local, reference);
  }
  const digests = digestsOf(local, reference, here);
  local.move(reference, digests.length === 0 || digests.includes(found.digest) ? undefined : found.digest);
  return asKnown(local, reference, here);
}

function asKnown(local: Local, reference: string, here: Present): PushState {
  const is = local.movedTo(reference);
  if (is !== undefined) return { kind: 'moved', was: digestsOf(local, reference, here)[0] ?? '', is };
  const digest = local.pushedBy(reference, here.imageId);
  return { kind: 'pushed', ...(digest === undefined ? {} : { digest }) };
}

/** What the registry may have under the tag. */
function digestsOf(local: Local, reference: string, here: Present): string[] {
  const proved = here.proved ? here.manifestDigest : undefined;
  return [local.confirmed(reference, here.imageId), proved].filter((digest) => digest !== undefined);
}

function failedPush({
  at,
  failure: { why, hint },
  retryAt,
}: Pick<Found & { readonly kind: 'failed' }, 'at' | 'failure' | 'retryAt'>): PushState {
  return { kind: 'failed', at, why, ...(hint === undefined ? {} : { hint }), retryAt };
}

function owed(local: Local, reference: string): PushState {
  return local.isLost(reference) ? { kind: 'pending', lost: true } : { kind: 'pending' };
}
