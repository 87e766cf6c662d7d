import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { blocked, messageOf, ok, type Failure, type Outcome } from './base/outcome.ts';
import type { Desired, EnvValues } from './definitions/types.ts';
import { resolve, type ResolveOptions } from './definitions/resolve.ts';
import { execute, type Occasion } from './execute/execute.ts';
import { openLanes, type Lanes } from './execute/lanes.ts';
import type { StepResult } from './execute/types.ts';
import { writerOf } from './execute/writer.ts';
import { look } from './look.ts';
import type { PassReport } from './loop.ts';
import type { Node } from './node/node.ts';
import type { Observed } from './node/types.ts';
import { namedServices } from './plan/guard.ts';
import type { Facts } from './plan/facts.ts';
import { acceptedFiles } from './plan/accepted.ts';
import { makePlan } from './plan/plan.ts';
import { inTurn } from './plan/turn.ts';
import type { AppliedFrom, Plan, PlanSettings } from './plan/types.ts';
import type { Registry } from './registry/registry.ts';
import { readSafely, type Reader } from './reading.ts';
import type { Promised } from './registry/types.ts';
import type { Source } from './source/source.ts';
import type { Commit, DefinitionFile } from './source/types.ts';
import { recordOf, traced } from './origins.ts';
import { VERSION } from './version.ts';

/** What a pass needs; opened once by the agent. */
export interface House {
  readonly source: Source;
  readonly registry: Registry;
  readonly node: Node;
  readonly planSettings: Omit<PlanSettings, 'removable' | 'windows'>;
  readonly definitions: ResolveOptions;
  readonly parallel: number;
  /** Reads definitions where a parser that never ends can be killed; absent: the one of this process. */
  readonly reader?: Reader;
  readonly clock: Clock;
  readonly log: Log;
  /** Git has news, or a step has ended: look again. */
  readonly onNews: (trigger: string) => void;
}

/** Everything a pass saw and did: what the view is made of. */
interface PassSeen {
  readonly at: number;
  readonly desired: Desired;
  readonly promised: Promised;
  readonly observed: Observed;
  readonly plan: Plan;
  /** Of the steps of this pass that have ended. */
  readonly results: readonly StepResult[];
  /** The same, and those of earlier passes that have ended since. */
  readonly told: readonly StepResult[];
  readonly addresses: readonly string[];
  readonly mode?: 'observe';
}

/** Definitions as they are in force. */
export interface InForce {
  readonly commit: string;
  readonly desired: Desired;
  readonly values: EnvValues;
  /** As the node's file has it, else as the settings do. */
  readonly hostnameSuffix: string;
  /** As the node's file has it. */
  readonly mode?: 'observe';
  readonly windows: PlanSettings['windows'];
  /** From the node's file: its addresses, for its records, and the keys of defaults that it sets. */
  readonly addresses: readonly string[];
  readonly nodeDefaults: readonly string[];
}

/** What outlives a pass in memory: only what can be had again from git and the registry. */
export interface Memory {
  /** Resolved definitions of the commit in force. */
  resolved?: InForce;
  /** The newest commit that was polled; the accepted one until then. */
  head?: string;
  seen?: PassSeen;
  /** When the engine was seen last, as the clock stood then. */
  lookedAt?: number;
  /** Why nothing new is taken from git. */
  idle?: Failure;
  /** Why the last poll brought no commit. */
  pollFailure?: Failure;
  polling?: Promise<void>;
  /** Steps that are under way. What dies with them is looked at again by the next agent. */
  lanes?: Lanes;
}

/** The triggers that ask git; the others look at the node only. */
const ASKS_GIT: readonly string[] = ['start', 'timer', 'git'];

/** ONE pass, top to bottom: git, definitions, registry, node, plan, execute. */
export async function runPass(
  house: House,
  memory: Memory,
  triggers: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<PassReport> {
  const { registry, node, clock } = house;

  const there = registry.check();
  if (there.kind !== 'ok') return notWritten(house, there);
  if (ASKS_GIT.some((trigger) => triggers.has(trigger))) beginPoll(house, memory);
  const inForce = await definitionsInForce(house, memory);
  if (inForce === undefined) return { again: false };
  const { desired, values } = inForce;

  const lanes = (memory.lanes ??= openLanes(() => house.onNews('steps')));
  const facts = await look(house, inForce, memory.lookedAt, lanes.busy());
  if (facts.observed.engine.known) memory.lookedAt = facts.now;
  if (signal.aborted) return { again: false };
  const plan = makePlan(facts);
  const { promised, observed } = facts;
  if (plan.engine !== undefined) {
    // Whose engine it is stands written before the first step in it (L05).
    const recorded = registry.recordEngine(plan.engine);
    if (recorded.kind !== 'ok') return notWritten(house, recorded);
    house.log.info(plan.engine, 'the container engine was not known before: recorded');
  }
  const tools = {
    node: await writerOf(node),
    registry,
    values,
    valuesOf: (from: AppliedFrom) => appliedValues(house, from),
    clock,
    log: house.log,
    parallel: house.parallel,
    lanes,
  };
  const occasion = occasionOf(facts, triggers);
  const executed = await execute(plan, tools, occasion, signal);
  if (executed.kind !== 'ok') house.log.error({ why: executed.why, hint: executed.hint }, 'nothing was done');

  const results = executed.kind === 'ok' ? executed.value : [];
  memory.seen = {
    ...{ at: observed.at, desired, promised, observed, plan, results },
    told: [...lanes.takeLate(), ...results],
    addresses: inForce.addresses,
    ...(inForce.mode === undefined ? {} : { mode: inForce.mode }),
  };
  return {
    again: executed.kind === 'ok' && (results.length > 0 || lanes.isLeft(plan.steps, house.parallel)),
    ...(plan.wakeAt === undefined ? {} : { wakeAt: plan.wakeAt }),
  };
}

/** What the journal says of this pass: why it was made, for which commit, and from what it decided. */
function occasionOf(facts: Facts, triggers: ReadonlySet<string>): Occasion {
  const { desired, promised, observed } = facts;
  return {
    trigger: [...triggers].sort().join(', '),
    commit: desired.commit.oid,
    about: recordOf(desired.commit),
    digests: new Map(
      [...inTurn(desired, promised, facts.now).services, ...(desired.edges ?? [])].map((entry) => [
        entry.service.name,
        entry.digest,
      ]),
    ),
    seen: { promised, observed },
    inputs: facts,
    version: VERSION,
  };
}

function notWritten(house: House, failure: Failure): PassReport {
  house.log.error({ why: failure.why, hint: failure.hint }, 'nothing was done');
  return { again: false };
}

/** Git is asked beside the pass: a remote that hangs must not keep the node from being healed (L40). One poll at a time. */
function beginPoll(house: House, memory: Memory): void {
  const before = memory.head;
  memory.polling ??= pollGit(house, memory)
    .catch((error: unknown) => {
      house.log.error({ why: messageOf(error) }, 'a poll of git ended with a bug');
    })
    .finally(() => {
      delete memory.polling;
      if (memory.head !== before || memory.resolved === undefined) house.onNews('git news');
    });
}

/** A failure changes nothing: the accepted commit goes on being enforced (L02, G24). */
async function pollGit(house: House, memory: Memory): Promise<void> {
  const { source, registry, log } = house;
  const accepted = registry.promised().accepted?.commit;
  const wasReachable = source.health().reachable;
  const polled = await source.poll(accepted);
  if (polled.kind === 'ok') {
    if (!wasReachable) log.info({ url: polled.value.url }, 'the definitions repository answers again');
    memory.head = polled.value.commit.oid;
    delete memory.pollFailure;
    return;
  }
  // Told once, not with every poll.
  if (memory.pollFailure?.why !== polled.why)
    log.warn(
      { why: polled.why, hint: polled.hint, accepted },
      accepted === undefined
        ? 'git: nothing is done before its first answer'
        : 'git: the accepted commit stays in force',
    );
  memory.pollFailure = polled;
}

/**
 * The definitions of the newest commit, resolved once a commit. While they cannot be had, those that were in force stay
 * so: a commit that cannot be read is no reason not to heal (G6).
 */
async function definitionsInForce(house: House, memory: Memory): Promise<InForce | undefined> {
  const accepted = house.registry.promised().accepted?.commit;
  const newest = memory.head ?? accepted;
  if (newest === undefined) {
    const why = 'no commit of the definitions repository was seen yet';
    memory.idle = memory.pollFailure ?? { kind: 'wait', why };
    return undefined;
  }
  if (memory.resolved?.commit === newest) {
    delete memory.idle;
    return memory.resolved;
  }
  const resolved = await resolveCommit(house, newest, accepted);
  if (resolved.kind === 'ok') {
    delete memory.idle;
    memory.resolved = resolved.value;
    return resolved.value;
  }
  if (memory.idle?.why !== resolved.why)
    house.log.warn(
      { commit: newest, why: resolved.why, hint: resolved.hint },
      'git: the commit is not taken',
    );
  memory.idle = resolved;
  if (memory.resolved === undefined && accepted !== undefined && accepted !== newest) {
    const before = await resolveCommit(house, accepted, accepted);
    if (before.kind === 'ok') memory.resolved = before.value;
  }
  return memory.resolved;
}

/** Reads and resolves the definitions of a commit, and accepts them in the registry. */
async function resolveCommit(
  house: House,
  commit: string,
  accepted: string | undefined,
): Promise<Outcome<InForce>> {
  const { source, registry, clock, log } = house;
  const files = await source.files(commit);
  if (files.kind !== 'ok') return files;
  const readable = await readSafely(
    {
      files: files.value.files,
      refusedFiles: files.value.refused,
      lastGood: await lastGoodFiles(house),
    },
    house.definitions.root,
    house.reader,
  );
  if (readable.kind !== 'ok') return readable;
  let resolution: ReturnType<typeof resolve>;
  try {
    const { elsewhere } = registry.promised();
    resolution = resolve({
      ...house.definitions,
      ...readable.value,
      commit: files.value.commit,
      ...(elsewhere === undefined ? {} : { elsewhere }),
    });
  } catch (error) {
    return {
      kind: 'bug',
      why: `the definitions of ${commit.slice(0, 8)} could not be resolved: ${messageOf(error)}`,
    };
  }
  const { desired, nodeFile, told } = await traced(house, resolution.desired, resolution.nodeFile);
  for (const issue of desired.issues) {
    const at = `${issue.file}:${issue.line}:${issue.column}`;
    log.warn({ at, rule: issue.rule, hint: issue.hint }, `${at}: ${issue.message}`);
  }
  const good = acceptedFiles(desired);
  const news = await newCommits(house, desired, accepted);
  const named = namedServices(news, desired, registry.promised());
  const { values, elsewhere } = resolution;
  const written = registry.accept(commit, clock.now(), good, nodeFile, named, elsewhere, told);
  // What cannot be written down is not acted upon (G32).
  if (written.kind !== 'ok') return written;
  await source.keep(commit, lastGoodOids(registry.promised()));
  if (commit !== accepted)
    log.info(
      { commit, author: desired.commit.author, services: good.length, issues: desired.issues.length },
      'commit accepted',
    );
  const node = resolution.nodes.get(house.planSettings.node);
  const { hostnameSuffix } = (node ?? house.definitions).defaults;
  const mode = node?.mode === undefined ? {} : { mode: node.mode };
  const [addresses, windows, nodeDefaults] = [node?.addresses ?? [], node?.windows ?? [], node?.own ?? []];
  return ok({ commit, desired, values, hostnameSuffix, windows, addresses, nodeDefaults, ...mode });
}

/** All commits of accepted..new: any of them may name what goes, a merge hides its own behind it (L31). */
async function newCommits(
  { source, log }: House,
  { commit }: Desired,
  accepted: string | undefined,
): Promise<readonly Pick<Commit, 'message'>[]> {
  if (accepted === undefined || accepted === commit.oid) return [commit];
  const range = await source.range(commit.oid, accepted);
  if (range.kind === 'ok') return range.value;
  log.warn(
    { commit: commit.oid, accepted, why: range.why },
    'the commits since the accepted one cannot be read: only the newest one is looked at for what it names',
  );
  return [commit];
}

/** The blobs of what is in force, and of what was applied and may be returned to, whichever commit they are from. */
function lastGoodOids({ applied, files, nodeFile }: Promised): string[] {
  const all = [...applied, ...files, ...(nodeFile === undefined ? [] : [nodeFile])];
  return [...new Set(all.map(({ oid }) => oid))];
}

/** Values of a definition that was applied and is not in force any more: its blob has them, the registry only their hashes. */
async function appliedValues(house: House, { file, oid, commit }: AppliedFrom): Promise<Outcome<EnvValues>> {
  const what = `${file} as it was applied from ${commit.slice(0, 8)}`;
  const bytes = await house.source.readFile(oid);
  if (bytes.kind !== 'ok') return { ...bytes, why: `${what} cannot be read: ${bytes.why}` };
  const { nodeFile } = house.registry.promised();
  const node = nodeFile === undefined ? undefined : (await lastGoodFiles(house)).get(nodeFile.file);
  const { desired, values } = resolve({
    ...house.definitions,
    files: [{ path: file, oid, bytes: bytes.value }, ...(node === undefined ? [] : [node.file])],
    refusedFiles: [],
    commit: { oid: commit, author: '', email: '', at: 0, message: '', parents: [] },
    lastGood: new Map(),
  });
  if (desired.services.length > 0) return ok(values);
  const issue = desired.issues.find((one) => one.severity === 'error');
  return blocked(
    `${what} is not valid any more: ${issue?.message ?? 'it names no service of this node'}`,
    'Push a version of the service that the node can run.',
  );
}

async function lastGoodFiles(house: House): Promise<Map<string, { file: DefinitionFile; commit: string }>> {
  const found = new Map<string, { file: DefinitionFile; commit: string }>();
  const { files, nodeFile } = house.registry.promised();
  for (const { file, oid, commit } of nodeFile === undefined ? files : [...files, nodeFile]) {
    const bytes = await house.source.readFile(oid);
    if (bytes.kind === 'ok') found.set(file, { file: { path: file, oid, bytes: bytes.value }, commit });
    else house.log.warn({ file, oid, why: bytes.why }, 'the last good state of a definition cannot be read');
  }
  return found;
}
