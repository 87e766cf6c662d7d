import type { Refused, Step, Waiting } from './types.ts';

/** What must be there before anything that runs is touched (L07, L30). `ready` is false while something is missing. */
export interface Staging {
  readonly ready: boolean;
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
}

export function together(parts: readonly Staging[]): Staging {
  return {
    ready: parts.every((part) => part.ready),
    steps: parts.flatMap((part) => part.steps),
    waiting: parts.flatMap((part) => part.waiting),
    refused: parts.flatMap((part) => part.refused),
  };
}

export const READY: Staging = { ready: true, steps: [], waiting: [], refused: [] };

export function notYet(waiting: Waiting, steps: readonly Step[] = []): Staging {
  return { ready: false, steps, waiting: [waiting], refused: [] };
}

export function refusal(refused: Refused): Staging {
  return { ready: false, steps: [], waiting: [], refused: [refused] };
}
