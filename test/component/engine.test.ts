import { expect } from 'chai';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock.ts';
import { makeLog } from '../../src/base/log.ts';
import { Secret } from '../../src/base/secret.ts';
import { callEngine } from '../../src/demo/socket.ts';
import { openProbes } from '../../src/node/probes/probes.ts';
import { LABELS, type ContainerSpec } from '../../src/node/types.ts';
import { allEngines } from '../support/engines.ts';
import { until } from '../support/until.ts';
import { makeKit, script, valueOf, type Kit } from './engine.kit.ts';

const noEnv = new Map<string, string>();

for (const { name: engineName, start } of allEngines) {
  describe(`containers on ${engineName}`, function () {
    this.timeout(300_000);
    let kit: Kit;

    before(async function () {
      this.timeout(300_000);
      kit = await makeKit((await start()).socketPath);
      mkdirSync(join(kit.directory, 'data'), { mode: 0o755 });
      writeFileSync(join(kit.directory, 'data', 'file'), 'from the host\n');
    });
    after(() => kit.clean());

    const create = async (spec: ContainerSpec, env: ReadonlyMap<string, string> = noEnv) =>
      valueOf(await kit.engine.create(spec, 'digest-1', spec.name, env)).id;
    const run = async (spec: ContainerSpec) => {
      await create(spec);
      return valueOf(await kit.engine.start(spec.name, spec.name)).id;
    };
    const logged = (id: string, what: string) =>
      until(`“${what}” in the log`, async () => {
        const lines = valueOf(await kit.engine.logs(id, { tail: 50 }));
        return lines.some((line) => line.includes(what)) && lines;
      });

    it('says which engine it is, with an identity that does not change (L05)', async () => {
      const first = valueOf(await kit.engine.facts());
      const second = valueOf(await kit.engine.facts());
      expect(first.kind).to.equal(kit.engine.kind);
      expect(first.version).to.match(/^\d+\.\d+/);
      expect(first.id).to.not.equal('');
      expect(first.storageRoot).to.match(/^\//);
      expect([second.id, second.storageRoot]).to.deep.equal([first.id, first.storageRoot]);
      expect(first.networks).to.include(kit.network);
    });

    it('makes a container with all that was ordered, and once however often it is asked (L12)', async () => {
      const spec = kit.spec('full', {
        networks: [{ name: kit.network, aliases: ['full'] }],
        env: [{ name: 'COLOUR', hash: 'x' }],
        agentEnv: [{ name: 'PORT', value: '8080' }],
        mounts: [
          { kind: 'bind', source: join(kit.directory, 'data'), target: '/srv/full', readOnly: true },
          { kind: 'volume', volume: `vol-full-${kit.mark}`, target: '/var/lib/full', readOnly: false },
        ],
        user: '0:0',
        restart: 'unless-stopped',
        publish: [{ ip: '127.0.0.1', host: 18_431, container: 8080, protocol: 'tcp' }],
        leases: { '': 18_431 },
      });
      const env = new Map([['COLOUR', 'ultramarine']]);
      const id = await create(spec, env);
      expect(await create(spec, env)).to.equal(id);

      const seen = await kit.container(spec.name);
      expect(seen).to.include({ id, name: spec.name, state: 'created', restartCount: 0 });
      expect(seen).to.not.have.any.keys('startedAt', 'pid', 'exitCode');
      expect(seen?.publish).to.deep.equal(spec.publish);
      expect(seen?.imageId).to.equal(valueOf(await kit.engine.inspectImage(kit.image))?.imageId);
      expect(seen?.labels).to.deep.equal({
        [LABELS.owner]: kit.owner,
        [LABELS.service]: 'full',
        [LABELS.component]: 'full',
        [LABELS.spec]: 'digest-1',
        [LABELS.ports]: '{"":18431}',
        [LABELS.format]: '1',
      });
      expect(seen?.identity).to.deep.equal({
        ...{ owner: kit.owner, service: 'full', component: 'full', spec: 'digest-1', format: '1' },
        leases: { '': 18_431 },
      });
    });

    it('shows the engine’s own words for restart policy, log limits and no-new-privileges (L21)', async () => {
      const spec = kit.spec('words', { restart: 'on-failure' });
      const id = await create(spec);
      const prefix = kit.engine.kind === 'podman' ? '/v4.0.0/libpod' : '';
      const { HostConfig: host } = (await callEngine(
        kit.socketPath,
        'GET',
        `${prefix}/containers/${id}/json`,
      )) as {
        HostConfig: Record<string, unknown> & { LogConfig: Record<string, unknown> };
      };
      expect(host['RestartPolicy']).to.include({ Name: 'on-failure' });
      expect(host['SecurityOpt']).to.deep.equal(['no-new-privileges']);
      expect(host['Privileged']).to.equal(false);
      if (kit.engine.kind === 'docker') {
        expect(host.LogConfig).to.deep.equal({
          Type: 'json-file',
          Config: { 'max-size': '10m', 'max-file': '3' },
        });
      } else {
        expect(host.LogConfig).to.include({ Type: 'k8s-file', Size: '10MB' });
      }
    });

    it('makes a container with entrypoint, stop signal, labels and limits of its definition, as the engine itself shows them', async () => {
      const spec = kit.spec('own', {
        entrypoint: ['/bin/busybox', 'sh'],
        cmd: ['-c', 'trap "echo interrupted; exit 7" INT; echo up; while :; do sleep 0.1; done'],
        stopSignal: 'SIGINT',
        labels: [{ name: 'org.example.team', value: 'web = "a"' }],
        resources: { memoryBytes: 64 * 1024 * 1024, cpus: 0.5, pids: 50, shmBytes: 16 * 1024 * 1024 },
        generation: 3,
      });
      const made = await kit.engine.create(spec, 'digest-1', spec.name, noEnv);
      if (engineName === 'podman-rootless' && made.kind === 'blocked') {
        // Without cgroups of its own an engine ignores limits without a word: then the container is not made.
        expect(made.why).to.include('memory limit, processor limit, process limit');
        expect(made.hint).to.include('Delegate=yes');
        expect(await kit.container(spec.name)).to.equal(undefined);
        return;
      }
      valueOf(made);
      const { id } = valueOf(await kit.engine.start(spec.name, spec.name));
      const prefix = kit.engine.kind === 'podman' ? '/v4.0.0/libpod' : '';
      const { Config: config, HostConfig: host } = (await callEngine(
        kit.socketPath,
        'GET',
        `${prefix}/containers/${id}/json`,
      )) as { Config: Record<string, unknown>; HostConfig: Record<string, unknown> };
      expect([config['Entrypoint']].flat()).to.deep.equal(['/bin/busybox']);
      expect(config['Cmd']).to.deep.equal(['sh', ...(spec.cmd ?? [])]);
      expect(config['StopSignal']).to.be.oneOf(['SIGINT', 2]);
      expect(config['Labels']).to.include({ 'org.example.team': 'web = "a"', [LABELS.service]: 'own' });
      expect(host).to.include({ Memory: 67_108_864, PidsLimit: 50, ShmSize: 16_777_216 });
      expect(host['NanoCpus']).to.equal(500_000_000);
      // Of foreign labels nothing is taken in: not even of those that the definition has.
      expect((await kit.container(spec.name))?.labels).to.not.have.property('org.example.team');
      await logged(id, 'up');
      valueOf(await kit.engine.stop(id, 20));
      await logged(id, 'interrupted');
      expect(await kit.container(spec.name)).to.include({ state: 'exited', exitCode: 7 });
    });

    it('runs a check inside a container of ours, and none beside one that has not ended', async () => {
      const id = await run(kit.spec('checked'));
      const check = async (...command: string[]) =>
        valueOf(await kit.engine.check(id, ['/bin/busybox', ...command], 20_000));
      expect(await check('true')).to.equal(undefined);
      expect(await check('sh', '-c', 'exit 3')).to.equal('exit code 3');
      expect(await check('no-such-applet')).to.match(/^exit code \d+$/);
      const slow = ['/bin/busybox', 'sleep', '300'];
      expect(valueOf(await kit.engine.check(id, slow, 200))).to.equal('it takes longer than 200 ms');
      expect(await check('true')).to.equal('the check before it has not ended yet');
      valueOf(await kit.engine.stop(id, 0));
      expect((await kit.engine.check(id, slow, 200)).kind).to.not.equal('ok');
      expect((await kit.engine.check('0'.repeat(64), slow, 200)).kind).to.not.equal('ok');
    });

    it('a health check of type exec goes on after the start: ready, unwell, ready again', async () => {
      const id = await run(kit.spec('health'));
      const inside = async (...command: string[]) =>
        expect(valueOf(await kit.engine.check(id, ['/bin/busybox', ...command], 20_000))).to.equal(undefined);
      const probes = openProbes({
        clock: systemClock,
        log: makeLog('silent'),
        onSignal: () => undefined,
        exec: (container, command, timeoutMs) => kit.engine.check(container, command, timeoutMs),
      });
      const health = {
        check: { kind: 'exec', command: ['/bin/busybox', 'test', '-e', '/well'] },
        ...{ intervalMs: 50, timeoutMs: 20_000, retries: 2, startPeriodMs: 0 },
      } as const;
      const { startedAt = 0 } = (await kit.container(kit.spec('health').name)) ?? {};
      const target = { containerId: id, startedAt, checks: [], health };
      // A check that is due while the one before it still runs, on a busy machine, has failed with words of its own.
      const becomes = (kind: string, last?: string) =>
        until(kind, () => {
          const state = probes.observe([target])[id];
          return state?.kind === kind && (last === undefined || ('last' in state && state.last === last));
        });
      try {
        expect(probes.observe([target])[id]).to.include({ kind: 'starting' });
        await inside('touch', '/well');
        await becomes('ready');
        await inside('rm', '/well');
        await becomes('unwell', 'the check /bin/busybox: exit code 1');
        await inside('touch', '/well');
        await becomes('ready');
      } finally {
        await probes.stop();
      }
    });

    it('refuses a name of ours that stands for another specification', async () => {
      const spec = kit.spec('other');
      const id = await create(spec);
      const outcome = await kit.engine.create(spec, 'digest-2', spec.name, noEnv);
      expect(outcome.kind).to.equal('blocked');
      expect(await kit.container(spec.name)).to.include({ id });
    });

    it('starts a staged container under its final name, and again without effect', async () => {
      const spec = kit.spec('staged', { networks: [{ name: kit.network, aliases: ['staged'] }] });
      const { id } = valueOf(await kit.engine.create(spec, 'd', `${spec.name}.new`, noEnv));
      expect(valueOf(await kit.engine.start(`${spec.name}.new`, spec.name, 'd')).id).to.equal(id);
      const first = await kit.container(spec.name);
      expect(first).to.include({ id, state: 'running' });
      expect(first?.pid).to.be.greaterThan(0);
      expect(first?.startedAt).to.be.closeTo(Date.now(), 30_000);
      expect(valueOf(await kit.engine.start(`${spec.name}.new`, spec.name, 'd')).id).to.equal(id);
      expect(await kit.container(spec.name)).to.deep.equal(first);
      expect((await kit.engine.start(`${spec.name}.new`, spec.name, 'e')).kind).to.equal('retry');
    });

    it('does not start over a predecessor that still holds the name (L07)', async () => {
      const spec = kit.spec('held');
      const old = await run(spec);
      const { id } = valueOf(await kit.engine.create(spec, 'd2', `${spec.name}.new`, noEnv));
      const early = await kit.engine.start(`${spec.name}.new`, spec.name, 'd2');
      expect(early.kind).to.equal('retry');
      expect(await kit.container(spec.name)).to.include({ id: old, state: 'running' });
      valueOf(await kit.engine.retire(old, `${spec.name}.prev`, 0));
      expect(valueOf(await kit.engine.start(`${spec.name}.new`, spec.name, 'd2')).id).to.equal(id);
    });

    it('retires, stops and removes, each as often as it is asked', async () => {
      const spec = kit.spec('ending', { restart: 'unless-stopped' });
      const id = await run(spec);
      for (let time = 0; time < 2; time++) {
        valueOf(await kit.engine.retire(id, `${spec.name}.prev`, 0));
        expect(await kit.container(`${spec.name}.prev`)).to.include({ id, state: 'exited' });
      }
      expect(await kit.container(spec.name)).to.equal(undefined);
      valueOf(await kit.engine.stop(id, 0));
      for (let time = 0; time < 2; time++) valueOf(await kit.engine.remove(id, 0));
      expect(await kit.container(`${spec.name}.prev`)).to.equal(undefined);
      valueOf(await kit.engine.retire(id, 'anything', 0));
      valueOf(await kit.engine.stop(id, 0));
    });

    it('starts a retired container again under its old name: the way back (L07)', async () => {
      const spec = kit.spec('back');
      const id = await run(spec);
      valueOf(await kit.engine.retire(id, `${spec.name}.prev`, 0));
      expect(valueOf(await kit.engine.start(`${spec.name}.prev`, spec.name)).id).to.equal(id);
      expect(await kit.container(spec.name)).to.include({ id, state: 'running' });
    });

    it('shows a foreign container and never touches it', async () => {
      const stranger = await kit.open(`foreign/${kit.mark}`);
      const spec = { ...kit.spec('foreign'), owner: `foreign/${kit.mark}` };
      const { id } = valueOf(await stranger.create(spec, 'd', spec.name, noEnv));
      valueOf(await stranger.start(spec.name, spec.name));
      const before = await kit.container(spec.name, stranger);

      const refused = [
        await kit.engine.create(kit.spec('foreign'), 'd', spec.name, noEnv),
        await kit.engine.start(spec.name, spec.name),
        await kit.engine.start(spec.name, 'taken-over'),
        await kit.engine.retire(id, 'mine', 0),
        await kit.engine.stop(id, 0),
        await kit.engine.remove(id, 0),
        await kit.engine.logs(id, { tail: 1 }),
      ];
      for (const outcome of refused) {
        expect(outcome.kind).to.equal('blocked');
        expect('why' in outcome && outcome.why).to.include(spec.name);
      }
      const seen = await kit.container(spec.name);
      expect(seen).to.include({ id, state: 'running' });
      expect(seen?.labels[LABELS.owner]).to.equal(`foreign/${kit.mark}`);
      expect(await kit.container(spec.name, stranger)).to.deep.equal(before);
    });

    it('refuses a bind source that is missing, and does not create it (L24)', async () => {
      const source = join(kit.directory, 'not-mounted');
      const spec = kit.spec('nosource', {
        mounts: [{ kind: 'bind', source, target: '/srv/x', readOnly: false }],
      });
      const outcome = await kit.engine.create(spec, 'd', spec.name, noEnv);
      expect(outcome.kind).to.equal('blocked');
      expect('why' in outcome && outcome.why).to.include(source);
      expect(existsSync(source)).to.equal(false);
      expect(await kit.container(spec.name)).to.equal(undefined);
    });

    it('says which image or network is not there yet', async () => {
      const image = await kit.engine.create(
        kit.spec('noimage', { image: 'mc/none:v9' }),
        'd',
        'noimage',
        noEnv,
      );
      expect(image).to.include({ kind: 'retry' });
      expect('why' in image && image.why).to.include('mc/none:v9');
      const networks = [{ name: 'no-such-network', aliases: [] }];
      const network = await kit.engine.create(kit.spec('nonet', { networks }), 'd', 'nonet', noEnv);
      expect(network).to.include({ kind: 'retry' });
      expect('why' in network && network.why).to.include('no-such-network');
    });

    it('gives the process its variables, its mounts and its user, and a named volume keeps its data', async () => {
      const volume = { kind: 'volume', volume: `vol-${kit.mark}`, target: '/keep', readOnly: false } as const;
      const spec = kit.spec('inside', {
        env: [{ name: 'WORD', hash: 'h' }],
        agentEnv: [{ name: 'PORT', value: '4711' }],
        mounts: [
          { kind: 'bind', source: join(kit.directory, 'data'), target: '/srv/inside', readOnly: true },
          volume,
        ],
        user: '0:0',
        cmd: script(
          'busybox=/bin/busybox; echo "$WORD $PORT"; $busybox cat /srv/inside/file; echo kept > /keep/it; $busybox sleep 300',
        ),
      });
      const { id } = valueOf(
        await kit.engine.create(spec, 'd', spec.name, new Map([['WORD', 'spoken = "so" \\ $x']])),
      );
      valueOf(await kit.engine.start(spec.name, spec.name));
      const lines = await logged(id, 'from the host');
      expect(lines).to.include('spoken = "so" \\ $x 4711');
      await until('the file in the volume', async () => {
        valueOf(await kit.engine.stop(id, 0));
        return true;
      });
      valueOf(await kit.engine.remove(id, 0));

      const again = await run(
        kit.spec('again', {
          mounts: [volume],
          cmd: script('/bin/busybox cat /keep/it; /bin/busybox sleep 300'),
        }),
      );
      await logged(again, 'kept');
    });

    it('masks registered secrets in a log, and gives no more lines than asked for', async () => {
      new Secret(`hunter2-${kit.mark}`);
      const text = `for i in 1 2 3 4 5; do echo line $i; done; echo key hunter2-${kit.mark}; echo end >&2; /bin/busybox sleep 300`;
      const id = await run(kit.spec('talk', { cmd: script(text) }));
      const lines = await logged(id, 'end');
      expect(lines).to.include('key •••');
      await until('three lines', async () => {
        const last = valueOf(await kit.engine.logs(id, { tail: 3 }));
        return last.length === 3 && !last.includes('line 3');
      });
    });

    it('shows with which code a container ended, and how often it was restarted (L17)', async () => {
      const once = kit.spec('once', { cmd: script('exit 3') });
      await create(once);
      const outcome = await kit.engine.start(once.name, once.name);
      if (outcome.kind !== 'ok') expect(outcome.why).to.include('exit code 3');
      await until('exit code 3', async () => (await kit.container(once.name))?.exitCode === 3);
      expect((await kit.container(once.name))?.finishedAt).to.be.closeTo(Date.now(), 30_000);

      const loop = kit.spec('loop', { cmd: script('exit 4'), restart: 'on-failure' });
      await create(loop);
      await kit.engine.start(loop.name, loop.name);
      await until('two restarts', async () => ((await kit.container(loop.name))?.restartCount ?? 0) >= 2);
      const id = (await kit.container(loop.name))?.id ?? '';
      valueOf(await kit.engine.remove(id, 0));
      expect(await kit.container(loop.name)).to.equal(undefined);
    });

    it('blocks on a program that the image does not have', async () => {
      const spec = kit.spec('noprogram', { cmd: ['/no/such/program'] });
      await create(spec);
      const outcome = await kit.engine.start(spec.name, spec.name);
      expect(outcome).to.include({ kind: 'blocked' });
      expect('why' in outcome && outcome.why).to.include('/no/such/program');
    });

    it('G10 names no word of entrypoint, command or check when it says that the engine cannot run it', async () => {
      const words = ['entry-canary-4711', '--token=canary-0815'];
      const spec = kit.spec('covered', { entrypoint: words.slice(0, 1), cmd: words.slice(1) });
      await create(spec);
      const outcome = await kit.engine.start(spec.name, spec.name);
      expect(outcome, 'and it is judged all the same').to.include({ kind: 'blocked', cause: 'definition' });
      const checked = await kit.engine.check(await run(kit.spec('unchecked')), words, 20_000);
      const told = JSON.stringify([outcome, await kit.container(spec.name), checked]);
      expect(told)
        .to.contain('•••')
        .and.not.match(/canary/);
    });
  });
}
