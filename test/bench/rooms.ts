import { systemClock } from '../../src/base/clock.ts';
import { makeLog, type Log } from '../../src/base/log.ts';
import type { Outcome } from '../../src/base/outcome.ts';
import { keyedHash } from '../../src/base/secret.ts';
import { openNode, type Node } from '../../src/node/node.ts';
import { runPass, type House, type Memory } from '../../src/pass.ts';
import { openKey } from '../../src/registry/key.ts';
import { openRegistry } from '../../src/registry/registry.ts';
import type { Settings } from '../../src/settings.ts';
import { openSource } from '../../src/source/source.ts';
import { definitionOptions, nodeOptions, planSettings, sourceSettings } from '../../src/wiring.ts';
import { until } from '../support/until.ts';
import { timed } from './bench.ts';

/** The rooms of an agent without its loop, so that single passes can be measured. */
export interface Rooms {
  readonly house: House;
  readonly memory: Memory;
  /** One pass; the milliseconds of its parts. */
  pass(trigger?: string): Promise<PassTimes>;
  /** Passes until nothing is left to do, with the newest commit. */
  settle(timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

export interface PassTimes {
  readonly totalMs: number;
  readonly registryMs: number;
  readonly observeMs: number;
  /** What remains: definitions from memory, plan, and making the facts for it. */
  readonly planMs: number;
  readonly steps: number;
}

/** Opens the rooms as the agent does; `nodeOf` gives another node, else the real one. */
export function openRooms(settings: Settings, nodeOf?: () => Node, log: Log = makeLog('silent')): Rooms {
  const clock = systemClock;
  const registry = must(openRegistry({ path: settings.database.path, clock, log }));
  const key = must(openKey(settings.dataDir));
  const node =
    nodeOf?.() ??
    openNode(
      nodeOptions(
        settings,
        log,
        (value) => keyedHash(key.key, value),
        () => undefined,
      ),
    );
  const spent = { registry: 0, observe: 0 };
  const measured: Node = {
    ...node,
    observe: async (sight, targetsOf) => {
      const { ms, value } = await timed(() => node.observe(sight, targetsOf));
      spent.observe += ms;
      return value;
    },
  };
  const house: House = {
    source: openSource(sourceSettings(settings), log, clock),
    registry: {
      ...registry,
      promised: () => {
        const begun = performance.now();
        const promised = registry.promised();
        spent.registry += performance.now() - begun;
        return promised;
      },
    },
    node: measured,
    planSettings: planSettings(settings, key.keyId),
    definitions: definitionOptions(settings, (value) => keyedHash(key.key, value)),
    parallel: settings.deploy.parallel,
    clock,
    log,
    onNews: () => undefined,
  };
  const memory: Memory = {};
  const never = new AbortController().signal;
  const pass = async (trigger = 'wake'): Promise<PassTimes> => {
    Object.assign(spent, { registry: 0, observe: 0 });
    const { ms } = await timed(() => runPass(house, memory, new Set([trigger]), never));
    return {
      totalMs: ms,
      registryMs: spent.registry,
      observeMs: spent.observe,
      planMs: ms - spent.registry - spent.observe,
      steps: memory.seen?.results.length ?? 0,
    };
  };
  return {
    house,
    memory,
    pass,
    settle: async (timeoutMs = 240_000) => {
      await pass('git');
      await memory.polling;
      await until(
        'a quiet node',
        async () => {
          const { steps } = await pass();
          return steps === 0 && memory.seen?.plan.waiting.length === 0;
        },
        timeoutMs,
        50,
      );
    },
    close: async () => {
      await node.stop();
      registry.close();
    },
  };
}

function must<T>(outcome: Outcome<T>): T {
  if (outcome.kind === 'ok') return outcome.value;
  throw new Error(outcome.why);
}
