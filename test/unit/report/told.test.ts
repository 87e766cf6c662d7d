import { expect } from 'chai';
import { effectOf } from '../../../src/execute/effect.ts';
import { Secret } from '../../../src/base/secret.ts';
import { makeLog } from '../../../src/base/log.ts';
import { known, ok, type Outcome } from '../../../src/base/outcome.ts';
import { formatEvent, openFeed } from '../../../src/report/events.ts';
import { formatHistory, historyOf } from '../../../src/report/history.ts';
import { readServiceLog } from '../../../src/report/logs.ts';
import { openTeller } from '../../../src/report/teller.ts';
import { differencesOf, type Situation } from '../../../src/report/told.ts';
import type { LogView } from '../../../src/report/types.ts';
import { sampleInput } from '../../support/sample-view.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const UP = { reachable: true };

describe('what is told', () => {
  const waits = (why: string, ...services: string[]): Situation => ({
    source: UP,
    plan: { waiting: services.map((name) => ({ service: name, for: 'ready', why })), refused: [] },
  });
  const quiet: Situation = { source: UP, plan: { waiting: [], refused: [] } };
  const texts = (before: Situation | undefined, after: Situation): string[] =>
    differencesOf(before, after, 7).map((event) => `${event.phase ?? ''} ${event.text}`);

  it('a wait is told when it begins, when its reason changes, and when it ends; not while it lasts', () => {
    expect(texts(quiet, waits('refused', 'web'))).to.deep.equal(['begins web: waits for ready: refused']);
    expect(texts(waits('refused', 'web'), waits('refused', 'web'))).to.deep.equal([]);
    expect(texts(waits('refused', 'web'), waits('HTTP 500', 'web'))).to.deep.equal([
      'changes web: waits for ready: HTTP 500',
    ]);
    expect(texts(waits('refused', 'web'), quiet)).to.deep.equal(['ends web: no longer waits for ready']);
  });

  it('a counter or a time in its reason does not make it told again', () => {
    expect(texts(waits('try 3, 120 ms', 'web'), waits('try 4, 98 ms', 'web'))).to.deep.equal([]);
  });

  it('a wait that is tried again and fails again is one wait; it ends when what was tried has succeeded', async () => {
    const lines: string[] = [];
    const write = (line: string): void => void lines.push((JSON.parse(line) as { msg: string }).msg);
    const teller = openTeller({ log: makeLog('info', { write }), feed: openFeed() });
    const world = new World();
    world.desired = desiredOf([service('web', [component('web', { network: 'none' })])]);
    world.present('mcr.example.net/web:v1.0.0');
    const { steps } = world.plan();
    expect(steps).to.not.deep.equal([]);
    const waiting = (count: number): Situation => ({
      source: UP,
      plan: {
        waiting: [{ service: 'web', for: 'retry', why: `refused (try ${count})` }],
        refused: [],
        steps: [],
      },
    });
    const trying: Situation = { source: UP, plan: { waiting: [], refused: [], steps } };
    for (const situation of [waiting(1), trying, waiting(2), trying, trying, waiting(3)])
      teller.afterPass(situation, [], 9);
    expect(lines).to.deep.equal(['web: waits for retry: refused (try 1)']);
    teller.afterPass(trying, [], 9);
    teller.afterPass(quiet, [], 9);
    expect(lines.slice(1)).to.deep.equal(['web: no longer waits for retry']);
  });

  it('services that wait for the same are told in one line', () => {
    const names = Array.from({ length: 30 }, (_, i) => `s${i}`);
    expect(texts(quiet, waits('the engine is away', ...names))).to.deep.equal([
      'begins s0, s1, s2, s3, s4, s5, s6, s7 and 22 more: waits for ready: the engine is away',
    ]);
  });

  it('a refusal, an unreachable repository, and a new commit are told with what to do', () => {
    const refused = { service: 'web', why: 'too many', hint: 'name them' };
    const events = differencesOf(
      quiet,
      {
        source: { reachable: false, since: 3, why: 'refused the connection' },
        plan: { waiting: [], refused: [refused] },
        commit: { oid: 'c'.repeat(40), author: 'Ada', message: 'one\n\nmore' },
      },
      7,
    );
    expect(events.map(({ kind, text, hint }) => [kind, text, hint])).to.deep.equal([
      ['commit', 'commit cccccccccccc by Ada: one', undefined],
      ['source', 'git: refused the connection', 'The last accepted commit goes on being enforced.'],
      ['refused', 'web: refused: too many', 'name them'],
    ]);
  });

  it('goes to the log once, and to the feed with what control characters it had made visible (G53)', async () => {
    const lines: string[] = [];
    const feed = openFeed();
    const heard: number[] = [];
    const stop = feed.subscribe((event) => void heard.push(event.id));
    const teller = openTeller({
      log: makeLog('info', { write: (line: string) => void lines.push(line) }),
      feed,
    });
    const world = new World();
    world.desired = desiredOf([service('web', [component('web', { network: 'none' })])]);
    const { results } = await world.pass();
    for (let i = 0; i < 3; i += 1) teller.afterPass(waits('a\u001b[31mb', 'web'), results, 9);
    expect(lines).to.have.length(1);
    const events = feed.recent();
    expect(events.filter((event) => event.kind === 'step')).to.have.length(results.length);
    expect(events.at(-1)?.text).to.equal('web: waits for ready: a\\u001b[31mb');
    expect(feed.recent(events.at(-2)?.id)).to.deep.equal(events.slice(-1));
    expect(heard).to.deep.equal(events.map((event) => event.id));
    stop();
    expect(formatEvent(events.at(-1) as never)).to.equal(
      '1970-01-01T00:00:00Z  waiting  web: waits for ready: a\\u001b[31mb',
    );
  });
});

describe('the history of a service', () => {
  it('a history of nothing says so, and where to look', () => {
    expect(formatHistory([])).to.match(/^Nothing was done here yet; `mc-gitops status`/);
  });

  it('L35 says when, which commit, who, why, what changed, how long and with which result', async () => {
    const { passes } = await sampleInput();
    const entries = historyOf(passes.map((pass) => ({ ...pass, author: 'Ada', message: 'hello v1.1.0' })));
    const changed = entries.find((entry) => entry.service === 'hello' && entry.patch !== undefined);
    expect(changed).to.include({ author: 'Ada', message: 'hello v1.1.0', file: 'services/hello.toml' });
    expect(changed?.tookMs).to.be.greaterThan(0);
    const text = formatHistory(entries);
    expect(text)
      .to.contain('"Ada"'.replaceAll('"', ''))
      .and.to.match(/changed {2}\{"op":"replace"/);
    expect(text).to.match(/^ {2}because {2}\S/m);
    expect(text).to.not.match(/0123456789abcdef|fedcba9876543210/);
  });

  it('a build that was begun is no build that went well, and the next one tells how it failed', async () => {
    const world = new World();
    world.desired = desiredOf([service('a', [component('a', { dockerfile: 'Dockerfile' })])]);
    const reference = 'mcr.example.net/a:v1.0.0';
    const told = (): string => {
      const steps = world.plan().steps.map(({ kind, service, subject, because }) => ({
        ...{ id: 1, pass: 1, kind, service, subject, because, startedAt: 0, endedAt: 12 },
        result: 'ok' as const,
      }));
      return formatHistory(historyOf([{ id: 1, trigger: 'git', commit: 'c', startedAt: 0, steps }]));
    };
    world.images[reference] = { kind: 'absent' };
    expect(told())
      .to.contain('a: begun after 12 ms')
      .and.contain(`step     build-image ${reference}: begun (12 ms)`)
      .and.to.not.contain('as before');
    const failed = { why: 'step 3 exits with 7; its last lines: a | b', hint: 'Mend it.' };
    world.images[reference] = { kind: 'absent', failed };
    expect(told()).to.contain('; once more, as before: step 3 exits with 7\n');
  });

  it('a certificate that was ordered is none yet; one of the own CA is there at once', async () => {
    const told = (after: unknown): string => {
      const because = { summary: 'new service a' };
      const step = {
        id: 1,
        pass: 1,
        kind: 'issue-certificate',
        service: 'a',
        subject: 'a.test',
        because,
        after,
      };
      const steps = [{ ...step, startedAt: 0, endedAt: 12, result: 'ok' as const }];
      return formatHistory(historyOf([{ id: 1, trigger: 'git', commit: 'c', startedAt: 0, steps }]));
    };
    const step = { service: 'a', subject: 'a.test', because: { summary: 'new service a' } };
    const issue = { ...step, kind: 'issue-certificate', hostname: 'a.test', isDefault: true } as const;
    expect(told(effectOf({ ...issue, isOrder: true }, undefined).after)).to.contain('a.test: begun (12 ms)');
    expect(told(effectOf(issue, undefined).after)).to.contain('a.test: ok (12 ms)');
  });

  it('an entry has the worst result of its steps', async () => {
    const { passes } = await sampleInput();
    const failed = historyOf(passes).find((entry) => entry.steps.some((step) => step.result === 'retry'));
    expect(failed?.result).to.equal('retry');
  });
});

describe('the log of a service', () => {
  const world = new World();
  const read = async (
    question: Parameters<typeof readServiceLog>[0],
    lines: string[],
    tails: number[] = [],
    builds: Readonly<Record<string, readonly string[]>> = {},
  ): Promise<Outcome<LogView>> =>
    readServiceLog(question, {
      owner: 'n1/main',
      observed: { ...world.observed(), engine: known(engineOf(world)) },
      services: world.desired.services.map((entry) => entry.service),
      buildLog: (reference) => builds[reference] ?? [],
      values: new Map([
        [
          'web/api',
          new Map([
            ['DB_PASSWORD', 'hunter2-abc'],
            ['LEVEL', 'information'],
          ]),
        ],
      ]),
      read: async (_id, tail) => {
        tails.push(tail);
        return ok({ lines, driver: 'json-file' });
      },
    });

  before(async () => {
    world.desired = desiredOf([
      service('web', [component('api', { network: 'none' }), component('ui', { network: 'none' })]),
    ]);
    world.present(
      ...world.desired.services.flatMap((s) => s.service.components.map((c) => c.image.reference)),
    );
    await world.converge();
  });

  it('is that of the component named; of several one has to be named', async () => {
    const log = await read({ service: 'web', component: 'api' }, ['one']);
    expect(log.kind === 'ok' && log.value).to.deep.equal({
      ...{ service: 'web', component: 'api', container: 'web-api', driver: 'json-file', lines: ['one'] },
    });
    const several = await read({ service: 'web' }, []);
    expect(several).to.deep.include({ kind: 'blocked', hint: 'Name one: web/api, web/ui.' });
    expect(await read({ service: 'nope' }, [])).to.include({ kind: 'blocked' });
  });

  it('G10 of a service that has no container, as its build failed, it is what the build printed, secrets masked, and why it failed', async () => {
    const reference = component('new').image.reference;
    const [before, images] = [world.desired, world.images];
    world.desired = desiredOf([service('new', [component('new', { dockerfile: 'Dockerfile' })])]);
    const failed = {
      kind: 'failed',
      at: 1,
      why: 'step 2 of 2: exit code 3',
      hint: 'Mend it.',
      retryAt: 2,
    } as const;
    world.images = { ...images, [reference]: failed };
    const secret = new Secret('build-time-secret');
    const builds = { [reference]: ['step 1', `token ${secret.reveal()} \u001b[2J`, 'missing semicolon'] };
    const log = await read({ service: 'new' }, [], [], builds);
    expect(log.kind === 'ok' && log.value).to.deep.equal({
      ...{ service: 'new', component: 'new', build: reference },
      lines: ['step 1', 'token ••• \\u001b[2J', 'missing semicolon'],
      note: `this is the log of the build of ${reference}, which failed: step 2 of 2: exit code 3`,
    });
    const short = await read({ service: 'new', tail: 1 }, [], [], builds);
    expect(short.kind === 'ok' && short.value.lines).to.deep.equal(['missing semicolon']);
    const silent = await read({ service: 'new' }, []);
    expect(silent.kind === 'ok' && silent.value.empty).to.contain('ended before its first step');
    [world.desired, world.images] = [before, images];
  });

  it('of a service that runs, and whose new version cannot be built, it is that of its container, and says where the other one is', async () => {
    const before = world.desired;
    const image = { ...component('api').image, reference: 'mcr.example.net/api:v2.0.0', tag: 'v2.0.0' };
    world.desired = desiredOf([
      service('web', [component('api', { image, dockerfile: 'Dockerfile', network: 'none' })]),
    ]);
    world.images[image.reference] = {
      kind: 'failed',
      at: 1,
      why: 'exit code 3',
      hint: 'Mend it.',
      retryAt: 2,
    };
    const builds = { [image.reference]: ['missing semicolon'] };
    const log = await read({ service: 'web', component: 'api' }, ['one'], [], builds);
    expect(log.kind === 'ok' && [log.value.lines, log.value.note]).to.deep.equal([
      ['one'],
      'the build of mcr.example.net/api:v2.0.0 failed: `mc-gitops logs web --build` has its log',
    ]);
    const build = await read({ service: 'web', build: true }, ['one'], [], builds);
    expect(build.kind === 'ok' && build.value.lines).to.deep.equal(['missing semicolon']);
    world.desired = before;
    expect(await read({ service: 'web', build: true }, ['one'])).to.deep.include({
      kind: 'blocked',
      why: 'no log of a build for service web is kept',
    });
  });

  it('G53 G10 shows control characters as escapes, and masks values of variables that are secrets by name', async () => {
    const log = await read({ service: 'web', component: 'api' }, [
      'a\u001b[2Jb',
      'login hunter2-abc, level information',
    ]);
    expect(log.kind === 'ok' && log.value.lines).to.deep.equal([
      'a\\u001b[2Jb',
      'login •••, level information',
    ]);
  });

  it('L21 an empty one says so, with the driver', async () => {
    const log = await read({ service: 'web', component: 'ui' }, []);
    expect(log.kind === 'ok' && log.value.empty)
      .to.contain('driver json-file')
      .and.contain('nothing');
  });

  it('is capped, whatever is asked for', async () => {
    const tails: number[] = [];
    await read({ service: 'web', component: 'ui', tail: 10 ** 9 }, [], tails);
    expect(tails).to.deep.equal([2000]);
  });
});

function engineOf(world: World): Extract<ReturnType<World['observed']>['engine'], { known: true }>['value'] {
  const { engine } = world.observed();
  if (!engine.known) throw new Error(engine.why);
  return engine.value;
}
