import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildNodeImage } from '../support/images.ts';
import { BOUNDARIES, GOOD, makeKillRig, NEXT, STORY } from './kill.kit.ts';

describe('a real agent that is killed at every boundary, with real SQLite, on real Docker', function () {
  this.timeout(1_800_000);
  let docker: TestEngine;

  before(async () => {
    docker = await startDocker();
    await buildNodeImage(docker, GOOD);
    await buildNodeImage(docker, NEXT, undefined, { lines: ['ENV NEXT=yes'] });
  });

  for (const [first] of BOUNDARIES.entries())
    it(`G13 G14 round ${first + 1} of ${BOUNDARIES.length}: each step of the whole story is cut off, one life after the other`, async () => {
      const kill = await makeKillRig(docker);
      try {
        let deaths = first;
        for (const chapter of STORY) {
          await kill.rig.push(chapter.files(kill.rig), chapter.message);
          for (const kind of chapter.kinds) {
            await kill.dieAt(BOUNDARIES[deaths % BOUNDARIES.length] ?? 'after-intent', kind);
            deaths += 1;
          }
          await kill.converge(chapter);
        }
      } finally {
        await kill.close();
      }
    });
});
