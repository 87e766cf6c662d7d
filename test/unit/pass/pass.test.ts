import { expect } from 'chai';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { makeRepository, type Repository } from '../../../src/demo/repository.ts';
import type { Node } from '../../../src/node/node.ts';
import { runPass, type House, type Memory } from '../../../src/pass.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import { parseSettings } from '../../../src/settings.ts';
import { openSource } from '../../../src/source/source.ts';
import { definitionOptions, planSettings, sourceSettings } from '../../../src/wiring.ts';
import { World } from '../../support/world.ts';

const MAX_FILES = 3;

describe('a pass', () => {
  const rig = passRig();

  for (const restarted of [false, true]) {
    it(`G6 goes on healing when the newest commit cannot be read${restarted ? ', after a restart too' : ''}`, async () => {
      const { repository, world, house } = rig();
      await repository.commit({ 'services/web.toml': definition('web') });
      let memory: Memory = {};
      const good = await converged(house, memory);
      expect(world.container('web')?.state).to.equal('running');

      const many = Array.from({ length: MAX_FILES + 1 }, (_, i) => [
        `services/s${i}.toml`,
        definition(`s${i}`),
      ]);
      await repository.commit(Object.fromEntries(many) as Record<string, string>);
      if (restarted) memory = { head: await headOf(house, good) };
      world.containers = [];
      await converged(house, memory);
      expect(memory.idle?.why).to.contain('definition files');
      expect(memory.seen?.desired.commit.oid).to.equal(good);
      expect(world.container('web')?.state).to.equal('running');

      await repository.commit({ 'services/web.toml': definition('web') }, { fresh: true });
      expect(await converged(house, memory)).to.not.equal(good);
      expect(memory.idle).to.equal(undefined);
    });
  }
});

describe('a pass and the commits it takes', () => {
  const rig = passRig();

  it('L31 finds the trailer of a commit in the middle of accepted..new', async () => {
    const { repository, world, house } = rig();
    const names = ['aa', 'bb', 'cc', 'dd'];
    const files = (left: readonly string[]): Record<string, string | undefined> =>
      Object.fromEntries(
        names.map((name) => [`services/${name}.toml`, left.includes(name) ? definition(name) : undefined]),
      );
    await repository.commit(files(['aa', 'bb', 'cc']));
    const memory: Memory = {};
    await converged(house, memory);
    await repository.commit(files(['aa']));
    await converged(house, memory);
    expect(memory.seen?.plan.refused.map((entry) => entry.service)).to.deep.equal(['bb', 'cc']);
    await repository.commit({ note: '1' }, { message: 'Away\n\nRemove-Services: bb, cc' });
    await repository.commit({ note: '2' }, { message: 'Something else' });
    await converged(house, memory);
    expect(world.containers.map((container) => container.name)).to.deep.equal(['aa']);
    expect(house.registry.promised().named).to.deep.equal(['bb', 'cc']);
    await repository.commit({ note: '3' });
    await converged(house, memory);
    expect(house.registry.promised().named, 'forgotten once they are gone').to.deep.equal([]);
  });
});

describe('a pass over a node that is only observed', () => {
  const rig = passRig();

  it('L27 touches nothing until nodes/<node>.toml no longer says mode = "observe"', async () => {
    const { repository, world, house } = rig();
    const memory: Memory = {};
    await repository.commit({
      'services/aa.toml': definition('aa'),
      'nodes/n1.toml': 'mode = "observe"\n',
    });
    await converged(house, memory);
    expect(world.journal).to.deep.equal([]);
    expect(memory.seen?.plan.waiting[0]).to.include({ service: 'aa', for: 'observe' });
    await repository.commit({ 'nodes/n1.toml': undefined });
    await converged(house, memory);
    expect(world.container('aa')?.state).to.equal('running');
  });

  it('L47 remembers prune = false of a file that is gone', async () => {
    const { repository, world, house } = rig();
    await repository.commit({
      'services/aa.toml': definition('aa'),
      'services/bb.toml': `prune = false\n${definition('bb')}`,
    });
    await converged(house, {});
    await repository.commit({ 'services/bb.toml': undefined });
    await converged(house, {});
    expect(world.container('bb')?.state).to.equal('running');
  });
});

interface PassRig {
  readonly dir: string;
  readonly repository: Repository;
  readonly house: House;
  readonly world: World;
}

/** A house with a real repository, registry and source, and a node in memory; made anew for every test. */
function passRig(): () => PassRig {
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
    const opened = openRegistry({ path: settings.value.database.path, clock: systemClock, log });
    if (opened.kind !== 'ok') throw new Error(opened.why);
    registry = opened.value;
    house = {
      source: openSource({ ...sourceSettings(settings.value), maxFiles: MAX_FILES }, log, systemClock),
      registry,
      node: nodeOf(world),
      planSettings: planSettings(settings.value, 'k1'),
      definitions: definitionOptions(settings.value, (value) => value),
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
async function converged(house: House, memory: Memory): Promise<string> {
  const never = new AbortController().signal;
  await runPass(house, memory, new Set(['git']), never);
  await memory.polling;
  for (let i = 0; i < 10; i += 1) {
    const { again } = await runPass(house, memory, new Set(['wake']), never);
    if (!again) return memory.seen?.desired.commit.oid ?? '';
  }
  throw new Error('it does not come to rest');
}

async function headOf(house: House, accepted: string): Promise<string> {
  const polled = await house.source.poll(accepted);
  if (polled.kind !== 'ok') throw new Error(polled.why);
  return polled.value.commit.oid;
}

function definition(name: string): string {
  return `name = "${name}"\nnode = "n1"\n\n[[components]]\nname = "${name}"\nimage = "mcr.example.net/web:v1.0.0"\n`;
}

function nodeOf(world: World): Node {
  const writer = world.node();
  const node = {
    observe: async (_sight: unknown, targetsOf: Parameters<Node['observe']>[1]) => {
      world.now = Date.now();
      const seen = world.observed();
      const ready = (startedAt: number): { kind: 'ready'; since: number } => ({
        kind: 'ready',
        since: startedAt,
      });
      return {
        ...seen,
        probes: Object.fromEntries(
          targetsOf(seen).map((target) => [target.containerId, ready(target.startedAt)]),
        ),
      };
    },
    engine: async () => ({ kind: 'ok', value: writer.engine }),
    images: () => writer.images,
    proxy: writer.proxy,
    certificates: writer.certificates,
    stop: async () => undefined,
  };
  // The world has the writing half of a node, and looks for itself: that is all that a pass asks for.
  return node as unknown as Node;
}
