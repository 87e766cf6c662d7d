import { expect } from 'chai';
import { ok, type Outcome } from '../../../src/base/outcome.ts';
import { execute } from '../../../src/execute/execute.ts';
import type { Plan, Step } from '../../../src/plan/types.ts';
import { World } from '../../support/world.ts';
import { until } from '../../support/until.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const PARALLEL = 3;

describe('the services of one pass', () => {
  it('G8 are worked on in parallel, so many at once as the settings say: one that hangs keeps a place, and delays no other', async () => {
    const world = new World();
    let now = 0;
    let most = 0;
    const done: string[] = [];
    let release = (): void => undefined;
    const hung = new Promise<void>((resolve) => (release = resolve));
    const { engine, ...node } = world.node();
    const createNetwork = async (name: string): Promise<Outcome<undefined>> => {
      now += 1;
      most = Math.max(most, now);
      await (name === 'a' ? hung : new Promise((resolve) => setImmediate(resolve)));
      now -= 1;
      done.push(name);
      return ok();
    };
    const tools = {
      ...world.tools(),
      node: { ...node, engine: { ...engine, createNetwork } },
      parallel: PARALLEL,
    };
    const steps = NAMES.map((name): Step => ({
      ...{ service: name, subject: name, because: { summary: 'a test' }, kind: 'create-network', name },
    }));
    const plan: Plan = { steps, waiting: [], refused: [] };
    const occasion = { trigger: 'test', commit: 'c', digests: new Map<string, string>() };
    const ended = execute(plan, tools, occasion, new AbortController().signal);
    await until('all the others', () => done.length === NAMES.length - 1);
    expect(done).to.have.members(NAMES.slice(1));
    release();
    const results = await ended;
    expect(results.kind === 'ok' && results.value.map(({ outcome }) => outcome.kind)).to.deep.equal(
      NAMES.map(() => 'ok'),
    );
    expect(most).to.equal(PARALLEL);
  });
});
