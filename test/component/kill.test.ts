import type { StepKind } from '../../src/plan/types.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildNodeImage } from '../support/images.ts';
import { BOUNDARIES, GOOD, makeKillRig, NEXT, STORY, type KillRig } from './kill.kit.ts';

describe('a real agent that is killed, with real SQLite, on real Docker', function () {
  this.timeout(300_000);
  let docker: TestEngine;
  let kill: KillRig;

  before(async () => {
    docker = await startDocker();
    await buildNodeImage(docker, GOOD);
    await buildNodeImage(docker, NEXT, undefined, { lines: ['ENV NEXT=yes'] });
    kill = await makeKillRig(docker);
  });
  after(() => kill.close());

  // Each kind of step once; every boundary of each is among the long tests. The boundaries come up in turn.
  const met = new Set<StepKind>();
  let deaths = 0;
  for (const chapter of STORY) {
    const kinds = chapter.kinds.filter((kind) => !met.has(kind) && met.add(kind));
    it(`G13 by SIGKILL at ${kinds.join(', ')} of ${chapter.title}: the next one takes up what it finds, and ends as if there had been none`, async () => {
      await kill.rig.push(chapter.files(kill.rig), chapter.message);
      for (const kind of kinds) {
        await kill.dieAt(BOUNDARIES[deaths % BOUNDARIES.length] ?? 'after-intent', kind);
        deaths += 1;
      }
      await kill.converge(chapter);
    });
  }
});
