import { expect } from 'chai';
import type { Component, Service } from '../../../src/definitions/types.ts';
import { runCommands, shellText } from '../../../src/plan/render.ts';
import { specDigest, specOf } from '../../../src/plan/spec.ts';
import { component, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const OWN: Partial<Component> = {
  entrypoint: ['/bin/web', 'serve'],
  stopSignal: 'SIGINT',
  labels: [{ name: 'org.example.team', value: 'a b' }],
  resources: { memoryBytes: 64_000_000, cpus: 0.5, pids: 50, shmBytes: 1_000_000 },
};

describe('what a container is made of', () => {
  const facts = new World().facts();
  const digestOf = (change: Partial<Component>, more: Partial<Service> = {}): string => {
    const web = component('web', { cmd: ['--all'], ...change });
    return specDigest(specOf(facts, { ...service('web', [web]), ...more }, web), 'k');
  };

  it('has the digest of the version before for a definition without own fields: upgrading plans nothing', () => {
    expect(digestOf({})).to.equal('1.k.77aaf9da7c606ed01f6ae2fe4f89dbdc.77aaf9da7c606ed01f6ae2fe4f89dbdc');
    // What the engine is not told makes no other container.
    const health = {
      type: 'exec',
      intervalMs: 1,
      timeoutMs: 1,
      retries: 1,
      startPeriodMs: 0,
      onFailure: 'report',
    } as const;
    expect(
      digestOf({ health, after: ['db'], replaces: 'old' }, { after: ['db'], paused: true, deploy: {} }),
    ).to.equal(digestOf({}));
  });

  it('is another container with each own field that an engine is told, and with each generation', () => {
    const digests = Object.entries(OWN).map(([key, value]) => digestOf({ [key]: value }));
    const all = [digestOf({}), ...digests, digestOf({}, { generation: 1 }), digestOf({}, { generation: 2 })];
    expect(new Set(all).size).to.equal(7);
  });

  it('is rendered with entrypoint, stop signal, label and limits as the command lines of engines take them', () => {
    const web = component('web', { cmd: ['--all'], ...OWN });
    const spec = specOf(facts, service('web', [web]), web);
    const create = shellText(
      runCommands(spec, {
        engine: 'docker',
        labels: { 'org.example.team': 'a b' },
        values: new Map(),
      })[0] ?? { groups: [] },
    ).replaceAll(' \\\n ', '');
    for (const part of [
      '--entrypoint /bin/web',
      '--stop-signal SIGINT',
      "--label 'org.example.team=a b'",
      '--memory 64000000',
      '--cpus 0.5',
      '--pids-limit 50',
      '--shm-size 1000000',
    ])
      expect(create).to.contain(` ${part} `);
    expect(create).to.match(new RegExp(`${spec.image} serve --all$`));
  });
});
