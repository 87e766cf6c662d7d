import { isIP } from 'node:net';
import { systemClock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { parseAddress } from './base/routetable.ts';
import type { Policy } from './definitions/types.ts';
import { openNoDns, type Dns } from './node/dns/dns.ts';
import { openRfc2136 } from './node/dns/rfc2136.ts';
import { lintDockerfile } from './definitions/dockerfile/lint.ts';
import { remoteSources } from './node/images/remotesource.ts';
import { signedOnly } from './node/images/signature.ts';
import { workspaceSources } from './node/images/source.ts';
import type { Sources } from './node/images/types.ts';
import type { ChallengeFront } from './base/routetable.ts';
import { openFileProxy } from './node/proxy/file.ts';
import { openHaproxy } from './node/proxy/haproxy.ts';
import { openNoProxy, type Proxy } from './node/proxy/proxy.ts';
import type { NodeOptions } from './node/node.ts';
import type { House } from './pass.ts';
import type { JournalLimits } from './registry/journal.ts';
import type { ChannelSettings } from './report/channels.ts';
import { dataPath, type Settings } from './settings.ts';
import { accessFrom } from './source/credentials.ts';
import type { SourceSettings } from './source/types.ts';

const CALL_DEADLINE_MS = 30_000;
const MIB = 1024 * 1024;

/** From the one settings file to what each room asks for. */
export function sourceSettings(settings: Settings): SourceSettings {
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

export function nodeOptions(
  settings: Settings,
  log: Log,
  hash: (value: string) => string,
  onSignal: (trigger: string) => void,
): NodeOptions {
  const { build, mcproxy, owner } = settings;
  const clock = systemClock;
  return {
    engine: {
      owner,
      hash,
      callDeadlineMs: CALL_DEADLINE_MS,
      log,
      ...(settings.engine.socket === undefined ? {} : { socket: settings.engine.socket }),
    },
    images: {
      lint: lintDockerfile,
      ...sourcesOf(settings, log),
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
        minFreeBytes: build.min_free_mib * MIB,
        ...(build.memory_mib === undefined ? {} : { memoryBytes: build.memory_mib * MIB }),
        ...(build.cpus === undefined ? {} : { cpus: build.cpus }),
      },
    },
    proxy: proxyOf(settings, log),
    listeners: mcproxy.listeners,
    dns: dnsOf(settings, log, () => onSignal('dns')),
    certificates: {
      driver: settings.certs.driver,
      certDir: mcproxy.cert_dir,
      caDir: dataPath(settings, 'ca'),
      ...acmeOf(settings),
      hostnameSuffix: settings.defaults.hostname_suffix,
      clock,
      log,
    },
    about: `registry ${settings.database.path}`,
    clock,
    log,
    onSignal,
  };
}

/** What the proxy hands on to the agent for a CA, where the settings say so. */
export function challengesOf({ mcproxy, certs }: Settings): { challenges?: ChallengeFront } {
  const { acme_listen: addr } = mcproxy;
  const isAsked = certs.driver === 'acme' && certs.acme_challenge === 'http-01';
  return addr === undefined || !isAsked ? {} : { challenges: { addr, backend: certs.acme_http_listen } };
}

function proxyOf(settings: Settings, log: Log): Proxy {
  const { mcproxy, owner } = settings;
  const { listeners } = mcproxy;
  const challenges = challengesOf(settings);
  switch (mcproxy.driver) {
    case 'none':
      return openNoProxy();
    case 'file':
      return openFileProxy({
        tablePath: mcproxy.table,
        statusSocket: mcproxy.status_socket,
        listeners,
        ...challenges,
        owner,
        log,
      });
    case 'haproxy':
      return openHaproxy({
        program: mcproxy.haproxy_program,
        configPath: mcproxy.haproxy_config,
        runtimeSocket: mcproxy.haproxy_socket,
        masterSocket: mcproxy.haproxy_master_socket,
        listeners,
        ...challenges,
        owner,
        log,
      });
  }
}

export function channelSettings({ notify }: Settings): ChannelSettings {
  return {
    timeoutMs: notify.timeout_s * 1000,
    ...(notify.webhook_file === undefined ? {} : { webhookFile: notify.webhook_file }),
    ...(notify.ntfy_file === undefined ? {} : { ntfyFile: notify.ntfy_file }),
    ...(notify.command === undefined ? {} : { command: notify.command }),
    ...(notify.ca_cert === undefined ? {} : { caCert: notify.ca_cert }),
  };
}

export function journalLimits({ journal }: Settings): JournalLimits {
  return {
    maxAgeMs: journal.max_age_d * 24 * 3_600_000,
    maxPasses: journal.max_passes,
    maxPlans: journal.max_plans,
  };
}

/** Where images are built from, as far as the settings say. */
function sourcesOf(settings: Settings, log: Log): { readonly sources?: Sources } {
  const { build } = settings;
  const { token_file, user, ca_cert, ssh_key_file, known_hosts_file } = build;
  const opened =
    build.workspace !== undefined
      ? workspaceSources(build.workspace)
      : build.sources !== undefined
        ? remoteSources({
            template: build.sources,
            dir: dataPath(settings, 'sources'),
            access: accessFrom(
              {
                ...(token_file === undefined ? {} : { tokenFile: token_file }),
                ...(user === undefined ? {} : { user }),
                ...(ca_cert === undefined ? {} : { caCert: ca_cert }),
              },
              log,
            ),
            ...(ssh_key_file === undefined ? {} : { sshKeyFile: ssh_key_file }),
            ...(known_hosts_file === undefined ? {} : { knownHostsFile: known_hosts_file }),
            deadlineMs: settings.source.timeout_s * 1000,
            maxPackBytes: build.max_context_mib * MIB,
          })
        : undefined;
  if (opened === undefined) return {};
  if (!build.require_signed_tag) return { sources: opened };
  const { allowed_signers_file, keyring_file } = build;
  const keys = {
    ...(allowed_signers_file === undefined ? {} : { allowedSignersFile: allowed_signers_file }),
    ...(keyring_file === undefined ? {} : { keyringFile: keyring_file }),
  };
  return { sources: signedOnly(opened, keys) };
}

/** Looks at an order grow from half a second to 15 s; failures are waited out from 2 min to 6 h: a CA counts them by the hour. */
function acmeOf(settings: Settings): Pick<NodeOptions['certificates'], 'acme'> {
  const { certs } = settings;
  if (certs.driver !== 'acme' || certs.acme_directory === undefined) return {};
  return {
    acme: {
      directory: certs.acme_directory,
      challenge: certs.acme_challenge,
      contact: certs.acme_contact,
      agreesTerms: certs.acme_agree_terms,
      httpListen: certs.acme_http_listen,
      ...(settings.mcproxy.acme_listen === undefined ? {} : { throughProxy: true }),
      dir: dataPath(settings, 'acme'),
      clock: systemClock,
      pollMs: 500,
      timeoutMs: certs.acme_timeout_s * 1000,
      retryMs: { first: 120_000, longest: 6 * 3_600_000 },
      ...(certs.acme_ca_cert === undefined ? {} : { caFile: certs.acme_ca_cert }),
      ...(certs.acme_roots === undefined ? {} : { rootsFile: certs.acme_roots }),
      ...(certs.acme_eab_kid === undefined ? {} : { eabKid: certs.acme_eab_kid }),
      ...(certs.acme_eab_key_file === undefined ? {} : { eabKeyFile: certs.acme_eab_key_file }),
    },
  };
}

function dnsOf({ mcns, owner }: Settings, log: Log, onSignal: () => void): Dns {
  if (mcns.driver === 'none') return openNoDns();
  return openRfc2136({
    owner,
    servers: mcns.servers,
    zones: mcns.zones.map((zone) => zone.toLowerCase().replace(/\.$/, '')),
    ttlS: mcns.ttl_s,
    clock: systemClock,
    log,
    onSignal,
    ...(mcns.key_file === undefined ? {} : { keyFile: mcns.key_file }),
  });
}

export function planSettings(settings: Settings, keyId: string): House['planSettings'] {
  const { defaults, deploy, policy, ports } = settings;
  return {
    node: settings.node,
    owner: settings.owner,
    portRange: ports.range,
    publishIp: ports.publish_ip,
    logMaxSize: defaults.log_max_size,
    logMaxFiles: defaults.log_max_files,
    timeoutMs: deploy.timeout_s * 1000,
    drainMs: deploy.drain_s * 1000,
    stableForMs: deploy.stable_for_s * 1000,
    stopTimeoutS: deploy.stop_timeout_s,
    proxy: settings.mcproxy.driver !== 'none',
    edgeCa: settings.mcproxy.edge_ca,
    hostnameSuffix: defaults.hostname_suffix,
    certificates: settings.certs.driver,
    ...(settings.certs.driver === 'acme' ? { acmeChallenge: settings.certs.acme_challenge } : {}),
    keepImages: settings.images.keep,
    buildCacheBytes: settings.build.cache_mib * MIB,
    canBuild: settings.build.workspace !== undefined || settings.build.sources !== undefined,
    protect: policy.protect,
    budgetShare: policy.budget,
    ...(policy.engine_id === undefined ? {} : { engineId: policy.engine_id }),
    registries: Object.keys(settings.registries).sort(),
    keyId,
    flapping: { exits: deploy.flapping_exits, windowMs: deploy.flapping_window_s * 1000 },
  };
}

/** Policy is the node's own, never from git: who may write definitions may not widen it. */
export function definitionOptions(settings: Settings, hash: (value: string) => string): House['definitions'] {
  const { defaults, policy, mcproxy } = settings;
  // Whoever lists no registry has images that are built or loaded here: no host is asked for any, so that none is wrong.
  const imageHosts = Object.keys(settings.registries).sort();
  return {
    node: settings.node,
    root: settings.source.path,
    hash,
    defaults: {
      network: defaults.network,
      restart: defaults.restart,
      hostnameSuffix: defaults.hostname_suffix,
      ...(defaults.user === undefined ? {} : { user: defaults.user }),
    },
    policy: {
      ...(policy.images === 'pinned' ? { images: policy.images } : {}),
      ...(imageHosts.length === 0 ? {} : { imageHosts }),
      mounts: policy.mounts,
      networks: [...policy.networks, defaults.network],
      ports: policy.ports,
      hostnames: policy.hostnames,
      ...(mcproxy.driver === 'none' ? {} : listenersOf(mcproxy.listeners)),
    },
  };
}

function listenersOf(addresses: readonly string[]): Pick<Policy, 'listeners' | 'bound'> {
  const bound = addresses.flatMap((text) => parseAddress(text) ?? []);
  return {
    listeners: bound.map(({ port }) => port),
    // A name may stand for any address.
    bound: bound.map(({ host = '', port }) => (isIP(host) === 0 ? { port } : { ip: host, port })),
  };
}
