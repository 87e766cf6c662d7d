import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { stringifyToml } from '../../../src/base/toml.ts';
import { makeRepository, type Repository } from '../../../src/demo/repository.ts';
import { parseSettings, type Settings } from '../../../src/settings.ts';
import { openRooms } from '../../bench/rooms.ts';
import { plainDefinition } from '../../support/agentrig.ts';
import { startFakeEngine, type FakeEngine } from '../../support/fakeengine.ts';

const SIZE = 100;
const PASSES = 5;
const IMAGE = 'mc/box:v1.0.0';
const LIST = 'GET /containers/json';

describe(`a node of ${SIZE} services on which nothing changes, with an engine on a real socket`, function () {
  this.timeout(300_000);
  let dir: string;
  let fake: FakeEngine;
  let repository: Repository;
  let settings: Settings;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mcg-quiet-'));
    fake = await startFakeEngine(join(dir, 'engine.sock'));
    fake.addImage(IMAGE);
    repository = await makeRepository(join(dir, 'definitions.git'));
    const names = Array.from({ length: SIZE }, (_, index) => `svc${index}`);
    await repository.commit(
      Object.fromEntries(
        names.map((name) => [`services/${name}.toml`, plainDefinition(name, IMAGE, 'cmd = ["/serve"]')]),
      ),
    );
    const text = stringifyToml({
      node: 'n1',
      source: { urls: [repository.path], branch: 'main' },
      database: { path: join(dir, 'data', 'registry.db') },
      engine: { socket: fake.socketPath },
      deploy: { stable_for_s: 0 },
    });
    const parsed = parseSettings(text, 'test settings', {});
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    settings = parsed.value;
    const rooms = openRooms(settings);
    await rooms.settle();
    await rooms.close();
  });
  after(async () => {
    await fake.close();
    await rm(dir, { recursive: true, force: true });
  });

  it('each pass makes one call, a list, and a container is inspected once in the life of the agent (G57)', async () => {
    const rooms = openRooms(settings);
    try {
      fake.requests();
      await rooms.settle();
      // An image is of many containers, and is asked for until its first answer is there.
      const first = fake.requests().filter((request) => !request.startsWith('GET /images/'));
      const inspected = first.filter((request) => /^GET \/containers\/[0-9a-f]{64}\/json$/.test(request));
      expect(inspected).to.have.length(SIZE);
      expect(new Set(inspected).size, 'each once').to.equal(SIZE);
      expect(
        first.every((request) => request.startsWith('GET ')),
        'nothing is written',
      ).to.equal(true);
      for (let pass = 1; pass <= PASSES; pass += 1) {
        const { steps } = await rooms.pass('timer');
        await rooms.memory.polling;
        expect([steps, ...fake.requests()], `pass ${pass}`).to.deep.equal([0, LIST]);
      }
    } finally {
      await rooms.close();
    }
  });

  it('G16 an agent that is started again sees all of it in its first pass: no step, nothing asked of the engine but looks', async () => {
    fake.requests();
    const before = fake.shape();
    const rooms = openRooms(settings);
    try {
      const { steps } = await rooms.pass('start');
      const { engine } = rooms.memory.seen?.observed ?? {};
      expect([steps, engine?.known === true && engine.value.containers.length]).to.deep.equal([0, SIZE]);
      expect(rooms.memory.seen?.plan.refused).to.deep.equal([]);
      expect(fake.requests().filter((request) => !request.startsWith('GET '))).to.deep.equal([]);
      await rooms.settle();
      expect(fake.shape()).to.equal(before);
    } finally {
      await rooms.close();
    }
  });
});
