import { cp, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Certificates } from '../../../src/node/certs/certificates.ts';
import { FILE_FAULTS, withFileFault, type FileFault } from '../../support/filefaults.ts';
import { tally } from '../../support/tally.ts';
import { DAY_MS, HOST, useCertificates } from './certs.kit.ts';

const MOST_CALLS = 100;

describe('certificates, when a call to a file fails', function () {
  this.timeout(300_000);
  const { at, open, look, makeChain, place } = useCertificates();

  const ask = (certificates: Certificates): ReturnType<Certificates['issue']> =>
    certificates.issue(HOST, 'hello', true);
  const rootOf = async (): Promise<string> => {
    const pem = await open('local').rootPem();
    return pem.kind === 'ok' ? pem.value : pem.why;
  };
  const leftBehind = async (): Promise<string[]> =>
    (await Promise.all([at.certDir, at.caDir].map((dir) => readdir(dir).catch(() => []))))
      .flat()
      .filter((name) => name.startsWith('.'));

  /**
   * Each call fails, once and from then on, until a run makes no such call any more. `one` tells the calls that it made. Of the ways to
   * fail each call has each `every`th, the next call the ones beside them: what a call says matters less than which one it was.
   */
  const eachFault = async (
    every: number,
    one: (fault: FileFault) => Promise<readonly string[]>,
  ): Promise<void> => {
    const begun = performance.now();
    let fired = 0;
    for (let [call, before] = [1, -1]; before < fired; call += 1) {
      expect(call, 'calls without end').to.be.lessThan(MOST_CALLS);
      before = fired;
      for (const code of FILE_FAULTS.filter((_, index) => (index + call) % every === 0))
        for (const isLasting of [false, true])
          if ((await one({ code, at: call, isLasting })).length >= call) fired += 1;
    }
    expect(fired).to.be.greaterThan(FILE_FAULTS.length * 2);
    const ms = performance.now() - begun;
    tally({ kind: 'certificates: each file call × 14 faults in turn × 2', fired, unit: 'cases', ms });
  };

  for (const isRenewal of [false, true])
    it(`local, ${isRenewal ? 'a renewal' : 'the first one'}: what is there stays usable, the reason is told, and the next try succeeds with the same root (G18)`, async () => {
      const [begin, now] = [join(at.root, 'begin'), at.nowMs];
      const dirs = (name: string): void => {
        [at.certDir, at.caDir] = [join(at.root, name, 'certs'), join(at.root, name, 'ca')];
      };
      dirs('begin');
      await mkdir(at.certDir, { recursive: true });
      if (isRenewal) expect(await ask(open('local'))).to.have.property('kind', 'ok');
      const root = isRenewal ? await rootOf() : undefined;
      if (isRenewal) at.nowMs = now + 61 * DAY_MS;
      let count = 0;
      await eachFault(7, async (fault) => {
        const what = `${fault.code} at call ${fault.at}${fault.isLasting ? ' and after' : ''}`;
        dirs(`${(count += 1)}`);
        await cp(begin, join(at.root, `${count}`), { recursive: true });
        const certificates = open('local');
        const { result, calls } = await withFileFault(at.root, fault, async () => ({
          outcome: await ask(certificates),
          state: await look(certificates),
        }));
        const { outcome, state } = result;
        expect(outcome.kind, what).to.be.oneOf(['ok', 'retry', 'wait', 'blocked']);
        if (outcome.kind !== 'ok') expect(outcome.why, what).to.contain(at.root).and.not.contain('PRIVATE');
        // `invalid` is for a person, who has nothing to do here.
        expect(state.kind, what).to.be.oneOf(['absent', 'valid', 'unknown']);
        if (calls[fault.at - 1] !== 'rm' && !fault.isLasting)
          expect(await leftBehind(), what).to.deep.equal([]);
        expect(await ask(certificates), `${what}, tried again`).to.have.property('kind', 'ok');
        expect((await look(certificates)).kind, `${what}, tried again`).to.equal('valid');
        if (root !== undefined) expect(await rootOf(), `${what}: clients trust it`).to.equal(root);
        return calls;
      });
    });

  it("files: the operator's own is used, or it is said that it cannot be read; and used again when it can (G18)", async () => {
    const { leaf, middle, root, key } = await makeChain();
    await place(leaf + middle + root, key);
    const before = await look(open('files'));
    expect(before.kind).to.equal('valid');
    await eachFault(1, async (fault) => {
      const certificates = open('files');
      const { result, calls } = await withFileFault(at.root, fault, () => look(certificates));
      if (result.kind !== 'valid')
        expect(result)
          .to.include({ kind: 'unknown' })
          .and.have.property('why')
          .that.contains(at.certDir)
          .and.contains(fault.code === 'torn' ? 'ENOSPC' : fault.code);
      expect(await look(certificates)).to.deep.equal(before);
      return calls;
    });
  });
});
