import type { EngineFacts } from '../node/types.ts';
import type { EngineIdentity } from '../registry/types.ts';
import { ours, type Facts } from './facts.ts';
import type { Refused } from './types.ts';

export type EngineVerdict =
  /** `record`: to be written down before anything is done with it. */
  | { readonly kind: 'ours'; readonly record?: EngineIdentity }
  | { readonly kind: 'changed'; readonly refused: readonly Refused[] };

/**
 * Is this the engine that the node's containers were made in (L05, G22)? Another user or storage root is an empty engine
 * whose services would all be made a second time. Taken: the same one; one whose containers are all there (the same node
 * moved); one that the settings name. Anything else is refused before the first step.
 */
export function judgeEngine(facts: Facts, engine: EngineFacts): EngineVerdict {
  const { promised, settings } = facts;
  const now: EngineIdentity = { id: engine.id, storageRoot: engine.storageRoot };
  const before = promised.engine;
  if (before?.id === now.id && before.storageRoot === now.storageRoot) return { kind: 'ours' };
  if (settings.engineId === now.id) return { kind: 'ours', record: now };
  if (before === undefined) {
    return settings.engineId === undefined
      ? { kind: 'ours', record: now }
      : refuse(facts, now, { id: settings.engineId, storageRoot: 'as [policy] engine_id names it' });
  }
  return labelsAgree(facts) ? { kind: 'ours', record: now } : refuse(facts, now, before);
}

/** Every component of every service that was applied as running has a container of ours here. */
function labelsAgree(facts: Facts): boolean {
  const mine = ours(facts);
  return facts.promised.applied
    .filter(({ state }) => state === 'running')
    .every(({ service }) =>
      service.components.every((component) =>
        mine.some(
          ({ identity }) => identity?.service === service.name && identity.component === component.name,
        ),
      ),
    );
}

function refuse(facts: Facts, now: EngineIdentity, before: EngineIdentity): EngineVerdict {
  const why = `the container engine is another one: ${told(now)} instead of ${told(before)}, and our containers are not in it. Nothing is done`;
  const hint = `Was the agent's user, the engine's socket or its storage root changed by mistake? If this engine is meant, set [policy] engine_id = "${now.id}" on the node and restart the agent.`;
  const names = [
    ...facts.desired.services.map(({ service }) => service.name),
    ...facts.promised.applied.map(({ service }) => service.name),
  ];
  return {
    kind: 'changed',
    refused: [...new Set(names)].sort().map((service) => ({ service, why, hint })),
  };
}

function told({ id, storageRoot }: EngineIdentity): string {
  return `${id} (${storageRoot})`;
}
