import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { ContainerSpec } from '../../src/node/types.ts';
import { startFakeEngine, type FakeEngine } from '../support/fakeengine.ts';
import { CALL_FAULTS, type CallFault } from '../support/simulation/faults.ts';
import { tally } from '../support/tally.ts';

const OWNER = 'n1/main';
const IMAGE = 'mc/box:v1.0.0';
/** Of a call that is left without an answer; a busy machine may need longer before it comes to the fault. */
const DEADLINES_MS = [500, 2_000, 8_000];
const PATIENT_MS = 30_000;
/** Nobody is called back for these before the deadline. */
const UNANSWERED: readonly CallFault[] = ['hang', 'slow drip', 'reset midway', 'half JSON', 'empty body'];

const SPEC: ContainerSpec = {
  ...{ owner: OWNER, service: 'box', component: 'box', name: 'box', image: IMAGE },
  ...{ env: [], agentEnv: [], mounts: [], restart: 'no', publish: [], leases: {} },
  networks: [
    { name: 'net', aliases: ['box'] },
    { name: 'second', aliases: ['short'] },
  ],
  ...{ logMaxSize: '10m', logMaxFiles: 3 },
};

type Given = (engine: Engine, fake: FakeEngine) => Promise<unknown>;

/** Each call of the adapter, with what must be there before it. */
const CALLS: readonly {
  readonly name: string;
  readonly given: Given;
  readonly call: (engine: Engine, id: string) => Promise<Outcome<unknown>>;
}[] = [
  { name: 'facts', given: started, call: (engine) => engine.facts() },
  { name: 'createNetwork', given: async () => undefined, call: (engine) => engine.createNetwork('net') },
  {
    name: 'removeNetwork',
    given: (engine) => engine.createNetwork('net'),
    call: (engine) => engine.removeNetwork('net'),
  },
  { name: 'create', given: networked, call: (engine) => engine.create(SPEC, 'd', 'box.next', new Map()) },
  { name: 'start', given: made, call: (engine) => engine.start('box.next', 'box', 'd') },
  { name: 'retire', given: started, call: (engine, id) => engine.retire(id, 'box.prev', 1) },
  { name: 'stop', given: started, call: (engine, id) => engine.stop(id, 1) },
  { name: 'remove', given: started, call: (engine, id) => engine.remove(id, 1) },
  { name: 'rename', given: started, call: (engine, id) => engine.rename(id, 'box.prev') },
  { name: 'takeOver', given: byHand, call: (engine, id) => engine.takeOver(id, 'hand.prev', 1) },
  { name: 'giveBack', given: taken, call: (engine, id) => engine.giveBack(id, 'hand') },
  { name: 'logs', given: started, call: (engine, id) => engine.logs(id, { tail: 10 }) },
  { name: 'inspectImage', given: started, call: (engine) => engine.inspectImage(IMAGE) },
  { name: 'listImages', given: started, call: (engine) => engine.listImages('mc/') },
  { name: 'tagImage', given: started, call: (engine) => engine.tagImage(IMAGE, 'mc/box:v2.0.0') },
  { name: 'removeImage', given: started, call: (engine) => engine.removeImage(IMAGE) },
];

describe('G18 G19 G20 the engine adapter, when the N-th request of a call fails', () => {
  let directory: string;

  before(() => (directory = mkdtempSync(join(tmpdir(), 'mcg-fake-'))));
  after(() => rmSync(directory, { recursive: true }));

  for (const one of CALLS)
    it(`${one.name}: each request, in each of ${CALL_FAULTS.length} ways, once and from then on: an outcome in time, and done once it is called again`, async function () {
      this.timeout(300_000);
      const begun = performance.now();
      const ways = CALL_FAULTS.flatMap((fault) => [false, true].map((isLasting) => ({ fault, isLasting })));
      // An engine of its own each: most of the time is a deadline that has to pass.
      const runs = await Promise.all(
        ways.map(({ fault, isLasting }, index) =>
          failing(one, join(directory, `${one.name}-${index}.sock`), fault, isLasting),
        ),
      );
      const fired = runs.reduce((sum, count) => sum + count, 0);
      console.log(`      ${fired} faults in ${Math.max(...runs)} requests`);
      tally({
        kind: 'engine adapter: each request × 14 faults × 2',
        fired,
        unit: 'cases',
        ms: performance.now() - begun,
      });
      expect(Math.min(...runs)).to.be.at.least(1);
    });
});

/** One call with one kind of fault at each of its requests; how many there were. */
async function failing(
  { given, call }: (typeof CALLS)[number],
  socketPath: string,
  fault: CallFault,
  isLasting: boolean,
): Promise<number> {
  const fake = await startFakeEngine(socketPath);
  const open = async (callDeadlineMs: number): Promise<Engine> =>
    valueOf(await openEngine({ socket: socketPath, owner: OWNER, callDeadlineMs, log: makeLog('silent') }));
  const patient = await open(PATIENT_MS);
  /** The call with the fault; undefined: it was given up before it came to that. */
  const called = async (skip: number, deadlineMs: number): Promise<Outcome<unknown> | undefined> => {
    fake.reset();
    fake.forgetImages();
    fake.addImage(IMAGE);
    await given(patient, fake);
    const id = await idOf(patient);
    const engine = deadlineMs === PATIENT_MS ? patient : await openSoon(() => open(deadlineMs));
    fake.fail(fault, skip, isLasting);
    const outcome = await call(engine, id);
    const hasFired = fake.fired() > 0;
    fake.fail(undefined);
    if (engine !== patient) engine.close();
    return hasFired ? outcome : undefined;
  };
  try {
    const clean = await shapeAfter(fake, patient, given, call);
    for (let skip = 0; skip < clean.requests; skip += 1) {
      const when = `${fault}${isLasting ? ' from then on' : ''}, request ${skip + 1}`;
      let outcome: Outcome<unknown> | undefined;
      for (const deadlineMs of UNANSWERED.includes(fault) ? DEADLINES_MS : [PATIENT_MS])
        outcome ??= await called(skip, deadlineMs);
      if (outcome === undefined) throw new Error(`${when}: it does not fire`);
      const id = await idOf(patient);
      judge(outcome, fault, when);
      // G20: called again it is done, once, whatever became of it the first time.
      const again = await repeated(() => call(patient, id));
      expect(again.kind, `${when}, again: ${'why' in again ? again.why : ''}`).to.equal('ok');
      expect(fake.shape(), when).to.equal(clean.shape);
    }
    return clean.requests;
  } finally {
    patient.close();
    await fake.close();
  }
}

/** Who is asked first has the short deadline too. */
async function openSoon(open: () => Promise<Engine>): Promise<Engine> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await open();
    } catch (error) {
      if (tries === 20) throw error;
    }
  }
}

/** A failure says what, and never is a success that was not looked at. */
function judge(outcome: Outcome<unknown>, fault: CallFault, when: string): void {
  if (outcome.kind === 'ok') return;
  expect(outcome.why, when).to.not.equal('');
  expect(['retry', 'blocked', 'bug', 'wait'], when).to.include(outcome.kind);
  if (fault === 'refused' || fault === '500' || fault === 'hang')
    expect(outcome.kind, when).to.equal('retry');
}

/** The next passes: a half-made thing may be cleared away first. */
async function repeated(call: () => Promise<Outcome<unknown>>): Promise<Outcome<unknown>> {
  const first = await call();
  return first.kind === 'ok' ? first : call();
}

/** What it leaves when nothing fails, and in how many requests. */
async function shapeAfter(
  fake: FakeEngine,
  engine: Engine,
  given: Given,
  call: (engine: Engine, id: string) => Promise<Outcome<unknown>>,
): Promise<{ readonly shape: string; readonly requests: number }> {
  fake.addImage(IMAGE);
  await given(engine, fake);
  const id = await idOf(engine);
  const before = fake.calls();
  valueOf(await call(engine, id));
  return { shape: fake.shape(), requests: fake.calls() - before };
}

async function networked(engine: Engine): Promise<void> {
  for (const name of ['net', 'second']) valueOf(await engine.createNetwork(name));
}

async function made(engine: Engine): Promise<void> {
  await networked(engine);
  valueOf(await engine.create(SPEC, 'd', 'box.next', new Map()));
}

async function started(engine: Engine): Promise<void> {
  await made(engine);
  valueOf(await engine.start('box.next', 'box', 'd'));
}

function byHand(_engine: Engine, fake: FakeEngine): Promise<void> {
  fake.addByHand('hand', IMAGE);
  return Promise.resolve();
}

async function taken(engine: Engine, fake: FakeEngine): Promise<void> {
  await byHand(engine, fake);
  valueOf(await engine.takeOver(await idOf(engine), 'hand.prev', 1));
}

async function idOf(engine: Engine): Promise<string> {
  return valueOf(await engine.facts()).containers[0]?.id ?? '';
}

function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'ok') return outcome.value;
  throw new Error(`${outcome.kind}: ${outcome.why}`);
}
