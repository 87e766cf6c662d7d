import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { keyedHash } from '../../../src/base/secret.ts';
import { makeRepository, type Repository } from '../../../src/demo/repository.ts';
import { runPass, type House, type Memory } from '../../../src/pass.ts';
import { openKey } from '../../../src/registry/key.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import { parseSettings } from '../../../src/settings.ts';
import { openSource } from '../../../src/source/source.ts';
import { definitionOptions, planSettings, sourceSettings } from '../../../src/wiring.ts';
import { World } from '../../support/world.ts';
import { nodeOf } from '../../support/worldnode.ts';

export const MAX_FILES = 3;

export interface PassRig {
  readonly dir: string;
  readonly repository: Repository;
  readonly house: House;
  readonly world: World;
}

/** A house with a real repository, registry and source, and a node in memory; made anew for every test. */
export function passRig(): () => PassRig {
  let dir: string;
  let repository: Repository;
  let registry: Registry;
  let house: House;
  let world: World;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-pass-'));
    await mkdir(join(dir, 'data'));
    repository = await makeRepository(join(dir, 'definitions.git'));
    world = new World();
    world.present('mcr.example.net/web:v1.0.0');
    const log = makeLog('silent');
    const text = [
      'node = "n1"',
      `source.urls = ["${repository.path}"]`,
      'source.branch = "main"',
      `database.path = "${join(dir, 'data', 'registry.db')}"`,
      'mcproxy.driver = "none"',
    ].join('\n');
    const settings = parseSettings(text, 'test', {});
    if (settings.kind !== 'ok') throw new Error(settings.why);
    const made = openKey(join(dir, 'data'));
    if (made.kind !== 'ok') throw new Error(made.why);
    const { key, keyId } = made.value;
    const opened = openRegistry({ path: settings.value.database.path, clock: systemClock, log, key });
    if (opened.kind !== 'ok') throw new Error(opened.why);
    registry = opened.value;
    house = {
      source: openSource({ ...sourceSettings(settings.value), maxFiles: MAX_FILES }, log, systemClock),
      registry,
      node: nodeOf(world),
      planSettings: planSettings(settings.value, keyId),
      definitions: definitionOptions(settings.value, (value) => keyedHash(key, value)),
      parallel: 4,
      clock: systemClock,
      log,
      onNews: () => undefined,
    };
  });

  afterEach(async () => {
    registry.close();
    await rm(dir, { recursive: true, force: true });
  });
  return () => ({ dir, repository, house, world });
}

/** Polls, passes until nothing is left to do, and says which commit is in force. */
export async function converged(house: House, memory: Memory): Promise<string> {
  const never = new AbortController().signal;
  await runPass(house, memory, new Set(['git']), never);
  await memory.polling;
  for (let i = 0; i < 10; i += 1) {
    const { again } = await runPass(house, memory, new Set(['wake']), never);
    if (!again) return memory.seen?.desired.commit.oid ?? '';
  }
  throw new Error('it does not come to rest');
}

export async function headOf(house: House, accepted: string): Promise<string> {
  const polled = await house.source.poll(accepted);
  if (polled.kind !== 'ok') throw new Error(polled.why);
  return polled.value.commit.oid;
}

export function definition(name: string): string {
  return `name = "${name}"\nnode = "n1"\n\n[[components]]\nname = "${name}"\nimage = "mcr.example.net/web:v1.0.0"\n`;
}
