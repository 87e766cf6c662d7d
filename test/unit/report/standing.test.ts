import { expect } from 'chai';
import { retry } from '../../../src/base/outcome.ts';
import type { StepResult } from '../../../src/execute/types.ts';
import { causesOf, type Cause, type Seen } from '../../../src/report/causes.ts';
import { undecidedOf } from '../../../src/report/standing.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const LIMITS = { sourceAfterMs: 300_000, degradedAfterMs: 60_000 };
const DAY_MS = 86_400_000;

describe('what is tried again is one trouble until it succeeds (L15)', () => {
  let world: World;
  const seen = (): Seen => ({ ...world.facts(), plan: world.plan() });
  const causes = (results: readonly StepResult[] = [], at: Seen = seen()): Cause[] =>
    causesOf({ seen: at, results, source: { reachable: true } }, LIMITS);
  const told = (): [string, string][] => causes().map(({ key, text }) => [key, text]);
  /** Is the cause of this key there, or not to be told over? */
  const stands = (key: string, of?: string): boolean => {
    const { services, isCaAsked } = undecidedOf(seen());
    const isUndecided = of === undefined ? isCaAsked === true : services?.has(of) === true;
    return isUndecided || causes().some((cause) => cause.key === key);
  };
  const routed = (name: string) =>
    service(name, [
      component(name, {
        routes: [
          { name: '', port: 443, mode: 'l7', hostname: `${name}.${SUFFIX}`, backendTls: false } as const,
        ],
      }),
    ]);
  const prepared = async (...names: string[]): Promise<void> => {
    world = new World();
    world.desired = desiredOf(names.map(routed));
    world.present(...names.map((name) => `mcr.example.net/${name}:v1.0.0`));
    world.zones = [SUFFIX];
    world.addresses = ['10.0.0.1'];
    await world.converge();
  };
  const renewal = (name: string, order: 'due' | 'ordered' | 'failed' | undefined): void => {
    const hostname = `${name}.${SUFFIX}`;
    const state = world.certificates[hostname];
    if (state?.kind !== 'valid') throw new Error(state?.kind);
    const { certPath, keyPath, fingerprint256 } = state;
    const rest = { kind: 'valid', certPath, keyPath, fingerprint256 } as const;
    const why = 'the CA ca:14000 refused the connection';
    const orders = {
      due: { kind: 'due' },
      ordered: { kind: 'ordered', since: world.now },
      failed: { kind: 'failed', at: world.now, why, hint: 'Look.', retryAt: world.now + 60_000 },
    } as const;
    world.certificates[hostname] = {
      ...(order === undefined ? rest : { ...rest, renewal: orders[order] }),
      notAfter: world.now + 60 * DAY_MS,
    };
  };

  it('a CA that is down is one cause for all its names, over every try of every order', async () => {
    await prepared('a', 'b', 'c');
    for (const name of ['a', 'b']) renewal(name, 'failed');
    expect(told()).to.deep.equal([
      ['certificates', 'certificates: the CA ca:14000 refused the connection: a, b wait for it'],
    ]);
    expect(undecidedOf(seen()).isCaAsked).to.equal(false);
    world.certificateDriver = 'acme';
    for (const order of ['due', 'ordered', 'failed', 'ordered'] as const) {
      for (const name of ['a', 'b']) renewal(name, order);
      expect(stands('certificates'), order).to.equal(true);
    }
    renewal('a', undefined);
    expect(stands('certificates'), 'b is still asked for').to.equal(true);
    renewal('b', undefined);
    expect([stands('certificates'), stands('degraded b', 'b')]).to.deep.equal([false, false]);
  });

  it('one certificate is told with its service, under the same cause; one that is refused by its name is its own', async () => {
    await prepared('a', 'b');
    renewal('a', 'failed');
    expect(told().map(([key, text]) => [key, text.slice(0, 42)])).to.deep.equal([
      ['certificates', 'a is degraded: it waits for certificate: t'],
    ]);
    const state = world.certificates[`b.${SUFFIX}`];
    if (state?.kind !== 'valid') throw new Error(state?.kind);
    const why = `the CA could not prove b.${SUFFIX} by http-01: no answer`;
    const failed = {
      kind: 'failed',
      at: world.now,
      why,
      hint: 'Look.',
      retryAt: world.now + 60_000,
    } as const;
    world.certificates[`b.${SUFFIX}`] = { ...state, renewal: failed };
    expect(told().map(([key]) => key)).to.deep.equal(['certificates', 'degraded b']);
  });

  it('a removal that a name server does not take is one cause, also in the pass that tries it again', async () => {
    await prepared('a', 'b');
    world.desired = desiredOf([routed('a')]);
    world.failing.set('unname', retry('name server ns did not take the update'));
    let tries = 0;
    for (let pass = 0; pass < 12; pass += 1) {
      const before = seen();
      const { results } = await world.pass();
      const isWaiting = causes(results, before).some(({ key }) => key === 'degraded b');
      const isTried = undecidedOf(before).services?.has('b') === true;
      if (isTried) tries += 1;
      expect(isWaiting || isTried, `pass ${pass}`).to.equal(true);
      world.now += 60_000;
    }
    expect(tries).to.be.greaterThan(1);
    world.failing.clear();
    await world.converge();
    expect(stands('degraded b', 'b')).to.equal(false);
  });

  it('nobody can say what has cleared while the engine does not answer', async () => {
    await prepared('a');
    world.engineUp = false;
    expect([undecidedOf(seen()), undecidedOf(undefined)]).to.deep.equal([
      { isBlind: true },
      { isBlind: true },
    ]);
  });
});
