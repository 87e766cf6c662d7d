import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeLog } from '../../../src/base/log.ts';
import { openCertificates, type Certificates } from '../../../src/node/certs/certificates.ts';
import type { CertificateState } from '../../../src/node/certs/types.ts';
import { dice, leave, momentsOf } from '../../support/powerloss.ts';
import { tally } from '../../support/tally.ts';
import { DAY_MS, HOST } from './certs.kit.ts';

const TRIES = 3;

describe('the certificates of the local CA, when the power goes while one is written', () => {
  let root: string;
  let now = 0;
  const clock = { now: () => now, monotonic: () => now, sleep: () => Promise.resolve() };

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'certs-'));
    now = Date.now();
  });
  afterEach(() => rm(root, { recursive: true }));

  const make = async (name: string): Promise<string> => {
    const dir = join(root, name);
    for (const part of ['certs', 'ca']) await mkdir(join(dir, part), { recursive: true });
    return dir;
  };
  const open = (dir: string): Certificates =>
    openCertificates({
      ...{ driver: 'local', certDir: join(dir, 'certs'), caDir: join(dir, 'ca'), clock },
      ...{ hostnameSuffix: 'svc.example.net', log: makeLog('silent') },
    });
  const look = async (dir: string): Promise<CertificateState> =>
    (await open(dir).observe([{ hostname: HOST, service: 'hello', isDefault: true }]))[HOST]!;
  const issue = async (dir: string): Promise<void> => {
    const outcome = await open(dir).issue(HOST, 'hello', true);
    expect(outcome.kind, 'why' in outcome ? outcome.why : '').to.equal('ok');
  };
  const rootOf = async (dir: string): Promise<string> => {
    const pem = await open(dir).rootPem();
    return pem.kind === 'ok' ? pem.value : '';
  };

  it('G15 G40 any part of what was not synced is lost: the old one serves or the new one, else the next start makes it; nobody has to mend anything', async function () {
    this.timeout(300_000);
    const begun = performance.now();
    const dir = await make('written');
    const below = dice(41);
    let losses = 0;
    const seen = new Map<string, number>();
    for (const isRenewal of [false, true]) {
      const before = await rootOf(dir);
      const moments = await momentsOf(dir, () => issue(dir));
      expect(moments.length, 'moments between its calls').to.be.greaterThan(5);
      for (const moment of moments)
        for (let turn = 0; turn < TRIES; turn += 1) {
          losses += 1;
          const next = await make('next');
          leave(moment, next, below);
          const found = await look(next);
          seen.set(found.kind, (seen.get(found.kind) ?? 0) + 1);
          // `invalid` and `unknown` are for a person. Absent is, after a third of its life too, what is made by itself.
          expect(found.kind, `loss ${losses}: ${'why' in found ? found.why : ''}`).to.be.oneOf([
            'absent',
            'valid',
          ]);
          if (isRenewal)
            expect(await rootOf(next), `loss ${losses}: its root is trusted by clients`).to.equal(before);
          await issue(next);
          expect((await look(next)).kind, `loss ${losses}, issued again`).to.equal('valid');
          await rm(next, { recursive: true });
        }
      expect((await look(dir)).kind).to.equal('valid');
      now += 61 * DAY_MS;
    }
    expect([...seen.keys()].sort()).to.deep.equal(['absent', 'valid']);
    tally({
      kind: 'certificates: losses of power',
      fired: losses,
      unit: 'cases',
      ms: performance.now() - begun,
    });
  });
});
