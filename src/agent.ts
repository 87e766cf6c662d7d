import { mkdir } from 'node:fs/promises';
import { systemClock } from './base/clock.ts';
import type { Log } from './base/log.ts';
import { blocked, ok, type Outcome } from './base/outcome.ts';
import { keyedHash } from './base/secret.ts';
import { startDashboard } from './dashboard/server.ts';
import { isCron, startLoop } from './loop.ts';
import { openNode } from './node/node.ts';
import { runPass, type House, type Memory } from './pass.ts';
import type { StepKind } from './plan/types.ts';
import { openKey } from './registry/key.ts';
import { openRegistry } from './registry/registry.ts';
import { formatState, STATE_FORMAT } from './report/state.ts';
import { makeView } from './report/view.ts';
import type { View } from './report/types.ts';
import type { Settings } from './settings.ts';
import { openSource } from './source/source.ts';
import { shownUrl } from './base/http.ts';
import { VERSION } from './version.ts';
import { definitionOptions, nodeOptions, planSettings, sourceSettings } from './wiring.ts';

const SHOWN_PASSES = 20;
const RECENT_STEPS = 20;
/** No pass lasts so long: each call has a deadline, and builds and probes run beside it. */
const STUCK_MS = 5 * 60_000;
const CLEARING: readonly string[] = ['remove-container', 'release-leases', 'push-image'] satisfies StepKind[];

export interface Agent {
  /** Where the dashboard listens; absent when its port was taken. */
  readonly dashboard?: string;
  /** Stops at the next step boundary. Containers go on running. */
  stop(): Promise<void>;
}

/** Opens every room, starts the loop and the dashboard. A room that is down does not keep the agent from starting, except its own registry. */
export async function startAgent(settings: Settings, log: Log): Promise<Outcome<Agent>> {
  if (!isCron(settings.source.poll)) {
    return blocked(
      `source.poll: "${settings.source.poll}" is no cron expression`,
      'For example "*/30 * * * * *": every 30 seconds.',
    );
  }
  const clock = systemClock;
  await mkdir(settings.dataDir, { recursive: true, mode: 0o700 });
  const registry = openRegistry({ path: settings.database.path, clock, log });
  if (registry.kind !== 'ok') return registry;
  const key = openKey(settings.dataDir);
  if (key.kind !== 'ok') {
    registry.value.close();
    return key;
  }
  let signal: (trigger: string) => void = () => undefined;
  const node = openNode(nodeOptions(settings, log, (trigger) => signal(trigger)));
  const house: House = {
    source: openSource(sourceSettings(settings), log, clock),
    registry: registry.value,
    node,
    planSettings: planSettings(settings, key.value.keyId),
    definitions: definitionOptions(settings, (value) => keyedHash(key.value.key, value)),
    parallel: settings.deploy.parallel,
    clock,
    log,
    onNews: () => signal('git news'),
  };
  const memory: Memory = {};
  const startedAt = clock.now();
  const loop = startLoop({
    poll: settings.source.poll,
    run: (triggers, stopping) => runPass(house, memory, triggers, stopping),
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
  const dashboard = await startDashboard({
    listenAddr: settings.server.listen_addr,
    hosts: settings.server.hosts,
    log,
    view: () => viewOf(settings, house, memory, startedAt),
    state: () => stateOf(settings, house, memory),
    trouble: () =>
      loop.runningMs() > STUCK_MS
        ? `one pass has been running for ${Math.round(loop.runningMs() / 1000)} s`
        : undefined,
  });
  if (dashboard.kind === 'ok') log.info({ address: dashboard.value.address }, 'dashboard');
  // Nobody can see the node then, but it goes on being converged (G56).
  else log.error({ why: dashboard.why, hint: dashboard.hint }, 'no dashboard');

  return ok({
    ...(dashboard.kind === 'ok' ? { dashboard: dashboard.value.address } : {}),
    stop: async () => {
      await watch.close();
      if (dashboard.kind === 'ok') await dashboard.value.close();
      await loop.stop();
      await node.stop();
      registry.value.close();
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
