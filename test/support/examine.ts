import { examineEdge } from './examine-edge.ts';
import { examinePass, type Passed } from './examine-plan.ts';
import { examineWorld } from './examine-world.ts';
import type { World } from './world.ts';

/**
 * What must hold after every pass (reliability.md, G1 to G12); each finding is one sentence that begins with its goal.
 * G1 and G2 are about the end: see `examineEnd`. G8 is about two runs, which `test/simulation` compares.
 */
export function examine(world: World, seen?: Passed): string[] {
  return [
    ...examineWorld(world),
    ...(seen === undefined ? [] : [...examinePass(world, seen), ...examineEdge(seen)]),
  ];
}
