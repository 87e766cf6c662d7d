import { expect } from 'chai';
import { makeLog } from '../../../src/base/log.ts';
import { ok, type Outcome } from '../../../src/base/outcome.ts';
import { openDisk, type Disk } from '../../../src/node/disk.ts';
import { until } from '../../support/until.ts';
import { steppedClock } from './images-support.ts';

describe('node: the disk of the engine', () => {
  let clock: ReturnType<typeof steppedClock>;
  let measures: number;
  let bytes: number;
  /** While it is set, a measure takes until it is called. */
  let hold: Promise<void> | undefined;
  let disk: Disk;

  beforeEach(() => {
    clock = steppedClock();
    [measures, bytes, hold] = [0, 1_000, undefined];
    const engine = {
      storageRoot: '/',
      disk: async () => {
        measures += 1;
        const found = { imagesBytes: bytes, cacheBytes: bytes };
        await hold;
        return ok(found);
      },
      pruneBuildCache: async (keepBytes: number): Promise<Outcome<undefined>> => ((bytes = keepBytes), ok()),
    };
    disk = openDisk({
      engine: async () => ok(engine),
      minFreeBytes: 0,
      clock,
      log: makeLog('silent'),
      onNews: () => undefined,
    });
  });
  afterEach(() => disk.stop());

  const measured = (wanted: number): Promise<unknown> =>
    until('the measure', () => disk.facts()?.imagesBytes === wanted);

  it('is measured again when images came or went, not before half a minute, and else every quarter of an hour', async () => {
    await measured(1_000);
    bytes = 600;
    clock.step(10_000);
    disk.changed();
    expect(disk.facts()?.imagesBytes).to.equal(1_000);
    expect(measures).to.equal(1);
    clock.step(21_000);
    expect(disk.facts()?.imagesBytes, 'what is known is shown meanwhile').to.equal(1_000);
    await measured(600);
    clock.step(60_000);
    disk.facts();
    expect(measures).to.equal(2);
    bytes = 700;
    clock.step(15 * 60_000);
    await measured(700);
  });

  it('after the cache was pruned nothing is known until it is measured, and no measure from before counts', async () => {
    await measured(1_000);
    let release = (): void => undefined;
    hold = new Promise((resolve) => (release = resolve));
    clock.step(16 * 60_000);
    disk.facts();
    await until('the measure to begin', () => measures === 2);
    expect((await disk.prune(100)).kind).to.equal('ok');
    release();
    await until('a measure of what is left', () => disk.facts()?.cacheBytes !== undefined);
    expect(disk.facts()?.cacheBytes).to.equal(100);
  });
});
