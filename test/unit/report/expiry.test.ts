import { expect } from 'chai';
import type { Observed } from '../../../src/node/types.ts';
import { causesOf, type CauseInput } from '../../../src/report/causes.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const LIMITS = { sourceAfterMs: 300_000, degradedAfterMs: 60_000 };
const DAY_MS = 86_400_000;

describe('notices of certificates that end', () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });
  const seen = (change: Partial<Observed>): NonNullable<CauseInput['seen']> => {
    const facts = world.facts();
    return { ...facts, plan: world.plan(), observed: { ...facts.observed, ...change } };
  };
  const causes = (change: Partial<Observed>) =>
    causesOf({ seen: seen(change), results: [], source: { reachable: true } }, LIMITS).filter(({ key }) =>
      key.startsWith('expiry '),
    );

  /** Notices as an agent tells them that looks every day: host name and step. */
  const toldOverDays = (days: readonly number[], look: (day: number) => Partial<Observed>): string[] => {
    const told: string[] = [];
    const open = new Set<string>();
    for (const day of days) {
      for (const { key, kind, text } of causes({ at: day * DAY_MS, ...look(day) })) {
        if (!open.has(key)) told.push(`${day} ${kind}: ${text}`);
        open.add(key);
      }
    }
    return told;
  };
  const days = Array.from({ length: 102 }, (_, day) => day);

  it('every certificate that a route uses, 30, 14, 7 and 1 days before its end, and when it has ended: each once, also those that are not ours (L15)', () => {
    const routed = (mode: 'l4' | 'l7') =>
      component('web', {
        routes: [{ name: '', port: 443, mode, hostname: `${mode}.test`, backendTls: false }],
      });
    world.desired = desiredOf([service('a', [routed('l4')]), service('b', [routed('l7')])]);
    const shown = { kind: 'ok', fingerprint256: '', notAfter: 100 * DAY_MS } as const;
    const file = { kind: 'valid', certPath: '/c/b.pem', keyPath: '/c/b.key', fingerprint256: '' } as const;
    const told = toldOverDays(days, () => ({
      certificates: { 'l7.test': { ...file, notAfter: 90 * DAY_MS } },
      handshakes: { 'l4.test:443': shown, 'l7.test:443': shown },
    }));
    expect(told.map((line) => line.replace('certificate: the certificate of ', ''))).to.deep.equal([
      '60 l7.test ends within 30 days (1970-04-01)',
      '70 l4.test ends within 30 days (1970-04-11)',
      '76 l7.test ends within 14 days (1970-04-01)',
      '83 l7.test ends within 7 days (1970-04-01)',
      '86 l4.test ends within 14 days (1970-04-11)',
      '89 l7.test ends within 1 day (1970-04-01)',
      '90 l7.test has ended (1970-04-01)',
      '93 l4.test ends within 7 days (1970-04-11)',
      '99 l4.test ends within 1 day (1970-04-11)',
      '100 l4.test has ended (1970-04-11)',
    ]);
  });

  it('of a certificate of ours nothing is said until its renewal is overdue, and then it is given an hour', () => {
    const route = { name: '', port: 443, mode: 'l7', hostname: 'b.test', backendTls: false } as const;
    world.desired = desiredOf([service('b', [component('b', { routes: [route] })])]);
    const of = (renewsAt: number): Partial<Observed> => ({
      certificates: {
        'b.test': {
          ...{ kind: 'valid', certPath: '/c', keyPath: '/k', fingerprint256: '' },
          ...{ notAfter: 90 * DAY_MS, renewsAt },
        },
      },
    });
    expect(toldOverDays(days.slice(0, 90), () => of(90 * DAY_MS))).to.deep.equal([]);
    expect(toldOverDays([80, 81], () => of(80 * DAY_MS))).to.have.lengthOf(1);
    const [cause] = causes({ at: 80 * DAY_MS, ...of(80 * DAY_MS) });
    expect(cause).to.include({ key: 'expiry b.test 14', afterMs: 3_600_000, service: 'b' });
  });

  it('one that has ended is told as that whoever made it, with what to do: by the service, by a person, or nothing, as it is made anew', () => {
    const ended = { certPath: '/c/b.pem', endedAt: 90 * DAY_MS };
    const order = { at: 0, why: 'down', hint: 'Is the CA running?', retryAt: 1 };
    const told = (mode: 'l4' | 'l7', file?: Observed['certificates'][string]): unknown => {
      const route = { name: '', port: 443, mode, hostname: 'b.test', backendTls: false } as const;
      world.desired = desiredOf([service('b', [component('b', { routes: [route] })])]);
      const shown = { kind: 'ok', fingerprint256: '', notAfter: 90 * DAY_MS } as const;
      const [cause, ...more] = causes({
        at: 90 * DAY_MS,
        ...(file === undefined
          ? { handshakes: { 'b.test:443': shown } }
          : { certificates: { 'b.test': file } }),
      });
      expect(more).to.deep.equal([]);
      expect(cause?.text).to.equal('the certificate of b.test has ended (1970-04-01)');
      return [cause?.afterMs, cause?.hint];
    };
    expect(told('l4')).to.deep.equal([0, 'b shows it itself: renew it where the service reads it.']);
    const invalid = {
      kind: 'invalid',
      why: 'it has ended',
      hint: 'Put a renewed one there.',
      ...ended,
    } as const;
    expect(told('l7', invalid)).to.deep.equal([0, 'Put a renewed one there.']);
    expect(told('l7', { kind: 'failed', ...order, ...ended })).to.deep.equal([60_000, 'Is the CA running?']);
    expect(told('l7', { kind: 'ordered', since: 0, ...ended })).to.deep.equal([
      60_000,
      'It is made anew by itself: `mc-gitops status` says what it waits for.',
    ]);
  });
});
