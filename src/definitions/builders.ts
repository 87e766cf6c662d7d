import type { Service } from './types.ts';

/**
 * Images that services of several nodes are to build: the first of these nodes by name builds, this one takes them from
 * their registry. By reference and not by repository alone: the first node builds no version that none of its own
 * services names. Undefined: there are none.
 */
export function builtElsewhere(
  services: readonly Service[],
  node: string,
): Readonly<Record<string, string>> | undefined {
  const ours = new Set(services.filter((one) => one.node === node).flatMap(builtBy));
  const first = new Map<string, string>();
  for (const service of services) {
    // What does not run, or is not touched, builds nothing for others.
    if (service.node >= node || !service.active || service.paused === true) continue;
    for (const reference of builtBy(service)) {
      const before = first.get(reference);
      if (ours.has(reference) && (before === undefined || service.node < before))
        first.set(reference, service.node);
    }
  }
  return first.size === 0 ? undefined : Object.fromEntries([...first].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function builtBy({ components }: Service): string[] {
  return components
    .filter(({ image, dockerfile }) => dockerfile !== undefined && image.host !== undefined)
    .map(({ image }) => image.reference);
}
