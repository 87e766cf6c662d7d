import { canonicalJson } from '../base/json.ts';
import { withoutSecrets } from '../base/covered.ts';
import type { Defaults, Policy } from '../definitions/types.ts';
import type { Observed } from '../node/types.ts';
import type { PlanSettings } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';

export const STATE_FORMAT = 1;

/**
 * What a node is, for `mc-gitops plan` and `validate` elsewhere: the inputs of the planner without the definitions.
 * Names and keyed hashes only; the key never leaves the node.
 */
export interface NodeState {
  readonly format: typeof STATE_FORMAT;
  readonly node: string;
  readonly commit: string;
  readonly settings: Omit<PlanSettings, 'removable' | 'windows'>;
  readonly defaults: Defaults;
  readonly policy: Policy;
  /** Folder of the definitions inside the repository. */
  readonly root: string;
  readonly promised: Promised;
  readonly observed: Observed;
}

/**
 * The state as bytes: the same node in the same state gives the same. Without the moment of the look, which is no state, and without
 * secrets: nobody is asked who he is before he gets it.
 */
export function formatState(state: NodeState): string {
  const { observed, promised, ...rest } = state;
  const applied = promised.applied.map((entry) => ({ ...entry, service: withoutSecrets(entry.service) }));
  return `${canonicalJson({ ...rest, promised: { ...promised, applied }, observed: { ...observed, at: 0 } })}\n`;
}
