import type { Refused, Step, Waiting } from './types.ts';

/** What must be there before anything that runs is touched (L07, L30). `ready` is false while something is missing. */
export interface Staging {
  readonly ready: boolean;
  readonly steps: readonly Step[];
  readonly waiting: readonly Waiting[];
  readonly refused: readonly Refused[];
}

/** Components of one image ask for it once: the first step of a kind about an image stands for all. */
export function once(staging: Staging): Staging {
  const seen = new Set<string>();
  const steps = staging.steps.filter((step) => {
    const image = 'image' in step ? step.image.reference : 'reference' in step ? step.reference : undefined;
    const key = `${step.kind} ${image ?? ''}`;
    if (image === undefined || !seen.has(key)) {
      seen.add(key);
      return true;
    }
    return false;
  });
  return { ...staging, steps };
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
