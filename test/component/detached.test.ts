import { rename } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import type { RunningProxy } from '../../src/mc-proxy/server.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import type { View } from '../../src/report/types.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { ask } from '../support/tlsclient.ts';
import { until } from '../support/until.ts';

const GOOD = 'mcg-detached-test/good:v1.0.0';
const IDLE = 'mcg-detached-test/idle:v1.0.0';
const PATIENCE_MS = 60_000;
const HOSTNAME = 'web.svc.test';

/** Something that the node depends on, which goes away and comes back. */
interface Part {
  readonly name: string;
  readonly down: () => Promise<void>;
  readonly up: () => Promise<void>;
  /** What the status says while it is down. */
  readonly says: (view: View) => string | undefined;
  /** Clients are served all the same. */
  readonly isServed: boolean;
}

// The CA of the node itself is a part of the agent, and the agent asks no identity service for anything it does.
describe('a node whose dependencies are down, with the real ones', function () {
  this.timeout(300_000);
  let docker: TestEngine;
  let rig: AgentRig;
  let registry: TestRegistry;
  let front: Front;
  let knot: NameServer;
  let proxy: RunningProxy | undefined;
  let late = 0;

  before(async () => {
    docker = await startDocker();
    await buildNodeImage(docker, GOOD);
    await buildBusyboxImage(docker, IDLE);
    [registry, knot] = await Promise.all([startRegistry(), startKnot()]);
    front = await openFront(Number(registry.host.split(':')[1]));
    rig = await makeAgentRig(docker);
    proxy = await rig.startProxy();
    await rig.push({
      'nodes/n1.toml': 'addresses = ["127.0.0.1"]\nhostname_suffix = "svc.test"\n',
      'services/web.toml': definitionOf(rig, 'web', GOOD),
      'services/idle.toml': plainDefinition('idle', IDLE),
      // Its image is to be looked for in the registry, whenever that answers.
      'services/late.toml': plainDefinition('late', `${front.host}/mc/late:v1.0.0`),
    });
    await rig.start({
      registries: { [front.host]: {} },
      mcns: { driver: 'rfc2136', servers: [knot.server], zones: [knot.zone], key_file: knot.keyFile },
      policy: { hostnames: ['svc.test'] },
      deploy: { stable_for_s: 0.2, stop_timeout_s: 1 },
    });
    for (const name of ['web', 'idle']) await rig.state(name, 'converged', PATIENCE_MS);
  });
  after(async () => {
    await rig.close();
    await Promise.all([front.close(), registry.stop(), knot.stop()]);
  });

  const inPlace = async (name: string): Promise<ObservedContainer | undefined> => {
    const facts = await rig.engine.facts();
    if (facts.kind !== 'ok') throw new Error(facts.why);
    return facts.value.containers.find((one) => one.identity?.owner === rig.owner && one.name === name);
  };
  const condition = (view: View, name: string): string | undefined => {
    const found = view.conditions.find((one) => one.name === name);
    return found?.ok === false ? found.text : undefined;
  };
  const waitOf = (view: View, service: string): string | undefined => {
    const found = view.services.find((one) => one.name === service);
    return [...(found?.waiting ?? []), ...(found?.refused ?? [])].map(({ why }) => why).join('; ');
  };
  const served = (): Promise<boolean> =>
    ask({ port: rig.webPort, hostname: HOSTNAME, ca: '' }, { rejectUnauthorized: false }).then(
      (answer) => answer.status === 200,
      () => false,
    );
  /** What runs goes on, what is killed or removed comes back, and the status says what waits for what. */
  const holds = async (parts: readonly Part[]): Promise<void> => {
    const what = parts.map(({ name }) => name).join(', ');
    for (const part of parts) await part.down();
    for (const part of parts)
      await until(
        `the status to say that ${part.name} is down`,
        async () => part.says(await rig.view()),
        PATIENCE_MS,
      );
    const web = await inPlace('web');
    const before = await inPlace('idle');
    await rig.engine.remove(before?.id ?? '', 0);
    await until(
      `idle to be back without ${what}`,
      async () => {
        const now = await inPlace('idle');
        return now?.state === 'running' && now.id !== before?.id;
      },
      PATIENCE_MS,
    );
    expect(await inPlace('web'), `web without ${what}`).to.deep.equal(web);
    if (parts.every(({ isServed }) => isServed))
      expect(await served(), `served without ${what}`).to.equal(true);
    // Git first: the end of the others may be a commit.
    for (const part of [...parts].reverse()) await part.up();
    for (const name of ['web', 'idle']) await rig.state(name, 'converged', PATIENCE_MS);
    expect((await inPlace('web'))?.id, `web after ${what}`).to.equal(web?.id);
    await until('clients to be served', served, PATIENCE_MS);
  };

  const parts: Readonly<Record<'git' | 'registry' | 'proxy' | 'dns', Part>> = {
    git: {
      name: 'git',
      down: () => rename(rig.definitions.path, `${rig.definitions.path}.away`),
      up: () => rename(`${rig.definitions.path}.away`, rig.definitions.path),
      says: (view) => condition(view, 'git'),
      isServed: true,
    },
    registry: {
      name: 'the registry',
      down: async () => {
        await front.cut();
        // An answer that is remembered would be good for half a minute: one is wanted that nobody gave yet.
        late += 1;
        await rig.push({
          'services/late.toml': plainDefinition('late', `${front.host}/mc/late:v1.0.${late}`),
        });
      },
      up: () => front.mend(),
      says: (view) => {
        const why = waitOf(view, 'late') ?? '';
        if (why.includes(front.host) && why.includes('refused the connection')) return why;
        throw new Error(why);
      },
      isServed: true,
    },
    proxy: {
      name: 'the proxy',
      down: async () => proxy?.close(),
      up: async () => {
        proxy = await rig.startProxy();
      },
      says: (view) => condition(view, 'proxy'),
      isServed: false,
    },
    dns: {
      name: 'DNS',
      down: () => knot.halt(),
      up: () => knot.start(),
      says: (view) => condition(view, 'dns'),
      isServed: true,
    },
  };

  for (const name of ['git', 'registry', 'proxy', 'dns'] as const)
    it(`L02 L03 without ${parts[name].name}: what runs goes on, what goes missing is healed, and the status says what waits for what`, () =>
      holds([parts[name]]));

  it('L02 the same without git, registry, proxy and DNS at once', () =>
    holds([parts.dns, parts.proxy, parts.registry, parts.git]));
});

/** A port before a server's own, which can be closed and opened again. */
interface Front {
  readonly host: string;
  cut(): Promise<void>;
  mend(): Promise<void>;
  close(): Promise<void>;
}

async function openFront(target: number): Promise<Front> {
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  const open = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server = createServer((socket) => {
        const behind = connect(target, '127.0.0.1');
        for (const one of [socket, behind]) {
          sockets.add(one);
          one.on('error', () => undefined);
          one.on('close', () => {
            sockets.delete(one);
            socket.destroy();
            behind.destroy();
          });
        }
        socket.pipe(behind).pipe(socket);
      });
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  await open(0);
  const { port } = server?.address() as AddressInfo;
  const cut = async (): Promise<void> => {
    const closed = new Promise((resolve) => server?.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
    server = undefined;
  };
  return {
    host: `127.0.0.1:${port}`,
    cut,
    mend: () => open(port),
    close: async () => {
      if (server !== undefined) await cut();
    },
  };
}
