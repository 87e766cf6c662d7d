import { isBusy, type Facts, type ServicePlan } from './facts.ts';

/** What is said of services with a step under way. */
export function planBusy({ busy = [] }: Facts): ServicePlan {
  const waiting = busy.map(({ service, step, since }) => ({
    ...{ service, for: 'busy', why: `${step} is under way`, since },
  }));
  return { steps: [], waiting, refused: [] };
}

/** A step is never begun beside another one of its service: what it would be planned from changes under it. */
export function withoutBusy(facts: Facts, plan: ServicePlan): ServicePlan {
  if (facts.busy === undefined) return plan;
  return { ...plan, steps: plan.steps.filter(({ service }) => !isBusy(facts, service)) };
}
