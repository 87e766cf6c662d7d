import { startDocker } from '../support/engines.ts';
import { BOUNDARIES, makeKillRig } from './kill.kit.ts';
import { BESIDES, MORE, STORY } from './kill.story.ts';

describe('a real agent that is killed at every boundary, with real SQLite, on real Docker', function () {
  this.timeout(1_800_000);

  for (const [first] of BOUNDARIES.entries())
    it(`G13 G14 round ${first + 1} of ${BOUNDARIES.length}: each step of the whole story is cut off, one life after the other`, async () => {
      const kill = await makeKillRig(await startDocker());
      try {
        let deaths = first;
        for (const chapter of [...STORY, ...MORE, ...BESIDES]) {
          await kill.begin(chapter);
          for (const cut of chapter.cuts) {
            await kill.dieAt(BOUNDARIES[deaths % BOUNDARIES.length] ?? 'after-intent', cut);
            deaths += 1;
          }
          await kill.converge();
        }
      } finally {
        await kill.close();
      }
    });
});
