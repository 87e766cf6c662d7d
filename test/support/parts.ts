import { shortCheck } from '../../src/base/check.ts';
import type { ContainerParts, ContainerSpec, SeenText } from '../../src/node/types.ts';

/** What a container is made of when it is made exactly as ordered, of an image that has a path and a command of its own. */
export function partsOfSpec(spec: ContainerSpec): ContainerParts {
  const [program, ...rest] = spec.entrypoint ?? [];
  const text = (wanted: unknown, ofImage: unknown): SeenText => ({
    check: shortCheck(wanted ?? ofImage),
    given: wanted === undefined,
  });
  return {
    env: {
      PATH: 'hash of a path',
      ...Object.fromEntries(spec.env.map(({ name, hash }) => [name, hash])),
      ...Object.fromEntries(spec.agentEnv.map(({ name, value }) => [name, `hash of ${value}`])),
    },
    agentEnv: Object.fromEntries(spec.agentEnv.map(({ name, value }) => [name, value])),
    given: ['PATH'],
    mounts: spec.mounts,
    networks: Object.fromEntries(spec.networks.map(({ name, aliases }) => [name, aliases])),
    labels: Object.fromEntries((spec.labels ?? []).map(({ name, value }) => [name, shortCheck(value)])),
    restart: spec.restart,
    user: text(spec.user, ''),
    entrypoint: text(program, ''),
    cmd: text(program === undefined ? spec.cmd : [...rest, ...(spec.cmd ?? [])], ['serve']),
    resources: spec.resources ?? {},
    rights: [],
  };
}
