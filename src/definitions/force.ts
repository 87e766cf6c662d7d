import type { DefinitionFile } from '../source/types.ts';
import { canonicalJson } from '../base/json.ts';
import { builtOf, type BuildContext, type Built } from './build.ts';
import { addFindings, at, heldBy, standing, waiterOf, type Candidate } from './candidate.ts';
import { judgeClaims, type Contender } from './claims.ts';
import { edgeName } from './edges.ts';
import { readDraft, type Definition, type Draft } from './draft.ts';
import { kindOf, nameOf, type SortedFiles } from './files.ts';
import { finding, isError, order, quote, type Finding } from './findings.ts';
import { silence } from './ownservice.ts';
import { plainNode } from './nodes.ts';
import type { DefinitionsInput, LastGood } from './resolve.ts';
import { tellRest, withoutDoubt } from './rest.ts';
import { LIMITS } from './shape.ts';
import type { NodeDefinition, Service } from './types.ts';
import { idleWaits, judgeWaits } from './waits.ts';

/** A service that is in force: from the newest commit, or from its last good state. */
export interface Force {
  readonly draft: Draft;
  readonly built: Built;
  readonly commit: string;
  readonly heldBack: boolean;
}

export interface Judged {
  readonly force: readonly Force[];
  /** Names of services whose file is bad and that have no good state. */
  readonly refused: readonly string[];
  /** A bad file may belong to the node that asks. */
  readonly unreadable: boolean;
  /** `<service>@<node>` of bad files of other nodes that have no good state. */
  readonly refusedElsewhere: readonly string[];
  /** Every service file with all that was found in it. */
  readonly drafts: readonly { readonly draft: Draft; readonly findings: readonly Finding[] }[];
}

/** Decides for each service file what is in force. */
export function judge(
  sorted: SortedFiles,
  input: DefinitionsInput,
  nodes: ReadonlyMap<string, NodeDefinition>,
  badNodes: ReadonlyMap<string, NodeDefinition>,
): Judged {
  const candidates = candidatesOf(sorted, input, nodes, badNodes);
  do settleClaims(candidates);
  while (waits(candidates) && settleWaits(candidates));
  limitServices(candidates);
  if (waits(candidates)) addFindings(candidates, idleWaits(candidates.map(waiterOf)));
  tellRest(candidates);
  const force = candidates.flatMap((candidate) => forceOf(candidate, input));
  const bad = candidates.filter((candidate) => candidate.standing !== 'newest');
  const ofNode = (candidate: Candidate): boolean => {
    const node = candidate.draft?.node;
    return input.node === undefined || node === undefined || node === input.node;
  };
  const refused = bad
    .filter((candidate) => candidate.standing === 'none' && ofNode(candidate))
    .flatMap(({ path, draft }) => draft?.service ?? nameOf(path) ?? []);
  return {
    force,
    refused: [...new Set(refused)].sort(order),
    unreadable: bad.some(ofNode),
    refusedElsewhere: bad
      .filter((candidate) => candidate.standing === 'none' && !ofNode(candidate))
      .flatMap(({ path, draft }) => {
        const name = draft?.service ?? nameOf(path);
        return name === undefined || draft?.node === undefined ? [] : [edgeName(name, draft.node)];
      }),
    drafts: candidates.flatMap(({ draft, findings }) =>
      draft === undefined ? [] : [{ draft, findings: quieted(draft, findings) }],
    ),
  };
}

/** Which silences are of no use is said of good files only: in others what they silence may be what is bad. */
function quieted({ definition, part }: Draft, findings: readonly Finding[]): readonly Finding[] {
  if (definition !== undefined) return silence(findings, definition.own.silenced);
  const silenced = new Set<string>(part?.definition.own.silenced?.map(({ rule }) => rule));
  return silenced.size === 0
    ? findings
    : findings.filter((found) => isError(found) || !silenced.has(found.rule));
}

type Build = (file: DefinitionFile) => {
  readonly draft: Draft;
  readonly built?: Built;
  readonly shadow?: Built;
};

function candidatesOf(
  sorted: SortedFiles,
  input: DefinitionsInput,
  nodes: ReadonlyMap<string, NodeDefinition>,
  badNodes: ReadonlyMap<string, NodeDefinition>,
): Candidate[] {
  const lastOf = lastGoodFinder(sorted, input);
  const contexts = new Map<string, BuildContext>();
  const build: Build = (file) => {
    const draft = readDraft(file);
    const definition = draft.definition ?? draft.part?.definition;
    if (definition === undefined) return { draft };
    let context = contexts.get(definition.node);
    if (context === undefined) {
      const node = nodes.get(definition.node) ?? badNodes.get(definition.node);
      context = contextOf(node ?? plainNode(definition.node, input.defaults), input);
      contexts.set(definition.node, context);
    }
    const built = builtOf(draft, definition, context);
    if (draft.part !== undefined) return { draft, shadow: withoutDoubt(built, draft.part.bad) };
    return badNodes.has(definition.node) ? { draft, shadow: built } : { draft, built };
  };
  const made = sorted.services.map((file): Candidate => {
    const { draft, built, shadow = built } = build(file);
    const last = lastCandidate(lastOf(file, draft.node), build);
    const findings = [...draft.findings, ...(shadow?.findings ?? [])];
    if (draft.definition !== undefined && badNodes.has(draft.definition.node)) {
      findings.push(
        finding('node/bad', ['node'], `the file of the node ${quote(draft.definition.node)} is bad`),
      );
    }
    const moved =
      draft.definition === undefined
        ? undefined
        : (movedNode(draft.definition, last?.built, input) ?? movedHere(draft, last?.built, sorted, input));
    if (moved !== undefined) findings.push(moved);
    const isGood = built?.good === true && moved === undefined;
    return {
      path: file.path,
      draft,
      ...(isGood ? { newest: built } : shadow === undefined ? {} : { shadow }),
      ...(last === undefined ? {} : { last }),
      findings,
      standing: isGood ? 'newest' : last === undefined ? 'none' : 'last',
    };
  });
  return [...made, ...unread(sorted, input, build)];
}

/** Entries that are no plain files, and everything when there was too much: what was good goes on. */
function unread(sorted: SortedFiles, input: DefinitionsInput, build: Build): Candidate[] {
  const refused = new Set(input.refusedFiles.map(({ path }) => path));
  const paths = sorted.tooMany ? new Set([...refused, ...input.lastGood.keys()]) : refused;
  return [...paths]
    .filter((path) => kindOf(path, input.root ?? '') === 'service')
    .sort(order)
    .map((path): Candidate => {
      const last = lastCandidate(input.lastGood.get(path), build);
      return {
        path,
        ...(last === undefined ? {} : { last }),
        findings: [],
        standing: last === undefined ? 'none' : 'last',
      };
    });
}

/**
 * The last good state of a file: by its path, or by the service's name where the file was moved to another folder. Two
 * nodes may have a service of one name: a file of another node is not the moved one.
 */
function lastGoodFinder(
  sorted: SortedFiles,
  { lastGood, root, node: asking }: DefinitionsInput,
): (file: DefinitionFile, node: string | undefined) => LastGood | undefined {
  if (lastGood.size === 0) return () => undefined;
  const present = new Set(sorted.services.map(({ path }) => path));
  const moved = new Map<string, LastGood>();
  for (const [path, last] of lastGood) {
    const name = nameOf(path);
    if (!present.has(path) && name !== undefined && kindOf(path, root ?? '') === 'service')
      moved.set(name, last);
  }
  return (file, node) => {
    const same = lastGood.get(file.path);
    if (same !== undefined) return same;
    const mayBeOurs = asking === undefined || node === undefined || node === asking;
    return mayBeOurs ? moved.get(nameOf(file.path) ?? '') : undefined;
  };
}

function lastCandidate(last: LastGood | undefined, build: Build): Candidate['last'] {
  if (last === undefined) return undefined;
  const { draft, built } = build(last.file);
  // A newer policy, or a newer agent, may refuse what was good.
  return built?.good === true ? { draft, built, commit: last.commit } : undefined;
}

function contextOf(node: NodeDefinition, input: DefinitionsInput): BuildContext {
  // The policy of one node says nothing about the services of another.
  const policy = input.node === node.name ? input.policy : undefined;
  const known = {
    node,
    hostnameSuffix: input.defaults.hostnameSuffix,
    ...(policy === undefined ? {} : { policy }),
  };
  return { ...known, key: canonicalJson(known), hash: input.hash };
}

/** Two nodes would each write a database of their own: data has to be moved by a person. */
function movedNode(
  definition: Definition,
  last: Built | undefined,
  { node }: DefinitionsInput,
): Finding | undefined {
  const before = last?.service;
  if (before === undefined || before.node === definition.node || !before.active) return undefined;
  if (node !== undefined && before.node !== node) return undefined;
  if (!hasMounts(before)) return undefined;
  const message = `"${definition.name}" is active on ${before.node} and has volumes there: it cannot move to ${definition.node}`;
  return finding('service/node-move', ['node'], message);
}

/** The same, asked by the new node: that two of them run with data of their own is seen by neither alone. */
function movedHere(
  draft: Draft,
  last: Built | undefined,
  sorted: SortedFiles,
  { node, elsewhere = [] }: DefinitionsInput,
): Finding | undefined {
  const { definition } = draft;
  // What is in force of it may be the service of another node that this one is only the edge of.
  const isHere = last?.service.node === node;
  if (node === undefined || definition?.node !== node || !definition.active || isHere) return undefined;
  const from = elsewhere.find(({ service }) => service === definition.name);
  if (from === undefined) return undefined;
  // Two nodes may each have a service of one name: one that is still there has not moved.
  const stays = sorted.services
    .map(readDraft)
    .some((other) => other.service === from.service && other.node === from.node);
  if (stays) return undefined;
  const message = `"${definition.name}" is active on ${from.node} and has volumes there: it cannot move to ${node}`;
  return finding('service/node-move', ['node'], message);
}

export function hasMounts({ components }: Pick<Service, 'components'>): boolean {
  return components.some(({ mounts }) => mounts.length > 0);
}

/** Who loses a claim falls back on its last good state, which may claim something else: until nothing changes any more. */
function settleClaims(candidates: readonly Candidate[]): void {
  for (;;) {
    const contenders: Contender[] = [];
    for (const candidate of candidates) {
      const claims = standing(candidate)?.claims;
      if (claims !== undefined) contenders.push({ file: candidate.path, claims: at(claims, candidate.path) });
    }
    let byPath: Map<string, Candidate> | undefined;
    const of = (file: string): Candidate | undefined =>
      (byPath ??= new Map(candidates.map((candidate) => [candidate.path, candidate]))).get(file);
    const conflicts = judgeClaims(contenders, (file) => heldBy(of(file)));
    const lost = conflicts.filter(({ file }) => of(file)?.standing === 'newest');
    if (lost.length === 0) return;
    for (const { file, finding: found } of lost) of(file)?.findings.push(found);
    for (const { file } of lost) {
      const candidate = of(file);
      if (candidate !== undefined) candidate.standing = candidate.last === undefined ? 'none' : 'last';
    }
  }
}

/** Does anybody wait for another service? */
function waits(candidates: readonly Candidate[]): boolean {
  return candidates.some((candidate) => standing(candidate)?.service.after !== undefined);
}

/** Who waits in vain, or in a ring, falls back too. True when somebody did: the claims are to be judged again. */
function settleWaits(candidates: readonly Candidate[]): boolean {
  const faults = judgeWaits(candidates.map(waiterOf));
  addFindings(candidates, faults);
  const lost = new Set(faults.map(({ path }) => path));
  for (const candidate of candidates) {
    if (lost.has(candidate.path)) candidate.standing = candidate.last === undefined ? 'none' : 'last';
  }
  return faults.length > 0;
}

/** Beyond the limit only what runs already stays (G46). */
function limitServices(candidates: readonly Candidate[]): void {
  const count = new Map<string, number>();
  for (const candidate of candidates) {
    const node = standing(candidate)?.service.node;
    if (node !== undefined) count.set(node, (count.get(node) ?? 0) + 1);
  }
  for (const candidate of candidates) {
    const node = standing(candidate)?.service.node;
    const there = node === undefined ? 0 : (count.get(node) ?? 0);
    if (there <= LIMITS.servicesPerNode || candidate.standing !== 'newest' || candidate.last !== undefined)
      continue;
    const message = `${node ?? ''} would have ${there} services`;
    candidate.findings.push(finding('service/limit', ['node'], message));
    candidate.standing = 'none';
  }
}

function forceOf(candidate: Candidate, input: DefinitionsInput): Force[] {
  const { draft, newest, last, standing: which } = candidate;
  if (which === 'newest' && newest !== undefined && draft !== undefined) {
    // An unchanged blob goes on being told by the commit that brought it.
    const same =
      last !== undefined &&
      last.draft.file.oid === draft.file.oid &&
      last.draft.file.path === draft.file.path;
    return [{ draft, built: newest, commit: same ? last.commit : input.commit.oid, heldBack: false }];
  }
  if (which === 'last' && last !== undefined) {
    return [{ draft: last.draft, built: last.built, commit: last.commit, heldBack: true }];
  }
  return [];
}
