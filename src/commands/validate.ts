import { stat } from 'node:fs/promises';
import { relative, resolve as absolute, sep } from 'node:path';
import { digestOf } from '../base/json.ts';
import { ok, type Outcome } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import { byPlace } from '../definitions/findings.ts';
import { resolve, type LastGood, type Resolution, type ResolveOptions } from '../definitions/resolve.ts';
import { POLICY_RULES } from '../definitions/rules.ts';
import { tellGithub, tellJson, tellText } from '../definitions/tell.ts';
import type { Defaults, DesiredService, Issue } from '../definitions/types.ts';
import { readSafely } from '../reading.ts';
import type { NodeState } from '../report/state.ts';
import { readDirectory, type Directory } from './directory.ts';
import { lintWorkspace, type WorkspaceFindings } from './lint.ts';
import { nodesOf, nodesWithFiles, unknownNode } from './nodes.ts';
import { exitCodeOf, lastGood, readState } from './state.ts';

export interface ValidateOptions {
  readonly format: 'text' | 'json' | 'github';
  /** Warnings are errors. */
  readonly strict: boolean;
  /** Only what concerns this node. */
  readonly node?: string;
  /** Files or addresses of nodes' states: what these nodes allow is checked too. */
  readonly state?: readonly string[];
  /** Directory of the source repositories: their Dockerfiles are judged too. */
  readonly workspace?: string;
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
  options: Partial<Pick<ValidateOptions, 'format' | 'strict' | 'node' | 'state' | 'workspace'>>,
): Promise<void> {
  const { format = 'text', strict = false, node, state, workspace } = options;
  process.exitCode = await validate(
    dir,
    {
      format,
      strict,
      // https://no-color.org
      color: process.stdout.isTTY && (process.env.NO_COLOR ?? '') === '',
      ...(node === undefined ? {} : { node }),
      ...(state === undefined ? {} : { state }),
      ...(workspace === undefined ? {} : { workspace }),
    },
    { out: (text) => process.stdout.write(text), err: (text) => process.stderr.write(text) },
  );
}

/** Checks a directory of definitions by the agent's own code. Gives the exit code: 0 good, 1 errors, 2 usage, 3 no answer of an agent. */
export async function validate(dir: string, options: ValidateOptions, output: Output): Promise<number> {
  const refuse = (why: string, hint: string | undefined, code: number): number => {
    output.err(`mc-gitops: ${redact(why)}\n${hint === undefined ? '' : `  ${redact(hint)}\n`}`);
    return code;
  };
  const states: NodeState[] = [];
  for (const from of options.state ?? []) {
    const read = await readState(from);
    if (read.kind !== 'ok') return refuse(read.why, read.hint, exitCodeOf(read));
    states.push(read.value);
  }
  const other = states.find((state) => options.node !== undefined && state.node !== options.node);
  if (other !== undefined) {
    const why = `the state is of the node ${other.node}, and --node asks for ${options.node ?? ''}`;
    return refuse(why, 'Name the state of that node, or leave --node out.', USAGE);
  }
  const twice = states.find((state, at) => states.findIndex(({ node }) => node === state.node) !== at);
  if (twice !== undefined) {
    return refuse(
      `two of the states are of the node ${twice.node}`,
      'Name the state of each node once.',
      USAGE,
    );
  }
  const [root = ''] = states.map((state) => state.root);
  if (states.some((state) => state.root !== root)) {
    const why = 'the nodes of these states have their definitions in different folders of the repository';
    return refuse(why, 'Validate one folder at a time.', USAGE);
  }
  if (options.workspace !== undefined && !(await isDirectory(options.workspace))) {
    const why = `${options.workspace} is no directory`;
    return refuse(why, 'Name the directory that has the source repositories.', USAGE);
  }
  const read = await readDirectory(dir, root);
  if (read.kind !== 'ok') return refuse(read.why, read.hint, USAGE);
  const verdict = await check({ dir, directory: read.value, root }, states, options.node);
  if (verdict.kind !== 'ok') return refuse(verdict.why, verdict.hint, FOUND);
  if (options.node !== undefined && !verdict.value.nodes.includes(options.node)) {
    const { why, hint } = unknownNode(options.node, verdict.value.nodes);
    return refuse(why, hint, USAGE);
  }
  const judged = (issues: readonly Issue[]): Issue[] =>
    issues.map((issue) => (options.strict ? { ...issue, severity: 'error' } : issue));
  const issues = judged(verdict.value.issues);
  const linted =
    options.workspace === undefined
      ? NOTHING_LINTED
      : await lintWorkspace(verdict.value.services, options.workspace);
  const sources = { ...linted, issues: judged(linted.issues) };
  tell(dir, read.value, { ...verdict.value, issues }, sources, options, output);
  return [...issues, ...sources.issues].some(({ severity }) => severity === 'error') ? FOUND : 0;
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

const NOTHING_LINTED: WorkspaceFindings = { issues: [], texts: new Map() };

interface Verdict {
  /** Sorted by place. */
  readonly issues: readonly Issue[];
  readonly goodServices: number;
  readonly services: readonly DesiredService[];
  /** Those that anything names. */
  readonly nodes: readonly string[];
  /** What could not be judged, one line each. */
  readonly notChecked: readonly string[];
}

/** Each node whose state is known judges its own definitions as its agent would; the rest is judged without a policy. */
async function check(
  { dir, directory, root }: { readonly dir: string; readonly directory: Directory; readonly root: string },
  states: readonly NodeState[],
  node: string | undefined,
): Promise<Outcome<Verdict>> {
  const everywhere = await resolveDirectory(directory, { root, ...(node === undefined ? {} : { node }) });
  if (everywhere.kind !== 'ok') return everywhere;
  const all = everywhere.value;
  const judged = new Set(states.map((state) => state.node));
  const nodeOf = (file: string): string | undefined =>
    all.nodeOf.get(file) ?? /(?:^|\/)nodes\/([^/]+)\.toml$/.exec(file)?.[1];
  const isJudged = (file: string): boolean => judged.has(nodeOf(file) ?? '');
  const issues = new Map<string, Issue>();
  const add = (found: readonly Issue[]): void => {
    for (const issue of found) issues.set(JSON.stringify(issue), issue);
  };
  const services: DesiredService[] = [];
  const notChecked: string[] = [];
  for (const state of states) {
    const before = await lastGood(dir, state);
    const own = await resolveDirectory(directory, optionsOf(state), before.found);
    if (own.kind !== 'ok') return own;
    add(own.value.desired.issues);
    services.push(...own.value.desired.services);
    if (before.missing > 0) {
      notChecked.push(
        `whether ${before.missing} of the files that ${state.node} has accepted held a name, a port or data before: they are not in the git repository of ${dir}.`,
      );
    }
  }
  const rest = all.desired.services.filter(({ service }) => !judged.has(service.node));
  add(all.desired.issues.filter(({ file }) => states.length === 0 || !isJudged(file)));
  const without = [...new Set(rest.map(({ service }) => service.node))].sort();
  if (states.length === 0 || without.length > 0) {
    const whose =
      states.length === 0 ? "the node's settings allow" : `the settings of ${without.join(', ')} allow`;
    notChecked.unshift(
      `what ${whose} (${POLICY_RULES.join(', ')}); --state FILE|URL takes what a node's agent serves at /api/v1/state.`,
      `whether an active service with volumes changes its node (service/node-move); --state, or \`plan --base REF\`, knows what was before.`,
    );
  }
  // What one node refuses another may take, as a service that moves: the file is not good for all of them.
  const bad = new Set(
    [...issues.values()].filter(({ severity }) => severity === 'error').map(({ file }) => file),
  );
  return ok({
    issues: [...issues.values()].sort(byPlace),
    services: [...services, ...rest],
    nodes: [...judged, ...nodesOf(all), ...nodesWithFiles(directory)],
    goodServices: [...services, ...rest].filter(({ heldBack, file }) => !heldBack && !bad.has(file)).length,
    notChecked,
  });
}

/** What the agent of the node resolves with. Only the key of its hashes stays there. */
function optionsOf(state: NodeState): Omit<ResolveOptions, 'hash'> {
  const { node, defaults, policy, root } = state;
  const { elsewhere } = state.promised;
  return { node, defaults, policy, root, ...(elsewhere === undefined ? {} : { elsewhere }) };
}

/** Resolves a directory as the agent of a node would, or for all nodes. Without a hash of the caller's nothing is hashed with a key: values stay here. */
export async function resolveDirectory(
  directory: Directory,
  options: Partial<ResolveOptions> = {},
  lastGood: ReadonlyMap<string, LastGood> = new Map(),
): Promise<Outcome<Resolution>> {
  const { files, refused: refusedFiles, ignored: ignoredFiles } = directory;
  const readable = await readSafely({ files, refusedFiles, lastGood }, options.root);
  if (readable.kind !== 'ok') return readable;
  const commit = { oid: '0'.repeat(40), author: '', email: '', at: 0, message: '', parents: [] };
  return ok(
    resolve({
      defaults: DEFAULTS,
      hash: digestOf,
      ...options,
      ...readable.value,
      ...(ignoredFiles === undefined ? {} : { ignoredFiles }),
      commit,
    }),
  );
}

function tell(
  dir: string,
  directory: Directory,
  { issues, goodServices, notChecked }: Verdict,
  sources: WorkspaceFindings,
  { format, color }: ValidateOptions,
  output: Output,
): void {
  const notes = notChecked.map((what) => `Not checked: ${what}\n`).join('');
  if (format !== 'text') {
    // The output is for programs: what is for people goes beside it.
    const annotations = (): string => tellGithub(issues, prefixOf(dir)) + tellGithub(sources.issues, '');
    output.out(format === 'json' ? tellJson([...issues, ...sources.issues]) : annotations());
    output.err(notes);
    return;
  }
  const prefix = dir === '.' ? '' : `${dir.replace(/\/+$/, '')}/`;
  const bytesOf = new Map(directory.files.map(({ path, bytes }) => [path, bytes]));
  const told = [
    tellText(issues, bytesOf, { color, prefix }),
    tellText(sources.issues, sources.texts, { color, prefix: '' }),
  ]
    .filter((part) => part !== '')
    .join('\n');
  const count = (severity: Issue['severity']): number =>
    [...issues, ...sources.issues].filter((issue) => issue.severity === severity).length;
  const summary = `${plural(directory.files.length, 'file')}, ${plural(goodServices, 'good service')}, ${plural(count('error'), 'error')}, ${plural(count('warning'), 'warning')}`;
  output.out(`${told}${told === '' ? '' : '\n'}${summary}\n${notes}`);
}

/** A forge looks for the files of annotations from the root of the checkout, where its workflows run. */
function prefixOf(dir: string): string {
  const inside = relative(process.cwd(), absolute(dir));
  if (inside === '') return '';
  const isOutside = inside.startsWith('..') || inside.startsWith(sep);
  return `${isOutside ? dir.replace(/\/+$/, '') : inside.split(sep).join('/')}/`;
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
