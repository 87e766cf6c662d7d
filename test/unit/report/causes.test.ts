import { expect } from 'chai';
import { known, retry, unknown } from '../../../src/base/outcome.ts';
import type { ImageState } from '../../../src/node/images/state.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Trial } from '../../../src/registry/types.ts';
import { causesOf, type CauseInput } from '../../../src/report/causes.ts';
import { undecidedOf } from '../../../src/report/standing.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const LIMITS = { sourceAfterMs: 300_000, degradedAfterMs: 60_000 };

describe('what there is a notice for', () => {
  let world: World;
  const input = (change: Partial<CauseInput> = {}): CauseInput => {
    const facts = world.facts();
    return { seen: { ...facts, plan: world.plan() }, results: [], source: { reachable: true }, ...change };
  };
  const kinds = (change: Partial<CauseInput> = {}): string[] =>
    causesOf(input(change), LIMITS).map((cause) => `${cause.kind}: ${cause.service ?? ''}`);

  beforeEach(async () => {
    world = new World();
    world.desired = desiredOf(
      ['a', 'b', 'c', 'd'].map((name) => service(name, [component(name, { network: 'none' })])),
    );
    world.present(
      ...world.desired.services.flatMap((s) => s.service.components.map((c) => c.image.reference)),
    );
    await world.converge();
  });

  it('nothing while all is well', () => {
    expect(kinds()).to.deep.equal([]);
  });

  it('drift repaired, with what was found; a new version is none', async () => {
    const before = input().seen;
    world.kill('b');
    const { results } = await world.pass();
    const [cause] = causesOf(input({ results, ...(before === undefined ? {} : { seen: before }) }), LIMITS);
    expect(cause).to.include({ kind: 'drift repaired', service: 'b' });
    expect(cause?.text).to.contain('container b is exited');

    const seen = input().seen;
    world.desired = desiredOf([service('b', [component('b', { network: 'none', cmd: ['new'] })])]);
    const changed = await world.pass();
    expect(
      causesOf({ ...input(), results: changed.results, ...(seen === undefined ? {} : { seen }) }, LIMITS),
    ).to.deep.equal([]);
  });

  it("L40 nothing for a stop of the agent's own that takes long, nor for what waits for that service to come first", () => {
    const because = (name: string): string => `${name} is being worked on, and comes first (after)`;
    world.desired = desiredOf(
      ['a', 'b', 'c', 'd'].map((name) =>
        service(name, [component(name, { network: 'none' })], name === 'b' ? { after: ['a'] } : {}),
      ),
    );
    world.applied = world.applied.map((one) => {
      const now = world.desired.services.find(({ service: { name } }) => name === one.service.name);
      return now === undefined ? one : { ...one, service: now.service, digest: now.digest, oid: now.oid };
    });
    const waiting = [
      { service: 'a', for: 'busy', why: 'retire-container a is under way', since: 0 },
      { service: 'a', for: 'ready', why: 'a: connection refused', since: 0 },
      { service: 'b', for: 'after', why: because('a'), since: 0 },
    ];
    const seen = (all: typeof waiting): Partial<CauseInput> => ({
      seen: { ...world.facts(), plan: { steps: [], waiting: all, refused: [] } },
    });
    expect(kinds(seen(waiting))).to.deep.equal([]);
    expect(kinds(seen(waiting.slice(1)))).to.deep.equal(['degraded: a', 'degraded: b']);
    const plan = seen(waiting).seen;
    expect([...(undecidedOf(plan).services ?? [])].sort()).to.deep.equal(['a', 'b']);
  });

  it('what is tried again and not taken is one trouble over all of its tries (L15)', async () => {
    const before = input().seen;
    world.kill('b');
    world.failing.set('start', retry('the disk is full'));
    const { results } = await world.pass();
    const causes = causesOf(input({ results, ...(before === undefined ? {} : { seen: before }) }), LIMITS);
    expect(causes.map(({ key, text }) => `${key}: ${text}`)).to.deep.equal([
      'degraded b: b is degraded: start-container b: the disk is full',
    ]);
    expect(causesOf(input(), LIMITS).map(({ key }) => key)).to.deep.equal(['degraded b']);
  });

  it('a proxy that is down is one cause, however many services wait for it (L15)', async () => {
    world = new World();
    const routed = (name: string) =>
      component(name, {
        routes: [{ name: '', port: 443, mode: 'l4', hostname: `${name}.svc.test`, backendTls: false }],
      });
    world.desired = desiredOf(['a', 'b'].map((name) => service(name, [routed(name)])));
    world.present('mcr.example.net/a:v1.0.0', 'mcr.example.net/b:v1.0.0');
    await world.converge();
    const { seen } = input();
    const proxy = seen?.observed.proxy;
    if (seen === undefined || proxy?.known !== true) throw new Error('no proxy');
    const observed = {
      ...seen.observed,
      proxy: known({ ...proxy.value, live: unknown('the proxy is down') }),
    };
    const plan = makePlan({ ...world.facts(), observed });
    const causes = causesOf({ ...input(), seen: { ...seen, observed, plan } }, LIMITS);
    expect(causes.map(({ key, text }) => [key, text])).to.deep.equal([
      ['degraded proxy: the proxy is down', 'the proxy is down: a, b wait for it'],
    ]);
  });

  it('a version that gave way, with where its last lines are, and not the lines themselves', () => {
    const { seen } = input();
    if (seen === undefined) throw new Error('nothing seen');
    const trial = { service: 'a', digest: 'd', since: 1, tries: 0, file: 'f', commit: 'c', why: 'w' };
    const hintOf = (phase: Trial['phase'], printed?: ReadonlySet<string>): string | undefined => {
      const promised = { ...seen.promised, trials: [{ ...trial, phase }] };
      const change = { seen: { ...seen, promised }, ...(printed === undefined ? {} : { printed }) };
      return causesOf(input(change), LIMITS)[0]?.hint;
    };
    const where = '`mc-gitops status a` has what it printed last.';
    const push = 'Push a changed definition, or raise `generation` to have the same one tried again.';
    expect(hintOf('returning', new Set(['a']))).to.equal(where);
    expect(hintOf('held back', new Set(['a']))).to.equal(`${where} ${push}`);
    expect(hintOf('held back', new Set(['b']))).to.equal(push);
    expect(hintOf('returning')).to.equal(undefined);
  });

  it('a definition that is held back, with its first error', () => {
    const [first, ...rest] = world.desired.services;
    if (first === undefined) throw new Error('none');
    world.desired = {
      ...world.desired,
      services: [{ ...first, heldBack: true }, ...rest],
      issues: [
        {
          ...{ rule: 'r', severity: 'error', file: 'services/a.toml', line: 3, column: 1, path: '' },
          ...{ message: 'no such key', hint: 'Take it out.', service: 'a' },
        },
      ],
    };
    expect(causesOf(input(), LIMITS)[0]).to.include({
      ...{ kind: 'held back', service: 'a', hint: 'Take it out.' },
      text: 'a is held back: services/a.toml:3:1 no such key; its last good state stays',
    });
  });

  it('L31 a removal over the budget is one notice for all the services it names', () => {
    world.desired = desiredOf([service('a', [component('a', { network: 'none' })])]);
    const causes = causesOf(input(), LIMITS);
    expect(causes.map(({ kind }) => kind)).to.deep.equal(['refused']);
    expect(causes[0]?.text).to.match(/^b, c, d: refused: /);
  });

  it('a service in line that waits for something is degraded; one that is new is not', () => {
    world.unready.add('c');
    world.kill('c');
    expect(kinds()).to.deep.equal([]);
    world.containers = world.containers.map((one) => (one.name === 'c' ? { ...one, state: 'paused' } : one));
    expect(kinds()).to.deep.equal(['degraded: c']);
  });

  it('an image that cannot be had for a service that never ran is one notice, also while the build is tried again', () => {
    const add = service('new', [component('new', { network: 'none', dockerfile: 'Dockerfile' })]);
    const before = world.desired.services.map((one) => one.service);
    world.desired = desiredOf([...before, add]);
    const { reference } = component('new').image;
    const of = (state: ImageState): unknown[] => {
      world.images[reference] = state;
      const told = causesOf(input(), LIMITS).filter((cause) => cause.service === 'new');
      return told.map(({ key, kind, afterMs, text }) => [key, kind, afterMs, text]);
    };
    const failed = { why: 'step 2 of 2: exit code 3', hint: 'Mend it.' };
    const [at, retryAt] = [world.now, world.now + 10_000];
    const told = [
      `image new ${reference}`,
      'image',
      0,
      `image ${reference} of new cannot be had: step 2 of 2: exit code 3`,
    ];
    expect(of({ kind: 'building', since: at }), 'the first try').to.deep.equal([]);
    expect(of({ kind: 'failed', at, retryAt, ...failed })).to.deep.equal([told]);
    expect(of({ kind: 'absent', failed })).to.deep.equal([told]);
    expect(of({ kind: 'building', since: at, failed })).to.deep.equal([told]);
    const passing = of({ kind: 'failed', at, retryAt, ...failed, passing: true }) as unknown[][];
    expect(passing[0]?.[2], 'what may be over by itself wakes nobody at once').to.equal(
      LIMITS.degradedAfterMs,
    );
    const moved = of({ kind: 'failed', at, retryAt, ...failed, moved: true }) as unknown[][];
    expect(moved.map((one) => one[1])).to.deep.equal(['refused']);
    expect(of({ kind: 'absent' })).to.deep.equal([]);
  });

  it('a push that fails is told as what it is, and its service is not called degraded', () => {
    world.desired = desiredOf([
      service('a', [component('a', { network: 'none', dockerfile: 'Dockerfile' })]),
    ]);
    const failed = {
      kind: 'failed',
      at: world.now,
      why: 'registry is down',
      retryAt: world.now + 1,
    } as const;
    const [reference = ''] = world.desired.services[0]!.service.components.map(
      ({ image }) => image.reference,
    );
    world.pushes[reference] = failed;
    const told = causesOf(input(), LIMITS).filter(({ service: of }) => of === 'a');
    expect(told.map(({ kind, afterMs }) => [kind, afterMs])).to.deep.equal([
      ['unpushed', LIMITS.degradedAfterMs],
    ]);
    expect(told[0]?.text).to.match(
      /^an image of a is not in its registry, and it runs from the local one: registry is down/,
    );
  });

  it('a repository or an engine that does not answer', () => {
    world.engineUp = false;
    expect(kinds({ source: { reachable: false, since: 1, why: 'refused' } })).to.deep.equal([
      'engine unreachable: ',
      'source unreachable: ',
    ]);
  });
});
