import { expect } from 'chai';
import { shortCheck } from '../../../src/base/check.ts';
import type { Service } from '../../../src/definitions/types.ts';
import type { ContainerParts, ObservedContainer } from '../../../src/node/types.ts';
import { examineEnd } from '../../support/examine-end.ts';
import { examine } from '../../support/examine.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

const MIB = 1024 * 1024;
const WEB = component('web', {
  env: [{ name: 'LOG_LEVEL', hash: 'h1' }],
  mounts: [{ kind: 'bind', source: '/srv/web', target: '/data', readOnly: false }],
  routes: [{ name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false }],
  labels: [{ name: 'team', value: 'a' }],
  resources: { memoryBytes: 64 * MIB, cpus: 0.5 },
  user: '0:0',
});

interface Edit {
  readonly what: string;
  readonly parts?: ((parts: ContainerParts) => Partial<ContainerParts>) | undefined;
  readonly container?: Partial<ObservedContainer> | undefined;
  /** What is told. */
  readonly told: string;
  /** Left running, and told, where the definition says `restart = "manual"`. */
  readonly isCosmetic?: true;
}

const EDITS: readonly Edit[] = [
  {
    what: 'a variable with another value',
    parts: ({ env }) => ({ env: { ...env, LOG_LEVEL: 'h2' } }),
    told: 'variable LOG_LEVEL was changed',
  },
  {
    what: 'a variable more',
    parts: ({ env }) => ({ env: { ...env, DEBUG: 'h' } }),
    told: 'variable DEBUG was added',
  },
  {
    what: 'a variable less',
    parts: ({ env }) => ({ env: without(env, 'LOG_LEVEL') }),
    told: 'variable LOG_LEVEL is missing',
  },
  {
    what: 'a variable of the image with another value',
    parts: () => ({ given: [] }),
    told: 'variable PATH was added',
  },
  {
    what: 'another PORT',
    parts: ({ agentEnv }) => ({ agentEnv: { ...agentEnv, PORT: '1' } }),
    told: 'variable PORT was changed',
  },
  {
    what: 'another source of a mount',
    parts: () => ({ mounts: [{ kind: 'bind', source: '/srv/other', target: '/data', readOnly: false }] }),
    told: 'mount at /data was changed',
  },
  {
    what: 'a mount that is read-only',
    parts: () => ({ mounts: [{ kind: 'bind', source: '/srv/web', target: '/data', readOnly: true }] }),
    told: 'mount at /data was changed',
  },
  {
    what: 'a mount more',
    parts: ({ mounts }) => ({
      mounts: [...mounts, { kind: 'volume', volume: 'v', target: '/v', readOnly: false }],
    }),
    told: 'mount at /v was added',
  },
  { what: 'no mount', parts: () => ({ mounts: [] }), told: 'mount at /data is missing' },
  {
    what: 'another image',
    container: { image: 'mcr.example.net/web:v9' },
    told: 'image is mcr.example.net/web:v9 instead of mcr.example.net/web:v1.0.0',
  },
  {
    what: 'other ports',
    container: { publish: [{ ip: '0.0.0.0', host: 80, container: 80, protocol: 'tcp' }] },
    told: 'published ports are 0.0.0.0:80:80/tcp instead of 127.0.0.1:',
  },
  {
    what: 'another command',
    parts: () => ({ cmd: { check: 'abcd', given: false } }),
    told: 'command was changed',
  },
  {
    what: 'another entrypoint',
    parts: () => ({ entrypoint: { check: 'abcd', given: false } }),
    told: 'entrypoint was changed',
  },
  {
    what: 'another user',
    parts: () => ({ user: { check: shortCheck('1000'), given: false } }),
    told: 'user was changed',
  },
  { what: 'more rights', parts: () => ({ rights: ['privileged'] }), told: 'has more rights: privileged' },
  { what: 'a network less', parts: () => ({ networks: {} }), told: 'network mcpnet is missing' },
  {
    what: 'a network more',
    parts: ({ networks }) => ({ networks: { ...networks, other: [] } }),
    told: 'network other was added',
  },
  { what: 'no alias', parts: () => ({ networks: { mcpnet: [] } }), told: 'alias web on mcpnet is missing' },
  {
    what: 'another label',
    parts: () => ({ labels: { team: shortCheck('b') } }),
    told: 'label team was changed',
    isCosmetic: true,
  },
  {
    what: 'another memory limit',
    parts: ({ resources }) => ({ resources: { ...resources, memoryBytes: MIB } }),
    told: 'memory limit was changed',
    isCosmetic: true,
  },
  {
    what: 'no processor limit',
    parts: () => ({ resources: { memoryBytes: 64 * MIB } }),
    told: 'processor limit is missing',
    isCosmetic: true,
  },
  {
    what: 'a limit of processes',
    parts: ({ resources }) => ({ resources: { ...resources, pids: 9 } }),
    told: 'process limit was added',
    isCosmetic: true,
  },
  {
    what: 'another restart policy',
    parts: () => ({ restart: 'always' }),
    told: 'restart policy is always instead of unless-stopped',
    isCosmetic: true,
  },
];

describe('a container that was changed by hand and keeps our labels', () => {
  for (const { what, parts, container, told, isCosmetic } of EDITS) {
    it(`L13 ${what}: is made again, told with what was found, and the second pass is empty`, async () => {
      const world = await started(service('web', [WEB]));
      const before = world.container('web');
      edit(world, { parts, container });
      const { plan } = await world.pass();
      const create = plan.steps.find((step) => step.kind === 'create-container');
      expect(create?.because.summary).to.contain(`container web was changed by hand: ${told}`);
      await world.converge();
      expect(world.container('web')?.id).to.not.equal(before?.id);
      expect(world.container('web')?.parts).to.deep.equal(before?.parts);
      expect(world.containers).to.have.length(1);
      expect(world.plan()).to.deep.equal({ steps: [], waiting: [], refused: [] });
      expect([...examine(world), ...examineEnd(world)]).to.deep.equal([]);
    });

    it(`L15 ${what}, with restart = "manual": ${isCosmetic === true ? 'is told and left running' : 'is no cosmetic matter'}`, async () => {
      const world = await started(service('web', [WEB], { deploy: { restart: 'manual' } }));
      const before = world.container('web')?.id;
      edit(world, { parts, container });
      const waiting = world.plan().waiting.map(({ why }) => why);
      await world.converge();
      expect(world.container('web')?.id === before).to.equal(isCosmetic === true);
      if (isCosmetic === true) expect(waiting.join()).to.contain(told);
    });
  }

  it('L12 one that somebody renamed is told as renamed, gets its name back and goes on running', async () => {
    const world = await started(service('web', [WEB]));
    const before = world.container('web');
    rename(world, 'web', 'wob');
    const { plan } = await world.pass();
    expect(plan.steps.map(({ kind, because }) => `${kind}: ${because.summary}`)).to.deep.equal([
      `start-container: container web (${before?.id.slice(0, 12)}) was renamed to wob`,
    ]);
    await world.converge();
    expect(world.containers).to.deep.equal([before]);
  });

  it('L12 one that was renamed and changed is told as both, and replaced', async () => {
    const world = await started(service('web', [WEB]));
    const before = world.container('web')?.id;
    edit(world, { parts: () => ({ mounts: [] }) });
    rename(world, 'web', 'web.old');
    const { plan } = await world.pass();
    const create = plan.steps.find((step) => step.kind === 'create-container');
    expect(create?.because.summary).to.contain('was renamed to web.old, and is not as it was made');
    await world.converge();
    expect(world.containers.map(({ name, id }) => [name, id === before])).to.deep.equal([['web', false]]);
  });

  it('is nothing when the engine fills in what is its own, or names an image in full', async () => {
    const world = await started(service('web', [WEB]));
    const { resources = {}, labels = {} } = world.container('web')?.parts ?? {};
    for (const [kind, parts] of [
      ['docker', { resources: { ...resources, shmBytes: 64 * MIB } }],
      [
        'podman',
        {
          resources: { ...resources, shmBytes: 64 * MIB, pids: 2048 },
          labels: { ...labels, 'io.buildah.version': 'abcd' },
        },
      ],
    ] as const) {
      world.engineKind = kind;
      world.edit('web', parts, { image: 'docker.io/mcr.example.net/web:v1.0.0' });
      expect(world.plan(), kind).to.deep.equal({ steps: [], waiting: [], refused: [] });
    }
  });

  it('of an image that is not known is judged by what was ordered alone; one of which nothing is known is left', async () => {
    const world = await started(service('web', [WEB]));
    world.containers = world.containers.map((one) => {
      if (one.parts === undefined) throw new Error('nothing is known of it');
      return { ...one, parts: { ...without(one.parts, 'given'), env: { ...one.parts.env, X: 'h' } } };
    });
    expect(world.plan().steps).to.deep.equal([]);
    world.containers = world.containers.map((one) => without(one, 'parts'));
    expect(world.plan().steps).to.deep.equal([]);
  });

  it('L07 stays until the one that was made anew is proved; several are healed at once, none waits for its turn', async () => {
    const world = new World();
    const names = ['aa', 'bb', 'cc'];
    world.present(...names.map((name) => component(name).image.reference));
    world.desired = desiredOf(names.map((name) => service(name, [component(name)])));
    await world.converge();
    for (const name of names) world.edit(name, { restart: 'always' });
    const { plan } = await world.pass();
    expect(plan.steps.filter((step) => step.kind === 'create-container')).to.have.length(3);
    expect(world.containers.filter(({ name }) => name.includes('.prev-'))).to.have.length(3);
    await world.converge();
    expect(world.containers).to.have.length(3);
  });
});

function rename(world: World, from: string, to: string): void {
  world.containers = world.containers.map((one) => (one.name === from ? { ...one, name: to } : one));
}

function edit(world: World, { parts, container }: Pick<Edit, 'parts' | 'container'>): void {
  const before = world.container('web')?.parts;
  if (before === undefined) throw new Error('nothing is known of web');
  world.edit('web', parts?.(before) ?? {}, container);
}

async function started(one: Service): Promise<World> {
  const world = new World();
  world.present(WEB.image.reference);
  world.desired = desiredOf([one]);
  await world.converge();
  return world;
}

function without<T extends object, K extends keyof T>(all: T, key: K): Omit<T, K> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => name !== key)) as Omit<T, K>;
}
