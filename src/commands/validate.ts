import { digestOf } from '../base/json.ts';
import { redact } from '../base/secret.ts';
import { tellGithub, tellJson, tellText } from '../definitions/tell.ts';
import { resolve, type Resolution } from '../definitions/resolve.ts';
import type { Defaults, Issue } from '../definitions/types.ts';
import { readDirectory, type Directory } from './directory.ts';

export interface ValidateOptions {
  readonly format: 'text' | 'json' | 'github';
  /** Warnings are errors. */
  readonly strict: boolean;
  /** Only what concerns this node. */
  readonly node?: string;
  readonly color: boolean;
}

export interface Output {
  out(text: string): void;
  err(text: string): void;
}

const FOUND = 1;
const USAGE = 2;

/** What a node has without settings of its own. */
const DEFAULTS: Defaults = {
  network: 'mcpnet',
  restart: 'unless-stopped',
  hostnameSuffix: 'svc.mcp.metacircular.net',
};

/** `mc-gitops validate [DIR]`, told to standard output. */
export async function runValidate(
  dir: string,
  options: { readonly format?: ValidateOptions['format']; readonly strict?: boolean; readonly node?: string },
): Promise<void> {
  const { format = 'text', strict = false, node } = options;
  process.exitCode = await validate(
    dir,
    { format, strict, color: process.stdout.isTTY, ...(node === undefined ? {} : { node }) },
    { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) },
  );
}

/** Checks a directory of definitions by the agent's own code. Gives the exit code: 0 good, 1 errors, 2 usage. */
export async function validate(dir: string, options: ValidateOptions, output: Output): Promise<number> {
  const read = await readDirectory(dir);
  if (read.kind !== 'ok') {
    output.err(`mc-gitops: ${redact(read.why)}\n  ${redact(read.hint ?? '')}\n`);
    return USAGE;
  }
  const resolution = resolveDirectory(read.value, options.node);
  const issues = resolution.desired.issues.map((issue): Issue =>
    options.strict ? { ...issue, severity: 'error' } : issue,
  );
  output.out(tell(dir, read.value, resolution, issues, options));
  return issues.some(({ severity }) => severity === 'error') ? FOUND : 0;
}

/** Resolves a directory as the agent of `node` would, or for all nodes. Nothing is hashed with a key: values stay here. */
export function resolveDirectory(directory: Directory, node: string | undefined): Resolution {
  return resolve({
    files: directory.files,
    refusedFiles: directory.refused,
    commit: { oid: '0'.repeat(40), author: '', email: '', at: 0, message: '', parents: [] },
    ...(node === undefined ? {} : { node }),
    lastGood: new Map(),
    defaults: DEFAULTS,
    hash: digestOf,
  });
}

function tell(
  dir: string,
  directory: Directory,
  resolution: Resolution,
  issues: readonly Issue[],
  { format, color }: ValidateOptions,
): string {
  const prefix = dir === '.' ? '' : `${dir.replace(/\/+$/, '')}/`;
  if (format === 'json') return tellJson(issues);
  if (format === 'github') return tellGithub(issues, prefix);
  const bytesOf = new Map(directory.files.map(({ path, bytes }) => [path, bytes]));
  const told = tellText(issues, bytesOf, { color, prefix });
  const count = (severity: Issue['severity']): number =>
    issues.filter((issue) => issue.severity === severity).length;
  const { services } = resolution.desired;
  const summary = `${plural(directory.files.length, 'file')}, ${plural(services.length, 'good service')}, ${plural(count('error'), 'error')}, ${plural(count('warning'), 'warning')}`;
  return `${told}${told === '' ? '' : '\n'}${summary}\n${NOT_CHECKED}\n`;
}

const NOT_CHECKED =
  "Not checked: what the policy in the node's settings allows (image hosts, mounts, networks, fixed ports, domains).";

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
