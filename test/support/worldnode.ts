import type { Node } from '../../src/node/node.ts';
import type { World } from './world.ts';

/** The world as a node: it is looked at and written to like a real one, and every container is ready at once. */
export function nodeOf(world: World): Node {
  const writer = world.node();
  const node = {
    observe: async (_sight: unknown, targetsOf: Parameters<Node['observe']>[1]) => {
      world.now = Date.now();
      const seen = world.observed();
      const probes = Object.fromEntries(
        targetsOf(seen).map((target) => [
          target.containerId,
          { kind: 'ready' as const, since: target.startedAt },
        ]),
      );
      return { ...seen, probes };
    },
    engine: async () => ({ kind: 'ok', value: writer.engine }),
    images: () => writer.images,
    proxy: writer.proxy,
    certificates: writer.certificates,
    stop: async () => undefined,
  };
  // The world has the writing half of a node, and looks for itself: that is all that a pass asks for.
  return node as unknown as Node;
}
