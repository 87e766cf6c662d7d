import { expect } from 'chai';
import { startDocker } from '../support/engines.ts';
import { STEP_KINDS } from '../support/stepkinds.ts';
import { BOUNDARIES, makeKillRig, type KillRig } from './kill.kit.ts';
import { MORE, STORY, type Cut } from './kill.story.ts';

describe('a real agent that is killed, with real SQLite, on real Docker', function () {
  this.timeout(300_000);
  let kill: KillRig;

  before(async () => {
    kill = await makeKillRig(await startDocker());
  });
  after(() => kill.close());

  it('G13 every kind of step is among those at which it is killed', () => {
    const cuts = new Set<string>([...STORY, ...MORE].flatMap((chapter) => chapter.cuts));
    expect(Object.keys(STEP_KINDS).filter((kind) => !cuts.has(kind))).to.deep.equal([]);
  });

  // Each kind of step once; every boundary of each is among the long tests. The boundaries come up in turn.
  const met = new Set<Cut>();
  let deaths = 0;
  for (const chapter of [...STORY, ...MORE]) {
    const cuts = chapter.cuts.filter((cut) => !met.has(cut) && met.add(cut));
    if (cuts.length === 0) continue;
    it(`G13 by SIGKILL at ${cuts.join(', ')} of ${chapter.title}: the next one takes up what it finds, and ends as if there had been none`, async () => {
      await kill.begin(chapter);
      for (const cut of cuts) {
        await kill.dieAt(BOUNDARIES[deaths % BOUNDARIES.length] ?? 'after-intent', cut);
        deaths += 1;
      }
      await kill.converge();
    });
  }
});
