import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import Docker from 'dockerode';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import { openProbes } from '../../src/node/probes/probes.ts';
import type { ContainerSpec, ObservedContainer } from '../../src/node/types.ts';
import { driftOf } from '../../src/plan/drift.ts';
import { allEngines } from '../support/engines.ts';
import { startFakeEngine } from '../support/fakeengine.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { freePort } from '../support/ports.ts';
import { tally } from '../support/tally.ts';
import { until } from '../support/until.ts';

const IMAGE = 'localhost/mcg-contract-test/idle:v1.0.0';
const HASH = (value: string): string => `hash of ${value}`;
const NONE = new Map<string, string>();

/** Where the same is expected: an engine that is asked for nothing but its socket, and that has the image. */
interface Place {
  readonly name: string;
  readonly start: () => Promise<{ readonly socketPath: string; readonly close: () => Promise<void> }>;
}

const PLACES: readonly Place[] = [
  {
    name: 'the fake engine',
    start: async () => {
      const directory = mkdtempSync(join(tmpdir(), 'mcg-fake-'));
      const fake = await startFakeEngine(join(directory, 'engine.sock'));
      fake.addImage(IMAGE);
      const close = async (): Promise<void> => {
        await fake.close();
        rmSync(directory, { recursive: true });
      };
      return { socketPath: fake.socketPath, close };
    },
  },
  ...allEngines.map(({ name, start }): Place => ({
    name,
    start: async () => {
      const engine = await start();
      await buildBusyboxImage(engine, IMAGE);
      return { socketPath: engine.socketPath, close: async () => undefined };
    },
  })),
];

// What the simulation and the fault loops believe of an engine is so: one list, four engines (components.md).
for (const { name: place, start } of PLACES) {
  describe(`what is expected of an engine, of ${place}`, function () {
    this.timeout(300_000);
    let engine: Engine;
    let stranger: Engine;
    let socketPath: string;
    let close: () => Promise<void>;
    let directory: string;
    const mark = randomBytes(3).toString('hex');
    const owner = `test/${mark}`;
    const network = `contract-${mark}`;

    before(async function () {
      this.timeout(300_000);
      ({ socketPath, close } = await start());
      const open = async (of: string): Promise<Engine> =>
        valueOf(
          await openEngine({
            ...{ socket: socketPath, owner: of, callDeadlineMs: 30_000 },
            ...{ log: makeLog('silent'), hash: HASH },
          }),
        );
      [engine, stranger] = [await open(owner), await open(`other/${mark}`)];
      directory = mkdtempSync(join(tmpdir(), 'mcg-contract-'));
      chmodSync(directory, 0o755);
      mkdirSync(join(directory, 'data'));
      valueOf(await engine.createNetwork(network));
    });
    after(async () => {
      for (const one of [engine, stranger]) {
        for (const { name, id } of valueOf(await one.facts()).containers)
          if (name.includes(mark)) await one.remove(id, 0);
        await one.removeNetwork(network);
        one.close();
      }
      await close();
      rmSync(directory, { recursive: true });
    });

    const spec = (name: string, change: Partial<ContainerSpec> = {}): ContainerSpec => ({
      ...{ owner, service: name, component: name, name: `${name}-${mark}`, image: IMAGE },
      ...{ env: [], agentEnv: [], mounts: [], networks: [{ name: network, aliases: [name] }] },
      ...{ restart: 'unless-stopped', publish: [], leases: {}, logMaxSize: '10m', logMaxFiles: 3 },
      ...change,
    });
    const create = async (wanted: ContainerSpec, name = wanted.name, digest = 'd'): Promise<string> =>
      valueOf(await engine.create(wanted, digest, name, new Map([['COLOUR', 'blue']]))).id;
    const run = async (wanted: ContainerSpec): Promise<string> => {
      await create(wanted);
      return valueOf(await engine.start(wanted.name, wanted.name, 'd')).id;
    };
    const seen = async (name: string, by = engine): Promise<ObservedContainer | undefined> =>
      valueOf(await by.facts()).containers.find((one) => one.name === name);
    const expects = (title: string, body: () => Promise<void>): void => {
      it(title, async () => {
        const begun = performance.now();
        await body();
        const ms = performance.now() - begun;
        tally({ kind: 'contract: fake engine ≡ Docker ≡ Podman ×2', fired: 1, unit: 'cases', ms });
      });
    };

    expects('L12 a container is made once, however often it is asked for, and is not started', async () => {
      const wanted = spec('made');
      const id = await create(wanted);
      expect(await create(wanted)).to.equal(id);
      expect(await seen(wanted.name)).to.include({ id, state: 'created', restartCount: 0 });
      expect((await seen(wanted.name))?.identity).to.include({ owner, service: 'made', spec: 'd' });
      expect((await engine.create(wanted, 'e', wanted.name, NONE)).kind).to.equal('blocked');
    });

    expects(
      'L13 it is made of what was ordered, before its start and after it: nothing of it counts as drift',
      async () => {
        const wanted = spec('parts', {
          env: [{ name: 'COLOUR', hash: HASH('blue') }],
          agentEnv: [{ name: 'PORT', value: '4711' }],
          mounts: [{ kind: 'bind', source: join(directory, 'data'), target: '/data', readOnly: true }],
          publish: [{ ip: '127.0.0.1', host: await freePort(), container: 4711, protocol: 'tcp' }],
          labels: [{ name: 'org.example.team', value: 'a' }],
          cmd: ['sleep', '300'],
          user: '0:0',
        });
        await create(wanted);
        const drift = async (): Promise<string[] | undefined> => {
          const container = await seen(wanted.name);
          return container?.parts && driftOf(wanted, container, engine.kind).map(({ what }) => what);
        };
        expect(await drift()).to.deep.equal([]);
        valueOf(await engine.start(wanted.name, wanted.name, 'd'));
        expect(await drift()).to.deep.equal([]);
        expect(JSON.stringify((await seen(wanted.name))?.parts)).to.not.match(/"blue"/);
      },
    );

    expects('says which image or network is not there, and makes nothing of it', async () => {
      const networks = [{ name: `none-${mark}`, aliases: [] }];
      for (const change of [{ image: 'localhost/none:v9.9.9' }, { networks }]) {
        const outcome = await engine.create(spec('lacks', change), 'd', `lacks-${mark}`, NONE);
        expect(outcome).to.include({ kind: 'retry' });
        expect('why' in outcome && outcome.why).to.contain(
          'image' in change ? change.image : networks[0]?.name,
        );
      }
      expect(await seen(`lacks-${mark}`)).to.equal(undefined);
    });

    expects(
      'a staged container is started under its final name, again without effect, and never one of another specification',
      async () => {
        const wanted = spec('staged');
        const id = await create(wanted, `${wanted.name}.next`);
        expect((await engine.start(`${wanted.name}.next`, wanted.name, 'other')).kind).to.equal('retry');
        for (let time = 0; time < 2; time += 1)
          expect(valueOf(await engine.start(`${wanted.name}.next`, wanted.name, 'd')).id).to.equal(id);
        expect(await seen(wanted.name)).to.include({ id, state: 'running' });
      },
    );

    expects(
      'L07 nothing is started over a predecessor that holds its name; that one is set aside, and comes back',
      async () => {
        const wanted = spec('held');
        const old = await run(wanted);
        await create(wanted, `${wanted.name}.next`, 'd2');
        expect((await engine.start(`${wanted.name}.next`, wanted.name, 'd2')).kind).to.equal('retry');
        for (let time = 0; time < 2; time += 1) {
          valueOf(await engine.retire(old, `${wanted.name}.prev`, 0));
          expect(await seen(`${wanted.name}.prev`)).to.include({ id: old, state: 'exited' });
        }
        valueOf(await engine.start(`${wanted.name}.prev`, wanted.name, 'd'));
        expect(await seen(wanted.name)).to.include({ id: old, state: 'running' });
      },
    );

    expects('stop, rename and removal are as good twice as once, and of what is gone too', async () => {
      const wanted = spec('ending');
      const id = await run(wanted);
      for (let time = 0; time < 2; time += 1) {
        valueOf(await engine.rename(id, `${wanted.name}.aside`));
        expect(await seen(`${wanted.name}.aside`)).to.include({ id, state: 'running' });
      }
      for (let time = 0; time < 2; time += 1) valueOf(await engine.stop(id, 0));
      expect(await seen(`${wanted.name}.aside`)).to.include({ id, state: 'exited' });
      expect((await engine.remove(id, 0, 'its-name-before')).kind, 'renamed since it was chosen').to.equal(
        'retry',
      );
      expect(await seen(`${wanted.name}.aside`)).to.include({ id });
      for (let time = 0; time < 2; time += 1) valueOf(await engine.remove(id, 0));
      for (const again of [engine.stop(id, 0), engine.retire(id, 'x', 0), engine.rename(id, 'x')])
        expect((await again).kind).to.equal('ok');
      expect(await seen(`${wanted.name}.aside`)).to.equal(undefined);
    });

    expects('G3 a container of another owner is shown, and refused whatever is asked', async () => {
      const theirs = { ...spec('theirs'), owner: `other/${mark}`, networks: [] };
      const { id } = valueOf(await stranger.create(theirs, 'd', theirs.name, NONE));
      for (const refused of [
        engine.create(spec('theirs'), 'd', theirs.name, NONE),
        engine.start(theirs.name, theirs.name),
        engine.retire(id, 'mine', 0),
        engine.rename(id, 'mine'),
        engine.stop(id, 0),
        engine.remove(id, 0),
        engine.takeOver(id, 'mine', 0),
      ])
        expect((await refused).kind).to.equal('blocked');
      expect(await seen(theirs.name)).to.include({ id, state: 'created' });
    });

    expects('L27 one without any mark is taken over, and given back under its own name', async () => {
      const name = `hand-${mark}`;
      const api = new Docker({ socketPath });
      const made = await api.createContainer({
        name,
        Image: IMAGE,
        HostConfig: { PortBindings: {}, Mounts: [], NetworkMode: 'none' },
      });
      try {
        await made.start();
        for (let time = 0; time < 2; time += 1) valueOf(await engine.takeOver(made.id, `${name}.prev`, 0));
        expect(await seen(`${name}.prev`)).to.include({ id: made.id, state: 'exited' });
        for (let time = 0; time < 2; time += 1) valueOf(await engine.giveBack(made.id, name));
        expect(await seen(name)).to.include({ id: made.id, state: 'running' });
        expect((await engine.stop(made.id, 0)).kind, 'and is nobody’s to stop').to.equal('blocked');
      } finally {
        await made.remove({ force: true });
      }
    });

    expects('L39 says who holds a port, and starts when it is free', async () => {
      const publish = [{ ip: '127.0.0.1', host: await freePort(), container: 80, protocol: 'tcp' }] as const;
      const holder = await run(spec('holds', { publish }));
      const wanted = spec('wants', { publish });
      await create(wanted);
      const outcome = await engine.start(wanted.name, wanted.name, 'd');
      expect(outcome).to.include({ kind: 'retry', cause: 'outside' });
      expect('why' in outcome && outcome.why).to.contain(String(publish[0].host));
      valueOf(await engine.stop(holder, 0));
      valueOf(await engine.start(wanted.name, wanted.name, 'd'));
      valueOf(await engine.stop((await seen(wanted.name))?.id ?? '', 0));
    });

    expects('L26 a network is made once and listed; only one of ours is removed', async () => {
      const second = `second-${mark}`;
      for (let time = 0; time < 2; time += 1) valueOf(await engine.createNetwork(second));
      const listed = async (): Promise<number> =>
        valueOf(await engine.facts()).networks.filter((one) => one === second).length;
      expect(await listed()).to.equal(1);
      valueOf(await stranger.removeNetwork(second));
      expect(await listed()).to.equal(1);
      for (let time = 0; time < 2; time += 1) valueOf(await engine.removeNetwork(second));
      await until('the network to be gone', async () => (await listed()) === 0, 90_000);
    });

    expects(
      'L17 a published port behind which nobody listens is no answer, whatever its forwarder accepts',
      async () => {
        const host = await freePort();
        const publish = [{ ip: '127.0.0.1', host, container: host, protocol: 'tcp' }] as const;
        const id = await run(spec('deaf', { publish }));
        const { startedAt = 0 } = (await seen(`deaf-${mark}`)) ?? {};
        const probes = openProbes({
          ...{
            clock: systemClock,
            log: makeLog('silent'),
            onSignal: () => undefined,
            attemptTimeoutMs: 1_000,
          },
          exec: async () => ({ kind: 'blocked', why: 'no program here' }),
        });
        const check = {
          kind: 'http',
          ip: '127.0.0.1',
          port: host,
          hostname: 'deaf',
          tls: false,
          route: '',
        } as const;
        try {
          const state = await until('a try that failed', () => {
            const found = probes.observe([{ containerId: id, startedAt, checks: [check] }])[id];
            expect(found?.kind).to.equal('starting');
            return found?.kind === 'starting' && found.last;
          });
          expect(state).to.not.equal('');
        } finally {
          await probes.stop();
        }
      },
    );
  });
}

function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'ok') return outcome.value;
  throw new Error(`${outcome.kind}: ${outcome.why}`);
}
