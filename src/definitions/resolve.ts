import { nearest } from '../base/suggest.ts';
import type { Commit, DefinitionFile } from '../source/types.ts';
import { builtElsewhere } from './builders.ts';
import { edgeFindings, edgesOf, type EdgeContext } from './edges.ts';
import { hasMounts, judge, type Force, type Judged } from './force.ts';
import { kindOf, nameOf, sortFiles, wholeIssue, type SortedFiles, type UnreadFile } from './files.ts';
import { byPlace, finding, locate, order, quote, type Finding } from './findings.ts';
import { plainNode, readNode, readRemovals } from './nodes.ts';
import type {
  Defaults,
  Desired,
  DesiredService,
  Elsewhere,
  EnvValues,
  Issue,
  NodeDefinition,
  Policy,
} from './types.ts';

/** A blob that was accepted before, and the commit it was taken from. */
export interface LastGood {
  readonly file: DefinitionFile;
  readonly commit: string;
}

/** What stays the same from commit to commit. */
export interface ResolveOptions {
  /** Whose agent asks; absent in `validate`: all nodes. */
  readonly node?: string;
  readonly defaults: Defaults;
  /** Absent: rules that need the node's policy are not checked. */
  readonly policy?: Policy;
  /** Keyed hash of a variable's value, given by the caller: this room does no I/O. */
  readonly hash: (value: string) => string;
  /** Folder of the definitions inside the repository; default its root. */
  readonly root?: string;
  /** What the commit before had on other nodes; absent: not known, and nothing is taken for moved here. */
  readonly elsewhere?: readonly Elsewhere[];
}

export interface DefinitionsInput extends ResolveOptions {
  /** All definition files of the commit. */
  readonly files: readonly DefinitionFile[];
  /** Entries of the commit that were not read. */
  readonly refusedFiles: readonly UnreadFile[];
  /** Paths of other files, to be told of where they look meant as definitions. */
  readonly ignoredFiles?: readonly string[];
  readonly commit: Commit;
  /** Last accepted blobs by path: in force where the newest is bad. */
  readonly lastGood: ReadonlyMap<string, LastGood>;
}

export interface Resolution {
  readonly desired: Desired;
  readonly values: EnvValues;
  /** Every node that has a file, and the one that asks, with the defaults filled in. */
  readonly nodes: ReadonlyMap<string, NodeDefinition>;
  /** The node that each service file names, as far as it can be read. */
  readonly nodeOf: ReadonlyMap<string, string>;
  /** What other nodes have, to be given with the next commit: it may have moved here then. */
  readonly elsewhere: readonly Elsewhere[];
  /** The file of the node that asks, as it is in force: to be accepted like the services', so that it can be the last good one. */
  readonly nodeFile?: { readonly file: string; readonly oid: string; readonly commit: string };
}

/**
 * The definitions of a commit to what a node shall run: each file judged by itself, then against the node's policy,
 * then against each other over what is in force. A bad file holds back its own service only (L33). Pure; the same
 * input gives the same answer, and no input makes it throw.
 */
export function resolve(input: DefinitionsInput): Resolution {
  const sorted = sortFiles(input.files, input.refusedFiles, input.root ?? '', input.ignoredFiles);
  const read = readNodes(sorted, input);
  const judged = judge(sorted, input, read.nodes, read.badNodes);
  const edgeContext: EdgeContext = { ...input, nodes: read.nodes };
  const removals = sorted.removals === undefined ? undefined : readRemovals(sorted.removals);

  const issues = [
    ...sorted.issues,
    ...read.issues,
    ...told(judged, input),
    ...strayNodes(judged, sorted, input),
    ...edgeIssues(judged, edgeContext),
    ...(sorted.removals === undefined || removals === undefined
      ? []
      : locatedIn(sorted.removals, removals.findings)),
  ].sort(byPlace);
  const services = judged.force
    .filter(({ built }) => input.node === undefined || built.service.node === input.node)
    .map(desiredOf)
    .sort((a, b) => order(a.service.name, b.service.name) || order(a.service.node, b.service.node));
  const elsewhere =
    input.node === undefined
      ? undefined
      : builtElsewhere(
          judged.force.map(({ built }) => built.service),
          input.node,
        );
  const edges =
    input.node === undefined ? [] : edgesOf(judged.force, input.node, edgeContext, read.badElsewhere);
  let values: EnvValues | undefined;
  let nodeOf: ReadonlyMap<string, string> | undefined;
  let others: readonly Elsewhere[] | undefined;
  return {
    desired: {
      node: input.node ?? '',
      commit: input.commit,
      services,
      refused: judged.refused,
      unreadable:
        sorted.tooMany ||
        sorted.issues.some(({ rule }) => UNREAD.has(rule)) ||
        (removals?.findings.length ?? 0) > 0 ||
        read.badNodes.size > 0 ||
        judged.unreadable,
      removals: [...new Set(removals?.services)].sort(order),
      issues,
      ...(elsewhere === undefined ? {} : { builtElsewhere: elsewhere }),
      ...(edges.length === 0 ? {} : { edges }),
      ...(judged.force.length === 0 ? { isEmpty: true } : {}),
      ...(judged.refusedElsewhere.length === 0 || input.node === undefined
        ? {}
        : { edgesUnread: [...judged.refusedElsewhere].sort(order) }),
    },
    // Put together for whoever asks: most do not.
    get values() {
      return (values ??= valuesOf(judged.force, input.node));
    },
    nodes: read.nodes,
    get elsewhere() {
      return (others ??= elsewhereOf(judged, input));
    },
    get nodeOf() {
      return (nodeOf ??= nodesOf(judged));
    },
    ...(read.nodeFile === undefined ? {} : { nodeFile: read.nodeFile }),
  };
}

/** What may hide a service: nothing is removed while there is one of these. */
const UNREAD = new Set(['file/refused', 'file/deadline', 'file/size']);

function desiredOf({ draft, built, commit, heldBack }: Force): DesiredService {
  const { service, digest } = built;
  return { service, file: draft.file.path, oid: draft.file.oid, digest, commit, heldBack };
}

/**
 * Active services of other nodes that have volumes. One that has come here since stays in the list: until it was inactive,
 * or gone, on its old node, its agent goes on running it there.
 */
function elsewhereOf({ force, drafts }: Judged, { node, elsewhere = [] }: DefinitionsInput): Elsewhere[] {
  if (node === undefined) return [];
  const there = force
    .map(({ built }) => built.service)
    .filter((service) => service.node !== node && service.active && hasMounts(service))
    .map((service) => ({ service: service.name, node: service.node }));
  const here = new Set(drafts.flatMap(({ draft }) => (draft.node === node ? (draft.service ?? []) : [])));
  const known = new Set(there.map(({ service }) => service));
  const moved = elsewhere.filter(({ service }) => here.has(service) && !known.has(service));
  return [...there, ...moved].sort((a, b) => order(a.service, b.service) || order(a.node, b.node));
}

interface ReadNodes {
  readonly nodes: ReadonlyMap<string, NodeDefinition>;
  /** Nodes whose file is bad and that have no good state, with what can be known of them: nothing of theirs changes. */
  readonly badNodes: ReadonlyMap<string, NodeDefinition>;
  /** Other nodes whose file is bad: names and addresses of their services may be others. */
  readonly badElsewhere: ReadonlySet<string>;
  readonly issues: readonly Issue[];
  readonly nodeFile?: Resolution['nodeFile'];
}

function readNodes(sorted: SortedFiles, input: DefinitionsInput): ReadNodes {
  const nodes = new Map<string, NodeDefinition>();
  const badNodes = new Map<string, NodeDefinition>();
  const badElsewhere = new Set<string>();
  const issues: Issue[] = [];
  let nodeFile: Resolution['nodeFile'];
  if (input.node !== undefined) nodes.set(input.node, plainNode(input.node, input.defaults));
  for (const { name, path, file } of nodeFiles(sorted, input)) {
    const isOwn = input.node === undefined || input.node === name;
    const policy = input.node === name ? input.policy : undefined;
    const read = file && readNode(file, name, input.defaults, policy);
    if (isOwn && file !== undefined && read !== undefined) issues.push(...locatedIn(file, read.findings));
    const last = input.lastGood.get(path);
    const node = read?.node ?? (last && readNode(last.file, name, input.defaults, policy).node);
    if (node !== undefined) nodes.set(name, node);
    else if (isOwn) badNodes.set(name, read?.part ?? plainNode(name, input.defaults));
    else {
      badElsewhere.add(name);
      nodes.set(name, plainNode(name, input.defaults));
    }
    if (input.node !== name || node === undefined) continue;
    const isNewest = file !== undefined && read?.node !== undefined && last?.file.oid !== file.oid;
    const oid = (isNewest ? file : last?.file)?.oid ?? '';
    nodeFile = { file: path, oid, commit: isNewest ? input.commit.oid : (last?.commit ?? '') };
  }
  return { nodes, badNodes, badElsewhere, issues, ...(nodeFile === undefined ? {} : { nodeFile }) };
}

/** Files of nodes; without content those that were not read, as far as anything is known of them. */
function nodeFiles(
  sorted: SortedFiles,
  { refusedFiles, lastGood, root }: DefinitionsInput,
): { name: string; path: string; file?: DefinitionFile }[] {
  const unread = [...refusedFiles.map(({ path }) => path), ...(sorted.tooMany ? lastGood.keys() : [])]
    .filter((path) => kindOf(path, root ?? '') === 'node')
    .flatMap((path) => {
      const name = nameOf(path);
      return name === undefined ? [] : [{ name, path }];
    });
  return [...[...sorted.nodes].map(([name, file]) => ({ name, path: file.path, file })), ...unread];
}

/** The issues of service files that concern who asks: its own, those of unknown node, and those it has a good state of. */
function told(judged: Judged, input: DefinitionsInput): Issue[] {
  return judged.drafts.flatMap(({ draft, findings }) => {
    const isOurs =
      input.node === undefined ||
      draft.node === undefined ||
      draft.node === input.node ||
      input.lastGood.has(draft.file.path);
    return isOurs && findings.length > 0 ? locatedIn(draft.file, findings, draft.service) : [];
  });
}

/**
 * Services of nodes that nobody has heard of. No agent asks for them, so no agent would ever say that the name is wrong: this is
 * for whoever looks at all nodes. Where no node has a file nothing can be said.
 */
function strayNodes({ drafts }: Judged, sorted: SortedFiles, input: DefinitionsInput): Issue[] {
  const known = new Set(nodeFiles(sorted, input).map(({ name }) => name));
  if (input.node !== undefined || known.size === 0) return [];
  return drafts.flatMap(({ draft }) => {
    const { node, definition } = draft;
    const edges = (definition?.components ?? []).flatMap(({ routes }, index) =>
      routes.flatMap(({ at, edge = [] }) =>
        edge.map((name) => ({ name, path: ['components', index, 'routes', at, 'edge'] })),
      ),
    );
    const named = [...(node === undefined ? [] : [{ name: node, path: ['node'] }]), ...edges];
    const findings = named
      .filter(({ name }) => !known.has(name))
      .map(({ name, path }) => {
        const meant = nearest(name, known);
        const message = `there is no nodes/${name}.toml, and other nodes have their files`;
        const hint =
          meant === undefined
            ? undefined
            : `Did you mean ${quote(meant)}? Otherwise write that file; it may be empty.`;
        return finding('node/unknown', path, message, hint);
      });
    return locatedIn(draft.file, findings, draft.service);
  });
}

/** Told to whom they concern: the service's own node, the edge nodes, and whoever looks at all. */
function edgeIssues({ force }: Judged, context: EdgeContext): Issue[] {
  const { node } = context;
  return edgeFindings(force, context)
    .filter(({ force: { built } }) => {
      const { service } = built;
      const isEdge = service.components.some(({ routes }) =>
        routes.some(({ edge = [] }) => node !== undefined && edge.includes(node)),
      );
      return node === undefined || service.node === node || isEdge;
    })
    .flatMap(({ force: { draft, built }, finding: found }) =>
      locatedIn(draft.file, [found], built.service.name),
    );
}

function locatedIn(file: DefinitionFile, findings: readonly Finding[], service?: string): Issue[] {
  if (findings.length === 0) return [];
  const [first] = findings;
  if (first?.rule === 'file/size') return [wholeIssue(file.path, first, service)];
  return locate(file.path, new TextDecoder('utf-8').decode(file.bytes), findings, service);
}

function nodesOf({ drafts }: Judged): Map<string, string> {
  const nodes = new Map<string, string>();
  for (const { draft } of drafts) if (draft.node !== undefined) nodes.set(draft.file.path, draft.node);
  return nodes;
}

function valuesOf(force: readonly Force[], node: string | undefined): EnvValues {
  const values = new Map<string, ReadonlyMap<string, string>>();
  for (const { built } of force) {
    if (node !== undefined && built.service.node !== node) continue;
    for (const [component, env] of built.values) values.set(component, env);
  }
  return values;
}
