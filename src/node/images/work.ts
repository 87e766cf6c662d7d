import type { Log } from '../../base/log.ts';
import { blocked, ok, retry, type Failure, type Outcome } from '../../base/outcome.ts';
import { withoutSecretWords } from '../../base/secretlike.ts';
import type { ImageRef } from '../../definitions/types.ts';
import type { JobContext } from '../jobs.ts';
import type { BuildLogs } from './buildlog.ts';
import type { RegistryAuth } from '../engine/images.ts';
import type { OnProgress } from '../engine/progress.ts';
import { builderFor } from './builder.ts';
import { prepareContext } from './context.ts';
import type { Local } from './local.ts';
import type { Lints } from './lint.ts';
import type { Lookup } from './lookup.ts';
import { shortage } from './disk.ts';
import { openSource } from './source.ts';
import { transferFailure } from './transferfault.ts';
import type { BuildOrder, ImageEngine, Sources, TagTree } from './types.ts';

/** What the jobs work with. */
export interface Workshop {
  readonly engine: ImageEngine;
  readonly lookup: Lookup;
  readonly local: Local;
  readonly logs: BuildLogs;
  readonly lints: Pick<Lints, 'judge'>;
  readonly log: Log;
  readonly build: {
    readonly maxContextBytes: number;
    readonly maxFiles: number;
    /** Of each step of a build; absent: as much as there is. */
    readonly memoryBytes?: number;
    readonly cpus?: number;
    readonly minFreeBytes?: number;
  };
  /** For tests; else the file system is asked. */
  readonly freeBytes?: (path: string) => Promise<number | undefined>;
  /** Absent: nothing is built here. */
  readonly sources: Sources | undefined;
}

const LABEL = 'org.opencontainers.image';
const LONGEST_PROGRESS = 80;

/** Builds an image from the tree of its git tag, with the tag as `VERSION`. */
export async function buildWork(
  shop: Workshop,
  order: BuildOrder,
  context: JobContext,
): Promise<Outcome<undefined>> {
  const { reference, tag } = order.image;
  shop.logs.begin(reference);
  context.progress('reading the source');
  if (shop.sources === undefined) return unbuildable(order);
  const { minFreeBytes = 0, memoryBytes, cpus } = shop.build;
  const full = await shortage(shop.engine.storageRoot, minFreeBytes, shop.freeBytes);
  if (full !== undefined) return { ...full, why: `build of ${reference}: ${full.why}` };
  const tree = await openSource(
    { path: order.path, tag, dockerfile: order.dockerfile, reference },
    shop.sources,
  );
  if (tree.kind !== 'ok') return tree;
  const moved = movedTag(order, tree.value);
  if (moved !== undefined) return moved;
  const judged = await shop.lints.judge(order, tree.value);
  if (judged.kind !== 'ok') return judged;
  const builder = builderFor(shop, order, judged.value.text);
  if (builder.kind !== 'ok') return builder;
  const prepared = await prepareContext(tree.value, {
    what: `git tag ${tree.value.tag} of ${order.path}`,
    dockerfile: order.dockerfile,
    maxBytes: shop.build.maxContextBytes,
    maxFiles: shop.build.maxFiles,
  });
  if (prepared.kind !== 'ok') return prepared;
  const source = prepared.value;
  let step = '';
  const onProgress: OnProgress = (line, at) => {
    shop.logs.add(reference, line);
    if (at !== undefined) step = `step ${at.at} of ${at.of}`;
    if (step !== '') context.progress(step);
  };
  try {
    const built = await shop.engine.buildImage(source.stream, {
      reference,
      dockerfile: source.dockerfile,
      buildArgs: { VERSION: tag },
      auths: await shop.lookup.accounts(),
      labels: { ...labelsOf(order, tree.value), ...order.labels },
      builder: builder.value,
      createdAt: tree.value.taggedAt,
      ...(memoryBytes === undefined ? {} : { memoryBytes }),
      ...(cpus === undefined ? {} : { cpus }),
      signal: AbortSignal.any([context.signal, source.unfit]),
      onProgress,
    });
    const fault = source.fault();
    if (fault !== undefined) return fault;
    if (built.kind !== 'ok') return buildFailure(order, step, built, memoryBytes);
    // It was built because its registry does not have it, whatever was recorded of it.
    if (shop.lookup.knows(order.image.host)) shop.local.lose(reference);
    shop.log.info({ reference, imageId: built.value.imageId, commit: tree.value.commit }, 'image built');
    return ok();
  } finally {
    await source.close();
    shop.local.forget(order.image);
  }
}

export const TAG_MOVED = 'image/tag-moved';

/** A version is one commit for ever (L19): nothing is built under a name that meant another one. */
function movedTag({ image, path, revision }: BuildOrder, tree: TagTree): Failure | undefined {
  if (revision === undefined || revision === tree.commit) return undefined;
  const [was, is] = [revision.slice(0, 12), tree.commit.slice(0, 12)];
  return {
    ...blocked(
      `git tag ${tree.tag} of ${path} names commit ${is}, and ${image.reference} was built from commit ${was}: the tag was moved, nothing is built [${TAG_MOVED}]`,
      `A version is one commit for ever. Tag a new version, and name it in the definition; or move the tag back to ${was}.`,
    ),
    rule: TAG_MOVED,
  };
}

/** There is no source to build from. */
export function unbuildable({ image, dockerfile, path }: BuildOrder): Failure {
  return blocked(
    `image ${image.reference} is to be built from ${dockerfile} of ${path}, but the settings name no sources`,
    'Set [build] workspace to the directory of the source repositories, or [build] sources to their address; or push the image to its registry.',
  );
}

/** Pulls an image; a pinned one must then be there under its digest. */
export async function pullWork(
  shop: Workshop,
  image: ImageRef,
  context: JobContext,
): Promise<Outcome<undefined>> {
  const request = await transfer(shop, image, context);
  if (request.kind !== 'ok') return request;
  const { auth, signal, onProgress } = request.value;
  const pulled = await shop.engine.pullImage(image.reference, auth, signal, onProgress);
  shop.local.forget(image);
  // Whatever the registry said before, it is asked anew after a failure.
  if (pulled.kind !== 'ok') {
    shop.lookup.forget(image);
    return transferFailure('pull', pulled, aboutOf(shop, image));
  }
  const here = await shop.local.find(image);
  if (here.kind !== 'present') {
    return retry(`image ${image.reference} is not there although the engine pulled it`);
  }
  if (image.digest !== undefined && here.manifestDigest !== image.digest) {
    return blocked(
      `image ${image.reference} came with digest ${here.manifestDigest ?? 'none'}`,
      'Somebody changed what the registry serves: look at it before you trust it.',
    );
  }
  const digest = pulled.value.manifestDigest ?? (await digestInRegistry(shop, image));
  if (digest !== undefined) shop.local.confirm(image.reference, here.imageId, digest);
  return ok();
}

/** Pushes an image, unless its registry has the tag by now: a tag is never moved (L19). */
export async function pushWork(
  shop: Workshop,
  image: ImageRef,
  context: JobContext,
): Promise<Outcome<undefined>> {
  shop.lookup.forget(image);
  const before = await shop.lookup.find(image);
  if (before.kind === 'failed') return before.failure;
  if (before.kind === 'found') {
    await confirm(shop, image, before.digest);
    shop.log.info(
      { reference: image.reference, digest: before.digest },
      'not pushed: the registry has the tag',
    );
    return ok();
  }
  const request = await transfer(shop, image, context);
  if (request.kind !== 'ok') return request;
  const { auth, signal, onProgress } = request.value;
  const pushed = await shop.engine.pushImage(image.reference, auth, signal, onProgress);
  shop.lookup.forget(image);
  shop.local.forget(image);
  if (pushed.kind !== 'ok') return transferFailure('push', pushed, aboutOf(shop, image));
  const after = await shop.lookup.find(image);
  if (after.kind === 'failed') return after.failure;
  if (after.kind === 'absent') {
    return retry(`registry ${image.host ?? ''} does not have ${image.reference} although it was pushed`);
  }
  await confirm(shop, image, after.digest, true);
  return ok();
}

function aboutOf({ engine, lookup }: Workshop, image: ImageRef): Parameters<typeof transferFailure>[2] {
  return { image, engine: engine.kind, account: lookup.accountFile(image.host) };
}

async function digestInRegistry({ lookup }: Workshop, image: ImageRef): Promise<string | undefined> {
  if (!lookup.knows(image.host)) return undefined;
  const found = await lookup.find(image);
  return found.kind === 'found' ? found.digest : undefined;
}

async function confirm({ local }: Workshop, image: ImageRef, digest: string, own = false): Promise<void> {
  const here = await local.find(image);
  if (here.kind !== 'present') return;
  local.confirm(image.reference, here.imageId, digest, own);
  local.asked(image.reference);
}

async function transfer(
  shop: Workshop,
  image: ImageRef,
  context: JobContext,
): Promise<
  Outcome<{ auth: RegistryAuth | undefined; signal: AbortSignal; onProgress: (line: string) => void }>
> {
  const account = image.host === undefined ? ok(undefined) : await shop.lookup.account(image.host);
  if (account.kind !== 'ok') return account;
  return ok({
    auth: account.value,
    signal: context.signal,
    onProgress: (line: string) => context.progress(line.slice(0, LONGEST_PROGRESS)),
  });
}

/** OCI image-spec, annotations. The times are the tag's: a rebuild has the same labels. */
function labelsOf(order: BuildOrder, tree: TagTree): Record<string, string> {
  return {
    [`${LABEL}.version`]: order.image.tag,
    [`${LABEL}.revision`]: tree.commit,
    [`${LABEL}.source`]: order.path,
    [`${LABEL}.created`]: new Date(tree.taggedAt).toISOString().replace('.000Z', 'Z'),
  };
}

function buildFailure(
  order: BuildOrder,
  step: string,
  failure: Failure,
  memoryBytes: number | undefined,
): Failure {
  const at = step === '' ? '' : ` at ${step}`;
  // 128 + SIGKILL: nobody else kills a step, and no engine says why it was.
  const hint =
    memoryBytes !== undefined && /(?:code|status):? 137\b|exited on killed/.test(failure.why)
      ? `A step was killed, as one is that needs more than [build] memory_mib = ${Math.round(memoryBytes / 1_048_576)} of this node: have it need less, or raise the limit.`
      : (failure.hint ?? 'Mend the Dockerfile or the source, and tag a new version.');
  const { reference, tag } = order.image;
  return {
    ...failure,
    why: `build of ${reference} from ${order.dockerfile} of ${order.path} (${tag}) failed${at}: ${withoutSecretWords(failure.why.replace(/^build of \S+ failed: /, ''))}`,
    hint: `${hint} \`mc-gitops logs ${order.service} --build\` has its log.`,
  };
}
