import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { openEngine } from '../../src/node/engine/engine.ts';
import { openImages, type ImagesOptions } from '../../src/node/images/images.ts';
import type { WantedImage } from '../../src/node/images/types.ts';
import { inParallel, timed, type Bench } from './bench.ts';
import type { Row } from './table.ts';

const IMAGES = 200;
const LOOKS = 5;

/** Whether 200 images are there that were pushed once: on a real engine, with a registry that counts what it is asked. */
export async function measureKnown(bench: Bench): Promise<Row[]> {
  const { engine, api } = await bench.docker();
  const image = await bench.image();
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  bench.onEnd(() => server.close());
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { Id: imageId } = await api.getImage(image).inspect();
  const names = Array.from({ length: IMAGES }, (_, at) => `${bench.unique}/known-${at}`);
  bench.onEnd(() => inParallel(names, 8, (name) => api.getImage(`${host}/${name}:v1.0.0`).remove()));
  await inParallel(names, 8, (name) => api.getImage(image).tag({ repo: `${host}/${name}`, tag: 'v1.0.0' }));
  const wanted = names.map((repository): WantedImage => {
    const reference = `${host}/${repository}:v1.0.0`;
    const recorded = { imageId, manifestDigest: `sha256:${'0'.repeat(64)}` };
    return { image: { reference, host, repository, tag: 'v1.0.0' }, build: true, recorded };
  });
  const opened = await openEngine({
    ...{ socket: engine.socketPath, owner: 'bench/known', callDeadlineMs: 30_000 },
    log: makeLog('silent'),
  });
  if (opened.kind !== 'ok') throw new Error(opened.why);
  bench.onEnd(() => opened.value.close());
  const options: ImagesOptions = {
    engine: opened.value,
    registries: { [host]: {} },
    build: { concurrency: 1, timeoutMs: 1_000, maxContextBytes: 1, maxFiles: 1, maxLogBytes: 1 },
    ...{ lint: () => [], clock: systemClock, log: makeLog('silent'), onSignal: () => undefined },
  };
  const [first, later]: [number[], number[]] = [[], []];
  for (let start = 0; start < LOOKS; start += 1) {
    const images = openImages(options);
    for (const into of [first, later]) {
      const { ms, value } = await timed(() => images.observe(wanted));
      if (Object.values(value.pushes).some(({ kind }) => kind !== 'pushed')) throw new Error('not known');
      into.push(ms);
    }
    await images.stop();
  }
  const row = (what: string, unit: string, values: readonly number[], note: string): Row => ({
    ...{ bench: 'known', what, unit, values, note },
  });
  return [
    row(
      `${IMAGES} known images, first look of an agent`,
      'ms',
      first,
      'each is inspected once, on real Docker',
    ),
    row(`${IMAGES} known images, any later look`, 'ms', later, 'nobody is asked until something changes'),
    row(`requests to their registry in ${LOOKS * 2} looks`, '', [requests], 'aim 0'),
  ];
}
