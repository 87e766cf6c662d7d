import { COVERED, withArguments } from '../base/covered.ts';
import type { Component, Desired } from '../definitions/types.ts';
import type { Standing } from './foresee.ts';

/**
 * A state without its covered arguments and labels: they are taken from the definitions that the node has accepted, where the
 * repository has these. What it does not have stays covered, and differs from nothing by that: digests are of the whole.
 */
export function uncovered(state: Standing, accepted: Desired): Standing {
  const applied = state.promised.applied.map((entry) => {
    const known = accepted.services.find(({ service }) => service.name === entry.service.name)?.service;
    const components = entry.service.components.map((component) =>
      componentOf(
        component,
        known?.components.find(({ name }) => name === component.name),
      ),
    );
    return { ...entry, service: { ...entry.service, components } };
  });
  return { ...state, promised: { ...state.promised, applied } };
}

function componentOf(component: Component, known: Component | undefined): Component {
  const all = { cmd: known?.cmd, entrypoint: known?.entrypoint, health: known?.health?.command };
  return withArguments(
    component,
    (words, of) => words.map((word, at) => (word === COVERED ? (all[of]?.[at] ?? word) : word)),
    (label) =>
      label.value === COVERED ? (known?.labels?.find(({ name }) => name === label.name) ?? label) : label,
  );
}
