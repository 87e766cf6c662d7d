import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { startLoop, type PassReport } from '../../../src/loop.ts';
import { until } from '../../support/until.ts';

const NEVER = '0 0 1 1 *';
const log = makeLog('silent');

function loopOf(
  run: (triggers: ReadonlySet<string>) => Promise<PassReport>,
  poll = NEVER,
): ReturnType<typeof startLoop> {
  return startLoop({ poll, run, clock: systemClock, log });
}

describe('the loop', () => {
  it('G43 makes one waiting pass of 1,000 signals, and never runs two passes at once', async () => {
    let running = 0;
    let most = 0;
    let passes = 0;
    let release: () => void = () => undefined;
    const loop = loopOf(async () => {
      running += 1;
      most = Math.max(most, running);
      passes += 1;
      await new Promise<void>((resolve) => (release = resolve));
      running -= 1;
      return { again: false };
    });
    await until('the first pass', () => passes === 1);
    for (let i = 0; i < 1000; i += 1) loop.signal('engine event');
    release();
    await until('the second pass', () => passes === 2);
    release();
    await until('rest', () => running === 0);
    expect([passes, most]).to.deep.equal([2, 1]);
    await loop.stop();
  });

  it('passes again at once while steps are taken, and rests when none were', async () => {
    let left = 4;
    const triggers: string[] = [];
    const loop = loopOf(async (seen) => {
      triggers.push([...seen].join());
      left -= 1;
      return { again: left > 0 };
    });
    await until('rest', () => left === 0);
    expect(triggers).to.deep.equal(['start', 'steps', 'steps', 'steps']);
    await loop.stop();
  });

  it('wakes at the time that the pass asked for', async () => {
    const seen: string[] = [];
    const loop = loopOf(async (triggers) => {
      seen.push([...triggers].join());
      return seen.length === 1 ? { again: false, wakeAt: Date.now() + 30 } : { again: false };
    });
    await until('the wake', () => seen.length === 2);
    expect(seen[1]).to.equal('wake');
    await loop.stop();
  });

  it('slows down to one pass a second when every pass asks for another', async () => {
    let passes = 0;
    const started = performance.now();
    const loop = loopOf(async () => {
      passes += 1;
      return { again: true };
    });
    await until('the burst and one more', () => passes >= 13);
    expect(performance.now() - started).to.be.greaterThan(500);
    await loop.stop();
  });

  it('G56 tells for how long a pass has been running', async () => {
    let release: () => void = () => undefined;
    const loop = loopOf(async () => {
      await new Promise<void>((resolve) => (release = resolve));
      return { again: false };
    });
    await until('a pass that lasts', () => loop.runningMs() > 20);
    release();
    await until('rest', () => loop.runningMs() === 0);
    await loop.stop();
  });

  it('outlives a pass that throws', async () => {
    let passes = 0;
    const loop = loopOf(async () => {
      passes += 1;
      if (passes === 1) throw new Error('planted');
      return { again: false };
    });
    await until('the first pass', () => passes === 1);
    loop.signal('git');
    await until('the next pass', () => passes === 2);
    await loop.stop();
  });

  it('ticks by cron', async () => {
    const seen: string[] = [];
    const loop = loopOf(async (triggers) => {
      seen.push([...triggers].join());
      return { again: false };
    }, '* * * * * *');
    await until('a tick', () => seen.includes('timer'), 5_000);
    await loop.stop();
  });
});
