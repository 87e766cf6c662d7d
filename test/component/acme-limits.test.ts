import { expect } from 'chai';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock, type Clock } from '../../src/base/clock.ts';
import { openCaFront, type CaFront } from '../support/cafront.ts';
import { makeCa } from '../support/certs.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { until } from '../support/until.ts';
import { NAME, certificatesFrom, endOfOrder, lookAt, whyOf } from './acme.kit.ts';

const HOUR_MS = 3_600_000;

describe('rate limits of an ACME CA: a real Pebble behind a front that counts', () => {
  let knot: NameServer;
  let pebble: Pebble;
  let front: CaFront;
  let dir: string;
  let aheadMs: number;
  let slept: number[];

  /** The agent's clock: the machine's, as far ahead as the test wants. */
  const clock: Clock = {
    now: () => systemClock.now() + aheadMs,
    monotonic: () => systemClock.monotonic() + aheadMs,
    sleep: (ms, signal) => {
      slept.push(ms);
      aheadMs += ms;
      return systemClock.sleep(5, signal);
    },
  };

  before(async () => {
    knot = await startKnot();
    pebble = await startPebble({ dns: knot.server });
    await knot.update(`update add ${NAME} 60 A 127.0.0.1`);
  });
  after(() => Promise.all([knot.stop(), pebble.stop()]));
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'acme-'));
    const ca = await makeCa();
    await writeFile(join(dir, 'front.pem'), ca.cert);
    front = await openCaFront(pebble, await ca.issue(['localhost']), await readFile(pebble.caFile, 'utf8'));
    [aheadMs, slept] = [0, []];
  });
  afterEach(async () => {
    front.close();
    await rm(dir, { recursive: true });
  });

  const open = (): ReturnType<typeof certificatesFrom> =>
    certificatesFrom({
      ...{ pebble, dir, clock },
      acme: { directory: front.directory, caFile: join(dir, 'front.pem'), timeoutMs: 60_000 },
    });

  for (const [what, pattern] of [
    ['a nonce', /^HEAD \/nonce-plz/],
    ['a new account', /^POST \/sign-me-up/],
    ['a new order', /^POST \/order-plz/],
    ['the proof', /^POST \/chalZ\//],
    ['the signature', /^POST \/finalize-order\//],
  ] as const)
    it(`429 for ${what}: nothing is sent before the hour of Retry-After is over, whoever asks, and then the certificate comes`, async () => {
      const certificates = open();
      try {
        front.limitOnce(pattern, '3600');
        expect(await certificates.issue(NAME, 'hello', true)).to.have.property('kind', 'ok');
        const state = await endOfOrder(certificates);
        if (state.kind !== 'failed') throw new Error(`${state.kind}: ${front.asked.join(', ')}`);
        expect(whyOf(state)).to.match(
          /^the CA localhost:\d+ (refuses: rateLimited: too many new orders|.*429)/,
        );
        expect(state.retryAt - state.at).to.be.closeTo(HOUR_MS, 10_000);
        const sent = front.asked.length;
        // A pass asks again and again: at once, and a minute before the time.
        for (const at of [0, HOUR_MS - 60_000]) {
          aheadMs = Math.max(aheadMs, at);
          for (let pass = 0; pass < 5; pass += 1) {
            expect(await certificates.issue(NAME, 'hello', true)).to.have.property('kind', 'retry');
            expect(await lookAt(certificates)).to.have.property('kind', 'failed');
          }
        }
        expect(front.asked.slice(sent), 'sent too early').to.deep.equal([]);
        aheadMs += 2 * 60_000;
        expect(await certificates.issue(NAME, 'hello', true)).to.have.property('kind', 'ok');
        expect(whyOf(await endOfOrder(certificates))).to.equal('valid');
      } finally {
        await certificates.stop();
      }
    });

  it('first orders at once have one account made; a URL that is not of the key on disk is asked for anew', async () => {
    const names = ['one', 'two', 'three'].map((name) => `${name}.svc.test`);
    await knot.update(...names.map((name) => `update add ${name} 60 A 127.0.0.1`));
    const ended = async (certificates: ReturnType<typeof open>): Promise<string[]> => {
      const wanted = names.map((hostname) => ({ hostname, service: hostname, isDefault: false }));
      const states = await until(
        'the orders to end',
        async () => {
          const seen = Object.values(await certificates.observe(wanted));
          return seen.every(({ kind }) => kind !== 'ordered') ? seen : undefined;
        },
        40_000,
      );
      return states.map(whyOf);
    };
    const issueAll = async (certificates: ReturnType<typeof open>): Promise<void> => {
      await Promise.all(names.map((name) => certificates.issue(name, name, false)));
    };
    const certificates = open();
    try {
      await issueAll(certificates);
      expect(await ended(certificates)).to.deep.equal(['valid', 'valid', 'valid']);
      expect(front.asked.filter((what) => what === 'POST /sign-me-up')).to.have.length(1);

      // As two at once left it: the URL of one account beside the key of another.
      const [account = ''] = (await readdir(join(dir, 'acme'))).filter((name) => /^[0-9a-f]{12}$/.test(name));
      const url = join(dir, 'acme', account, 'account.url');
      const good = await readFile(url, 'utf8');
      await rm(join(dir, 'acme', account, 'account.key'));
      for (const name of names) await rm(join(dir, 'certs', `${name}.pem`));
      await issueAll(certificates);
      const refused = (await ended(certificates)).filter((why) => why !== 'valid');
      expect(refused[0]).to.match(/refuses: (malformed|unauthorized)/);
      const again = await until('certificates with another account', async () => {
        aheadMs += 1_000;
        await issueAll(certificates);
        const whys = await ended(certificates);
        return whys.every((why) => why === 'valid') ? whys : undefined;
      });
      expect(again).to.have.length(3);
      expect(await readFile(url, 'utf8')).not.to.equal(good);
    } finally {
      await certificates.stop();
      await knot.update(...names.map((name) => `update delete ${name}`));
    }
  });

  it('Retry-After as a date is understood, and kept to by an agent that was started since', async () => {
    const certificates = open();
    const next = open();
    try {
      front.limitOnce(/^POST \/order-plz/, new Date(Date.now() + HOUR_MS).toUTCString());
      await certificates.issue(NAME, 'hello', true);
      const state = await endOfOrder(certificates);
      if (state.kind !== 'failed') throw new Error(state.kind);
      expect(state.retryAt - state.at).to.be.closeTo(HOUR_MS, 10_000);
      await certificates.stop();
      const sent = front.asked.length;
      await next.issue(NAME, 'hello', true);
      const again = await endOfOrder(next);
      if (again.kind !== 'failed') throw new Error(again.kind);
      expect([again.why, front.asked.slice(sent)]).to.deep.equal([state.why, []]);
      expect(again.retryAt).to.be.closeTo(state.retryAt, 10_000);
      aheadMs += HOUR_MS + 60_000;
      await next.issue(NAME, 'hello', true);
      expect(whyOf(await endOfOrder(next))).to.equal('valid');
    } finally {
      await certificates.stop();
      await next.stop();
    }
  });

  it('an order under way is looked at no sooner than the CA wants it', async () => {
    const certificates = open();
    try {
      front.slow(/^POST \/authZ\//, '7');
      await certificates.issue(NAME, 'hello', true);
      expect(whyOf(await endOfOrder(certificates))).to.equal('valid');
      expect(slept[0], 'the pause before the look that shows the proof').to.equal(7_000);
    } finally {
      await certificates.stop();
    }
  });
});
