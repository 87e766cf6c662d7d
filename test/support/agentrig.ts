import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgent, type Agent } from '../../src/agent.ts';
import { httpRequest } from '../../src/base/http.ts';
import { makeLog } from '../../src/base/log.ts';
import { stringifyToml } from '../../src/base/toml.ts';
import { makeRepository, type Repository } from '../../src/demo/repository.ts';
import { startProxy, type RunningProxy } from '../../src/mc-proxy/server.ts';
import { openEngine, type Engine } from '../../src/node/engine/engine.ts';
import type { ServiceView, View } from '../../src/report/types.ts';
import { parseSettings, type Settings } from '../../src/settings.ts';
import type { TestEngine } from './engines.ts';
import { freePort } from './ports.ts';
import { until } from './until.ts';

/** An agent with its node, in a temporary directory and under an instance of its own; definitions in a local repository. */
export interface AgentRig {
  readonly dir: string;
  readonly instance: string;
  readonly owner: string;
  readonly webPort: number;
  readonly engine: Engine;
  readonly definitions: Repository;
  /** What the agent logged, one JSON object a line. */
  readonly lines: string[];
  settings(change?: object): Settings;
  push(files: Readonly<Record<string, string | undefined>>, message?: string): Promise<string>;
  /** The commit that was pushed last. */
  head(): string;
  start(change?: object): Promise<Agent>;
  /** Where the agent's pages are. */
  address(): { readonly dashboard: string };
  stopAgent(): Promise<void>;
  startProxy(): Promise<RunningProxy>;
  view(): Promise<View>;
  /** Waits until the newest commit was looked at and the service is in this state. */
  state(service: string, state: ServiceView['state'], timeoutMs?: number): Promise<ServiceView>;
  close(): Promise<void>;
}

export async function makeAgentRig(testEngine: Pick<TestEngine, 'socketPath'>): Promise<AgentRig> {
  const dir = await mkdtemp(join(tmpdir(), 'mcg-agent-'));
  const instance = `t-${randomBytes(4).toString('hex')}`;
  const owner = `n1/${instance}`;
  const webPort = await freePort();
  for (const part of ['data', 'certs', 'srv', 'src']) await mkdir(join(dir, part));
  const definitions = await makeRepository(join(dir, 'definitions.git'));
  const opened = await openEngine({
    socket: testEngine.socketPath,
    owner,
    callDeadlineMs: 30_000,
    log: makeLog('silent'),
  });
  if (opened.kind !== 'ok') throw new Error(opened.why);
  const engine = opened.value;
  const lines: string[] = [];
  let agent: Agent | undefined;
  let proxy: RunningProxy | undefined;
  let head = '';

  const settings = (change: object = {}): Settings => {
    const base = {
      node: 'n1',
      instance,
      source: { urls: [definitions.path], branch: 'main', poll: '*/2 * * * * *' },
      database: { path: join(dir, 'data', 'registry.db') },
      server: { listen_addr: '127.0.0.1:0' },
      engine: { socket: testEngine.socketPath },
      defaults: { network: `mcg-${instance}` },
      build: { workspace: join(dir, 'src') },
      mcproxy: fileProxy(dir, webPort),
      certs: { driver: 'local' },
      deploy: { stable_for_s: 0.2, stop_timeout_s: 1 },
      policy: { mounts: [join(dir, 'srv', '{service}')] },
      ...change,
    };
    const parsed = parseSettings(stringifyToml(base), 'test settings', {});
    if (parsed.kind !== 'ok') throw new Error(parsed.why);
    return parsed.value;
  };
  const view = async (): Promise<View> => {
    if (agent?.dashboard === undefined) throw new Error('no dashboard');
    const url = new URL('/api/v1/status', agent.dashboard).href;
    const answer = await httpRequest({ method: 'GET', url, deadlineMs: 5_000, maxBytes: 10_000_000 });
    return JSON.parse(Buffer.from(answer.body).toString('utf8')) as View;
  };
  return {
    dir,
    instance,
    owner,
    webPort,
    engine,
    definitions,
    lines,
    settings,
    view,
    push: async (files, message) =>
      (head = await definitions.commit(files, message === undefined ? {} : { message })),
    head: () => head,
    start: async (change) => {
      const log = makeLog('info', { write: (line: string) => void lines.push(line) });
      const started = await startAgent(settings(change), log);
      if (started.kind !== 'ok') throw new Error(started.why);
      return (agent = started.value);
    },
    address: () => ({ dashboard: agent?.dashboard ?? '' }),
    stopAgent: async () => {
      await agent?.stop();
      agent = undefined;
    },
    startProxy: async () => {
      const { mcproxy } = settings();
      const started = await startProxy({
        tablePath: mcproxy.table,
        statusSocketPath: mcproxy.status_socket,
        log: makeLog('silent'),
      });
      if (started.kind !== 'ok') throw new Error(started.why);
      return (proxy = started.value);
    },
    state: (service, state, timeoutMs = 60_000) => {
      let last = 'never seen';
      return until(
        `${service} to be ${state}`,
        async () => {
          const seen = await view();
          const found = seen.services.find((entry) => entry.name === service);
          last = `${found?.state ?? 'absent'} at ${seen.commit?.oid ?? '-'} ${JSON.stringify([found?.waiting, found?.refused, found?.lastError])}`;
          if (seen.commit?.oid === head && found?.state === state) return found;
          throw new Error(last);
        },
        timeoutMs,
      );
    },
    close: async () => {
      await agent?.stop();
      await proxy?.close();
      const facts = await engine.facts();
      if (facts.kind === 'ok') {
        for (const container of facts.value.containers.filter((c) => c.identity?.owner === owner))
          await engine.remove(container.id, 0);
        for (const network of facts.value.networks.filter((name) => name.startsWith(`mcg-${instance}`)))
          await engine.removeNetwork(network);
      }
      engine.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Settings of the bundled proxy with everything of its own below a directory. */
export function fileProxy(dir: string, webPort: number): object {
  return {
    driver: 'file',
    listeners: [`127.0.0.1:${webPort}`],
    table: join(dir, 'data', 'routes.toml'),
    status_socket: join(dir, 'proxy.sock'),
    cert_dir: join(dir, 'certs'),
  };
}

/** A definition with one component `name`, an l7 route on the rig's listener, and what `more` adds to the component. */
export function definitionOf(
  rig: Pick<AgentRig, 'webPort'>,
  name: string,
  image: string,
  more = '',
  top = '',
): string {
  return `name = "${name}"
node = "n1"
${top}
[[components]]
name = "${name}"
image = "${image}"
${more}
[[components.routes]]
port = ${rig.webPort}
mode = "l7"
`;
}

/** The same without a route. */
export function plainDefinition(name: string, image: string, more = '', top = ''): string {
  return `name = "${name}"
node = "n1"
${top}
[[components]]
name = "${name}"
image = "${image}"
${more}
`;
}
