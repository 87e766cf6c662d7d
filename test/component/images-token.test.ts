import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { RegistryEntry } from '../../src/node/images/endpoint.ts';
import { openImages, type Images } from '../../src/node/images/images.ts';
import type { ImageState } from '../../src/node/images/state.ts';
import { startDocker, startPodman } from '../support/engines.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { startTokenServer, type TokenServer } from '../support/tokenserver.ts';
import { until } from '../support/until.ts';
import { imageRef } from '../unit/node/images-support.ts';

function okOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind !== 'ok') throw new Error(`${outcome.kind}: ${outcome.why}`);
  return outcome.value;
}

describe('a registry with a token server', () => {
  let dir: string;
  let tokens: TokenServer;
  let registry: TestRegistry;
  let image: ReturnType<typeof imageRef>;
  const opened: (Images | Engine)[] = [];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mc-token-'));
    tokens = await startTokenServer();
    registry = await startRegistry({ token: tokens });
    image = imageRef(registry.host, `token-${randomBytes(4).toString('hex')}/hello`);
    const { username, password } = tokens.credentials;
    await writeFile(join(dir, 'account'), `${username}:${password}\n`, { mode: 0o600 });
    await writeFile(join(dir, 'wrong'), `${username}:nobody\n`, { mode: 0o600 });
  });
  after(async () => {
    for (const one of opened) {
      if ('stop' in one && 'startPush' in one) await one.stop();
      else if ('removeImage' in one) {
        await one.removeImage(image.reference);
        one.close();
      }
    }
    await Promise.all([registry.stop(), tokens.stop()]);
    await rm(dir, { recursive: true, force: true });
  });

  const engineAt = async (socket: string): Promise<Engine> => {
    const log = makeLog('silent');
    const engine = okOf(await openEngine({ socket, owner: 'test/token', callDeadlineMs: 30_000, log }));
    opened.push(engine);
    return engine;
  };
  const imagesOn = (engine: Engine, entry: RegistryEntry): Images => {
    const images = openImages({
      engine,
      registries: { [registry.host]: entry },
      build: { concurrency: 1, timeoutMs: 1_000, maxContextBytes: 1, maxFiles: 1, maxLogBytes: 1 },
      lint: () => [],
      clock: systemClock,
      log: makeLog('silent'),
      onSignal: () => undefined,
      patienceMs: 20_000,
    });
    opened.push(images);
    return images;
  };
  const trusted = (): RegistryEntry => ({
    credentialsFile: join(dir, 'account'),
    realmHosts: [tokens.host],
  });
  const look = async (images: Images): Promise<ImageState | undefined> =>
    (await images.observe([{ image, build: true }])).images[image.reference];

  it('an identity token as password is exchanged for tokens: pushed by one engine, seen and pulled by the other', async () => {
    const docker = await startDocker();
    const podman = await startPodman();
    await buildBusyboxImage(docker, image.reference);
    const first = imagesOn(await engineAt(docker.socketPath), trusted());
    okOf(first.startPush(image));
    await until(
      'the push',
      async () => (await first.observe([{ image, build: true }])).pushes[image.reference]?.kind === 'pushed',
      60_000,
    );
    const second = imagesOn(await engineAt(podman.socketPath), trusted());
    const there = await look(second);
    expect(there?.kind).to.equal('remote');
    okOf(second.startPull(image));
    const here = await until(
      'the pull',
      async () => {
        const state = await look(second);
        return state?.kind === 'present' ? state : undefined;
      },
      60_000,
    );
    expect(here.manifestDigest).to.equal(there?.kind === 'remote' ? there.manifestDigest : '');
    const pull = `repository:${image.repository}:pull`;
    expect(tokens.asked.filter(({ scope }) => scope === pull).every(({ authorized }) => authorized)).to.equal(
      true,
    );
  });

  it('a token server that the settings do not trust is sent nothing, and a wrong account is told by its file (G37)', async () => {
    const [engine] = opened.filter((one): one is Engine => 'removeImage' in one);
    if (engine === undefined) throw new Error('no engine');
    const elsewhere = { ...image, reference: `${registry.host}/mc/other:v1.0.0`, repository: 'mc/other' };
    const why = async (entry: RegistryEntry): Promise<string> => {
      const seen = await imagesOn(engine, entry).observe([{ image: elsewhere, build: true }]);
      const state = seen.images[elsewhere.reference];
      return state?.kind === 'unknown' ? state.why : JSON.stringify(state);
    };
    const before = tokens.asked.length;
    expect(await why({ credentialsFile: join(dir, 'account') })).to.contain(
      `wants its account sent to ${tokens.host}, which the settings do not trust`,
    );
    expect(tokens.asked.length, 'nothing was sent').to.equal(before);
    expect(await why({ ...trusted(), credentialsFile: join(dir, 'wrong') })).to.contain(
      `refuses the account of ${join(dir, 'wrong')}`,
    );
  });
});
