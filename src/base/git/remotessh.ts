import { spawn } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { GitAddress } from './address.ts';
import { GitFault } from './faults.ts';
import { isOid } from './objects.ts';
import type { GitRemote, RemoteRef } from './remote.ts';

export interface SshRemoteSettings {
  readonly address: Extract<GitAddress, { kind: 'ssh' }>;
  readonly sshKeyFile?: string;
  readonly knownHostsFile?: string;
  readonly maxPackBytes: number;
}

const INCOMING = 'refs/mc/incoming';

/** ssh through the system's `git`: the one protocol that isomorphic-git does not speak. */
export function sshRemote(settings: SshRemoteSettings): GitRemote {
  const { url } = settings.address;
  return {
    async refs(name, signal) {
      const patterns = name === undefined ? [] : [name, `${name}^{}`];
      const output = await runGit(settings, ['ls-remote', '--symref', '--', url, ...patterns], signal);
      return parseLsRemote(output).filter((ref) => name === undefined || ref.name === name);
    },
    async fetch(gitdir, wish, signal) {
      const depth = wish.depth === undefined ? [] : [`--depth=${wish.depth}`];
      const options = [
        '--no-tags',
        '--no-write-fetch-head',
        '--no-auto-maintenance',
        '--no-recurse-submodules',
        '--quiet',
      ];
      const watched = { ...settings, gitdir };
      await runGit(
        watched,
        [`--git-dir=${gitdir}`, 'fetch', ...options, ...depth, '--', url, `+${wish.ref}:${INCOMING}`],
        signal,
      );
      const oid = (await readFile(join(gitdir, INCOMING), 'utf8')).trim();
      if (!isOid(oid)) throw new GitFault('damaged', 'git left no readable ref behind');
      return oid;
    },
  };
}

/** The lines of `git ls-remote --symref`: `ref: refs/heads/main<TAB>HEAD` and `<oid><TAB><name>`. */
export function parseLsRemote(output: string): RemoteRef[] {
  const targets = new Map<string, string>();
  const peeled = new Map<string, string>();
  const oids = new Map<string, string>();
  for (const line of output.split('\n')) {
    const [left = '', name = ''] = line.split('\t');
    if (name === '') continue;
    if (left.startsWith('ref: ')) targets.set(name, left.slice('ref: '.length));
    else if (/^[0-9a-f]{64}$/.test(left)) {
      throw new GitFault('blocked', 'the repository uses SHA-256 object ids, which are not supported');
    } else if (isOid(left)) (name.endsWith('^{}') ? peeled : oids).set(name.replace(/\^\{\}$/, ''), left);
  }
  return [...oids].map(([name, oid]) => {
    const target = targets.get(name);
    const commit = peeled.get(name);
    return { name, oid, ...(target ? { target } : {}), ...(commit ? { peeled: commit } : {}) };
  });
}

async function runGit(
  settings: SshRemoteSettings & { readonly gitdir?: string },
  args: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const config = ['gc.auto=0', 'core.hooksPath=/dev/null', 'fetch.unpackLimit=1', 'protocol.version=2'];
  signal.throwIfAborted();
  // A group of its own, so that the ssh below git ends with it.
  const child = spawn('git', [...config.flatMap((item) => ['-c', item]), ...args], {
    env: environment(settings),
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const end = (): void => {
    if (child.pid === undefined) return;
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It had ended already.
    }
  };
  const size = { exceeded: false };
  const sizeWatch = setInterval(() => {
    void receivedBytes(settings.gitdir).then((bytes) => {
      if (bytes <= settings.maxPackBytes) return;
      size.exceeded = true;
      end();
    });
  }, 200);
  signal.addEventListener('abort', end, { once: true });
  try {
    const [stdout, stderr, code] = await Promise.all([
      collect(child.stdout, MAX_LISTING),
      collect(child.stderr, 64 * 1024),
      new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (status) => resolve(status ?? -1));
      }),
    ]);
    signal.throwIfAborted();
    if (size.exceeded)
      throw new GitFault('retry', `the server sent more than ${settings.maxPackBytes} bytes`);
    if (code !== 0) throw faultOf(stderr, code);
    return stdout;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw new GitFault(
        'blocked',
        'ssh needs the program git, which is not installed',
        'Install git and an ssh client.',
      );
    }
    throw error;
  } finally {
    clearInterval(sizeWatch);
    signal.removeEventListener('abort', end);
    end();
  }
}

const MAX_LISTING = 32 * 1024 * 1024;

function environment(settings: SshRemoteSettings): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/nonexistent',
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'ssh',
    GIT_SSH_VARIANT: 'ssh',
    GIT_SSH_COMMAND: sshCommand(settings),
  };
}

/** git hands this line to a shell: only our own words and paths of a plain grammar may be in it. */
export function sshCommand(settings: Pick<SshRemoteSettings, 'sshKeyFile' | 'knownHostsFile'>): string {
  const words = ['ssh', '-F', '/dev/null', '-a', '-x', '-T'];
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    'ControlPath=none',
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
    'ConnectTimeout=30',
    'ServerAliveInterval=15',
  ];
  if (settings.knownHostsFile !== undefined) {
    options.push(`UserKnownHostsFile=${plainPath(settings.knownHostsFile, 'known_hosts_file')}`);
  }
  if (settings.sshKeyFile !== undefined) {
    options.push('IdentitiesOnly=yes', 'IdentityAgent=none');
    words.push('-i', plainPath(settings.sshKeyFile, 'ssh_key_file'));
  }
  return [...words, ...options.flatMap((option) => ['-o', option])].join(' ');
}

function plainPath(path: string, setting: string): string {
  if (/^\/[A-Za-z0-9._/@+=,-]+$/.test(path)) return path;
  throw new GitFault(
    'blocked',
    `${setting} has a path with characters that cannot be handed to ssh safely`,
    'Use an absolute path of letters, digits and . _ / @ + = , - only.',
  );
}

async function receivedBytes(gitdir: string | undefined): Promise<number> {
  if (gitdir === undefined) return 0;
  const folder = join(gitdir, 'objects', 'pack');
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith('tmp_pack_'));
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        (s) => s.size,
        () => 0,
      ),
    ),
  );
  return Math.max(0, ...sizes);
}

async function collect(stream: AsyncIterable<Buffer>, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.length;
    if (size <= maxBytes) parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** The other side can write to this stream too: it is only sorted, never repeated. */
function faultOf(stderr: string, code: number): GitFault {
  const known: readonly (readonly [RegExp, 'retry' | 'blocked' | 'damaged', string, string?])[] = [
    [
      /Host key verification failed/,
      'blocked',
      'the host key is not the known one, or none is known',
      'Look at known_hosts_file.',
    ],
    [
      /Permission denied/,
      'blocked',
      'the server refuses our ssh key',
      'Look at ssh_key_file and the rights of this key.',
    ],
    [/Could not resolve hostname/, 'retry', 'the host name cannot be found'],
    [/Connection refused/, 'retry', 'the server refused the connection'],
    [/timed out|Network is unreachable|No route to host/, 'retry', 'the server cannot be reached'],
    [/No space left on device/, 'retry', 'no space left for the mirror'],
    [/couldn't find remote ref/, 'retry', 'the branch or tag is gone'],
    [
      /does not appear to be a git repository|not found/i,
      'blocked',
      'there is no repository here, or not for us',
      'Look at the url.',
    ],
    [
      /mismatched object format|sha256/i,
      'blocked',
      'the repository uses SHA-256 object ids, which are not supported',
    ],
    [
      /Connection (closed|reset)|hung up unexpectedly|early EOF|Broken pipe/,
      'retry',
      'the server broke the exchange off',
    ],
  ];
  const match = known.find(([pattern]) => pattern.test(stderr));
  if (match !== undefined) return new GitFault(match[1], match[2], match[3]);
  return new GitFault('damaged', `git ended with exit code ${code}`);
}
