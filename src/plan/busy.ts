import { isBusy, ours, oursOf, type Facts, type ServicePlan } from './facts.ts';
import type { Waiting } from './types.ts';

const LOOK_AGAIN_MS = 5_000;

/** What cannot be seen is left alone like what is worked on: nobody knows what it is (G9). */
export function withUnseen(facts: Facts): Facts {
  const unseen = ours(facts).flatMap(({ identity, unseen: why }) =>
    why === undefined || identity === undefined ? [] : [identity.service],
  );
  if (unseen.length === 0) return facts;
  const known = new Set((facts.busy ?? []).map(({ service }) => service));
  const more = [...new Set(unseen)].filter((service) => !known.has(service));
  return { ...facts, busy: [...(facts.busy ?? []), ...more.map((service) => ({ service }))] };
}

/** A service with a container of which the engine tells nothing. */
export function planUnseen(facts: Facts, service: string): ServicePlan | undefined {
  const waiting = oursOf(facts, service).flatMap(({ name, identity, unseen }): Waiting[] =>
    unseen === undefined
      ? []
      : [
          {
            ...{ service, component: identity?.component ?? '', for: 'engine' },
            why: `${name}: ${unseen}`,
            hint: `Nothing is done for ${service} until it can be seen, and the other services go on. Look at it with: docker inspect ${name}.`,
            until: facts.now + LOOK_AGAIN_MS,
          },
        ],
  );
  return waiting.length === 0 ? undefined : { steps: [], waiting, refused: [] };
}

/** What is said of services with a step under way. */
export function planBusy({ busy = [] }: Facts): ServicePlan {
  const waiting = busy.flatMap(({ service, step, since }): Waiting[] =>
    step === undefined
      ? []
      : [{ service, for: 'busy', why: `${step} is under way`, ...(since === undefined ? {} : { since }) }],
  );
  return { steps: [], waiting, refused: [] };
}

/** A step is never begun beside another one of its service: what it would be planned from changes under it. */
export function withoutBusy(facts: Facts, plan: ServicePlan): ServicePlan {
  if (facts.busy === undefined) return plan;
  return { ...plan, steps: plan.steps.filter(({ service }) => !isBusy(facts, service)) };
}
