import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import Database from 'better-sqlite3';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';
import { until } from './until.ts';

const run = promisify(execFile);
const POWERDNS_SCHEMA = '/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql';
const SECRET = 'bWMtZ2l0b3BzIHRlc3Qga2V5LCBub3Qgc2VjcmV0Lg==';

/** A real name server of one test: one zone, that takes updates with the key. */
export interface NameServer {
  /** `address:port`. */
  readonly server: string;
  readonly zone: string;
  /** As `tsig-keygen` writes it. */
  readonly keyFile: string;
  /** Another key, which the server does not know. */
  readonly strangerKeyFile: string;
  /** `dig +short`, lines sorted. */
  dig(name: string, type: string): Promise<string[]>;
  serial(): Promise<number>;
  /** What somebody else writes there, as nsupdate reads it. */
  update(...lines: string[]): Promise<void>;
  start(): Promise<void>;
  halt(): Promise<void>;
  stop(): Promise<void>;
}

export function startKnot(options?: ServerOptions): Promise<NameServer> {
  return startNameServer(KNOT, options);
}

export function startBind(options?: ServerOptions): Promise<NameServer> {
  return startNameServer(BIND, options);
}

export interface ServerOptions {
  readonly zone?: string;
  /** Where it listens; default 127.0.0.1, on any free port. */
  readonly address?: string;
  readonly port?: number;
  /** The command that runs it there; default: as it is. */
  readonly inside?: (program: string, ...args: string[]) => [string, ...string[]];
  /** It takes no update from anybody. */
  readonly readOnly?: boolean;
  /** It hands its zone over to nobody. */
  readonly noTransfer?: boolean;
}

export function startPowerDns(options?: ServerOptions): Promise<NameServer> {
  return startNameServer(POWERDNS, options);
}

interface Place {
  readonly directory: string;
  readonly address: string;
  readonly port: number;
  readonly zone: string;
  readonly readOnly: boolean;
  readonly noTransfer: boolean;
}

interface Kind {
  readonly name: string;
  /** What is to be done once, before its first start. */
  prepare?(place: Place): Promise<void>;
  /** The configuration file, and what is run with it. */
  config(place: Place): string;
  command(config: string): readonly [string, ...string[]];
}

const KNOT: Kind = {
  name: 'Knot',
  command: (config) => ['knotd', '-c', config],
  config: ({ directory, address, port, zone, readOnly, noTransfer }) => `server:
    rundir: "${directory}/run"
    listen: ${address}@${port}
database:
    storage: "${directory}/db"
key:
  - id: mc
    algorithm: hmac-sha256
    secret: ${SECRET}
acl:
  - id: ours
    key: mc
    action: [update${noTransfer ? '' : ', transfer'}]
template:
  - id: default
    storage: "${directory}"
    journal-content: none
zone:
  - domain: ${zone}
    file: zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: changes
${readOnly ? '' : '    acl: ours\n'}`,
};

const BIND: Kind = {
  name: 'BIND',
  command: (config) => ['named', '-f', '-c', config, '-n', '1'],
  config: ({ directory, address, port, zone, readOnly, noTransfer }) => `include "${directory}/key";
options {
  directory "${directory}/db";
  pid-file "${directory}/run/named.pid";
  session-keyfile "${directory}/run/session.key";
  listen-on port ${port} { ${address}; };
  listen-on-v6 { none; };
  recursion no;
  dnssec-validation no;
  notify no;
};
controls { };
zone "${zone}" { type primary; file "${directory}/zone"; allow-update { ${readOnly ? 'none' : 'key "mc"'}; }; allow-transfer { ${noTransfer ? 'none' : 'key "mc"'}; }; };
`,
};

/** With a database of its own; caches off, as they would hide for 20 s what an update made. */
const POWERDNS: Kind = {
  name: 'PowerDNS',
  command: (config) => ['pdns_server', `--config-dir=${dirname(config)}`, '--config-name='],
  config: ({ directory, address, port }) => `launch=gsqlite3
gsqlite3-database=${directory}/db/pdns.sqlite3
local-address=${address}
local-port=${port}
socket-dir=${directory}/run
daemon=no
guardian=no
dnsupdate=yes
allow-dnsupdate-from=127.0.0.0/8, ${address}
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
security-poll-suffix=
allow-axfr-ips=
`,
  prepare: async ({ directory, zone, readOnly, noTransfer }) => {
    const db = new Database(join(directory, 'db', 'pdns.sqlite3'));
    db.exec(await readFile(POWERDNS_SCHEMA, 'utf8'));
    db.close();
    const util = (...args: string[]): Promise<unknown> =>
      run('pdnsutil', [`--config-dir=${directory}`, ...args]);
    await util('load-zone', zone, join(directory, 'zone'));
    await util('import-tsig-key', 'mc', 'hmac-sha256', SECRET);
    // A zone with no key that may change it takes updates from every address that is allowed.
    await util('set-meta', zone, 'TSIG-ALLOW-DNSUPDATE', readOnly ? 'nobody' : 'mc');
    if (!noTransfer) await util('set-meta', zone, 'TSIG-ALLOW-AXFR', 'mc');
    await util('set-meta', zone, 'SOA-EDIT-DNSUPDATE', 'INCREASE');
  },
};

async function startNameServer(kind: Kind, options: ServerOptions = {}): Promise<NameServer> {
  const { zone = 'svc.test', readOnly = false, noTransfer = false, address = '127.0.0.1' } = options;
  const inside = options.inside ?? ((...command: [string, ...string[]]): [string, ...string[]] => command);
  const directory = await mkdtemp(join(tmpdir(), 'ns-'));
  const at = (name: string): string => join(directory, name);
  const port = options.port ?? (await freePort(address));
  const key = (name: string, secret: string): string =>
    `key "${name}" {\n\talgorithm hmac-sha256;\n\tsecret "${secret}";\n};\n`;
  await writeFile(at('key'), key('mc', SECRET), { mode: 0o600 });
  await writeFile(at('stranger'), key('stranger', Buffer.from('x'.repeat(32)).toString('base64')), {
    mode: 0o600,
  });
  await writeFile(
    at('zone'),
    `$ORIGIN ${zone}.\n@ 300 SOA ns.${zone}. host.${zone}. 1 300 300 300 300\n@ 300 NS ns.${zone}.\nns 300 A 127.0.0.1\n`,
  );
  for (const name of ['db', 'run']) await mkdir(at(name), { mode: 0o777 });
  // The name that PowerDNS looks for; the others are told it.
  const place: Place = { directory, address, port, zone, readOnly, noTransfer };
  await writeFile(at('pdns.conf'), kind.config(place));
  await chmod(directory, 0o755);
  await kind.prepare?.(place);
  let child: ReturnType<typeof spawn> | undefined;
  const [program, ...args] = inside(...kind.command(at('pdns.conf')));
  const server: NameServer = {
    server: `${address}:${port}`,
    zone,
    keyFile: at('key'),
    strangerKeyFile: at('stranger'),
    dig: async (name, type) => {
      const { stdout } = await run('dig', [
        `@${address}`,
        '-p',
        String(port),
        '+short',
        '+tries=1',
        '+time=2',
        name,
        type,
      ]);
      return stdout
        .split('\n')
        .filter((line) => line !== '')
        .sort();
    },
    serial: async () => Number((await server.dig(zone, 'SOA'))[0]?.split(' ')[2] ?? -1),
    update: async (...lines) => {
      const sent = spawn('nsupdate', ['-k', at('key')], { stdio: ['pipe', 'ignore', 'pipe'] });
      let said = '';
      sent.stderr.on('data', (text) => (said += String(text)));
      sent.stdin.on('error', () => undefined);
      sent.stdin.end([`server ${address} ${port}`, `zone ${zone}`, ...lines, 'send', ''].join('\n'));
      const [code] = (await once(sent, 'close')) as [number];
      if (code !== 0) throw new Error(said);
    },
    start: async () => {
      child = spawn(program, args, { stdio: 'ignore' });
      await until(
        `${kind.name} to answer`,
        async () => (await server.dig(`ns.${zone}`, 'A').catch(() => [])).length > 0,
      );
    },
    halt: async () => {
      if (child === undefined || child.exitCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
      child = undefined;
    },
    stop: async () => {
      await server.halt();
      await rm(directory, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}
