import { expect } from 'chai';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../src/base/clock.ts';
import { parseKey } from '../../src/node/certs/check.ts';
import type { Certificates } from '../../src/node/certs/certificates.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { until } from '../support/until.ts';
import { DAY_MS, NAME, certificatesFrom, lookAt } from './acme.kit.ts';

const run = promisify(execFile);
const PAGE = 4_096;
const PAGES = 16;

/** A real file system that is full: every file takes a page of it, so each write in turn is the one that finds no room. */
describe('a disk that is full at each write of a certificate (G40)', () => {
  let disk: string;
  let pebble: Pebble;
  let certificates: Certificates | undefined;
  let ahead = 0;
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + ahead,
    monotonic: () => systemClock.monotonic() + ahead,
  };

  before(async () => {
    pebble = await startPebble({ lifeS: 90 * 86_400 });
    await pebble.halt();
    await pebble.start({ PEBBLE_VA_ALWAYS_VALID: '1' });
  });
  after(() => pebble.stop());
  beforeEach(async () => {
    ahead = 0;
    disk = await mkdtemp(join(tmpdir(), 'full-'));
    await run('mount', ['-t', 'tmpfs', '-o', `size=${PAGES * PAGE}`, 'tmpfs', disk]);
  });
  afterEach(async () => {
    await certificates?.stop();
    await run('umount', [disk]);
    await rm(disk, { recursive: true });
  });

  const open = (driver: 'local' | 'acme'): Certificates =>
    certificatesFrom({ pebble, dir: disk, driver, clock, acme: { retryMs: { first: 0, longest: 0 } } });
  const files = async (): Promise<string[]> =>
    (await readdir(disk, { withFileTypes: true, recursive: true }))
      .filter((entry) => entry.isFile() && entry.name !== 'filler')
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  /** So many files find room besides those that are there. */
  const leaveRoom = async (free: number): Promise<void> => {
    await rm(join(disk, 'filler'), { force: true });
    const filled = PAGES - (await files()).length - free;
    if (filled > 0) await writeFile(join(disk, 'filler'), Buffer.alloc(filled * PAGE));
  };
  const wholeFiles = async (): Promise<void> => {
    for (const path of await files()) {
      const text = await readFile(path, 'utf8');
      expect(text, path).not.to.equal('');
      expect(path, 'no temporary file').not.to.match(/\.tmp$/);
      if (path.endsWith('.key')) expect(parseKey(text), path).not.to.equal(undefined);
      if (path.endsWith('.pem')) expect(new X509Certificate(text).subject, path).to.be.a('string');
    }
  };
  /** Asks for a certificate, and waits for what comes of it: `ok`, or why not. */
  const issue = async (of: Certificates): Promise<string> => {
    // What the disk refused is tried again after half a minute.
    ahead += 31_000;
    const outcome = await of.issue(NAME, 'hello', true);
    if (outcome.kind !== 'ok') return outcome.why;
    return until('the end of the order', async () => {
      const state = await lookAt(of);
      const order = state.kind === 'valid' ? (state.renewal ?? state) : state;
      if (order.kind === 'ordered') return undefined;
      return 'why' in order ? order.why : 'ok';
    });
  };

  for (const driver of ['local', 'acme'] as const) {
    it(`${driver}: what is there stays whole, the reason is told, and it goes on when there is room; a renewal that finds none leaves the old one in use`, async () => {
      certificates = open(driver);
      await mkdir(join(disk, 'certs'));
      const told = new Set<string>();
      for (let free = 0; ; free += 1) {
        expect(free, 'enough room at last').to.be.lessThan(PAGES);
        await rm(join(disk, 'filler'), { force: true });
        for (const path of await files()) await rm(path);
        await leaveRoom(free);
        const why = await issue(certificates);
        await wholeFiles();
        if (why === 'ok') break;
        expect(why).to.match(/ENOSPC/);
        told.add(/^(\S+) cannot be written/.exec(why)?.[1]?.replace(/\/[0-9a-f]{12}\//, '/') ?? why);
      }
      expect(told.size, [...told].join(', ')).to.be.greaterThan(2);

      const first = await lookAt(certificates);
      if (first.kind !== 'valid') throw new Error(first.kind);
      ahead += 61 * DAY_MS;
      for (let free = 0; free < 2; free += 1) {
        await leaveRoom(free);
        const why = await issue(certificates);
        await wholeFiles();
        const pem = await readFile(join(disk, 'certs', 'hello.pem'), 'utf8');
        if (why === 'ok') continue;
        expect(why).to.match(/ENOSPC/);
        expect(new X509Certificate(pem).fingerprint256).to.equal(first.fingerprint256);
      }
      await leaveRoom(3);
      await until('the next one', async () => {
        if ((await lookAt(certificates!)).kind !== 'valid' || driver === 'acme') await issue(certificates!);
        const state = await lookAt(certificates!);
        return state.kind === 'valid' && state.fingerprint256 !== first.fingerprint256;
      });
    });
  }
});
