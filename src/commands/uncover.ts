import type { Component, Desired, Service } from '../definitions/types.ts';
import { COVERED } from '../report/state.ts';
import type { Standing } from './foresee.ts';

/**
 * A state without its covered arguments and labels: they are taken from the definitions that the node has accepted, where the
 * repository has these. What it does not have stays covered, and differs from nothing by that: digests are of the whole.
 */
export function uncovered(state: Standing, accepted: Desired): Standing {
  const applied = state.promised.applied.map((entry) => {
    const known = accepted.services.find(({ service }) => service.name === entry.service.name)?.service;
    return known === undefined ? entry : { ...entry, service: serviceOf(entry.service, known) };
  });
  return { ...state, promised: { ...state.promised, applied } };
}

function serviceOf(service: Service, known: Service): Service {
  const components = service.components.map((component): Component => {
    const same = known.components.find(({ name }) => name === component.name);
    if (same === undefined) return component;
    const { cmd, entrypoint, labels, health } = component;
    return {
      ...component,
      ...(cmd === undefined ? {} : { cmd: wordsOf(cmd, same.cmd) }),
      ...(entrypoint === undefined ? {} : { entrypoint: wordsOf(entrypoint, same.entrypoint) }),
      ...(health?.command === undefined
        ? {}
        : { health: { ...health, command: wordsOf(health.command, same.health?.command) } }),
      ...(labels === undefined
        ? {}
        : {
            labels: labels.map((label) =>
              label.value === COVERED
                ? (same.labels?.find(({ name }) => name === label.name) ?? label)
                : label,
            ),
          }),
    };
  });
  return { ...service, components };
}

function wordsOf(words: readonly string[], known: readonly string[] = []): string[] {
  return words.map((word, at) => (word === COVERED ? (known[at] ?? word) : word));
}
