import { expect } from 'chai';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../src/base/files.ts';
import { watchFiles, type FileWatch } from '../../../src/base/watch.ts';
import { until } from '../../support/until.ts';

describe('watching files', () => {
  let directory: string;
  let seen: string[];
  let watch: FileWatch | undefined;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'watch-'));
    seen = [];
  });
  afterEach(async () => {
    await watch?.close();
    await rm(directory, { recursive: true });
  });

  // No slow look here: what is promised has to come by events.
  const start = async (...paths: string[]): Promise<void> => {
    watch = await watchFiles(paths, (changed) => seen.push(...changed), { lookEveryMs: 3_600_000 });
  };
  const told = async (path: string, change: () => Promise<unknown>): Promise<void> => {
    seen.length = 0;
    await change();
    await until(`${path} to be told`, () => seen.includes(path), 5_000, 2);
  };

  it('tells every replacement by rename, again and again', async () => {
    const path = join(directory, 'table');
    await writeFile(path, '0');
    await start(path);
    for (let round = 1; round <= 20; round += 1)
      await told(path, () => writeFileAtomic(path, `round ${round}`));
  });

  it('tells writing in place, removal, and the file coming back', async () => {
    const path = join(directory, 'table');
    await writeFile(path, '0');
    await start(path);
    await told(path, () => writeFile(path, 'in place'));
    await told(path, () => rm(path));
    await told(path, () => writeFile(path, 'back'));
    await told(path, () => writeFileAtomic(path, 'and replaced'));
  });

  it('sees a file that does not exist yet, in a directory that does not either', async () => {
    const path = join(directory, 'refs', 'heads', 'main');
    await start(path);
    await told(path, async () => {
      await mkdir(join(directory, 'refs', 'heads'), { recursive: true });
      await writeFile(path, '1');
    });
    await told(path, () => writeFileAtomic(path, '2'));
  });

  it('tells nothing of neighbours', async () => {
    const path = join(directory, 'table');
    await start(path);
    await writeFile(join(directory, 'other'), '1');
    await told(path, () => writeFile(path, '1'));
    expect(new Set(seen)).to.deep.equal(new Set([path]));
  });

  it('sees what an event did not tell by looking: a link whose target lies elsewhere', async () => {
    const target = join(directory, 'elsewhere', 'cert');
    const path = join(directory, 'cert');
    await mkdir(join(directory, 'elsewhere'));
    await writeFile(target, '1');
    await symlink(target, path);
    watch = await watchFiles([path], (changed) => seen.push(...changed), { lookEveryMs: 20 });
    await told(path, () => writeFileAtomic(target, '2'));
  });
});
