import { expect } from 'chai';
import { effectOf } from '../../../src/execute/effect.ts';
import type { PassRecord, StepRecord } from '../../../src/registry/types.ts';
import { formatHistory, historyOf } from '../../../src/report/history.ts';
import type { World } from '../../support/world.ts';
import { push, started, web } from '../plan/return.kit.ts';

/** Each pass that did something, as the journal has it, newest first. */
async function passes(world: World, until: () => boolean): Promise<PassRecord[]> {
  const all: PassRecord[] = [];
  for (let id = 1; id < 60 && !until(); id += 1) {
    const { results } = await world.pass();
    const steps = results.map(({ step, outcome }, at): StepRecord => {
      const { service, kind, subject, because } = step;
      const { after } = effectOf(step, undefined);
      return {
        ...{ id: at, pass: id, service, kind, subject, because, startedAt: world.now, endedAt: world.now },
        ...{ result: outcome.kind, after },
      };
    });
    if (steps.length > 0)
      all.unshift({ id, startedAt: world.now, commit: 'c'.repeat(40), trigger: 'timer', steps });
    world.now += 5_000;
  }
  return all;
}

describe('the result that the history of a service tells', () => {
  it('L32 of a version that gives way: where it came, where it gave way, where the one before came back and where it is held back', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    const entries = historyOf(await passes(world, () => world.trials[0]?.phase === 'held back'));
    const told = entries.map(({ result, why }) => `${result} | ${why.replace(/not proved within.*/, '…')}`);
    expect(told.reverse()).to.deep.equal([
      'gave way | components/web/image changed → mcr.example.net/web:v2',
      'gave way | gives way to the version of cccccccc: …',
      'returned | returned to the version of cccccccc: …',
      'held back | held back until git changes the service: …',
    ]);
    expect(formatHistory(entries)).to.match(/web: returned after \d+ ms \(pass[^]*web: gave way after/);
  });

  it('of a version that is proved: ok, also when the one before it gave way', async () => {
    const world = await started(web('v1'));
    push(world, web('v2'), 'v2');
    const before = await passes(world, () => world.trials[0]?.phase === 'held back');
    push(world, web('v3'));
    const isProved = (): boolean => world.applied[0]?.service.components[0]?.image.tag === 'v3';
    const after = (await passes(world, isProved)).map((pass) => ({ ...pass, commit: 'd'.repeat(40) }));
    const asNext = after.map((pass) => ({
      ...pass,
      steps: pass.steps.map((step) =>
        step.kind === 'record-trial' ? { ...step, after: { phase: 'trying', commit: 'd'.repeat(40) } } : step,
      ),
    }));
    const results = historyOf([...asNext, ...before]).map(({ result }) => result);
    expect(results.slice(0, asNext.length)).to.deep.equal(asNext.map(() => 'ok'));
  });

  it('names no commit for what the settings or the agent itself caused', () => {
    const because = { summary: 'container web is not as this agent makes it now' };
    const step: StepRecord = {
      ...{
        id: 1,
        pass: 1,
        service: 'web',
        kind: 'create-container',
        subject: 'web',
        startedAt: 0,
        endedAt: 0,
      },
      ...{ because: { ...because, by: 'settings' }, result: 'ok' },
    };
    const pass: PassRecord = {
      ...{ id: 1, startedAt: 0, commit: 'c'.repeat(40), trigger: 'start', steps: [step] },
      ...{ author: 'Ada Example', message: 'something else' },
    };
    const [entry] = historyOf([pass]);
    expect(entry).to.include({ by: 'settings' }).and.not.have.any.keys('author', 'message', 'file');
    const text = formatHistory(entry === undefined ? [] : [entry]);
    expect(text).to.contain(
      'commit   none: by the settings of this agent, another version of it, or a registry that was put back (in force cccccccccccc)\n',
    );
    expect(text).to.not.contain('Ada');
  });
});
