import type { DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { FlapRecord } from '../registry/types.ts';
import { oursOf, type Facts } from './facts.ts';
import { flapsByService } from './lists.ts';
import { slotted } from './slots.ts';
import { sameSpec, specDigest, specOf } from './spec.ts';
import type { Step, Waiting } from './types.ts';

const FIRST_REST_MS = 10_000;
const LONGEST_REST_MS = 300_000;

/**
 * The engine starts again what exits. A container that has exited too often in the window (settings) is stopped and rests,
 * longer each time: 10 s, doubling to 5 min (G41). Once a whole window after a rest has passed without an exit, it counts anew.
 */
export function flapSteps(facts: Facts, desired: DesiredService): Step[] {
  return oursOf(facts, desired.service.name).flatMap((container): Step[] => {
    const { flapping } = facts.settings;
    const exits = exitsOf(facts, container);
    if (flapping === undefined || !isUp(container) || exits.length < flapping.exits) return [];
    if (!desired.service.components.some((component) => component.container === container.name)) return [];
    const before = recordOf(facts, container);
    const { service = '', component = '', spec = '' } = container.identity ?? {};
    const last = container.exitCode ?? container.lastExitCode;
    const code = last === undefined ? '' : `, last with exit code ${last}`;
    const why = `container ${container.name} exited ${exits.length} times in ${minutes(flapping.windowMs)}${code}`;
    const flap: FlapRecord = {
      ...{ service, component, spec, why, heldAt: facts.now },
      count: before === undefined || isOver(facts, before) ? 1 : before.count + 1,
    };
    return [
      {
        ...{ service, subject: container.name, kind: 'rest-container', containerId: container.id, flap },
        because: { summary: why, commit: desired.commit, file: desired.file },
        stopTimeoutS: facts.settings.stopTimeoutS,
      },
    ];
  });
}

/** Why this stopped container is not started yet; undefined when it may be. */
export function restOf(facts: Facts, container: ObservedContainer): Waiting | undefined {
  const record = recordOf(facts, container);
  if (record === undefined) return undefined;
  const until = endOf(record);
  if (until <= facts.now) return undefined;
  const { service, component, why, count, heldAt } = record;
  return {
    ...{ service, component, for: 'flapping', since: heldAt, until },
    why: `${why}: it rests (rest ${count})`,
    hint: hintOf(service, component),
  };
}

/** It was stopped to rest, and not started since: however it ended, it has not done its work. */
export function hasRested(facts: Facts, container: ObservedContainer): boolean {
  const record = recordOf(facts, container);
  return record !== undefined && (container.startedAt ?? 0) <= record.heldAt;
}

/**
 * From its first rest on it is called flapping until a whole window has passed without an exit, whatever becomes of it
 * meanwhile: between two rests it runs, ends, is started, or is away for a moment, and it is one trouble all the time.
 */
export function watchOf(facts: Facts, desired: DesiredService): Waiting[] {
  return recordsOf(facts, desired).flatMap((record): Waiting[] => {
    if (isOver(facts, record)) return [];
    const { service, component, why, count, heldAt } = record;
    return [
      {
        ...{ service, component, for: 'flapping', since: heldAt, until: overAt(facts, record) },
        why: `${why}: started again after rest ${count}, and watched`,
        hint: hintOf(service, component),
      },
    ];
  });
}

/** Those that concern what is in place, or what shall be where nothing is: another spec is another try. */
function recordsOf(facts: Facts, desired: DesiredService): FlapRecord[] {
  const { service } = desired;
  return (flapsByService(facts.promised.flaps ?? []).get(service.name) ?? []).filter((flap) => {
    const component = service.components.find(({ name }) => name === flap.component);
    if (component === undefined || flap.heldAt > facts.now) return false;
    const inPlace = oursOf(facts, service.name).find(({ name }) => name === component.container);
    const spec = specOf(slotted(facts, desired), service, component);
    return sameSpec(flap.spec, inPlace?.identity?.spec ?? specDigest(spec, facts.settings.keyId));
  });
}

function hintOf(service: string, component: string): string {
  return `\`mc-gitops logs ${service}/${component}\` says why it ends; a changed definition is tried at once.`;
}

/** Exits that count: in the window, and after the last rest. */
function exitsOf(facts: Facts, container: ObservedContainer): readonly number[] {
  const from = facts.now - (facts.settings.flapping?.windowMs ?? 0);
  const record = recordOf(facts, container);
  return (facts.observed.exits?.[container.id] ?? []).filter(
    (at) => at > from && (record === undefined || at > record.heldAt),
  );
}

/** Of this container's component and spec: another spec is another try. */
function recordOf(facts: Facts, { identity }: ObservedContainer): FlapRecord | undefined {
  if (identity === undefined) return undefined;
  const flaps = flapsByService(facts.promised.flaps ?? []).get(identity.service);
  return flaps?.find(
    (flap) =>
      flap.component === identity.component &&
      flap.spec === identity.spec &&
      // A clock that was set back must not make it rest for years.
      flap.heldAt <= facts.now,
  );
}

function endOf({ heldAt, count }: FlapRecord): number {
  return heldAt + Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** Math.min(count - 1, 20));
}

function isOver(facts: Facts, record: FlapRecord): boolean {
  return overAt(facts, record) <= facts.now;
}

/** When a window will have passed without an exit, or has. */
function overAt(facts: Facts, record: FlapRecord): number {
  const windowMs = facts.settings.flapping?.windowMs ?? 0;
  const exits = oursOf(facts, record.service)
    .filter((container) => recordOf(facts, container) === record)
    .flatMap(({ id }) => facts.observed.exits?.[id] ?? [])
    .sort((a, b) => a - b);
  // What exited after a window without any is another trouble.
  return exits.reduce(
    (over, at) => (at < over ? Math.max(over, at + windowMs) : over),
    endOf(record) + windowMs,
  );
}

function isUp({ state }: ObservedContainer): boolean {
  return state === 'running' || state === 'restarting';
}

function minutes(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} min` : `${Math.round(ms / 1000)} s`;
}
