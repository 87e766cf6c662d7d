import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LOG_LEVELS, type LogLevel } from './base/log.ts';
import { blocked, messageOf, ok, type Outcome } from './base/outcome.ts';
import { shapeIssues, v } from './base/shape.ts';
import { parseToml } from './base/toml.ts';

export const DEFAULT_SETTINGS_PATH = '/etc/mc-gitops/mc-gitops.toml';
const ENV_PREFIX = 'MC_GITOPS_';

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
      concurrency: v.optional(positive, 1),
      timeout_s: v.optional(positive, 1800),
      max_context_mib: v.optional(positive, 1024),
      max_context_files: v.optional(positive, 50_000),
    }),
    {},
  ),
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
      table: v.optional(text, '/var/lib/mc-gitops/mc-proxy/routes.toml'),
      status_socket: v.optional(text, '/run/mc-gitops/proxy.sock'),
      cert_dir: v.optional(text, '/srv/mc-proxy/certs'),
      haproxy_config: v.optional(text, '/var/lib/mc-gitops/haproxy/haproxy.cfg'),
      haproxy_socket: v.optional(text, '/run/mc-gitops/haproxy.sock'),
      haproxy_master_socket: v.optional(text, '/run/mc-gitops/haproxy-master.sock'),
      haproxy_program: v.optional(text, '/usr/sbin/haproxy'),
    }),
    {},
  ),
  certs: v.optional(v.strictObject({ driver: v.optional(v.picklist(['files', 'local']), 'files') }), {}),
  deploy: v.optional(
    v.strictObject({
      timeout_s: v.optional(positive, 60),
      drain_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 30),
      stable_for_s: v.optional(v.pipe(v.number(), v.minValue(0)), 5),
      stop_timeout_s: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(25)), 10),
      parallel: v.optional(positive, 4),
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

export function parseSettings(content: string, path: string, env: NodeJS.ProcessEnv): Outcome<Settings> {
  const toml = parseToml(content);
  if (!toml.ok)
    return blocked(`${path}:${toml.line}:${toml.column}: ${toml.message}`, 'Mend the TOML syntax there.');
  const unknownOverrides: string[] = [];
  const merged = override(toml.value, env, unknownOverrides);
  const parsed = v.safeParse(schema, merged);
  const findings = parsed.success
    ? []
    : shapeIssues(parsed.issues).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  findings.push(...unknownOverrides.map((name) => `${name}: no such setting`));
  if (!parsed.success || findings.length > 0) {
    return blocked(
      `${path}: ${findings.join('; ')}`,
      'deploy/mc-gitops.toml shows every setting with its default.',
    );
  }
  return check(parsed.output, path);
}

function check(file: File, path: string): Outcome<Settings> {
  const [low, high] = file.ports.range;
  if (low >= high)
    return blocked(
      `${path}: ports.range: ${low} is not below ${high}`,
      'Give [from, to], for example [10000, 60000].',
    );
  const relative = [
    file.database.path,
    file.mcproxy.table,
    file.mcproxy.cert_dir,
    file.mcproxy.status_socket,
    file.mcproxy.haproxy_config,
    file.mcproxy.haproxy_socket,
    file.mcproxy.haproxy_master_socket,
    file.mcproxy.haproxy_program,
    file.build.workspace,
    file.database.snapshot_dir,
  ]
    .filter((value) => value !== undefined)
    .find((value) => !value.startsWith('/'));
  if (relative !== undefined)
    return blocked(
      `${path}: "${relative}" is not an absolute path`,
      'Write it from the root, beginning with /.',
    );
  return ok({
    ...file,
    owner: `${file.node}/${file.instance}`,
    dataDir: dirname(file.database.path),
    logLevel: file.log.level,
  });
}

/** Sets single keys from the environment: text, numbers, booleans, and lists separated by commas, by the type of the schema. */
function override(value: unknown, env: NodeJS.ProcessEnv, unknownNames: string[]): unknown {
  const root: Record<string, unknown> = isTable(value) ? structuredClone(value) : {};
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith(ENV_PREFIX) || raw === undefined || OWN_VARIABLES.has(name)) continue;
    const rest = name.slice(ENV_PREFIX.length).toLowerCase();
    if (rest === 'node' || rest === 'instance') {
      root[rest] = raw;
      continue;
    }
    const section = Object.keys(KINDS).find((candidate) => rest.startsWith(`${candidate}_`));
    const key = section === undefined ? '' : rest.slice(section.length + 1);
    const kind = section === undefined ? undefined : KINDS[section]?.[key];
    if (section === undefined || kind === undefined) {
      unknownNames.push(name);
      continue;
    }
    const table = isTable(root[section]) ? root[section] : {};
    root[section] = { ...table, [key]: convert(raw, kind) };
  }
  return root;
}

/** Variables of the same prefix that are no settings. */
const OWN_VARIABLES = new Set(['MC_GITOPS_CONFIG']);

type Kind = 'text' | 'number' | 'texts' | 'numbers';

/** The type of each key that may come from the environment, read off the schema so that the two cannot drift apart. */
const KINDS: Readonly<Record<string, Readonly<Record<string, Kind>>>> = Object.fromEntries(
  Object.entries(schema.entries)
    .map(([section, entry]) => [section, unwrap(entry)] as const)
    .flatMap(([section, entry]) => {
      if (!('entries' in entry)) return [];
      const keys = Object.entries(entry.entries as Record<string, Wrapped>);
      return [[section, Object.fromEntries(keys.map(([key, part]) => [key, kindOf(unwrap(part))]))]];
    }),
);

type Wrapped = {
  readonly type: string;
  readonly wrapped?: Wrapped;
  readonly entries?: unknown;
  readonly item?: Wrapped;
};

function unwrap(entry: Wrapped): Wrapped {
  return entry.wrapped === undefined ? entry : unwrap(entry.wrapped);
}

function kindOf(entry: Wrapped): Kind {
  if (entry.type === 'number') return 'number';
  if (entry.type === 'strict_tuple') return 'numbers';
  return entry.type === 'array' ? 'texts' : 'text';
}

function convert(raw: string, kind: Kind): unknown {
  const parts = raw.split(',').map((part) => part.trim());
  if (kind === 'number') return Number(raw);
  if (kind === 'numbers') return parts.map(Number);
  return kind === 'texts' ? parts : raw;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Where a thing of the agent's own lives, beside the database. */
export function dataPath(settings: Settings, ...parts: string[]): string {
  return join(settings.dataDir, ...parts);
}
