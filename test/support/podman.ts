import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { lookAtFirewall, restoreFirewall, type FirewallBefore } from '../../src/demo/firewall.ts';
import type { KeptEngine } from '../../src/demo/keeper.ts';
import { clearDirectory, endProcesses, findProcesses, procFile } from '../../src/demo/leftovers.ts';
import { run } from '../../src/demo/process.ts';
import { awaitEngine, emptyEngine } from '../../src/demo/socket.ts';

/** Where this file lies: a keeper is told to load it. */
export const podmanModule = import.meta.filename;

/**
 * Starts a Podman service of our own in `directory`: storage, networks, sockets and configuration are below it, the
 * machine's own Podman is not touched. The name `podman-rootless` gives it to a new user made for it: a user whose first
 * start failed half-way keeps a broken network namespace.
 * @public Called by the keeper that loads this file.
 */
export async function startEngine(directory: string, name: string): Promise<KeptEngine> {
  const rootless = name === 'podman-rootless';
  const user = rootless ? await makeUser(directory) : undefined;
  if (!rootless) writeFileSync(join(directory, BEFORE), JSON.stringify(await lookAtFirewall(hasBridge())));
  const env = configure(directory, user);
  const socketPath = join(directory, 'run', 'podman.sock');
  const log = openSync(join(directory, 'engine.log'), 'a', 0o600);
  const service = spawn('podman', ['system', 'service', '--time=0', `unix://${socketPath}`], {
    stdio: ['ignore', log, log],
    cwd: join(directory, 'home'),
    env: { PATH: process.env['PATH'], ...env },
    ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
  });
  const ended = new Promise<string>((resolve) => {
    service.on('error', (error) => resolve(`podman could not be started: ${error.message}`));
    service.on('exit', (code) => resolve(`podman ended with ${code ?? 'a signal'}`));
  });
  const stop = async (): Promise<void> => {
    await emptyEngine(socketPath);
    service.kill('SIGTERM');
  };
  await awaitEngine(socketPath, 60_000, ended);
  return { socketPath, stop, ended };
}

/**
 * Ends the service and its containers, removes its user, and takes back what it left in the machine's network.
 * @public Called by the keeper that loads this file.
 */
export async function clearEngine(directory: string): Promise<void> {
  const user = readIfThere(join(directory, USER));
  if (user !== undefined) await removeUser(user);
  await clearDirectory(directory);
  closeTunnels();
  const before = readIfThere(join(directory, BEFORE));
  if (before !== undefined) await restoreFirewall(JSON.parse(before) as FirewallBefore, CHAIN, 'podman0');
}

const BEFORE = 'network-before.json';
const CHAIN = 'NETAVARK';
const USER = 'user';
const TUN = '/dev/net/tun';
/** The mode of before, for whoever ends last. */
const TUN_MODE = '/run/mcg-tun-mode';

interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

async function makeUser(directory: string): Promise<User> {
  const name = `mcg${randomBytes(4).toString('hex')}`;
  writeFileSync(join(directory, USER), name);
  await run('useradd', [
    '--no-create-home',
    '--home-dir',
    join(directory, 'home'),
    '--shell',
    '/usr/sbin/nologin',
    name,
  ]);
  if (!readFileSync('/etc/subuid', 'utf8').includes(`${name}:`)) {
    await run('usermod', ['--add-subuids', '1000000-1065535', '--add-subgids', '1000000-1065535', name]);
  }
  openTunnels();
  const id = async (flag: string): Promise<number> => Number((await run('id', [flag, name])).stdout);
  return { name, uid: await id('-u'), gid: await id('-g') };
}

/** slirp4netns opens it as the user; where no udev runs only root may. The old mode is put back at the end of the last service. */
function openTunnels(): void {
  const mode = statSync(TUN).mode & 0o777;
  if ((mode & 0o006) === 0o006) return;
  writeFileSync(TUN_MODE, String(mode));
  chmodSync(TUN, 0o666);
}

/** Another service may run beside this one, in a process of its own: its user is there as long as it needs the device. */
function closeTunnels(): void {
  if (/^mcg[0-9a-f]{8}:/m.test(readFileSync('/etc/passwd', 'utf8'))) return;
  const before = readIfThere(TUN_MODE);
  if (before === undefined) return;
  chmodSync(TUN, Number(before));
  rmSync(TUN_MODE);
}

async function removeUser(name: string): Promise<void> {
  const passwd = readFileSync('/etc/passwd', 'utf8').split('\n');
  const entry = passwd.find((line) => line.startsWith(`${name}:`));
  if (entry === undefined) return;
  const uid = Number(entry.split(':')[2]);
  const [, first = '-1', count = '0'] =
    readFileSync('/etc/subuid', 'utf8')
      .split('\n')
      .find((line) => line.startsWith(`${name}:`))
      ?.split(':') ?? [];
  const isOurs = (id: number): boolean =>
    id === uid || (id >= Number(first) && id < Number(first) + Number(count));
  await endProcesses(() =>
    findProcesses((pid) => isOurs(Number(/^Uid:\s+(\d+)/m.exec(procFile(pid, 'status'))?.[1] ?? -1))),
  );
  await run('userdel', [name]);
}

/** Writes the configuration of this one service and returns the environment that points to it. */
function configure(directory: string, user: User | undefined): Record<string, string> {
  const at = (...parts: string[]): string => join(directory, ...parts);
  for (const folder of ['home', 'run', 'xdg', 'networks', 'data']) {
    mkdirSync(at(folder), { mode: folder === 'run' ? 0o755 : 0o700 });
    if (user !== undefined) chownSync(at(folder), user.uid, user.gid);
  }
  const files = {
    CONTAINERS_CONF: [at('containers.conf'), containersConf(directory, user === undefined)],
    CONTAINERS_STORAGE_CONF: [
      at('storage.conf'),
      `[storage]\ndriver = "overlay"\ngraphroot = "${at('data')}"\nrootless_storage_path = "${at('data')}"\nrunroot = "${at('run', 'storage')}"\n`,
    ],
    CONTAINERS_REGISTRIES_CONF: [
      at('registries.conf'),
      'unqualified-search-registries = []\n[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n',
    ],
  } as const;
  for (const [path, text] of Object.values(files)) writeFileSync(path, text, { mode: 0o644 });
  const paths = Object.fromEntries(Object.entries(files).map(([key, [path]]) => [key, path]));
  return user === undefined
    ? { ...paths, HOME: at('home') }
    : { ...paths, HOME: at('home'), USER: user.name, XDG_RUNTIME_DIR: at('xdg') };
}

function containersConf(directory: string, rootful: boolean): string {
  const lines = [
    '[containers]',
    `default_ulimits = ["nofile=${hardLimit('open files')}", "nproc=${hardLimit('processes')}"]`,
    '[network]',
    'network_backend = "netavark"',
    `network_config_dir = "${directory}/networks"`,
    // The machine's own Podman, when it has one, uses 10.88 and 10.89.
    ...(rootful
      ? [
          'default_subnet = "10.251.0.0/24"',
          'default_subnet_pools = [{ base = "10.251.128.0/17", size = 24 }]',
        ]
      : []),
    '[engine]',
    ...(existsSync('/usr/sbin/runc') || existsSync('/usr/bin/runc') ? ['runtime = "runc"'] : []),
    'cgroup_manager = "cgroupfs"',
    'events_logger = "file"',
    // The other kind of lock lives in one shared memory segment of the whole machine.
    'lock_type = "file"',
    ...(rootful
      ? [
          `static_dir = "${directory}/data/libpod"`,
          `tmp_dir = "${directory}/run/libpod"`,
          `volume_path = "${directory}/data/volumes"`,
        ]
      : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** Podman asks for more than a hard limit allows, and then no container starts: never above it, nor above 20000. */
function hardLimit(name: string): string {
  const found = new RegExp(`Max ${name}\\s+\\S+\\s+(\\d+)`).exec(readFileSync('/proc/self/limits', 'utf8'));
  const limit = Math.min(20_000, Number(found?.[1] ?? 20_000));
  return `${limit}:${limit}`;
}

function hasBridge(): boolean {
  return readdirSync('/sys/class/net').some((name) => /^(podman|cni-podman)\d/.test(name));
}

function readIfThere(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
