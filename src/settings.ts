import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { LOG_LEVELS, type LogLevel } from './base/log.ts';
import { blocked, messageOf, ok, type Outcome } from './base/outcome.ts';
import { v } from './base/shape.ts';
import { parseToml } from './base/toml.ts';
import { indexToml } from './base/tomlindex.ts';
import { keysOf, override } from './settings/environment.ts';
import { findingsOf, placeIn, type Ground } from './settings/words.ts';

export const DEFAULT_SETTINGS_PATH = '/etc/mc-gitops/mc-gitops.toml';

const text = v.pipe(v.string(), v.nonEmpty());
const dnsLabel = v.pipe(
  text,
  v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be a DNS label: a-z, 0-9, -, at most 63'),
);
const port = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65535));
const address = v.pipe(
  text,
  v.regex(/^(\[[0-9a-f:.]+\]|[^:[\]]*):\d{1,5}$/i, 'must be "host:port" or ":port"'),
);
/** By address: a name would have to be looked up where it is to be written (L03). */
const nameServer = v.pipe(
  text,
  v.check(
    (value) => isIP(value.replace(/^\[(.*)\](:\d+)?$/, '$1').replace(/^([\d.]+):\d{1,5}$/, '$1')) !== 0,
    'must be an address, "address:port" or "[address]:port"',
  ),
);
const positive = v.pipe(v.number(), v.integer(), v.minValue(1));

/** The shape of the settings file, snake case as it is written there. Unknown keys are errors. */
const schema = v.strictObject({
  node: dnsLabel,
  instance: v.optional(dnsLabel, 'main'),
  source: v.strictObject({
    urls: v.pipe(v.array(text), v.minLength(1)),
    branch: v.optional(text),
    path: v.optional(v.string(), ''),
    /** Cron, seconds allowed (six fields). */
    poll: v.optional(text, '*/30 * * * * *'),
    token_file: v.optional(text),
    user: v.optional(text),
    ssh_key_file: v.optional(text),
    known_hosts_file: v.optional(text),
    ca_cert: v.optional(text),
    timeout_s: v.optional(positive, 120),
  }),
  database: v.optional(
    v.strictObject({
      path: v.optional(text, '/var/lib/mc-gitops/registry.db'),
      /** Cron; empty: no snapshots. */
      snapshot_cron: v.optional(v.string(), '17 3 * * *'),
      /** Default: `snapshots` beside the database. */
      snapshot_dir: v.optional(text),
      snapshot_keep: v.optional(positive, 7),
    }),
    {},
  ),
  /** How much of the past is kept. */
  journal: v.optional(
    v.strictObject({
      max_age_d: v.optional(positive, 90),
      max_passes: v.optional(positive, 20_000),
      max_plans: v.optional(positive, 1_000),
    }),
    {},
  ),
  server: v.optional(
    v.strictObject({
      listen_addr: v.optional(address, '127.0.0.1:8077'),
      hosts: v.optional(v.array(text), []),
    }),
    {},
  ),
  log: v.optional(v.strictObject({ level: v.optional(v.picklist(LOG_LEVELS), 'info') }), {}),
  engine: v.optional(v.strictObject({ socket: v.optional(text) }), {}),
  defaults: v.optional(
    v.strictObject({
      network: v.optional(text, 'mcpnet'),
      user: v.optional(text),
      restart: v.optional(v.picklist(['no', 'on-failure', 'unless-stopped', 'always']), 'unless-stopped'),
      hostname_suffix: v.optional(text, 'svc.mcp.metacircular.net'),
      log_max_size: v.optional(v.pipe(text, v.regex(/^\d+[kmg]$/, 'must be a number with k, m or g')), '10m'),
      log_max_files: v.optional(positive, 3),
    }),
    {},
  ),
  ports: v.optional(
    v.strictObject({
      range: v.optional(v.strictTuple([port, port]), [10000, 60000]),
      publish_ip: v.optional(v.pipe(text, v.ip()), '127.0.0.1'),
    }),
    {},
  ),
  build: v.optional(
    v.strictObject({
      workspace: v.optional(text),
      /** Instead of `workspace`: the address of a source repository, with `{path}`. */
      sources: v.optional(v.pipe(text, v.includes('{path}', 'must have {path} in it'))),
      token_file: v.optional(text),
      user: v.optional(text),
      ca_cert: v.optional(text),
      ssh_key_file: v.optional(text),
      known_hosts_file: v.optional(text),
      require_signed_tag: v.optional(v.boolean(), false),
      allowed_signers_file: v.optional(text),
      keyring_file: v.optional(text),
      concurrency: v.optional(positive, 1),
      timeout_s: v.optional(positive, 1800),
      /** Of each step of a build; absent: as much as there is. */
      memory_mib: v.optional(positive),
      cpus: v.optional(v.pipe(v.number(), v.minValue(0.01))),
      /** No build begins with less on the engine's disk. */
      min_free_mib: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 1024),
      /** What the builder may remember. */
      cache_mib: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 10_240),
      max_context_mib: v.optional(positive, 1024),
      max_context_files: v.optional(positive, 50_000),
    }),
    {},
  ),
  images: v.optional(v.strictObject({ keep: v.optional(positive, 3) }), {}),
  registries: v.optional(
    v.record(
      text,
      v.strictObject({
        credentials_file: v.optional(text),
        ca_cert: v.optional(text),
        realm_hosts: v.optional(v.array(text), []),
      }),
    ),
    {},
  ),
  mcproxy: v.optional(
    v.strictObject({
      driver: v.optional(v.picklist(['none', 'file', 'haproxy']), 'none'),
      listeners: v.optional(v.array(address), [':443', ':8443', ':9443']),
      acme_listen: v.optional(address),
      table: v.optional(text, '/var/lib/mc-gitops/mc-proxy/routes.toml'),
      status_socket: v.optional(text, '/run/mc-gitops/proxy.sock'),
      cert_dir: v.optional(text, '/srv/mc-proxy/certs'),
      haproxy_config: v.optional(text, '/var/lib/mc-gitops/haproxy/haproxy.cfg'),
      haproxy_socket: v.optional(text, '/run/mc-gitops/haproxy.sock'),
      haproxy_master_socket: v.optional(text, '/run/mc-gitops/haproxy-master.sock'),
      haproxy_program: v.optional(text, '/usr/sbin/haproxy'),
      /** PEM, roots by which the proxies of home nodes are verified (`edge`). */
      edge_ca: v.optional(text, '/etc/ssl/certs/ca-certificates.crt'),
    }),
    {},
  ),
  certs: v.optional(
    v.strictObject({
      driver: v.optional(v.picklist(['files', 'local', 'acme']), 'files'),
      acme_directory: v.optional(v.pipe(text, v.startsWith('https://', 'must begin with https://'))),
      acme_challenge: v.optional(v.picklist(['http-01', 'dns-01']), 'http-01'),
      acme_http_listen: v.optional(address, ':80'),
      acme_contact: v.optional(v.array(v.pipe(text, v.startsWith('mailto:', 'must begin with mailto:'))), []),
      acme_agree_terms: v.optional(v.boolean(), false),
      acme_ca_cert: v.optional(text),
      acme_roots: v.optional(text),
      acme_eab_kid: v.optional(text),
      acme_eab_key_file: v.optional(text),
      /** One order, from the account to the chain. */
      acme_timeout_s: v.optional(positive, 300),
    }),
    {},
  ),
  mcns: v.optional(
    v.strictObject({
      driver: v.optional(v.picklist(['none', 'rfc2136']), 'none'),
      servers: v.optional(v.array(nameServer), []),
      zones: v.optional(v.array(text), []),
      key_file: v.optional(text),
      ttl_s: v.optional(positive, 300),
    }),
    {},
  ),
  deploy: v.optional(
    v.strictObject({
      timeout_s: v.optional(positive, 60),
      drain_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 30),
      stable_for_s: v.optional(v.pipe(v.number(), v.minValue(0)), 5),
      stop_timeout_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(25)), 10),
      parallel: v.optional(positive, 4),
      /** So many exits in the window, and a container rests. */
      flapping_exits: v.optional(positive, 5),
      flapping_window_s: v.optional(positive, 600),
    }),
    {},
  ),
  notify: v.optional(
    v.strictObject({
      webhook_file: v.optional(text),
      ntfy_file: v.optional(text),
      command: v.optional(v.pipe(v.array(v.string()), v.minLength(1))),
      ca_cert: v.optional(text),
      timeout_s: v.optional(positive, 10),
      /** So long git is away, or a service in line waits, before anybody is told. */
      source_after_s: v.optional(positive, 300),
      degraded_after_s: v.optional(positive, 60),
    }),
    {},
  ),
  policy: v.optional(
    v.strictObject({
      images: v.optional(v.picklist(['semver', 'pinned']), 'semver'),
      mounts: v.optional(v.array(text), ['/srv/{service}']),
      networks: v.optional(v.array(text), ['mcpnet', 'none']),
      ports: v.optional(v.array(v.pipe(text, v.regex(/^\d+(-\d+)?$/, 'must be "port" or "from-to"'))), [
        '1024-65535',
      ]),
      hostnames: v.optional(v.array(text), []),
      protect: v.optional(v.array(dnsLabel), []),
      budget: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0.2),
      engine_id: v.optional(text),
    }),
    {},
  ),
});

type File = v.InferOutput<typeof schema>;

/** The agent's own settings, every default filled in. Paths are absolute; times carry their unit in the name. */
export interface Settings extends Omit<File, 'registries'> {
  readonly registries: Readonly<Record<string, File['registries'][string]>>;
  /** `<node>/<instance>`: the label of everything that is ours. */
  readonly owner: string;
  /** Directory of the database: mirrors, keys and the local CA live beside it. */
  readonly dataDir: string;
  readonly logLevel: LogLevel;
}

/** Reads the settings file and the `MC_GITOPS_<SECTION>_<KEY>` overrides. Every finding is named at once. */
export function loadSettings(path: string, env: NodeJS.ProcessEnv): Outcome<Settings> {
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (error) {
    return blocked(
      `${path}: the settings cannot be read: ${messageOf(error)}`,
      'Create it from deploy/mc-gitops.toml, or name another file with --config.',
    );
  }
  return parseSettings(content, path, env);
}

/** The settings in a text, checked; every finding is named at once, with its place and what to do. */
export function parseSettings(content: string, path: string, env: NodeJS.ProcessEnv): Outcome<Settings> {
  const toml = parseToml(content);
  if (!toml.ok)
    return blocked(`${path}:${toml.line}:${toml.column}: ${toml.message}`, 'Mend the TOML syntax there.');
  const { value, variables, unknown } = override(toml.value, env, schema);
  const parsed = v.safeParse(schema, value);
  const ground = { file: path, content, index: indexToml(content), variables, keysOf: keysOf(schema) };
  const findings = [
    ...(parsed.success ? contradictions(parsed.output, ground) : findingsOf(parsed.issues, ground)),
    ...unknown,
  ];
  if (!parsed.success || findings.length > 0)
    return blocked(findings.join('\n'), 'deploy/mc-gitops.toml shows every setting with its default.');
  const file = parsed.output;
  return ok({
    ...file,
    owner: `${file.node}/${file.instance}`,
    dataDir: dirname(file.database.path),
    logLevel: file.log.level,
  });
}

/** What no single key shows. */
function contradictions(file: File, ground: Ground): string[] {
  const [low, high] = file.ports.range;
  const paths: readonly (readonly [readonly string[], string | undefined])[] = [
    [['database', 'path'], file.database.path],
    [['database', 'snapshot_dir'], file.database.snapshot_dir],
    [['mcproxy', 'table'], file.mcproxy.table],
    [['mcproxy', 'cert_dir'], file.mcproxy.cert_dir],
    [['mcproxy', 'status_socket'], file.mcproxy.status_socket],
    [['mcproxy', 'haproxy_config'], file.mcproxy.haproxy_config],
    [['mcproxy', 'haproxy_socket'], file.mcproxy.haproxy_socket],
    [['mcproxy', 'haproxy_master_socket'], file.mcproxy.haproxy_master_socket],
    [['mcproxy', 'haproxy_program'], file.mcproxy.haproxy_program],
    [['mcproxy', 'edge_ca'], file.mcproxy.edge_ca],
    [['build', 'workspace'], file.build.workspace],
    [['build', 'allowed_signers_file'], file.build.allowed_signers_file],
    [['build', 'keyring_file'], file.build.keyring_file],
    [['mcns', 'key_file'], file.mcns.key_file],
    [['certs', 'acme_ca_cert'], file.certs.acme_ca_cert],
    [['certs', 'acme_roots'], file.certs.acme_roots],
    [['certs', 'acme_eab_key_file'], file.certs.acme_eab_key_file],
    [['notify', 'webhook_file'], file.notify.webhook_file],
    [['notify', 'ntfy_file'], file.notify.ntfy_file],
    [['notify', 'command'], file.notify.command?.[0]],
  ];
  return [
    ...(low < high
      ? []
      : [
          `${placeIn(['ports', 'range'], ground).text}: ports.range: ${low} is not below ${high}: give [from, to], for example [10000, 60000]`,
        ]),
    ...contradictionsOfBuild(file.build, ground),
    ...contradictionsOfCerts(file, ground),
    ...(file.mcns.driver !== 'rfc2136' || (file.mcns.servers.length > 0 && file.mcns.zones.length > 0)
      ? []
      : [
          `${placeIn(['mcns', 'driver'], ground).text}: mcns: driver "rfc2136" needs servers and zones: for example servers = ["10.0.0.53"], zones = ["svc.example.net"]`,
        ]),
    ...paths.flatMap(([key, value]) =>
      value === undefined || value.startsWith('/')
        ? []
        : [
            `${placeIn(key, ground).text}: ${key.join('.')}: "${value}" is not an absolute path: write it from the root, beginning with /`,
          ],
    ),
  ];
}

function contradictionsOfBuild(build: File['build'], ground: Ground): string[] {
  const { workspace, sources, require_signed_tag, allowed_signers_file, keyring_file } = build;
  const isTwice = workspace !== undefined && sources !== undefined;
  const isKeyless = require_signed_tag && allowed_signers_file === undefined && keyring_file === undefined;
  return [
    ...(isTwice
      ? [
          `${placeIn(['build', 'sources'], ground).text}: build.workspace and build.sources are both set: take the clones on this node, or the git server`,
        ]
      : []),
    ...(isKeyless
      ? [
          `${placeIn(['build', 'require_signed_tag'], ground).text}: build.require_signed_tag needs the keys that may sign: set build.allowed_signers_file (ssh), build.keyring_file (gpg), or both`,
        ]
      : []),
  ];
}

function contradictionsOfCerts({ certs, mcns, mcproxy }: File, ground: Ground): string[] {
  if (certs.driver !== 'acme') return [];
  const isThrough = mcproxy.acme_listen !== undefined && certs.acme_challenge === 'http-01';
  const isBehind = mcproxy.driver !== 'none' && /^[^:]/.test(certs.acme_http_listen);
  const at = (key: string): string => placeIn(['certs', key], ground).text;
  return [
    ...(certs.acme_directory === undefined
      ? [
          `${at('driver')}: certs: driver "acme" needs acme_directory: for example "https://acme-v02.api.letsencrypt.org/directory"`,
        ]
      : []),
    ...(certs.acme_challenge === 'dns-01' && mcns.driver === 'none'
      ? [
          `${at('acme_challenge')}: certs.acme_challenge: "dns-01" needs [mcns] driver = "rfc2136", which writes the answer`,
        ]
      : []),
    ...(isThrough && !isBehind
      ? [
          `${placeIn(['mcproxy', 'acme_listen'], ground).text}: mcproxy.acme_listen: needs [mcproxy] driver = "file" or "haproxy", and certs.acme_http_listen = "127.0.0.1:<port>", where the agent answers behind the proxy`,
        ]
      : []),
    ...((certs.acme_eab_kid === undefined) === (certs.acme_eab_key_file === undefined)
      ? []
      : [
          `${at('acme_eab_kid')}: certs: acme_eab_kid and acme_eab_key_file go together: set both, or neither`,
        ]),
  ];
}

/** Where a thing of the agent's own lives, beside the database. */
export function dataPath(settings: Settings, ...parts: string[]): string {
  return join(settings.dataDir, ...parts);
}
