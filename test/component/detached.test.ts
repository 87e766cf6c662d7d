import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { RunningProxy } from '../../src/mc-proxy/server.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import type { View } from '../../src/report/types.ts';
import { definitionOf, makeAgentRig, plainDefinition, type AgentRig } from '../support/agentrig.ts';
import { startDocker, type TestEngine } from '../support/engines.ts';
import { openFront, type Front } from '../support/front.ts';
import { buildBusyboxImage, buildNodeImage } from '../support/images.ts';
import { startKnot, type NameServer } from '../support/nameserver.ts';
import { startPebble, type Pebble } from '../support/pebble.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { ask } from '../support/tlsclient.ts';
import { startTokenServer, type TokenServer } from '../support/tokenserver.ts';
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

// An identity service is asked for one thing: the tokens of an image registry (`realm_hosts`). The local CA is a part of the agent.
describe('a node whose dependencies are down, with the real ones', function () {
  this.timeout(300_000);
  let docker: TestEngine;
  let rig: AgentRig;
  let registry: TestRegistry;
  let guarded: TestRegistry;
  let tokens: TokenServer;
  let pebble: Pebble;
  /** What is before the registry, the token server and the CA. */
  let front: Front;
  let identity: Front;
  let ca: Front;
  let knot: NameServer;
  let proxy: RunningProxy | undefined;
  let settings: object;
  let nth = 0;
  let fresh = '';

  before(async () => {
    docker = await startDocker();
    await buildNodeImage(docker, GOOD);
    await buildBusyboxImage(docker, IDLE);
    [registry, knot, tokens] = await Promise.all([startRegistry(), startKnot(), startTokenServer()]);
    pebble = await startPebble({ dns: knot.server });
    front = await openFront(portOf(registry.host));
    identity = await openFront(portOf(tokens.host));
    ca = await openFront(portOf(new URL(pebble.directory).host));
    const realm = `http://${identity.host}/token`;
    guarded = await startRegistry({ token: { ...tokens, realm } });
    rig = await makeAgentRig(docker);
    proxy = await rig.startProxy();
    const account = join(rig.dir, 'account');
    const { username, password } = tokens.credentials;
    await writeFile(account, `${username}:${password}\n`, { mode: 0o600 });
    await rig.push({
      'nodes/n1.toml': 'addresses = ["127.0.0.1"]\nhostname_suffix = "svc.test"\n',
      'services/web.toml': definitionOf(rig, 'web', GOOD),
      'services/idle.toml': plainDefinition('idle', IDLE),
    });
    settings = {
      registries: {
        [front.host]: {},
        [guarded.host]: { credentials_file: account, realm_hosts: [identity.host] },
      },
      mcns: { driver: 'rfc2136', servers: [knot.server], zones: [knot.zone], key_file: knot.keyFile },
      certs: {
        driver: 'acme',
        acme_directory: `https://localhost:${portOf(ca.host)}/dir`,
        acme_http_listen: `127.0.0.1:${pebble.httpPort}`,
        acme_contact: ['mailto:ops@svc.test'],
        acme_agree_terms: true,
        acme_ca_cert: pebble.caFile,
        acme_roots: pebble.rootsFile,
        acme_eab_kid: pebble.eabKid,
        acme_eab_key_file: pebble.eabKeyFile,
      },
      policy: { hostnames: ['svc.test'] },
      deploy: { stable_for_s: 0.2, stop_timeout_s: 1 },
    };
    await rig.start(settings);
    for (const name of ['web', 'idle']) await rig.state(name, 'converged', PATIENCE_MS);
  });
  after(async () => {
    await rig.close();
    await Promise.all([front, identity, ca].map((one) => one.close()));
    await Promise.all([registry, guarded, tokens, pebble, knot].map((one) => one.stop()));
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
  const served = (hostname = HOSTNAME): Promise<boolean> =>
    ask({ port: rig.webPort, hostname, ca: '' }, { rejectUnauthorized: false }).then(
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
    await until('clients to be served', () => served(), PATIENCE_MS);
  };

  /** A service that needs something which nobody has asked for yet: what is remembered would be good for a while. */
  const wants = async (service: string, definition: (nth: number) => string): Promise<void> => {
    nth += 1;
    await rig.push({ [`services/${service}.toml`]: definition(nth) });
    await until('the commit', async () => (await rig.view()).commit?.oid === rig.head(), PATIENCE_MS);
  };
  const waitsFor = (view: View, service: string, host: string): string => {
    const why = waitOf(view, service) ?? '';
    if (why.includes(host) && why.includes('refused the connection')) return why;
    throw new Error(why);
  };

  const parts: Readonly<Record<'git' | 'registry' | 'identity' | 'ca' | 'proxy' | 'dns', Part>> = {
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
        await wants('late', (at) => plainDefinition('late', `${front.host}/mc/late:v1.0.${at}`));
      },
      up: () => front.mend(),
      says: (view) => waitsFor(view, 'late', front.host),
      isServed: true,
    },
    identity: {
      name: 'the identity service that gives tokens for a registry',
      down: async () => {
        await identity.cut();
        // A token that was given is good for minutes: one is wanted that nobody has.
        await wants('private', (at) => plainDefinition('private', `${guarded.host}/mc/private${at}:v1.0.0`));
      },
      up: () => identity.mend(),
      says: (view) => waitsFor(view, 'private', identity.host),
      isServed: true,
    },
    ca: {
      name: 'the CA',
      down: async () => {
        await ca.cut();
        await wants('fresh', (at) => {
          fresh = `fresh${at}.svc.test`;
          return `${definitionOf(rig, 'fresh', GOOD)}hostname = "${fresh}"\n`;
        });
        await until('the CA to be asked', async () => parts.ca.says(await rig.view()), PATIENCE_MS);
      },
      up: () => ca.mend(),
      says: (view) => waitsFor(view, 'fresh', `localhost:${portOf(ca.host)}`),
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

  for (const name of ['git', 'registry', 'identity', 'ca', 'proxy', 'dns'] as const)
    it(`L02 L03 without ${parts[name].name}: what runs goes on, what goes missing is healed, and the status says what waits for what`, () =>
      holds([parts[name]]));

  it('L02 the same without git, registry, identity service, CA, proxy and DNS at once', () =>
    holds([parts.ca, parts.dns, parts.proxy, parts.identity, parts.registry, parts.git]));

  it('what waited for the CA has its certificate, and is served: an agent that is started again asks at once', async () => {
    await rig.stopAgent();
    await rig.start(settings);
    await rig.state('fresh', 'converged', PATIENCE_MS);
    expect(await served(fresh)).to.equal(true);
  });
});

function portOf(host: string): number {
  return Number(host.split(':')[1]);
}
