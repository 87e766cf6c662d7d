import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { readSide, sideText, writeSide, type Side } from '../../../src/registry/sidefile.ts';
import { dice, leave, momentsOf } from '../../support/powerloss.ts';
import { tally } from '../../support/tally.ts';
import { scratch, TRIAL } from './registry.kit.ts';

const TRIES = 25;

const sideOf = (count: number): Side => ({
  accepted: { commit: `c${count}`, at: count },
  files: Array.from({ length: count * 20 }, (_, at) => ({
    ...{ service: `s${at}`, file: `services/s${at}.toml`, oid: `o${count}`, commit: `c${count}` },
  })),
  gaveBack: [{ ...TRIAL, since: count }],
});

/** What the next start takes over, as it would be written. */
function read(path: string): string | undefined {
  const side = readSide(path);
  return side === undefined ? undefined : sideText(side);
}

describe('the file beside the registry, when the power goes while it is written', () => {
  it('G15 G40 any part of what was not synced is lost: the one before is there whole, or the new one; and the next write mends all', async () => {
    const dir = scratch();
    const begun = performance.now();
    const below = dice(40);
    const found = { none: 0, before: 0, after: 0 };
    let losses = 0;
    try {
      const written = join(dir, 'written');
      mkdirSync(written);
      for (const [before, after] of [
        [undefined, sideOf(1)],
        [sideOf(1), sideOf(3)],
        [sideOf(3), sideOf(2)],
      ] as const) {
        const moments = await momentsOf(written, () =>
          writeSide(join(written, 'registry.db'), sideText(after)),
        );
        expect(moments.length, 'moments between its calls').to.be.greaterThan(3);
        for (const moment of moments)
          for (let turn = 0; turn < TRIES; turn += 1) {
            losses += 1;
            const next = join(dir, 'next');
            mkdirSync(next);
            leave(moment, next, below);
            const path = join(next, 'registry.db');
            const side = read(path);
            const isNew = side === sideText(after);
            if (!isNew) expect(side, `loss ${losses}`).to.equal(before && sideText(before));
            found[isNew ? 'after' : side === undefined ? 'none' : 'before'] += 1;
            writeSide(path, sideText(sideOf(4)));
            expect(read(path), `loss ${losses}, written again`).to.equal(sideText(sideOf(4)));
            rmSync(next, { recursive: true });
          }
        // Done is done: with its last call it is there, whatever is lost then.
        leave(moments.at(-1)!, written, dice(1));
        expect(read(join(written, 'registry.db'))).to.equal(sideText(after));
      }
    } finally {
      rmSync(dir, { recursive: true });
    }
    expect(Math.min(...Object.values(found)), JSON.stringify(found)).to.be.greaterThan(0);
    tally({
      kind: 'file beside the registry: losses of power',
      fired: losses,
      unit: 'cases',
      ms: performance.now() - begun,
    });
  });
});
