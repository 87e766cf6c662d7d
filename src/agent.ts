import { mkdir } from 'node:fs/promises';
import { systemClock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { blocked, ok, type Outcome } from './base/outcome.ts';
import { keyedHash } from './base/secret.ts';
import { startDashboard } from './dashboard/server.ts';
import { isCron, startLoop } from './loop.ts';
import { openFileProxy } from './node/proxy/file.ts';
import { openNoProxy } from './node/proxy/file.ts';
import { openNode } from './node/node.ts';
import { runPass, type House, type Memory } from './pass.ts';
import { openKey } from './registry/key.ts';
import { openRegistry } from './registry/registry.ts';
import { makeView } from './report/view.ts';
import type { View } from './report/types.ts';
import { dataPath, type Settings } from './settings.ts';
import { openSource } from './source/source.ts';
import { VERSION } from './version.ts';

const CALL_DEADLINE_MS = 30_000;
const JITTER_MS = 2_000;
const MIB = 1024 * 1024;

export interface Agent {
  /** Where the dashboard listens; absent when its port was taken. */
  readonly dashboard?: string;
  /** Stops at the next step boundary. Containers go on running. */
  stop(): Promise<void>;
}

/** Opens every room, starts the loop and the dashboard. A room that is down does not keep the agent from starting, except its own registry. */
export async function startAgent(settings: Settings, log: Log): Promise<Outcome<Agent>> {
  if (!isCron(settings.source.poll)) {
    return blocked(
      `source.poll: "${settings.source.poll}" is no cron expression`,
      'For example "*/30 * * * * *": every 30 seconds.',
    );
  }
  const clock = systemClock;
  await mkdir(settings.dataDir, { recursive: true, mode: 0o700 });
  const registry = openRegistry({ path: settings.database.path, clock, log });
  if (registry.kind !== 'ok') return registry;
  const key = openKey(settings.dataDir);
  if (key.kind !== 'ok') {
    registry.value.close();
    return key;
  }
  let signal: (trigger: string) => void = () => undefined;
  const node = openNode(nodeOptions(settings, log, (trigger) => signal(trigger)));
  const house: House = {
    source: openSource(sourceSettings(settings), log, clock),
    registry: registry.value,
    node,
    planSettings: planSettings(settings, key.value.keyId),
    definitions: definitionOptions(settings, (value) => keyedHash(key.value.key, value)),
    parallel: settings.deploy.parallel,
    clock,
    log,
  };
  const memory: Memory = {};
  const startedAt = clock.now();
  const loop = startLoop({
    poll: settings.source.poll,
    jitterMs: JITTER_MS,
    run: (triggers, stopping) => runPass(house, memory, triggers, stopping),
    clock,
    log,
  });
  signal = (trigger) => loop.signal(trigger);
  const watch = await house.source.watch(() => loop.signal('git'));
  const dashboard = await startDashboard({
    listenAddr: settings.server.listen_addr,
    hosts: settings.server.hosts,
    log,
    view: () => viewOf(settings, house, memory, startedAt),
  });
  if (dashboard.kind === 'ok') log.info({ address: dashboard.value.address }, 'dashboard');
  // Nobody can see the node then, but it goes on being converged (G56).
  else log.error({ why: dashboard.why, hint: dashboard.hint }, 'no dashboard');

  return ok({
    ...(dashboard.kind === 'ok' ? { dashboard: dashboard.value.address } : {}),
    stop: async () => {
      await watch.close();
      if (dashboard.kind === 'ok') await dashboard.value.close();
      await loop.stop();
      await node.stop();
      registry.value.close();
    },
  });
}

function sourceSettings(settings: Settings): Parameters<typeof openSource>[0] {
  const { source } = settings;
  return {
    urls: source.urls,
    path: source.path,
    deadlineMs: source.timeout_s * 1000,
    maxFiles: 20_000,
    maxFileBytes: 256 * 1024,
    maxTotalBytes: 64 * MIB,
    dataDir: dataPath(settings, 'source'),
    ...(source.branch === undefined ? {} : { branch: source.branch }),
    ...(source.token_file === undefined ? {} : { tokenFile: source.token_file }),
    ...(source.user === undefined ? {} : { user: source.user }),
    ...(source.ca_cert === undefined ? {} : { caCert: source.ca_cert }),
    ...(source.ssh_key_file === undefined ? {} : { sshKeyFile: source.ssh_key_file }),
    ...(source.known_hosts_file === undefined ? {} : { knownHostsFile: source.known_hosts_file }),
  };
}

function nodeOptions(
  settings: Settings,
  log: Log,
  onSignal: (trigger: string) => void,
): Parameters<typeof openNode>[0] {
  const { build, mcproxy, owner } = settings;
  const clock = systemClock;
  return {
    engine: {
      owner,
      callDeadlineMs: CALL_DEADLINE_MS,
      log,
      ...(settings.engine.socket === undefined ? {} : { socket: settings.engine.socket }),
    },
    images: {
      registries: Object.fromEntries(
        Object.entries(settings.registries).map(([host, entry]) => [
          host,
          {
            realmHosts: entry.realm_hosts,
            ...(entry.credentials_file === undefined ? {} : { credentialsFile: entry.credentials_file }),
            ...(entry.ca_cert === undefined ? {} : { caCert: entry.ca_cert }),
          },
        ]),
      ),
      build: {
        concurrency: build.concurrency,
        timeoutMs: build.timeout_s * 1000,
        maxContextBytes: build.max_context_mib * MIB,
        maxFiles: build.max_context_files,
        maxLogBytes: MIB,
        ...(build.workspace === undefined ? {} : { workspace: build.workspace }),
      },
    },
    proxy:
      mcproxy.driver === 'none'
        ? openNoProxy()
        : openFileProxy({
            tablePath: mcproxy.table,
            statusSocket: mcproxy.status_socket,
            listeners: mcproxy.listeners,
            owner,
            log,
          }),
    certificates: {
      driver: settings.certs.driver,
      certDir: mcproxy.cert_dir,
      caDir: dataPath(settings, 'ca'),
      hostnameSuffix: settings.defaults.hostname_suffix,
      clock,
      log,
    },
    clock,
    log,
    onSignal,
  };
}

function planSettings(settings: Settings, keyId: string): House['planSettings'] {
  const { defaults, deploy, ports } = settings;
  return {
    node: settings.node,
    owner: settings.owner,
    portRange: ports.range,
    publishIp: ports.publish_ip,
    logMaxSize: defaults.log_max_size,
    logMaxFiles: defaults.log_max_files,
    stableForMs: deploy.stable_for_s * 1000,
    stopTimeoutS: deploy.stop_timeout_s,
    proxy: settings.mcproxy.driver !== 'none',
    hostnameSuffix: defaults.hostname_suffix,
    certificates: settings.certs.driver,
    canBuild: settings.build.workspace !== undefined,
    keyId,
  };
}
