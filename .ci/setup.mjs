// Makes ready what `npm run demo` and `npm test` need: npm packages, the compiled program, system packages on Debian and
// Ubuntu. Needs Node alone, says what it does, starts nothing, and takes well under a second when all is there.
//   node .ci/setup.mjs <demo|test|packages>
// `packages` is what `test` begins with: what can be done before anything is compiled.
import { Buffer } from 'node:buffer';
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const say = (line) => console.log(`set-up: ${line}`);

async function main(mode) {
  if (!['demo', 'test', 'packages'].includes(mode)) {
    console.error('usage: node .ci/setup.mjs <demo|test|packages>');
    process.exit(2);
  }
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`Node 20.19 or newer is needed, this is ${process.versions.node}`);
  }
  await systemPackages(await missingPackages(mode === 'demo' ? 'demo' : 'test'));
  if (mode !== 'demo' && process.getuid?.() !== 0) {
    fail('the tests start Docker and Podman of their own, which only root can', 'sudo npm test');
  }
  await npmPackages();
  if (mode === 'packages') return;
  await nativePackages();
  await program(mode);
}

/** Debian package → what shows that it is there. */
const PACKAGES = {
  demo: {
    git: () => has('git'),
    'busybox-static': () => hasStaticBusybox(),
    'docker.io': async () => has('dockerd') || (await engineAnswers()),
    iptables: async () => has('iptables') || (!has('dockerd') && (await engineAnswers())),
  },
  test: {
    git: () => has('git'),
    'busybox-static': () => hasStaticBusybox(),
    'docker.io': () => has('dockerd'),
    iptables: () => has('iptables'),
    podman: () => has('podman'),
    runc: () => has('runc'),
    netavark: () => hasHelper('netavark'),
    'aardvark-dns': () => hasHelper('aardvark-dns'),
    slirp4netns: () => has('slirp4netns'),
    uidmap: () => has('newuidmap'),
    'fuse-overlayfs': () => has('fuse-overlayfs'),
    'docker-registry': () => has('docker-registry'),
    chromium: () => has('chromium'),
    haproxy: () => has('haproxy'),
    knot: () => has('knotd'),
    bind9: () => has('named'),
    'pdns-server': () => has('pdns_server') && has('pdnsutil'),
    'pdns-backend-sqlite3': () => existsSync('/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql'),
    pebble: () => has('pebble'),
    'bind9-dnsutils': () => has('nsupdate') && has('dig'),
    'docker-compose': () => has('docker-compose'),
    curl: () => has('curl'),
    openssl: () => has('openssl'),
    // The workflow for Gitea is run with it.
    jq: () => has('jq'),
    'openssh-server': () => has('sshd'),
    'openssh-client': () => has('ssh'),
    gnupg: () => has('gpg'),
    gpgv: () => has('gpgv'),
    iproute2: () => has('ip'),
  },
};

async function missingPackages(mode) {
  const missing = [];
  for (const [name, isThere] of Object.entries(PACKAGES[mode])) if (!(await isThere())) missing.push(name);
  return missing;
}

async function systemPackages(missing) {
  if (missing.length === 0) return;
  const install = ['install', '--yes', '--no-install-recommends', ...missing];
  if (!has('apt-get')) fail(`these programs are missing (Debian's package names): ${missing.join(' ')}`);
  if (process.getuid?.() !== 0) {
    fail(`missing: ${missing.join(' ')}`, `sudo apt-get update && sudo apt-get ${install.join(' ')}`);
  }
  say(`missing on this system: ${missing.join(' ')}; installing them with apt-get`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  // Packages of daemons start them; here they are only programs for the tests and the demo to start themselves.
  const policy = '/usr/sbin/policy-rc.d';
  const ownPolicy = !existsSync(policy);
  if (ownPolicy) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    await step('apt-get update', 'apt-get', ['update', '--quiet'], env);
    await step('apt-get install', 'apt-get', ['--quiet', ...install], env);
  } finally {
    if (ownPolicy) rmSync(policy);
  }
}

async function npmPackages() {
  const marker = at('node_modules', '.package-lock.json');
  if (modified(marker) >= modified(at('package-lock.json')) && existsSync(marker)) return;
  say('npm packages are missing or older than package-lock.json: installing them');
  // Scripts run below, for the one package that has to be compiled: the others need none.
  await step('npm ci', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
}

/** better-sqlite3 is the one package with machine code. */
async function nativePackages() {
  if (sqliteLoads()) return;
  say('better-sqlite3 is not compiled for this Node: fetching or compiling it (about a minute)');
  const tools = { 'g++': 'g++', make: 'make', python3: 'python3' };
  const missing = Object.keys(tools).filter((tool) => !has(tool));
  // This Node's own headers, where they came with it, save a download.
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, 'include', 'node', 'node.h')) ? { npm_config_nodedir: prefix } : {};
  const env = { ...headers, JOBS: 'max' };
  const rebuild = () =>
    step('npm rebuild', 'npm', ['rebuild', '--foreground-scripts', 'better-sqlite3'], env);
  if (missing.length > 0) {
    // A ready-made binary, where it can be fetched, saves the compiler.
    const fetched = await rebuild().then(
      () => sqliteLoads(),
      () => false,
    );
    if (fetched) return;
    await systemPackages(missing.map((tool) => tools[tool]));
  }
  await rebuild();
  if (!sqliteLoads())
    fail('better-sqlite3 was rebuilt and still does not load', 'npm rebuild better-sqlite3');
}

/** The program as it is shipped, for `npx mc-gitops`. */
async function program(mode) {
  if (!existsSync(at('src', 'main.ts'))) return;
  const built = modified(at('dist', 'main.js'));
  if (built > 0 && (mode === 'demo' || built >= newest(at('src')))) return;
  say('building dist/ from src/');
  // Types are for `npm run check`: a program whose types are wrong runs all the same, and a third of the time is enough.
  const compiler = at('node_modules', 'typescript', 'bin', 'tsc');
  await step('compiling', process.execPath, [
    compiler,
    '-p',
    at('.config', 'tsconfig.build.json'),
    '--noCheck',
  ]);
  await step('linking npx mc-gitops', process.execPath, [at('.ci', 'link-bin.mjs')]);
}

/** Runs a program with its output in a file, a sign of life every ten seconds, and the file's end when it fails. */
async function step(name, command, args, env = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'mc-gitops-setup-'));
  const path = join(folder, 'log');
  const log = openSync(path, 'w');
  const started = Date.now();
  const seconds = () => Math.round((Date.now() - started) / 1000);
  const life = setInterval(() => say(`${name}: ${seconds()} s …`), 10_000);
  try {
    const code = await new Promise((resolve) => {
      const child = spawn(command, args, {
        cwd: root,
        env: { ...process.env, ...env },
        stdio: ['ignore', log, log],
      });
      child.on('error', (error) => resolve(error.message));
      child.on('close', resolve);
    });
    if (code !== 0) {
      const end = readFileSync(path, 'utf8').trim().split('\n').slice(-25).join('\n');
      throw new Error(`${command} ${args.join(' ')} failed (${code}):\n${end}`);
    }
    say(`${name}: done in ${seconds()} s`);
  } finally {
    clearInterval(life);
    closeSync(log);
    rmSync(folder, { recursive: true, force: true });
  }
}

function has(name) {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  return folders.some((folder) => folder !== '' && existsSync(join(folder, name)));
}

function hasHelper(name) {
  return has(name) || ['/usr/lib/podman', '/usr/libexec/podman'].some((dir) => existsSync(join(dir, name)));
}

/** The plain busybox package needs libc: useless in an image made from nothing. */
function hasStaticBusybox() {
  const path = ['/bin/busybox', '/usr/bin/busybox'].find((name) => existsSync(name));
  if (path === undefined) return false;
  const head = Buffer.alloc(4096);
  const file = openSync(path, 'r');
  readSync(file, head, 0, head.length, 0);
  closeSync(file);
  return !head.includes('/ld-');
}

async function engineAnswers() {
  const host = process.env.DOCKER_HOST ?? '';
  const runtime = process.env.XDG_RUNTIME_DIR;
  const sockets = host.startsWith('unix://')
    ? [host.slice('unix://'.length)]
    : [
        '/var/run/docker.sock',
        '/run/podman/podman.sock',
        ...(runtime ? [`${runtime}/podman/podman.sock`] : []),
      ];
  for (const path of sockets) if (existsSync(path) && (await accepts(path))) return true;
  return false;
}

function accepts(path) {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const finish = (good) => {
      socket.destroy();
      resolve(good);
    };
    socket.on('connect', () => finish(true));
    socket.on('error', () => finish(false));
    socket.setTimeout(1000, () => finish(false));
  });
}

function sqliteLoads() {
  if (!existsSync(at('node_modules', 'better-sqlite3', 'build', 'Release', 'better_sqlite3.node')))
    return false;
  // In a process of its own: a library that does not fit can take the process with it.
  const code = "new (require('better-sqlite3'))(':memory:').close()";
  return spawnSync(process.execPath, ['-e', code], { cwd: root, stdio: 'ignore' }).status === 0;
}

function newest(folder) {
  const entries = readdirSync(folder, { withFileTypes: true });
  return Math.max(
    0,
    ...entries.map((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? newest(path) : modified(path);
    }),
  );
}

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function fail(what, command) {
  console.error(`set-up: ${what}`);
  if (command !== undefined) console.error(`set-up: run this, then try again:\n  ${command}`);
  process.exit(1);
}

try {
  await main(process.argv[2]);
} catch (error) {
  fail(error.message);
}
