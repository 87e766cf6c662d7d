import { expect } from 'chai';
import { blocked, ok, retry, type Outcome } from '../../../src/base/outcome.ts';
import { Secret } from '../../../src/base/secret.ts';
import { openBuildLogs } from '../../../src/node/images/buildlog.ts';
import { growingMs, openJobs, type JobContext, type Jobs } from '../../../src/node/jobs.ts';
import { until } from '../../support/until.ts';
import { steppedClock } from './images-support.ts';

type Lane = 'slow' | 'one' | 'wide';

describe('node: jobs', () => {
  let clock: ReturnType<typeof steppedClock>;
  let changes: number;
  let jobs: Jobs<Lane>;

  beforeEach(() => {
    clock = steppedClock();
    changes = 0;
    jobs = openJobs<Lane>({
      lanes: {
        slow: { concurrency: 1, timeoutMs: 60 },
        one: { concurrency: 1, timeoutMs: 60_000 },
        wide: { concurrency: 3, timeoutMs: 60_000 },
      },
      clock,
      retryMs: { first: 10_000, longest: 300_000 },
      onChange: () => {
        changes += 1;
      },
    });
  });
  afterEach(() => jobs.stop());

  const start = (
    key: string,
    work: (context: JobContext) => Promise<Outcome<unknown>>,
    lane: Lane = 'wide',
  ): Outcome<undefined> => jobs.start({ key, lane, what: `job ${key}`, work });
  const ended = (key: string): Promise<unknown> =>
    until(`${key} to end`, () => ['failed', 'done'].includes(jobs.state(key)?.kind ?? ''));
  const endless = ({ signal }: JobContext): Promise<Outcome<unknown>> =>
    new Promise((resolve) => signal.addEventListener('abort', () => resolve(retry('it was ended'))));

  it('starts at once, is observed, signals each change, and may be started again when done', async () => {
    let finish: (() => void) | undefined;
    const work = (): Promise<Outcome<unknown>> => new Promise((resolve) => (finish = () => resolve(ok())));
    expect(start('a', work).kind).to.equal('ok');
    await until('it to run', () => jobs.state('a')?.kind === 'running');
    expect(start('a', work)).to.include({ kind: 'wait', why: 'job a is under way' });
    finish?.();
    await ended('a');
    expect(jobs.state('a')).to.deep.equal({ lane: 'wide', kind: 'done', at: clock.now() });
    expect(changes).to.equal(2);
    expect(start('a', async () => ok()).kind).to.equal('ok');
  });

  it('waits after failures: 10 s, doubled to five minutes, no start before; a success begins anew', async () => {
    const waits: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      expect(start('a', async () => blocked('no such tag', 'tag it')).kind).to.equal('ok');
      await ended('a');
      const state = jobs.state('a');
      if (state?.kind !== 'failed') throw new Error('not failed');
      waits.push((state.retryAt - clock.now()) / 1000);
      const early = start('a', async () => ok());
      expect(early).to.deep.equal({
        kind: 'retry',
        why: 'no such tag',
        hint: 'tag it',
        afterMs: state.retryAt - clock.now(),
      });
      clock.step(state.retryAt - clock.now());
    }
    expect(waits).to.deep.equal([10, 20, 40, 80, 160, 300, 300]);
    start('a', async () => ok());
    await ended('a');
    start('a', async () => retry('down', undefined, 77_000));
    await ended('a');
    const state = jobs.state('a');
    expect(state?.kind === 'failed' && state.retryAt - clock.now()).to.equal(77_000);
    expect(growingMs(1_000, { first: 10, longest: 40 })).to.equal(40);
  });

  it('G42 waits by the time that passes: a wall clock that is set forward or back shortens and lengthens nothing', async () => {
    for (const jumpMs of [-86_400_000, 86_400_000]) {
      const key = `jump ${jumpMs}`;
      start(key, async () => retry('down'));
      await ended(key);
      clock.jump(jumpMs);
      const state = jobs.state(key);
      expect(state?.kind === 'failed' && state.retryAt - clock.now()).to.equal(10_000);
      expect(start(key, async () => ok())).to.include({ kind: 'retry', afterMs: 10_000 });
      clock.step(10_000);
      const over = jobs.state(key);
      expect(over?.kind === 'failed' && over.retryAt <= clock.now()).to.equal(true);
      expect(start(key, async () => ok()).kind).to.equal('ok');
    }
  });

  it('G2 tells one moment for a wait, look by look, although two clocks differ by a few milliseconds, and keeps to it', async () => {
    start('a', async () => retry('down'));
    await ended('a');
    const told = (): number => {
      const state = jobs.state('a');
      return state?.kind === 'failed' ? state.retryAt : NaN;
    };
    const first = told();
    for (const jumpMs of [1, -2, 3]) {
      clock.step(100);
      clock.jump(jumpMs);
      expect(told()).to.equal(first);
    }
    // The wall clock is 2 ms ahead now: it says that the wait is over a moment before the other one does.
    clock.step(first - clock.now());
    expect(start('a', async () => ok()).kind).to.equal('ok');
  });

  it('one at once in a lane: the others are queued in order', async () => {
    const order: string[] = [];
    const finishes: (() => void)[] = [];
    const work = (key: string) => (): Promise<Outcome<unknown>> => {
      order.push(key);
      return new Promise((resolve) => finishes.push(() => resolve(ok())));
    };
    for (const key of ['a', 'b', 'c']) start(key, work(key), 'slow');
    await until('a to run', () => jobs.state('a')?.kind === 'running');
    expect([jobs.state('b')?.kind, jobs.state('c')?.kind]).to.deep.equal(['queued', 'queued']);
    for (const key of ['a', 'b', 'c']) {
      await until(`${key} to run`, () => jobs.state(key)?.kind === 'running');
      finishes.shift()?.();
      await ended(key);
    }
    expect(order).to.deep.equal(['a', 'b', 'c']);
  });

  it('what failed waits at least as long as it ran, then twice and four times as long: it never has most of its lane', async () => {
    const waits: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      start('a', async () => (clock.step(600_000), retry('it came to its deadline')));
      await ended('a');
      const state = jobs.state('a');
      if (state?.kind !== 'failed') throw new Error('not failed');
      waits.push((state.retryAt - clock.now()) / 1000);
      clock.step(state.retryAt - clock.now());
    }
    expect(waits).to.deep.equal([600, 1_200, 2_400, 2_400]);
  });

  it('what failed before gives way to what was never tried, queued or running, and begins again behind it', async () => {
    const order: string[] = [];
    const finishes = new Map<string, (outcome: Outcome<unknown>) => void>();
    const work =
      (key: string) =>
      (context: JobContext): Promise<Outcome<unknown>> => {
        order.push(key);
        return new Promise((resolve) => {
          finishes.set(key, resolve);
          context.signal.addEventListener('abort', () => resolve(retry('it was ended')));
        });
      };
    const runs = (key: string): Promise<unknown> =>
      until(`${key} to run`, () => jobs.state(key)?.kind === 'running');
    for (const key of ['bad', 'worse']) {
      start(key, async () => blocked(`${key} does not compile`), 'one');
      await ended(key);
    }
    clock.step(10_000);
    start('bad', work('bad'), 'one');
    start('worse', work('worse'), 'one');
    await runs('bad');
    for (const key of ['new', 'newer']) start(key, work(key), 'one');
    await runs('new');
    expect(jobs.state('bad')).to.deep.include({ kind: 'queued' });
    expect(jobs.state('bad')).to.have.nested.property('before.why', 'bad does not compile');
    for (const key of ['new', 'newer', 'worse', 'bad']) {
      await runs(key);
      finishes.get(key)?.(ok());
      await ended(key);
    }
    expect(order).to.deep.equal(['bad', 'new', 'newer', 'worse', 'bad']);
    expect(jobs.state('bad')?.kind, 'giving way is no failure').to.equal('done');
  });

  it('a job that is cancelled ends at once, queued or running, and the next one has its place', async () => {
    for (const key of ['a', 'b', 'c']) start(key, endless, 'one');
    await until('a to run', () => jobs.state('a')?.kind === 'running');
    expect(jobs.underWay().map(({ key }) => key)).to.deep.equal(['a', 'b', 'c']);
    jobs.cancel('b');
    jobs.cancel('a');
    jobs.cancel('nobody');
    await until('c to run', () => jobs.state('c')?.kind === 'running');
    expect([jobs.state('a'), jobs.state('b')]).to.deep.equal([undefined, undefined]);
    expect(jobs.underWay().map(({ key }) => key)).to.deep.equal(['c']);
    expect(start('a', endless, 'one').kind, 'it may be wanted again').to.equal('ok');
  });

  it('a deadline ends a job, also one that does not heed its signal; an exception is a bug of this job alone', async () => {
    start('deaf', () => new Promise(() => undefined), 'slow');
    start('next', async () => ok(), 'slow');
    start('broken', () => Promise.reject(new TypeError('x is undefined')));
    await Promise.all([ended('deaf'), ended('next'), ended('broken')]);
    const [deaf, broken] = [jobs.state('deaf'), jobs.state('broken')];
    expect(deaf?.kind === 'failed' && deaf.failure.why).to.match(/^job deaf was ended at its deadline/);
    expect(broken?.kind === 'failed' && broken.failure).to.include({ kind: 'bug', why: 'x is undefined' });
    expect(jobs.state('next')?.kind).to.equal('done');
  });

  it('progress is seen at once and signalled at most once a second', async () => {
    let context: JobContext | undefined;
    start('a', (given) => {
      context = given;
      return endless(given);
    });
    await until('it to run', () => context !== undefined);
    for (let step = 1; step <= 100; step += 1) context?.progress(`step ${step}/100`);
    const state = jobs.state('a');
    expect(state?.kind === 'running' && state.progress).to.equal('step 100/100');
    expect(changes).to.equal(1);
    clock.step(1_000);
    context?.progress('last');
    expect(changes).to.equal(2);
  });

  it('stop takes everything back and starts nothing any more', async () => {
    let begun = 0;
    const work = (context: JobContext): Promise<Outcome<unknown>> => {
      begun += 1;
      return endless(context);
    };
    for (const key of ['a', 'b', 'c', 'd', 'e']) start(key, work);
    await until('three to run', () => begun === 3);
    await jobs.stop();
    expect(begun).to.equal(3);
    expect(['a', 'b', 'c', 'd', 'e'].map((key) => jobs.state(key)?.kind)).to.deep.equal(
      Array(5).fill(undefined),
    );
    expect(start('f', work).kind).to.equal('wait');
  });

  it('a build that prints without end costs no memory, and its log has no secret (G10)', () => {
    const logs = openBuildLogs(10_000);
    logs.begin('a');
    const secret = new Secret('correct-horse-battery');
    logs.add('a', 'the first line');
    for (let line = 0; line < 50_000; line += 1) logs.add('a', `line ${line}`);
    logs.add('a', `\u001b[31mtoken ${secret.reveal()}\u001b[0m`);
    logs.add('a', 'x'.repeat(1_000_000));
    logs.begin('b');
    // Of what the agent does not know, by its shape.
    const begin = '-----BEGIN RSA PRIVATE KEY-----';
    logs.add('b', `export API_TOKEN=hunter22secret\n${begin}\nMIIEow\n-----END RSA PRIVATE KEY-----\nand on`);
    expect(logs.lines('b')).to.deep.equal(['export API_TOKEN=•••', '•••', '•••', '•••', 'and on']);
    const lines = logs.lines('a');
    expect(Buffer.byteLength(lines.join(''))).to.be.below(10_200);
    expect(lines[0]).to.match(/^… \d+ earlier lines are not kept$/);
    expect(lines.at(-2)).to.equal('token •••');
    for (let build = 0; build < 30; build += 1) logs.begin(`b${build}`);
    expect(logs.lines('a')).to.deep.equal([]);
  });
});
