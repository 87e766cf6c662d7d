import { mkdir } from 'node:fs/promises';
import { systemClock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { blocked, ok, type Failure, type Outcome } from './base/outcome.ts';
import { keyedHash } from './base/secret.ts';
import { startDashboard, type DashboardOptions } from './dashboard/server.ts';
import { isCron, startLoop, startTimer, type Loop } from './loop.ts';
import type { StepResult } from './execute/types.ts';
import { openNode } from './node/node.ts';
import { runPass, type House, type Memory } from './pass.ts';
import type { StepKind } from './plan/types.ts';
import { openKey } from './registry/key.ts';
import { openRegistry } from './registry/registry.ts';
import { takeSnapshot } from './registry/snapshots.ts';
import { causesOf } from './report/causes.ts';
import { openSinces } from './report/sinces.ts';
import { undecidedOf } from './report/standing.ts';
import { openChannels } from './report/channels.ts';
import { openFeed, type EventFeed } from './report/events.ts';
import { historyOf } from './report/history.ts';
import { readServiceLog, type LogQuestion } from './report/logs.ts';
import { openNotifier, type Notifier } from './report/notifier.ts';
import { formatState, STATE_FORMAT } from './report/state.ts';
import { openTeller, type Teller } from './report/teller.ts';
import type { Situation } from './report/told.ts';
import { makeView } from './report/view.ts';
import type { LogView, View } from './report/types.ts';
import { dataPath, type Settings } from './settings.ts';
import { openSource } from './source/source.ts';
import { shownUrl } from './base/http.ts';
import { VERSION } from './version.ts';
import {
  channelSettings,
  definitionOptions,
  journalLimits,
  nodeOptions,
  planSettings,
  sourceSettings,
} from './wiring.ts';

const SHOWN_PASSES = 20;
const SHOWN_NOTICES = 20;
const RECENT_STEPS = 20;
const NOTHING: readonly StepResult[] = [];
/** No pass lasts so long: each call has a deadline, and builds and probes run beside it. */
const STUCK_MS = 5 * 60_000;
const CLEARING: readonly string[] = [
  'remove-container',
  'release-leases',
  'remove-image',
  'push-image',
] satisfies StepKind[];

export interface Agent {
  /** Where the dashboard listens; absent when its port was taken. */
  readonly dashboard?: string;
  /** Stops at the next step boundary. Containers go on running. */
  stop(): Promise<void>;
}

/** Opens every room, starts the loop and the dashboard. A room that is down does not keep the agent from starting, except its own registry. */
export async function startAgent(settings: Settings, log: Log): Promise<Outcome<Agent>> {
  const crons = checkCrons(settings);
  if (crons !== undefined) return crons;
  const clock = systemClock;
  await mkdir(settings.dataDir, { recursive: true, mode: 0o700 });
  const key = openKey(settings.dataDir);
  if (key.kind !== 'ok') return key;
  const registry = openRegistry({
    ...{ path: settings.database.path, clock, log },
    ...{ journal: journalLimits(settings), key: key.value.key },
  });
  if (registry.kind !== 'ok') return registry;
  let signal: (trigger: string) => void = () => undefined;
  const hash = (value: string): string => keyedHash(key.value.key, value);
  const node = openNode(nodeOptions(settings, log, hash, (trigger) => signal(trigger)));
  const house: House = {
    source: openSource(sourceSettings(settings), log, clock),
    registry: registry.value,
    node,
    planSettings: planSettings(settings, key.value.keyId),
    definitions: definitionOptions(settings, hash),
    parallel: settings.deploy.parallel,
    clock,
    log,
    onNews: (trigger) => signal(trigger),
  };
  const memory: Memory = {};
  const feed = openFeed();
  const teller = openTeller({ log, feed });
  const sinces = openSinces();
  const notifier = openNotifier({
    ...{
      store: () => registry.value.notices,
      channels: openChannels(channelSettings(settings)),
      clock,
      log,
      feed,
    },
    ...{ node: settings.node, owner: settings.owner },
  });
  const loop = startLoop({
    poll: settings.source.poll,
    run: async (triggers, stopping) => {
      const report = await runPass(house, memory, triggers, stopping);
      if (memory.seen !== undefined) memory.seen = sinces.look(memory.seen);
      tell(teller, notifier, settings, house, memory);
      return report;
    },
    clock,
    log,
  });
  signal = (trigger) => loop.signal(trigger);
  if (settings.mcproxy.driver !== 'none') {
    // The listeners of the settings stand in the table before the first route does.
    void node.proxy.put([]).then((listening) => {
      if (listening.kind !== 'ok')
        log.warn({ why: listening.why, hint: listening.hint }, 'the proxy does not serve yet');
    });
  }
  const watch = await house.source.watch(() => loop.signal('git'));
  const snapshots = startSnapshots(settings, house);
  const dashboard = await startDashboard(dashboardOptions(settings, house, memory, feed, loop));
  if (dashboard.kind === 'ok') log.info({ address: dashboard.value.address }, 'dashboard');
  // Nobody can see the node then, but it goes on being converged (G56).
  else log.error({ why: dashboard.why, hint: dashboard.hint }, 'no dashboard');

  return ok({
    ...(dashboard.kind === 'ok' ? { dashboard: dashboard.value.address } : {}),
    stop: async () => {
      await watch.close();
      await snapshots?.stop();
      if (dashboard.kind === 'ok') await dashboard.value.close();
      await loop.stop();
      // A step that is under way ends within its own deadline.
      await memory.lanes?.idle();
      await notifier.stop();
      await node.stop();
      registry.value.close();
    },
  });
}

function checkCrons({ source, database }: Settings): Failure | undefined {
  if (!isCron(source.poll))
    return blocked(
      `source.poll: "${source.poll}" is no cron expression`,
      'For example "*/30 * * * * *": every 30 seconds.',
    );
  if (database.snapshot_cron !== '' && !isCron(database.snapshot_cron))
    return blocked(
      `database.snapshot_cron: "${database.snapshot_cron}" is no cron expression`,
      'For example "17 3 * * *": every day at 3:17; "" takes no snapshots.',
    );
  return undefined;
}

function startSnapshots(settings: Settings, { clock, log }: House): { stop(): Promise<void> } | undefined {
  const { path, snapshot_cron, snapshot_dir, snapshot_keep } = settings.database;
  if (snapshot_cron === '') return undefined;
  const dir = snapshot_dir ?? dataPath(settings, 'snapshots');
  const take = (): void => {
    const taken = takeSnapshot({ path, dir, keep: snapshot_keep, now: clock.now() });
    if (taken.kind === 'ok') log.info({ file: taken.value }, 'snapshot of the registry');
    else log.error({ why: taken.why, hint: taken.hint }, 'no snapshot of the registry');
  };
  return startTimer(snapshot_cron, take, log);
}

function dashboardOptions(
  settings: Settings,
  house: House,
  memory: Memory,
  feed: EventFeed,
  loop: Loop,
): DashboardOptions {
  const { registry } = house;
  const startedAt = house.clock.now();
  return {
    listenAddr: settings.server.listen_addr,
    hosts: settings.server.hosts,
    log: house.log,
    view: () => viewOf(settings, house, memory, startedAt),
    state: () => stateOf(settings, house, memory),
    root: () => house.node.certificates.rootPem(),
    history: (service, limit) =>
      historyOf(service === undefined ? registry.passes(limit) : registry.changes(service, limit)).slice(
        0,
        limit,
      ),
    logs: (question) => logOf(question, settings, house, memory),
    events: feed,
    trouble: () =>
      loop.runningMs() > STUCK_MS
        ? `one pass has been running for ${Math.round(loop.runningMs() / 1000)} s`
        : undefined,
  };
}

/** Nothing of it decides anything, nor waits (L41). */
function tell(
  teller: Teller,
  notifier: Notifier,
  { notify }: Settings,
  { source, clock, registry }: House,
  { seen, idle }: Memory,
): void {
  const situation: Situation = {
    source: source.health(),
    ...(idle === undefined ? {} : { idle }),
    ...(seen === undefined ? {} : { plan: seen.plan, commit: seen.desired.commit }),
  };
  const results = seen?.told ?? NOTHING;
  teller.afterPass(situation, results, clock.now());
  const limits = {
    sourceAfterMs: notify.source_after_s * 1000,
    degradedAfterMs: notify.degraded_after_s * 1000,
  };
  const printed = printedIn(registry);
  const causes = causesOf(
    { ...situation, results, printed, ...(seen === undefined ? {} : { seen }) },
    limits,
  );
  notifier.look(causes, undecidedOf(seen));
}

/** Services of whose failed version the last lines are kept. A registry that cannot be read keeps nothing else from being told. */
function printedIn(registry: House['registry']): ReadonlySet<string> {
  try {
    return new Set(registry.printed().keys());
  } catch {
    return new Set();
  }
}

function logOf(
  question: LogQuestion,
  settings: Settings,
  house: House,
  memory: Memory,
): Promise<Outcome<LogView>> {
  return readServiceLog(question, {
    owner: settings.owner,
    observed: memory.seen?.observed,
    services: (memory.seen?.desired.services ?? []).map(({ service }) => service),
    buildLog: (reference) => house.node.images()?.buildLog(reference) ?? [],
    values: memory.resolved?.values ?? new Map(),
    printed: printedIn(house.registry),
    read: async (id, tail) => {
      const engine = await house.node.engine();
      if (engine.kind !== 'ok') return engine;
      const driver = await engine.value.logDriver(id);
      if (driver.kind !== 'ok') return driver;
      const lines = await engine.value.logs(id, { tail });
      return lines.kind === 'ok' ? ok({ lines: lines.value, driver: driver.value }) : lines;
    },
  });
}

/** What the dashboard shows: the last pass, and the journal of the passes that did something. */
function viewOf(settings: Settings, house: House, memory: Memory, startedAt: number): View {
  const { registry, source } = house;
  const { idle, seen } = memory;
  return makeView({
    node: settings.node,
    owner: settings.owner,
    version: VERSION,
    startedAt,
    sourceUrl: settings.source.urls.map(shownUrl).join(', '),
    source: source.health(),
    proxyDriver: settings.mcproxy.driver,
    ...(idle === undefined
      ? {}
      : { idle: { why: idle.why, ...(idle.hint === undefined ? {} : { hint: idle.hint }) } }),
    ...(seen === undefined ? {} : { seen }),
    passes: registry.passes(SHOWN_PASSES),
    notices: registry.notices.recent(SHOWN_NOTICES),
    printed: registry.printed(),
    buildLog: (reference) => house.node.images()?.buildLog(reference) ?? [],
    history: (service) => {
      const steps = registry.history(service, RECENT_STEPS);
      // Why it is as it is: the clearing up after a change is not the reason of the change.
      return steps.find((step) => !CLEARING.includes(step.kind)) ?? steps[0];
    },
  });
}

function stateOf(settings: Settings, house: House, memory: Memory): string | undefined {
  const { seen } = memory;
  if (seen === undefined) return undefined;
  const { defaults, policy, root } = house.definitions;
  return formatState({
    format: STATE_FORMAT,
    node: settings.node,
    commit: seen.desired.commit.oid,
    settings: house.planSettings,
    defaults,
    policy: policy ?? { mounts: [], networks: [], ports: [], hostnames: [] },
    root: root ?? '',
    promised: seen.promised,
    observed: seen.observed,
  });
}
