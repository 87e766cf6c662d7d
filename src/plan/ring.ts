import type { Component, FixedPort } from '../definitions/types.ts';
import type { ObservedContainer, PublishedPort } from '../node/types.ts';
import { desiredOf, ours, type Facts } from './facts.ts';
import { containersByName } from './lists.ts';
import { isUp } from './swap.ts';
import type { Step } from './types.ts';

/**
 * Services that wait for each other for ever: each wants a fixed port or a container name that the next one has, and none begins,
 * as nothing that runs is stopped before its successor can start (L07). Names in order, from `service` on; undefined: there is none.
 */
export function ringOf(facts: Facts, service: string): readonly string[] | undefined {
  const paths: string[][] = [[service]];
  const seen = new Set<string>();
  for (let path = paths.shift(); path !== undefined; path = paths.shift()) {
    const last = path.at(-1) ?? service;
    for (const next of awaitedBy(facts, last)) {
      if (next === service) return path;
      if (!seen.has(next)) paths.push([...path, next]);
      seen.add(next);
    }
  }
  return undefined;
}

/** What is told of it, and what a person can do. */
export function ringWords(ring: readonly string[]): { readonly why: string; readonly hint: string } {
  return {
    why: `each of these waits for what the next one has: ${[...ring, ring[0]].join(', ')}`,
    hint:
      'Nothing that runs is stopped before its successor can start. Let one of them go first, in a commit of its own: ' +
      'give it another port or name, or active = false.',
  };
}

/** Containers that publish this port, or an address of it; whoever they are of, and whatever they do. */
export function publishersOf(
  containers: readonly ObservedContainer[],
  { host, protocol, ip }: FixedPort,
): ObservedContainer[] {
  return containers.filter(({ publish }) =>
    publish.some((one) => one.host === host && one.protocol === protocol && clash(one.ip, ip)),
  );
}

/** The facts as they are once these steps are taken: a fixed port that one service gets is not free for the next (L39). */
export function withGivenPorts(facts: Facts, steps: readonly Step[]): Facts {
  const { engine } = facts.observed;
  const publishedBy = (step: Step): readonly PublishedPort[] => {
    if (step.kind === 'create-container') return step.spec.publish;
    if (step.kind !== 'start-container' || !engine.known) return [];
    return containersByName(engine.value.containers).get(step.from)?.[0]?.publish ?? [];
  };
  const given = steps.flatMap((step) =>
    publishedBy(step).map(({ ip, host, protocol }) => ({ service: step.service, ip, host, protocol })),
  );
  return given.length === 0 ? facts : { ...facts, givenPorts: [...(facts.givenPorts ?? []), ...given] };
}

export function clash(a: string, b: string | undefined): boolean {
  const anywhere = (ip: string | undefined): boolean =>
    ip === undefined || ip === '' || ip === '0.0.0.0' || ip === '::';
  return a === b || anywhere(a) || anywhere(b);
}

function awaitedBy(facts: Facts, service: string): string[] {
  const desired = desiredOf(facts, service)?.service;
  // What is stopped, removed or paused waits for nobody, or for a person.
  if (desired?.active !== true || desired.paused === true) return [];
  return desired.components
    .flatMap((component) => holdersOf(facts, component))
    .filter((name) => name !== service);
}

/** Services of ours that have what this component wants; its own service, if that has it already. */
function holdersOf(facts: Facts, component: Component): string[] {
  const all = ours(facts);
  const running = all.filter(isUp);
  const named = all.filter(({ name }) => name === component.container);
  const publishing = component.ports.flatMap((port) => publishersOf(running, port));
  return [...named, ...publishing].flatMap(({ identity }) => identity?.service ?? []);
}
