import { quote } from './findings.ts';
import type { RuleId } from './rules.ts';
import type { Mount } from './types.ts';

export interface Fault {
  readonly rule: RuleId;
  readonly message: string;
  readonly hint?: string;
}

export type ReadMount = { readonly ok: true; readonly mount: Mount } | ({ readonly ok: false } & Fault);

/** Reads `source:target[:ro|rw]`. Paths come back normalised: no `//`, no `/./`, no slash at the end. */
export function readMount(text: string): ReadMount {
  const parts = text.split(':');
  const [source = '', target = '', option] = parts;
  const shown = quote(text);
  if (parts.length < 2 || parts.length > 3 || source === '' || target === '') {
    return bad('volume/syntax', `${shown} is no volume`);
  }
  if (option !== undefined && option !== 'ro' && option !== 'rw') {
    return bad(
      'volume/syntax',
      `${quote(option)} is no option of a volume`,
      "There are `ro` and `rw`; other options would change the host's files.",
    );
  }
  const wrong = wrongPath(target) ?? (source.includes('/') ? wrongPath(source) : wrongVolume(source));
  if (wrong !== undefined)
    return bad(
      source.includes('/') || wrongPath(target) !== undefined ? 'volume/path' : 'volume/syntax',
      wrong,
    );
  const inside = normal(target);
  if (inside === '/' || INSIDE.some((part) => isWithin(inside, part))) {
    return bad('volume/target', `nothing is mounted on ${quote(inside)} of a container`);
  }
  const readOnly = option === 'ro';
  if (!source.includes('/'))
    return { ok: true, mount: { kind: 'volume', volume: source, target: inside, readOnly } };
  const outside = normal(source);
  const forbidden = forbiddenSource(outside);
  if (forbidden !== undefined) return bad('volume/forbidden', forbidden);
  return { ok: true, mount: { kind: 'bind', source: outside, target: inside, readOnly } };
}

/** `path` is `root` or lies below it, compared part by part. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}

function bad(rule: RuleId, message: string, hint?: string): ReadMount {
  return { ok: false, rule, message, ...(hint === undefined ? {} : { hint }) };
}

function wrongPath(path: string): string | undefined {
  if (!path.startsWith('/')) return `${quote(path)} is no absolute path`;
  // Look-alikes and controls have no place in a path that a reviewer has to judge by eye.
  if (!/^[\x21-\x39\x3b-\x5b\x5d-\x7e]+$/.test(path))
    return `${quote(path)} is not plain ASCII (no spaces, no \\)`;
  if (path.length > 1024) return 'the path is longer than 1,024 characters';
  if (path.split('/').includes('..')) return `${quote(path)} has a part ".."`;
  if (path.split('/').some((part) => part.length > 255))
    return 'a part of the path is longer than 255 characters';
  return undefined;
}

function wrongVolume(name: string): string | undefined {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)
    ? undefined
    : `${quote(name)} is neither an absolute path nor the name of a volume`;
}

function normal(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return `/${parts.join('/')}`;
}

const INSIDE = ['/proc', '/sys', '/dev'];

/** Whoever mounts one of these owns the node: no policy may allow them. */
const SYSTEM = [
  '/bin',
  '/boot',
  '/dev',
  '/etc/mc-gitops',
  '/lib',
  '/lib64',
  '/proc',
  '/root',
  '/run',
  '/sbin',
  '/sys',
  '/usr',
  '/var/lib/containerd',
  '/var/lib/containers',
  '/var/lib/docker',
  '/var/lib/mc-gitops',
  '/var/run',
];

/** Whole directories; single files and directories below them may be allowed by a policy. */
const WHOLE = [
  '/',
  '/etc',
  '/home',
  '/media',
  '/mnt',
  '/opt',
  '/srv',
  '/tmp',
  '/var',
  '/var/lib',
  '/var/log',
  '/var/tmp',
];

const SOCKETS = /(?:^|\/)(?:docker|podman|containerd|crio|buildkitd|dockershim)[^/]*\.sock$/;

function forbiddenSource(source: string): string | undefined {
  if (SOCKETS.test(source))
    return `${quote(source)} is the socket of a container engine: whoever has it owns the node`;
  if (WHOLE.includes(source)) return `${quote(source)} as a whole is never mounted`;
  const system = SYSTEM.find((root) => isWithin(source, root));
  return system === undefined ? undefined : `${quote(source)} belongs to the system (${system})`;
}
