import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { Secret } from '../../src/base/secret.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { ContainerSpec } from '../../src/node/types.ts';
import { startFakeEngine, type FakeEngine } from '../support/fakeengine.ts';
import { CALL_FAULTS, type CallFault } from '../support/simulation/faults.ts';
import { tally } from '../support/tally.ts';
import { until } from '../support/until.ts';

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

const REMOTE = 'registry.test/mc/box:v1.0.0';
const PASSWORD = 'quiet-Harbour-41+x/y';
const ACCOUNT = { username: 'deployer', password: new Secret(PASSWORD), serveraddress: 'registry.test' };
/** What is known without asking, what never ends, and the end. */
const NO_CALLS = ['kind', 'socketPath', 'storageRoot', 'events', 'close'];
/** The password as it stands in a header, whole and in part. */
const FORMS = [PASSWORD, Buffer.from(JSON.stringify(PASSWORD)).toString('base64url').slice(2, -4)];

type Given = (engine: Engine, fake: FakeEngine) => Promise<unknown>;

/** With its deadline, for what has none of its own, and who hears of its progress. */
interface Limits {
  readonly deadlineMs: number;
  readonly tell: (line: string) => void;
}

/** Each call of the adapter, with what must be there before it. */
const CALLS: readonly {
  readonly name: string;
  readonly given: Given;
  readonly call: (engine: Engine, id: string, limits: Limits) => Promise<Outcome<unknown>>;
  /** What is told is what counts: whenever it is well, it is the same (or, of what an engine denies, that it is absent). */
  readonly isRead?: true;
  /** An engine may take minutes for it: it ends with the agent. */
  readonly isPatient?: true;
  /** Told as done: is it so? Absent: whoever calls looks again (house rule 4). */
  readonly isSo?: (value: unknown, engine: Engine, fake: FakeEngine) => Promise<boolean>;
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
  { name: 'logDriver', given: started, call: (engine, id) => engine.logDriver(id), isRead: true },
  {
    name: 'check',
    given: started,
    call: (engine, id, { deadlineMs }) => engine.check(id, ['true'], deadlineMs),
    // Undefined is "healthy": nothing else is a lie.
    isSo: (told, _engine, fake) => Promise.resolve(told !== undefined || fake.checked() > 0),
  },
  { name: 'inspectImage', given: started, call: (engine) => engine.inspectImage(IMAGE), isRead: true },
  { name: 'listImages', given: started, call: (engine) => engine.listImages('mc/'), isRead: true },
  {
    name: 'pullImage',
    given: networked,
    call: (engine, _id, { deadlineMs, tell }) =>
      engine.pullImage(REMOTE, ACCOUNT, AbortSignal.timeout(deadlineMs), tell),
    isRead: true,
  },
  {
    name: 'pushImage',
    given: async (_engine, fake) => fake.addImage(REMOTE),
    call: (engine, _id, { deadlineMs, tell }) =>
      engine.pushImage(REMOTE, ACCOUNT, AbortSignal.timeout(deadlineMs), tell),
    isRead: true,
  },
  { name: 'buildImage', given: networked, call: build, isSo: isBuilt },
  { name: 'disk', given: started, call: (engine) => engine.disk(), isRead: true, isPatient: true },
  { name: 'pruneBuildCache', given: networked, call: (engine) => engine.pruneBuildCache(100) },
  { name: 'tagImage', given: started, call: (engine) => engine.tagImage(IMAGE, 'mc/box:v2.0.0') },
  { name: 'removeImage', given: started, call: (engine) => engine.removeImage(IMAGE) },
];

describe('G18 G19 G20 the engine adapter, when the N-th request of a call fails', () => {
  let directory: string;

  before(() => (directory = mkdtempSync(join(tmpdir(), 'mcg-fake-'))));
  after(() => rmSync(directory, { recursive: true }));

  it('each call that it has is here', async () => {
    const fake = await startFakeEngine(join(directory, 'names.sock'));
    const options = {
      socket: fake.socketPath,
      owner: OWNER,
      callDeadlineMs: PATIENT_MS,
      log: makeLog('silent'),
    };
    const engine = valueOf(await openEngine(options));
    const calls = Object.keys(engine).filter((name) => !NO_CALLS.includes(name));
    engine.close();
    await fake.close();
    expect(CALLS.map(({ name }) => name)).to.have.members(calls);
  });

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
  { given, call, isRead, isSo, isPatient }: (typeof CALLS)[number],
  socketPath: string,
  fault: CallFault,
  isLasting: boolean,
): Promise<number> {
  const fake = await startFakeEngine(socketPath, { isMeasured: true });
  const open = async (callDeadlineMs: number): Promise<Engine> =>
    valueOf(await openEngine({ socket: socketPath, owner: OWNER, callDeadlineMs, log: makeLog('silent') }));
  const patient = await open(PATIENT_MS);
  const said: string[] = [];
  const limits = (deadlineMs: number): Limits => ({ deadlineMs, tell: (line) => said.push(line) });
  /** The call with the fault; undefined: it was given up before it came to that. */
  const called = async (skip: number, deadlineMs: number): Promise<Outcome<unknown> | undefined> => {
    fake.reset();
    fake.forgetImages();
    fake.addImage(IMAGE);
    await given(patient, fake);
    const id = await idOf(patient);
    const engine = deadlineMs === PATIENT_MS ? patient : await openSoon(() => open(deadlineMs));
    fake.fail(fault, skip, isLasting);
    const under = call(engine, id, limits(deadlineMs));
    if (isPatient === true && engine !== patient)
      await until('the fault', () => fake.fired() > 0, PATIENT_MS).then(() => engine.close());
    const outcome = await under;
    const hasFired = fake.fired() > 0;
    fake.fail(undefined);
    if (engine !== patient) engine.close();
    return hasFired ? outcome : undefined;
  };
  try {
    const clean = await shapeAfter(fake, patient, given, (...of) => call(...of, limits(PATIENT_MS)));
    for (let skip = 0; skip < clean.requests; skip += 1) {
      const when = `${fault}${isLasting ? ' from then on' : ''}, request ${skip + 1}`;
      let outcome: Outcome<unknown> | undefined;
      for (const deadlineMs of UNANSWERED.includes(fault) ? DEADLINES_MS : [PATIENT_MS])
        outcome ??= await called(skip, deadlineMs);
      if (outcome === undefined) throw new Error(`${when}: it does not fire`);
      const id = await idOf(patient);
      judge(outcome, fault, when);
      if (outcome.kind === 'ok') {
        const isDenied = fault === '404' && outcome.value === undefined;
        if (isRead === true && !isDenied) expect(outcome.value, when).to.deep.equal(clean.value);
        if (isSo !== undefined) expect(await isSo(outcome.value, patient, fake), when).to.equal(true);
      }
      // G20: called again it is done, once, whatever became of it the first time.
      const again = await repeated(() => call(patient, id, limits(PATIENT_MS)));
      expect(again.kind, `${when}, again: ${'why' in again ? again.why : ''}`).to.equal('ok');
      if (isRead === true && again.kind === 'ok') expect(again.value, when).to.deep.equal(clean.value);
      expect(fake.shape(), when).to.equal(clean.shape);
      said.push(JSON.stringify(outcome));
    }
    for (const form of FORMS) expect(said.join('\n'), 'the account (G10)').to.not.contain(form);
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

/** From a context of one empty block; with an account, so that the builder has its session. */
function build(engine: Engine, _id: string, { deadlineMs, tell }: Limits): Promise<Outcome<unknown>> {
  return engine.buildImage(Readable.from([Buffer.alloc(1_024)]), {
    ...{ reference: 'mc/built:v1.0.0', dockerfile: 'Dockerfile', buildArgs: {}, labels: {} },
    ...{ auths: [ACCOUNT], signal: AbortSignal.timeout(deadlineMs), onProgress: tell },
  });
}

async function isBuilt(value: unknown, engine: Engine): Promise<boolean> {
  const there = valueOf(await engine.inspectImage('mc/built:v1.0.0'));
  return there !== undefined && there.imageId === (value as { imageId: string }).imageId;
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
): Promise<{ readonly shape: string; readonly requests: number; readonly value: unknown }> {
  fake.addImage(IMAGE);
  await given(engine, fake);
  const id = await idOf(engine);
  const before = fake.calls();
  const value = valueOf(await call(engine, id));
  return { shape: fake.shape(), requests: fake.calls() - before, value };
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
