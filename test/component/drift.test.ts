import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import Docker from 'dockerode';
import type { ContainerSpec, ObservedContainer } from '../../src/node/types.ts';
import { makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { allEngines, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage } from '../support/images.ts';
import { until } from '../support/until.ts';

const IMAGE = 'localhost/mcg-drift-test/idle:v1.0.0';
const OTHER = 'localhost/mcg-drift-test/idle:v2.0.0';
const PATIENCE_MS = 90_000;

/** What somebody does by hand to the container of a service of this name, and what is told of it. */
const EDITS: Readonly<Record<string, { readonly change: Partial<ContainerSpec>; readonly told: string }>> = {
  value: { change: { env: [{ name: 'COLOUR', hash: '' }] }, told: 'variable COLOUR was changed' },
  more: {
    change: {
      env: [
        { name: 'COLOUR', hash: '' },
        { name: 'DEBUG', hash: '' },
      ],
    },
    told: 'variable DEBUG was added',
  },
  mount: { change: { mounts: [] }, told: 'mount at /data is missing' },
  image: { change: { image: OTHER }, told: `image is ${OTHER} instead of ${IMAGE}` },
  ports: {
    change: { publish: [{ ip: '127.0.0.1', host: 18_777, container: 80, protocol: 'tcp' }] },
    told: 'published ports are 127.0.0.1:18777:80/tcp instead of none',
  },
  label: {
    change: { labels: [{ name: 'org.example.team', value: 'b' }] },
    told: 'label org.example.team was changed',
  },
  command: { change: { cmd: ['sleep', '4000'] }, told: 'command was changed' },
  policy: {
    change: { restart: 'on-failure' },
    told: 'restart policy is on-failure instead of unless-stopped',
  },
  same: { change: {}, told: '' },
};

for (const { name: engineName, start } of allEngines) {
  describe(`what was changed by hand, on ${engineName}`, function () {
    this.timeout(300_000);
    let engine: TestEngine;
    let rig: AgentRig;

    before(async () => {
      engine = await start();
      await buildBusyboxImage(engine, IMAGE);
      await buildBusyboxImage(engine, OTHER);
      rig = await makeAgentRig(engine);
      // The user of a rootless engine must reach it too.
      chmodSync(rig.dir, 0o755);
    });
    after(() => rig.close());

    const containers = async (): Promise<Map<string, ObservedContainer>> => {
      const facts = await rig.engine.facts();
      if (facts.kind !== 'ok') throw new Error(facts.why);
      const ours = facts.value.containers.filter(({ identity }) => identity?.owner === rig.owner);
      return new Map(ours.map((container) => [container.name, container]));
    };
    const reasons = async (service: string): Promise<string> =>
      (await rig.view()).passes
        .flatMap((pass) => pass.steps)
        .filter((step) => step.service === service && step.kind === 'create-container')
        .map((step) => step.because.summary)
        .join('\n');
    /** As it was ordered, by the definition below, but for what is changed. */
    const ordered = (service: string, change: Partial<ContainerSpec>): ContainerSpec => ({
      ...{ owner: rig.owner, service, component: service, name: service, image: IMAGE },
      ...{ env: [{ name: 'COLOUR', hash: '' }], agentEnv: [], publish: [], leases: {} },
      mounts: [{ kind: 'bind', source: join(rig.dir, 'srv', service), target: '/data', readOnly: false }],
      networks: [{ name: `mcg-${rig.instance}`, aliases: [service] }],
      ...{ restart: 'unless-stopped', logMaxSize: '10m', logMaxFiles: 3 },
      labels: [{ name: 'org.example.team', value: 'a' }],
      cmd: ['sleep', '5000'],
      ...change,
    });

    it('L13 is seen, told with what was found, and repaired, each part of it; what was made again as ordered is left', async () => {
      const edits = Object.entries(EDITS);
      const names = edits.map(([name]) => name);
      for (const name of names) mkdirSync(join(rig.dir, 'srv', name));
      await rig.push(
        Object.fromEntries(
          names.map((name) => [
            `services/${name}.toml`,
            plainDefinition(
              name,
              IMAGE,
              `env = ["COLOUR=ultramarine"]\ncmd = ["sleep", "5000"]\nvolumes = ["${join(rig.dir, 'srv', name)}:/data"]\nlabels = { "org.example.team" = "a" }`,
            ),
          ]),
        ),
      );
      await rig.start();
      for (const name of names) await rig.state(name, 'converged', PATIENCE_MS);
      await rig.stopAgent();
      const edited = new Map<string, string>();
      const before = await containers();
      for (const [name, { change }] of edits) {
        const old = before.get(name);
        const spec = ordered(name, change);
        const values = new Map(
          spec.env.map((one) => [one.name, name === 'value' ? 'vermilion' : 'ultramarine']),
        );
        await rig.engine.remove(old?.id ?? '', 0);
        const made = await rig.engine.create(spec, old?.identity?.spec ?? '', name, values);
        if (made.kind !== 'ok') throw new Error(made.why);
        await rig.engine.start(name, name);
        edited.set(name, made.value.id);
      }
      await rig.start();
      for (const [name, { told }] of edits) {
        if (told === '') continue;
        await until(
          `${name} to be made again`,
          async () => {
            const now = await containers();
            return now.get(name)?.state === 'running' && now.get(name)?.id !== edited.get(name);
          },
          PATIENCE_MS,
        );
        expect(await reasons(name), name).to.contain(`container ${name} was changed by hand: ${told}`);
      }
      for (const name of names) await rig.state(name, 'converged', PATIENCE_MS);
      expect((await containers()).get('same')?.id).to.equal(edited.get('same'));
      expect((await containers()).size).to.equal(names.length);
      expect(JSON.stringify(await rig.view())).to.not.contain('vermilion');
      const { passes, at = 0 } = await rig.view();
      await until('two more passes', async () => ((await rig.view()).at ?? 0) > at + 2_000);
      expect((await rig.view()).passes, 'a second pass is empty').to.have.length(passes.length);
    });

    it('L13 is seen at once when a container is removed, stopped or killed: no timer runs', async () => {
      await rig.stopAgent();
      const { source } = rig.settings();
      await rig.start({ source: { urls: source.urls, branch: 'main', poll: '0 0 0 1 1 *' } });
      for (const name of ['same', 'image', 'mount']) await rig.state(name, 'converged', PATIENCE_MS);
      const before = await containers();
      const of = (name: string): ObservedContainer => {
        const found = before.get(name);
        if (found === undefined) throw new Error(`no container ${name}`);
        return found;
      };
      const api = new Docker({ socketPath: engine.socketPath });
      await api.getContainer(of('same').id).remove({ force: true });
      // Podman complains when its container runs again before it has cleared up after the stop.
      for (const end of [
        api.getContainer(of('image').id).stop({ t: 0 }),
        api.getContainer(of('mount').id).kill(),
      ])
        await end.catch(() => undefined);
      await until(
        'all three to run again',
        async () => {
          const now = await containers();
          const isUp = (name: string): boolean => now.get(name)?.state === 'running';
          const started = (name: string): boolean => now.get(name)?.startedAt !== of(name).startedAt;
          return ['same', 'image', 'mount'].every((name) => isUp(name) && started(name));
        },
        PATIENCE_MS,
      );
      expect((await containers()).get('same')?.id).to.not.equal(of('same').id);
      expect(await reasons('same')).to.contain('container same is missing');
    });

    // Podman 4.3 tells nobody of either: there it is seen when the agent or its event stream begins anew.
    if (engineName !== 'docker') return;
    it('is seen at once when a container leaves its network, or is updated', async () => {
      const api = new Docker({ socketPath: engine.socketPath });
      const id = async (name: string): Promise<string> => (await containers()).get(name)?.id ?? '';
      const [left, limited] = [await id('value'), await id('more')];
      await api.getNetwork(`mcg-${rig.instance}`).disconnect({ Container: left, Force: true });
      const limits = { Memory: 67_108_864, MemorySwap: 134_217_728, RestartPolicy: { Name: 'always' } };
      await api.getContainer(limited).update(limits);
      await until(
        'the network',
        async () => (await reasons('value')).includes(`network mcg-${rig.instance} is missing`),
        PATIENCE_MS,
      );
      await until(
        'the limit',
        async () => (await reasons('more')).includes('memory limit was added'),
        PATIENCE_MS,
      );
      expect(await reasons('more')).to.contain('restart policy is always instead of unless-stopped');
      for (const name of ['value', 'more']) await rig.state(name, 'converged', PATIENCE_MS);
    });
  });
}
