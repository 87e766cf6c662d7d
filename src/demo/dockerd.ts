import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lookAtFirewall, restoreFirewall, type FirewallBefore } from './firewall.ts';
import { clearDirectory, findProcesses, networkNamespace, procFile } from './leftovers.ts';
import { run } from './process.ts';
import type { KeptEngine } from './keeper.ts';
import { awaitEngine, emptyEngine } from './socket.ts';

/** Where this file lies: a keeper is told to load it. */
export const dockerdModule = import.meta.filename;

/**
 * Starts a Docker daemon of our own in `directory`: images, containers, sockets and log are all below it.
 * Refuses when another daemon runs in this network namespace, because the second one takes the first one's bridge away.
 * @public Called by the keeper that loads this file.
 */
export async function startEngine(directory: string): Promise<KeptEngine> {
  const others = findProcesses(
    (pid) => procFile(pid, 'comm').trim() === 'dockerd' && networkNamespace(pid) === networkNamespace('self'),
  );
  if (others.length > 0) {
    throw new Error(
      `a Docker daemon runs already (process ${others.join(', ')}) but does not answer at its usual socket: set DOCKER_HOST`,
    );
  }
  writeFileSync(join(directory, BEFORE), JSON.stringify(await lookAtFirewall(false)));
  const socketPath = join(directory, 'docker.sock');
  const programs = await iptablesOf(directory);
  const file = join(directory, 'daemon.json');
  writeFileSync(file, '{}\n');
  const log = openSync(join(directory, 'engine.log'), 'a', 0o600);
  const daemon = spawn(
    'dockerd',
    [
      ...[
        '--config-file',
        file,
        '--data-root',
        join(directory, 'data'),
        '--exec-root',
        join(directory, 'exec'),
      ],
      ...['--pidfile', join(directory, 'pid'), '--host', `unix://${socketPath}`, '--log-level', 'warn'],
      ...programs.flags,
    ],
    { stdio: ['ignore', log, log], env: { ...process.env, PATH: programs.path }, cwd: directory },
  );
  const ended = new Promise<string>((resolve) => {
    daemon.on('error', (error) => resolve(`dockerd could not be started: ${error.message}`));
    daemon.on('exit', (code) => resolve(`dockerd ended with ${code ?? 'a signal'}`));
  });
  const stop = async (): Promise<void> => {
    if (daemon.exitCode === null) await emptyEngine(socketPath).catch(() => undefined);
    daemon.kill('SIGTERM');
  };
  await awaitEngine(socketPath, 60_000, ended);
  return { socketPath, stop, ended };
}

/**
 * Ends the daemon and its containers, and takes back what Docker leaves in the machine's network.
 * @public Called by the keeper that loads this file.
 */
export async function clearEngine(directory: string): Promise<void> {
  await clearDirectory(directory);
  const file = join(directory, BEFORE);
  if (!existsSync(file)) return;
  const before = JSON.parse(readFileSync(file, 'utf8')) as FirewallBefore;
  // No other daemon ran when this one began: what is there is ours, or a leftover that a daemon makes anew.
  await run('ip', ['link', 'delete', 'docker0']).catch(() => undefined);
  await restoreFirewall(before, CHAIN, 'docker0');
}

const BEFORE = 'network-before.json';
const CHAIN = 'DOCKER';

/** Kernels without nf_tables still have the old tables; without any, published ports go through Docker's own relay. */
async function iptablesOf(directory: string): Promise<{ path: string; flags: string[] }> {
  const path = process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin';
  if (await works('iptables')) return { path, flags: [] };
  if (!(await works('iptables-legacy'))) return { path, flags: ['--iptables=false'] };
  const folder = join(directory, 'bin');
  mkdirSync(folder);
  symlinkSync('/usr/sbin/iptables-legacy', join(folder, 'iptables'));
  symlinkSync('/usr/sbin/ip6tables-legacy', join(folder, 'ip6tables'));
  return { path: `${folder}:${path}`, flags: [] };
}

async function works(program: string): Promise<boolean> {
  return run(program, ['-t', 'nat', '-n', '-L']).then(
    () => true,
    () => false,
  );
}
