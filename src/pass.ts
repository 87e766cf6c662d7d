import type { Clock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { messageOf, ok, type Failure, type Outcome } from './base/outcome.ts';
import type { Desired, EnvValues } from './definitions/types.ts';
import { resolve, type ResolveOptions } from './definitions/resolve.ts';
import { execute } from './execute/execute.ts';
import type { StepResult } from './execute/types.ts';
import { writerOf } from './execute/writer.ts';
import type { PassReport } from './loop.ts';
import type { Node } from './node/node.ts';
import type { Observed } from './node/types.ts';
import { removableServices } from './plan/guard.ts';
import { probeTargets, wanted } from './plan/look.ts';
import { makePlan } from './plan/plan.ts';
import type { Plan, PlanSettings } from './plan/types.ts';
import type { Registry } from './registry/registry.ts';
import type { Promised } from './registry/types.ts';
import type { Source } from './source/source.ts';
import type { DefinitionFile } from './source/types.ts';

/** What a pass needs; opened once by the agent. */
export interface House {
  readonly source: Source;
  readonly registry: Registry;
  readonly node: Node;
  readonly planSettings: Omit<PlanSettings, 'removable'>;
  readonly definitions: ResolveOptions;
  readonly parallel: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Git has news: look again. */
  readonly onNews: () => void;
}

/** Everything a pass saw and did: what the view is made of. */
interface PassSeen {
  readonly at: number;
  readonly desired: Desired;
  readonly promised: Promised;
  readonly observed: Observed;
  readonly plan: Plan;
  readonly results: readonly StepResult[];
}

/** Definitions as they are in force. */
interface InForce {
  readonly commit: string;
  readonly desired: Desired;
  readonly values: EnvValues;
  /** As the node's file has it, else as the settings do. */
  readonly hostnameSuffix: string;
}

/** What outlives a pass in memory: only what can be had again from git and the registry. */
export interface Memory {
  /** Resolved definitions of the commit in force. */
  resolved?: InForce;
  /** The newest commit that was polled; the accepted one until then. */
  head?: string;
  seen?: PassSeen;
  /** Why nothing new is taken from git. */
  idle?: Failure;
  /** Why the last poll brought no commit. */
  pollFailure?: Failure;
  polling?: Promise<void>;
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

  if (ASKS_GIT.some((trigger) => triggers.has(trigger))) beginPoll(house, memory);
  const inForce = await definitionsInForce(house, memory);
  if (inForce === undefined) return { again: false };
  const { desired, values, hostnameSuffix } = inForce;

  const promised = registry.promised();
  const settings: PlanSettings = {
    ...house.planSettings,
    hostnameSuffix,
    removable: removableServices(desired),
  };
  const facts = { desired, promised, settings, now: clock.now() };
  const observed = await node.observe(wanted(desired, settings), (seen) =>
    probeTargets({ ...facts, observed: seen }),
  );
  if (signal.aborted) return { again: false };

  const plan = makePlan({ ...facts, observed });
  const digests = new Map(desired.services.map((entry) => [entry.service.name, entry.digest]));
  const tools = {
    node: await writerOf(node),
    registry,
    values,
    clock,
    log: house.log,
    parallel: house.parallel,
  };
  const occasion = { trigger: [...triggers].sort().join(', '), commit: desired.commit.oid, digests };
  const results = await execute(plan, tools, occasion, signal);
  if (results.kind !== 'ok') house.log.error({ why: results.why, hint: results.hint }, 'nothing was done');

  memory.seen = {
    at: observed.at,
    desired,
    promised,
    observed,
    plan,
    results: results.kind === 'ok' ? results.value : [],
  };
  return {
    again: results.kind === 'ok' && results.value.length > 0,
    ...(plan.wakeAt === undefined ? {} : { wakeAt: plan.wakeAt }),
  };
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
      if (memory.head !== before || memory.resolved === undefined) house.onNews();
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
  log.warn({ why: polled.why, hint: polled.hint, accepted }, 'git: the accepted commit stays in force');
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
  const lastGood = await lastGoodFiles(house);
  let resolution: ReturnType<typeof resolve>;
  try {
    resolution = resolve({
      ...house.definitions,
      files: files.value.files,
      refusedFiles: files.value.refused,
      commit: files.value.commit,
      lastGood,
    });
  } catch (error) {
    return {
      kind: 'bug',
      why: `the definitions of ${commit.slice(0, 8)} could not be resolved: ${messageOf(error)}`,
    };
  }
  const { desired, values } = resolution;
  for (const issue of desired.issues) {
    const at = `${issue.file}:${issue.line}:${issue.column}`;
    log.warn({ at, rule: issue.rule, hint: issue.hint }, `${at}: ${issue.message}`);
  }
  const good = desired.services.map(({ service, file, oid, commit: from }) => ({
    service: service.name,
    file,
    oid,
    commit: from,
  }));
  const written = registry.accept(commit, clock.now(), good, resolution.nodeFile);
  // What cannot be written down is not acted upon (G32).
  if (written.kind !== 'ok') return written;
  await source.keep(commit, lastGoodOids(registry.promised()));
  if (commit !== accepted)
    log.info(
      { commit, author: desired.commit.author, services: good.length, issues: desired.issues.length },
      'commit accepted',
    );
  const { defaults } = resolution.nodes.get(house.planSettings.node) ?? house.definitions;
  return ok({ commit, desired, values, hostnameSuffix: defaults.hostnameSuffix });
}

/** The blobs of what is in force, whichever commit they are from. */
function lastGoodOids({ files, nodeFile }: Promised): string[] {
  return [...files, ...(nodeFile === undefined ? [] : [nodeFile])].map(({ oid }) => oid);
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
