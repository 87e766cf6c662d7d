import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/demo/process.ts';
import type { TokenIssuer } from './tokenserver.ts';
import { until } from './until.ts';
import { freePort } from './ports.ts';

export interface RegistryOptions {
  /** Asks for a user and a password, drawn for this registry. */
  readonly auth?: boolean;
  /** Serves https with a certificate for 127.0.0.1 and localhost of a CA of its own. */
  readonly tls?: boolean;
  /** Takes the tokens of this server, and nothing else. */
  readonly token?: TokenIssuer;
}

export interface TestRegistry {
  /** `127.0.0.1:<port>`: the beginning of an image reference. */
  readonly host: string;
  readonly url: string;
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly caPem?: string;
  /** Ends it, and starts it again at the same place with what it had. */
  halt(): Promise<void>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A real Distribution registry on a free port of loopback, with its storage in a temporary directory. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'mc-registry-'));
  const credentials =
    options.auth === true ? { username: 'tester', password: randomBytes(9).toString('hex') } : undefined;
  if (credentials !== undefined) await writePasswords(directory, credentials);
  const caPem = options.tls === true ? await writeCertificate(directory) : undefined;
  if (options.token !== undefined) await writeFile(join(directory, 'tokens.pem'), options.token.certPem);
  const port = await freePort();
  await writeFile(join(directory, 'config.yml'), config(directory, port, options));
  let running = await serve(directory);
  const host = `127.0.0.1:${port}`;
  return {
    host,
    url: `${options.tls === true ? 'https' : 'http'}://${host}`,
    ...(credentials === undefined ? {} : { credentials }),
    ...(caPem === undefined ? {} : { caPem }),
    halt: () => running.stop(),
    restart: async () => {
      await running.stop();
      running = await serve(directory);
    },
    stop: async () => {
      await running.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function serve(directory: string): Promise<{ stop(): Promise<void> }> {
  const registry = spawn('docker-registry', ['serve', 'config.yml'], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], OTEL_TRACES_EXPORTER: 'none' },
  });
  let log = '';
  registry.stderr.on('data', (chunk: Buffer) => (log = (log + chunk.toString('utf8')).slice(-4_000)));
  const ended = new Promise<void>((resolve) => registry.on('close', () => resolve()));
  registry.on('error', (error) => (log += error.message));
  // A killed test run takes its registry along.
  const kill = (): void => void registry.kill('SIGKILL');
  process.once('exit', kill);
  await until(
    'the registry to listen',
    () => {
      if (registry.exitCode !== null) throw new Error(`docker-registry ended: ${log}`);
      return log.includes('listening on') || undefined;
    },
    20_000,
  );
  return {
    stop: async () => {
      process.off('exit', kill);
      registry.kill('SIGKILL');
      await ended;
    },
  };
}

function config(directory: string, port: number, options: RegistryOptions): string {
  const auth = `auth:\n  htpasswd:\n    realm: test\n    path: ${join(directory, 'htpasswd')}\n`;
  const tls = `  tls:\n    certificate: ${join(directory, 'cert.pem')}\n    key: ${join(directory, 'key.pem')}\n`;
  return [
    'version: 0.1\n',
    'log:\n  level: info\n  accesslog:\n    disabled: true\n',
    `storage:\n  filesystem:\n    rootdirectory: ${join(directory, 'data')}\n  delete:\n    enabled: true\n`,
    options.auth === true ? auth : '',
    options.token === undefined ? '' : tokenAuth(directory, options.token),
    `http:\n  addr: 127.0.0.1:${port}\n  secret: ${randomBytes(16).toString('hex')}\n`,
    options.tls === true ? tls : '',
  ].join('');
}

function tokenAuth(directory: string, { realm, service, issuer }: TokenIssuer): string {
  const bundle = join(directory, 'tokens.pem');
  return `auth:\n  token:\n    realm: ${realm}\n    service: ${service}\n    issuer: ${issuer}\n    rootcertbundle: ${bundle}\n`;
}

/** The registry takes bcrypt alone; the C library can, and perl, which is always there on Debian, reaches it. */
async function writePasswords(
  directory: string,
  { username, password }: { username: string; password: string },
): Promise<void> {
  const salt = `$2b$04$${randomBytes(11).toString('hex')}`;
  const { stdout } = await run('perl', ['-e', 'chomp(my $p = <STDIN>); print crypt($p, $ARGV[0])', salt], {
    input: `${password}\n`,
  });
  if (!stdout.startsWith('$2b$')) throw new Error('perl on this machine has no bcrypt');
  await writeFile(join(directory, 'htpasswd'), `${username}:${stdout}\n`, { mode: 0o600 });
}

async function writeCertificate(directory: string): Promise<string> {
  const openssl = (...args: string[]): Promise<unknown> => run('openssl', args, { cwd: directory });
  const fresh = [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '7',
  ];
  await openssl(...fresh, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test registry CA');
  await openssl(
    ...[...fresh, '-keyout', 'key.pem', '-out', 'cert.pem', '-subj', '/CN=test registry'],
    ...['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
  );
  return readFile(join(directory, 'ca.pem'), 'utf8');
}
