import { expect } from 'chai';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ok } from '../../src/base/outcome.ts';
import { openNoDns, type Dns } from '../../src/node/dns/dns.ts';
import { CA_FAULTS, openCaFront, type CaFront } from '../support/cafront.ts';
import { makeCa } from '../support/certs.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { until } from '../support/until.ts';
import { NAME, certificatesFrom, lookAt, whyOf } from './acme.kit.ts';

const MOST_REQUESTS = 40;

describe('each request to a CA goes wrong (G18, G39)', () => {
  let pebble: Pebble;
  let front: CaFront;
  let home: string;

  before(async () => {
    pebble = await startPebble();
    await pebble.halt();
    await pebble.start({ PEBBLE_VA_ALWAYS_VALID: '1' });
    home = await mkdtemp(join(tmpdir(), 'front-'));
    const ca = await makeCa();
    await writeFile(join(home, 'front.pem'), ca.cert);
    front = await openCaFront(pebble, await ca.issue(['localhost']), await readFile(pebble.caFile, 'utf8'));
  });
  after(async () => {
    front.close();
    await pebble.stop();
    await rm(home, { recursive: true });
  });

  for (const way of CA_FAULTS)
    it(`${way}, the first, the second and so on: the certificate comes all the same, and nothing of the proof is left`, async function () {
      this.timeout(300_000);
      let failed = 0;
      for (let more = 0; ; more += 1) {
        expect(more, 'requests without end').to.be.lessThan(MOST_REQUESTS);
        const { asked, whys } = await ordered(more, way);
        for (const why of whys) expect(why, `request ${more + 1}`).to.match(/^the CA localhost:\d+ /);
        if (whys.length > 0) failed += 1;
        if (asked <= more) break;
      }
      expect(failed, 'faults that were noticed').to.be.greaterThan(5);
    });

  /** By an agent that has neither key nor account yet. How often the CA was asked, and why it was not well in between. */
  async function ordered(
    more: number,
    way: (typeof CA_FAULTS)[number],
  ): Promise<{ asked: number; whys: string[] }> {
    const dir = await mkdtemp(join(tmpdir(), 'acme-'));
    const texts = new Set<string>();
    const dns: Dns = {
      ...openNoDns(),
      putText: (_name, value) => Promise.resolve(texts.add(value)).then(() => ok()),
      removeText: (_name, value) => Promise.resolve(texts.delete(value)).then(() => ok()),
    };
    const caFile = join(home, 'front.pem');
    const acme = { directory: front.directory, caFile, challenge: 'dns-01', pollMs: 1 } as const;
    const retryMs = { first: 1, longest: 1 };
    const certificates = certificatesFrom({ pebble, dir, dns, acme: { ...acme, retryMs } });
    const before = front.asked.length;
    const whys: string[] = [];
    front.failAfter(more, way);
    try {
      await until(
        `the certificate, with request ${more + 1} ${way}`,
        async () => {
          const state = await lookAt(certificates);
          if (state.kind === 'failed' && state.why !== whys.at(-1)) whys.push(state.why);
          if (state.kind === 'absent' || state.kind === 'failed')
            await certificates.issue(NAME, 'hello', true);
          if (state.kind === 'valid') return true;
          throw new Error(whyOf(state));
        },
        40_000,
      );
      expect([...texts], 'left in DNS').to.deep.equal([]);
      expect((await readdir(join(dir, 'certs'))).sort()).to.deep.equal(['hello.key', 'hello.pem']);
      const pem = await readFile(join(dir, 'certs', 'hello.pem'), 'utf8');
      expect(new X509Certificate(pem).subjectAltName).to.equal(`DNS:${NAME}`);
      return { asked: front.asked.length - before, whys };
    } finally {
      await certificates.stop();
      await rm(dir, { recursive: true });
    }
  }
});
