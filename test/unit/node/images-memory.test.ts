import { expect } from 'chai';
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
