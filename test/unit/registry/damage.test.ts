import { openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import Database from 'better-sqlite3';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { openRegistry } from '../../../src/registry/registry.ts';
import type { Promised } from '../../../src/registry/types.ts';
import { tally } from '../../support/tally.ts';
import { filledRegistry, log, must, useRegistry } from './registry.kit.ts';

const PAGE = 4096;
const FLIPS = Number(process.env.REGISTRY_FLIPS ?? 1_000);

describe('a registry whose file is damaged', () => {
  const { open, opened, at } = useRegistry();
  let good: Buffer;
  let promised: Promised;

  beforeEach(() => {
    good = filledRegistry();
    writeFileSync(at.path, good);
    const registry = open();
    promised = registry.promised();
    registry.close();
    opened.pop();
  });

  /** What an agent finds that is started on these bytes. Every one of them has to be able to go on. */
  const foundIn = (bytes: Uint8Array): 'as it was' | 'set aside' | 'begun anew' | 'refused' => {
    for (const name of readdirSync(at.dir)) rmSync(join(at.dir, name));
    writeFileSync(at.path, bytes);
    const outcome = openRegistry({ path: at.path, clock: systemClock, log });
    // The number of its form has four bytes: only they make it the file of a newer version.
    if (outcome.kind !== 'ok') {
      expect(outcome.why).to.contain('newer version');
      return 'refused';
    }
    const registry = outcome.value;
    try {
      const found = registry.promised();
      registry.passes(50);
      registry.history('s1', 50);
      must(registry.beginPass({ trigger: 'git', commit: 'c', startedAt: 1 }));
      if (registry.setAside !== undefined) return 'set aside';
      if (found.fresh !== undefined) return 'begun anew';
      expect(
        isDeepStrictEqual(found, promised),
        'what it goes by is another thing, and nobody noticed',
      ).to.equal(true);
      return 'as it was';
    } finally {
      registry.close();
    }
  };

  it('G31 each page zeroed: it is set aside', () => {
    for (let page = 0; page < good.length / PAGE; page += 1) {
      const bytes = Buffer.from(good);
      bytes.fill(0, page * PAGE, (page + 1) * PAGE);
      expect(foundIn(bytes), `page ${page}`).to.equal('set aside');
    }
  }).timeout(300_000);

  it('G31 cut off at 50 places: it is set aside, and an empty one is begun anew', () => {
    for (let part = 0; part < 50; part += 1)
      expect(foundIn(good.subarray(0, Math.floor((good.length * part) / 50))), `${part}/50`).to.equal(
        part === 0 ? 'begun anew' : 'set aside',
      );
  }).timeout(300_000);

  it(`G31 ${FLIPS} bits that flipped, one at a time: what it goes by is as it was, or it is set aside`, () => {
    const begun = performance.now();
    const found: Record<string, number> = {};
    let state = 31;
    const below = (limit: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 1;
      return state % limit;
    };
    for (let flip = 0; flip < FLIPS; flip += 1) {
      const bytes = Buffer.from(good);
      const place = below(bytes.length);
      bytes.writeUInt8(bytes.readUInt8(place) ^ (1 << below(8)), place);
      const what = foundIn(bytes);
      found[what] = (found[what] ?? 0) + 1;
    }
    tally({
      kind: 'registry: bits that flipped',
      fired: FLIPS,
      unit: 'cases',
      ms: performance.now() - begun,
    });
    expect(found['set aside'], JSON.stringify(found)).to.be.greaterThan(FLIPS / 50);
    expect(found.refused ?? 0).to.be.lessThan(FLIPS / 50);
  }).timeout(1_800_000);

  it('G31 damaged under a running agent: one pass ends with an error, the next one sets it aside and goes on', () => {
    const registry = open();
    // Somebody else wrote, so that nothing is remembered; and all stands in the file itself.
    const other = new Database(at.path);
    other.exec('UPDATE journal_pruning SET open = 0');
    other.pragma('wal_checkpoint(TRUNCATE)');
    other.close();
    overwrite(at.path, PAGE);
    expect(() => registry.promised()).to.throw('malformed');
    must(registry.check());
    expect(registry.setAside).to.contain('registry.db.damaged-');
    expect(registry.promised().fresh).to.deep.equal({ kept: true });
    expect(registry.promised().accepted?.commit).to.equal('c1');
    must(registry.lease([{ service: 'web', component: 'web', route: '', slot: 'a', port: 12345 }]));
  });

  it('G31 a value that somebody else changed is found at the next start', () => {
    change(at.path, "UPDATE leases SET port = 9 WHERE service = 's1'");
    expect(open().setAside).to.be.a('string');
  });

  it('what the agent itself wrote is found whole, whether it was sealed or not', () => {
    const first = open();
    must(first.lease([{ service: 'late', component: 'web', route: '', slot: 'a', port: 4 }]));
    must(first.check());
    must(first.removeRoutes('s1', [{ hostname: 's1.example.net', port: 443 }]));
    const before = first.promised();
    // As a kill leaves it: not closed, so not sealed.
    const bytes = ['', '-wal'].map((suffix) => [suffix, readFileSync(at.path + suffix)] as const);
    first.close();
    opened.pop();
    for (const [suffix, content] of bytes) writeFileSync(at.path + suffix, content);
    const second = open();
    expect(second.setAside).to.equal(undefined);
    expect(second.promised()).to.deep.equal(before);
  });

  it('an agent that did nothing writes nothing to its file', () => {
    const registry = open();
    must(registry.check());
    const version = versionSeenBy(at.path);
    must(registry.check());
    must(registry.check());
    registry.promised();
    expect(version()).to.equal(false);
    must(registry.clearFailure('nobody'));
    must(registry.check());
    expect(version(), 'the check of this test sees what is written').to.equal(true);
  });

  it('a row of the journal that cannot be read hides no other one', () => {
    change(
      at.path,
      "DROP TRIGGER steps_append_only; UPDATE steps SET because = '{', before = '[' WHERE id = 2",
    );
    const raw = new Database(at.path);
    raw.exec(
      `CREATE TRIGGER steps_append_only BEFORE UPDATE ON steps BEGIN SELECT RAISE(ABORT, 'append-only'); END`,
    );
    raw.close();
    const steps = open().history('s1', 50);
    expect(steps).to.have.length(30);
    expect(steps.find(({ id }) => id === 2)?.because.summary).to.contain('cannot be read any more');
  });

  it('the database of another program is refused, and left as it is', () => {
    const path = join(at.dir, 'other.db');
    const raw = new Database(path);
    raw.exec('CREATE TABLE songs (name TEXT); PRAGMA user_version = 3');
    raw.close();
    const refused = openRegistry({ path, clock: systemClock, log });
    expect(refused).to.include({ kind: 'blocked' });
    expect(refused.kind === 'ok' ? '' : `${refused.why} ${refused.hint}`)
      .to.contain('another program')
      .and.contain('[database] path');
    expect(readdirSync(at.dir).filter((name) => name.includes('damaged'))).to.deep.equal([]);
    const after = new Database(path);
    expect(after.prepare('SELECT name FROM sqlite_schema').pluck().all()).to.deep.equal(['songs']);
    after.close();
  });
});

/** Rubbish in place, as a disk does it: the same file, from its second page on. */
function overwrite(path: string, from: number): void {
  const file = openSync(path, 'r+');
  try {
    const length = readFileSync(path).length - from;
    writeSync(file, Buffer.alloc(length, 0xff), 0, length, from);
  } finally {
    closeSync(file);
  }
}

function change(path: string, sql: string): void {
  const raw = new Database(path);
  raw.exec(sql);
  raw.close();
}

/** Has anything been written since? By the eyes of a connection of its own. */
function versionSeenBy(path: string): () => boolean {
  const raw = new Database(path);
  const version = (): unknown => raw.pragma('data_version', { simple: true });
  const before = version();
  return () => version() !== before;
}
