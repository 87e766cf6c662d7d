import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { ok } from '../../../src/base/outcome.ts';
import { openImages, type Images } from '../../../src/node/images/images.ts';
import type { ImageEngine, WantedImage } from '../../../src/node/images/types.ts';
import { imageRef, MANIFEST_DIGEST, sendManifest, serve, type Double } from './images-support.ts';

const ID = `sha256:${'1'.repeat(64)}`;

describe('node: images that are known', () => {
  let registry: Double;
  let asked: number;
  let opened: Images[];
  beforeEach(async () => {
    registry = await serve(sendManifest);
    asked = 0;
    opened = [];
  });
  afterEach(async () => {
    await Promise.all(opened.map((images) => images.stop()));
    await registry.close();
  });

  const open = (): Images => {
    const engine = {
      // On Podman a digest of the engine proves nothing: the registry would have to be asked.
      kind: 'podman',
      inspectImage: async () => {
        asked += 1;
        return ok({
          ...{ imageId: ID, manifestDigests: [MANIFEST_DIGEST], user: '', volumes: [] },
          ...{ entrypoint: ['/app'], cmd: [], architecture: 'amd64' },
        });
      },
    } as unknown as ImageEngine;
    const images = openImages({
      engine,
      registries: { [registry.host]: {} },
      build: { concurrency: 1, timeoutMs: 1_000, maxContextBytes: 1, maxFiles: 1, maxLogBytes: 1 },
      lint: () => [],
      clock: systemClock,
      log: makeLog('silent'),
      onSignal: () => undefined,
    });
    opened.push(images);
    return images;
  };
  const wanted = (recorded?: NonNullable<WantedImage['recorded']>): WantedImage[] =>
    Array.from({ length: 200 }, (_, at) => ({
      image: imageRef(registry.host, `mc/service-${at}`),
      build: true,
      ...(recorded === undefined ? {} : { recorded }),
    }));

  it('200 images whose digest is recorded: no request to a registry, after a restart too, and one look at the engine each', async () => {
    const known = wanted({ imageId: ID, manifestDigest: MANIFEST_DIGEST });
    const images = open();
    for (let pass = 0; pass < 5; pass += 1) {
      const seen = await images.observe(known);
      expect(Object.values(seen.pushes).every(({ kind }) => kind === 'pushed')).to.equal(true);
    }
    expect(registry.seen).to.deep.equal([]);
    expect(asked).to.equal(200);
    images.imagesChanged();
    await images.observe(known);
    expect([registry.seen.length, asked]).to.deep.equal([0, 400]);
  });

  it('what is not recorded, or as another image, is asked for once and then remembered', async () => {
    const images = open();
    for (const recorded of [undefined, { imageId: 'sha256:other', manifestDigest: MANIFEST_DIGEST }]) {
      for (let pass = 0; pass < 3; pass += 1) await images.observe(wanted(recorded));
    }
    expect(registry.seen.length).to.equal(200);
  });
});
