import { expect } from 'chai';
import { makeLog } from '../../../src/base/log.ts';
import { blocked, ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import type { ImageRef } from '../../../src/definitions/types.ts';
import { openImages, type Images } from '../../../src/node/images/images.ts';
import type { PushState } from '../../../src/node/images/state.ts';
import type { ImageEngine, TagTree, WantedImage } from '../../../src/node/images/types.ts';
import { until } from '../../support/until.ts';
import {
  imageRef,
  MANIFEST_DIGEST,
  sendManifest,
  serve,
  steppedClock,
  treeOf,
  type Double,
} from './images-support.ts';

const ID = `sha256:${'1'.repeat(64)}`;
const MINUTES = 60_000;

describe('node: images that are lost, moved, or not wanted any more', () => {
  let registry: Double;
  let isThere: boolean;
  let isHere: boolean;
  let build: (signal: AbortSignal) => Promise<Outcome<{ imageId: string }>>;
  let pushFailure: Outcome<never> | undefined;
  let tree: TagTree;
  let clock: ReturnType<typeof steppedClock>;
  let images: Images;
  let ref: ImageRef;
  let calls: string[];

  beforeEach(async () => {
    [isThere, isHere, pushFailure, calls] = [true, true, undefined, []];
    build = async () => ((isHere = true), ok({ imageId: ID }));
    tree = treeOf({ Dockerfile: 'FROM scratch\nCMD ["/x"]\n' });
    registry = await serve((request, response) => {
      if (isThere) sendManifest(request, response);
      else response.writeHead(404).end();
    });
    ref = imageRef(registry.host);
    clock = steppedClock();
    images = open();
  });
  afterEach(async () => {
    await images.stop();
    await registry.close();
  });

  const open = (): Images => {
    const engine = {
      ...{ kind: 'docker', storageRoot: '/' },
      inspectImage: async () =>
        ok(
          isHere
            ? {
                ...{ imageId: ID, manifestDigests: [], user: '', volumes: [] },
                ...{ entrypoint: ['/app'], cmd: [], architecture: 'amd64' },
              }
            : undefined,
        ),
      buildImage: async (context: NodeJS.ReadableStream, { signal }: { signal: AbortSignal }) => {
        calls.push('build');
        context.resume();
        return build(signal);
      },
      pushImage: async () => {
        calls.push('push');
        if (pushFailure !== undefined) return pushFailure;
        isThere = true;
        return ok({ manifestDigest: MANIFEST_DIGEST });
      },
    } as unknown as ImageEngine;
    return openImages({
      engine,
      registries: { [registry.host]: {} },
      build: { concurrency: 1, timeoutMs: 60_000, maxContextBytes: 1e6, maxFiles: 10, maxLogBytes: 1e4 },
      sources: { isLocal: true, shown: (path) => path, open: async () => ok(tree) },
      lint: () => [],
      clock,
      log: makeLog('silent'),
      onSignal: () => undefined,
      answerTtlMs: 1_000,
    });
  };
  const recorded = { imageId: ID, manifestDigest: MANIFEST_DIGEST };
  const look = (more: Partial<WantedImage> = { recorded }): ReturnType<Images['observe']> =>
    images.observe([{ image: ref, build: true, ...more }]);
  const push = async (): Promise<PushState | undefined> => (await look()).pushes[ref.reference];
  const order = (image: ImageRef, revision?: string): Parameters<Images['startBuild']>[0] => ({
    ...{ image, dockerfile: 'Dockerfile', path: 'hello', service: 'hello' },
    ...(revision === undefined ? {} : { revision }),
  });

  it('an image that its registry has lost is owed again, within the hour and not at every pass; pushed, it counts again', async () => {
    expect(await push()).to.deep.equal({ kind: 'pushed' });
    isThere = false;
    clock.step(20 * MINUTES);
    expect(await push()).to.deep.equal({ kind: 'pushed' });
    expect(registry.seen).to.deep.equal([]);
    clock.step(40 * MINUTES);
    expect(await push()).to.deep.equal({ kind: 'pending', lost: true });
    clock.step(2_000);
    expect(await push(), 'what was recorded of it counts no more').to.deep.equal({
      kind: 'pending',
      lost: true,
    });
    expect(images.startPush(ref).kind).to.equal('ok');
    await until('the push', async () => (await push())?.kind === 'pushed');
    expect(await push()).to.deep.equal({ kind: 'pushed', digest: MANIFEST_DIGEST });
    const asked = registry.seen.length;
    await push();
    expect(registry.seen.length).to.equal(asked);
  });

  it('L19 a tag that somebody moved in the registry is told, also while nobody is asked; lost, it is owed again', async () => {
    const was = `sha256:${'e'.repeat(64)}`;
    const known = { recorded: { imageId: ID, manifestDigest: was } };
    const moved = async (): Promise<unknown> => (await look(known)).pushes[ref.reference];
    expect(await moved()).to.deep.equal({ kind: 'pushed' });
    clock.step(60 * MINUTES);
    const told = { kind: 'moved', was, is: MANIFEST_DIGEST };
    expect(await moved()).to.deep.equal(told);
    clock.step(MINUTES);
    expect(await moved(), 'also while nobody is asked').to.deep.equal(told);
    isThere = false;
    clock.step(60 * MINUTES);
    expect(await moved()).to.deep.equal({ kind: 'pending', lost: true });
  });

  it('L02 a registry that does not answer has lost nothing', async () => {
    await push();
    await registry.close();
    clock.step(80 * MINUTES);
    expect(await push()).to.deep.equal({ kind: 'pushed' });
  });

  it('an image that is built again, because its registry does not have it, is owed to it, whatever was recorded', async () => {
    [isThere, isHere] = [false, false];
    expect((await look()).images[ref.reference]?.kind).to.equal('absent');
    images.startBuild(order(ref));
    await until('the build', async () => (await look()).images[ref.reference]?.kind === 'present');
    expect(await push()).to.deep.equal({ kind: 'pending', lost: true });
    expect((await look()).images[ref.reference]).to.not.have.property('manifestDigest');
  });

  it('L19 a git tag that names another commit by now is refused before the build, with both commits', async () => {
    [isThere, isHere] = [false, false];
    images.startBuild(order(ref, 'd'.repeat(40)));
    const failed = await until('the refusal', async () => {
      const state = (await look()).images[ref.reference];
      return state?.kind === 'failed' ? state : undefined;
    });
    expect(failed.why).to.equal(
      `git tag v1.0.0 of hello names commit cccccccccccc, and ${ref.reference} was built from commit dddddddddddd: the tag was moved, nothing is built [image/tag-moved]`,
    );
    expect(failed.hint).to.contain('move the tag back to dddddddddddd');
    expect(failed).to.include({ moved: true });
    expect(calls, 'the engine is not asked').to.deep.equal([]);
    clock.step(10_000);
    images.startBuild(order(ref, tree.commit));
    await until('the build', async () => (await look()).images[ref.reference]?.kind === 'present');
  });

  it('a build that is tried again tells how it failed before, and whether that may be over by itself', async () => {
    [isThere, isHere] = [false, false];
    const failed = async (): Promise<unknown> =>
      until('the failure', async () => {
        const state = (await look()).images[ref.reference];
        return state?.kind === 'failed' ? state : undefined;
      });
    build = async () => blocked('it does not compile', 'Mend it.');
    images.startBuild(order(ref));
    expect(await failed()).to.not.have.property('passing');
    clock.step(10_000);
    const due = (await look()).images[ref.reference];
    expect(due?.kind === 'absent' && due.failed?.why).to.contain('it does not compile');
    build = (signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(retry('it was ended'))));
    images.startBuild(order(ref));
    const again = await until('the second try', async () => {
      const state = (await look()).images[ref.reference];
      return state?.kind === 'building' ? state : undefined;
    });
    expect(again.failed?.hint).to.match(/^Mend it\. `mc-gitops logs hello --build` has its log\.$/);
    expect(again.failed?.why).to.contain('it does not compile');
  });

  it('a build that is not wanted any more is seen as such; cancelled, it lets go of its place', async () => {
    [isThere, isHere] = [false, false];
    build = (signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(retry('it was ended'))));
    const other = imageRef(registry.host, 'mc/other');
    images.startBuild(order(ref));
    await until('the build to run', () => calls.length === 1);
    images.startBuild(order(other));
    const seen = await images.observe([{ image: other, build: true }]);
    expect(Object.keys(seen.strayWork)).to.deep.equal([ref.reference]);
    expect(seen.strayWork[ref.reference]).to.include({ kind: 'building' });
    expect(seen.images[other.reference]).to.include({ kind: 'building', progress: 'queued' });
    images.cancel(ref.reference);
    expect((await images.observe([{ image: other, build: true }])).strayWork).to.deep.equal({});
    await until('the other one to run', () => calls.length === 2);
    expect((await look()).images[ref.reference], 'as if it had never begun').to.deep.equal({
      kind: 'absent',
    });
  });
});
