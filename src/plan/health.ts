import type { Component } from '../definitions/types.ts';
import type { ObservedContainer, ProbeState } from '../node/types.ts';
import { deployOf, type Facts } from './facts.ts';
import type { Step, Waiting } from './types.ts';

const RESTART_FIRST_MS = 10_000;
const RESTART_MAX_MS = 300_000;

export type Unwell = Extract<ProbeState, { kind: 'unwell' }>;

/**
 * A container that runs and is unwell: it is told, or ended and started again. The first time at once, then after growing
 * waits, 10 s doubling to 5 min: a service that stays unwell is not kept from its work by its restarts.
 */
export function treat(
  facts: Facts,
  service: string,
  component: Component,
  container: ObservedContainer,
  probe: Unwell,
): { steps: Step[]; waiting: Waiting[] } {
  const why = `${container.name} is unwell: ${probe.last}`;
  const waiting: Waiting = { service, component: component.name, for: 'health', why, since: probe.since };
  if (component.health?.onFailure !== 'restart') {
    const hint = 'It is left running: [components.health] on_failure = "restart" would restart it.';
    return { steps: [], waiting: [{ ...waiting, hint }] };
  }
  const waitMs =
    probe.times <= 1 ? 0 : Math.min(RESTART_MAX_MS, RESTART_FIRST_MS * 2 ** Math.min(probe.times - 2, 20));
  const until = probe.since + waitMs;
  if (until > facts.now) {
    const hint = `It was restarted ${probe.times - 1} times for it, and is restarted again then.`;
    return { steps: [], waiting: [{ ...waiting, hint, until }] };
  }
  const head = {
    service,
    subject: container.name,
    because: { summary: `restarted: ${why}`, by: 'agent' as const },
  };
  return {
    steps: [
      {
        ...head,
        kind: 'stop-container',
        containerId: container.id,
        stopTimeoutS: deployOf(facts, service).stopTimeoutS ?? facts.settings.stopTimeoutS,
      },
      {
        ...head,
        kind: 'start-container',
        from: container.name,
        name: container.name,
        specDigest: container.identity?.spec ?? '',
      },
    ],
    waiting: [],
  };
}
