import { expect } from 'chai';
import { onSteadyClock, systemClock } from '../../../src/base/clock.ts';

describe('a look on a clock that somebody sets', () => {
  it('G42 is taken again when the clock was set meanwhile, forward or back, and not for ever; a look that takes long is none of it', async () => {
    for (const [moves, looks] of [
      [[0, 0], 1],
      [[4_000], 1],
      [[3_600_000, 0], 2],
      [[-3_600_000, 60_000, 0], 3],
      [[1e6, 1e6, 1e6, 1e6], 3],
    ] as const) {
      let [wall, monotonic, taken] = [1e12, 5, 0];
      const clock = { ...systemClock, now: () => wall, monotonic: () => monotonic };
      const last = await onSteadyClock(clock, async () => {
        wall += 600_000 + (moves[taken] ?? 0);
        monotonic += 600_000;
        taken += 1;
        return taken;
      });
      expect([taken, last], String(moves)).to.deep.equal([looks, looks]);
    }
  });
});
