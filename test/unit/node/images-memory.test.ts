import { expect } from 'chai';
import { until } from '../../support/until.ts';
import { lookupOf, registryDoubles } from './images-registry-support.ts';

import { imageRef, sendManifest, steppedClock } from './images-support.ts';

describe('images: what registries said is remembered', () => {
  const { start } = registryDoubles();

  describe('memory', () => {
    it('200 known images: no request', async () => {
      const registry = await start(sendManifest);
      // Two hundred at once on a busy machine: what is measured is their number, not their time.
      const lookup = lookupOf({ [registry.host]: {} }, steppedClock(), { timeoutMs: 60_000 });
      const refs = Array.from({ length: 200 }, (_, index) => imageRef(registry.host, `mc/s${index}`));
      await Promise.all(refs.map((ref) => lookup.find(ref)));
      expect(registry.seen.length).to.equal(200);
      await Promise.all(refs.map((ref) => lookup.find(ref)));
      expect(registry.seen.length).to.equal(200);
    });

    it('a registry that is down is asked once for all of its images, with waits that grow to five minutes', async () => {
      const registry = await start((_, response) => response.writeHead(503).end());
      const clock = steppedClock();
      const lookup = lookupOf({ [registry.host]: {} }, clock);
      const waits: number[] = [];
      for (let round = 0; round < 7; round += 1) {
        for (let index = 0; index < 5; index += 1) {
          const found = await lookup.find(imageRef(registry.host, `mc/s${index}`));
          if (found.kind !== 'failed') throw new Error(found.kind);
          if (index === 0) waits.push((found.retryAt - clock.now()) / 1000);
        }
        expect(registry.seen.length).to.equal(round + 1);
        clock.step((waits.at(-1) ?? 0) * 1000);
      }
      expect(waits).to.deep.equal([10, 20, 40, 80, 160, 300, 300]);
    });

    it('questions under way at once meet one fault: the first wait follows, the longest Retry-After holds, and one question looks again', async () => {
      const clock = steppedClock();
      const held: (() => void)[] = [];
      let after: string[] = [];
      const registry = await start((request, response) => {
        const answer = (): void => {
          const value = after.shift();
          if (value === 'well') sendManifest(request, response);
          else response.writeHead(503, value === undefined ? {} : { 'retry-after': value }).end();
        };
        held.push(answer);
      });
      const lookup = lookupOf({ [registry.host]: {} }, clock);
      const refs = Array.from({ length: 8 }, (_, index) => imageRef(registry.host, `mc/s${index}`));
      const round = async (asked: number): Promise<number[]> => {
        const all = Promise.all(refs.map((ref) => lookup.find(ref)));
        await until('the questions', () => held.length === asked);
        for (const answer of held.splice(0)) answer();
        return (await all).map((found) =>
          found.kind === 'failed' ? (found.retryAt - clock.now()) / 1000 : NaN,
        );
      };
      expect((await round(8)).at(-1)).to.equal(10);
      clock.step(10_000);
      after = ['25'];
      expect(await round(1)).to.deep.equal(refs.map(() => 25));
      clock.step(25_000);
      expect(await round(1)).to.deep.equal(refs.map(() => 40));
      clock.step(40_000);
      // It is well again: the others are asked for after the first.
      after = ['well'];
      const all = Promise.all(refs.map((ref) => lookup.find(ref)));
      await until('the one question', () => held.length === 1);
      held.splice(0).forEach((answer) => answer());
      await until('the other questions', () => held.length === 7);
      after = refs.map(() => 'well');
      held.splice(0).forEach((answer) => answer());
      expect((await all).map(({ kind }) => kind)).to.deep.equal(refs.map(() => 'found'));
    });

    it('what a registry that is down says of one image is told of all, and names none', async () => {
      const registry = await start((_, response) => response.writeHead(500).end());
      const lookup = lookupOf({ [registry.host]: {} });
      const told = await Promise.all(
        ['a', 'b'].map(async (name) => {
          const found = await lookup.find(imageRef(registry.host, `mc/${name}`));
          return found.kind === 'failed' ? found.failure.why : found.kind;
        }),
      );
      expect(told).to.deep.equal(told.map(() => `registry ${registry.host} answers with status 500`));
    });

    it('Retry-After is heeded, as seconds and as a date', async () => {
      const clock = steppedClock();
      for (const value of ['120', new Date(clock.now() + 120_000).toUTCString()]) {
        const registry = await start((_, response) =>
          response.writeHead(429, { 'retry-after': value }).end(),
        );
        const found = await lookupOf({ [registry.host]: {} }, clock).find(imageRef(registry.host));
        if (found.kind !== 'failed') throw new Error(found.kind);
        expect(found.retryAt - clock.now()).to.be.within(119_000, 120_000);
      }
    });

    it('a slow registry does not hold a pass: the answer is told when it comes (G19)', async () => {
      let release: (() => void) | undefined;
      const registry = await start((request, response) => {
        release = () => sendManifest(request, response);
      });
      const late = new Promise<void>((resolve) => {
        const lookup = lookupOf({ [registry.host]: {} }, steppedClock(), { patienceMs: 30, onLate: resolve });
        void lookup.findSoon(imageRef(registry.host)).then((found) => {
          expect(found.kind).to.equal('failed');
          release?.();
        });
      });
      await late;
    });

    it('a host that the settings do not list is never called', async () => {
      const registry = await start(sendManifest);
      const lookup = lookupOf({ 'reg.example.net': {} });
      expect(await lookup.find(imageRef(registry.host))).to.deep.equal({ kind: 'absent' });
      expect(await lookup.find(imageRef('__proto__'))).to.deep.equal({ kind: 'absent' });
      expect(registry.seen).to.deep.equal([]);
    });
  });
});
