import { redact } from '../base/secret.ts';
import type { StepResult } from '../execute/types.ts';
import type { Observed, ObservedRoute } from '../node/types.ts';
import type { StepKind } from '../plan/types.ts';
import type { Cause, Seen } from './causes.ts';
import { isInLine } from './standing.ts';

const ROUTE_REPAIRS: readonly StepKind[] = ['put-routes', 'remove-routes'];
const CONTAINER_REPAIRS: readonly StepKind[] = ['create-container', 'start-container'];

/** A step for a service whose definition is the applied one mends what somebody or something else changed. */
export function repaired(
  { desired, promised, observed, plan }: Seen,
  results: readonly StepResult[],
): Cause[] {
  const causes = new Map<string, Cause>();
  for (const { step, outcome } of results) {
    const { service, because } = step;
    const isRoute = ROUTE_REPAIRS.includes(step.kind);
    if (outcome.kind !== 'ok' || because.patch !== undefined) continue;
    if (!isRoute && !CONTAINER_REPAIRS.includes(step.kind)) continue;
    // A renewed certificate that the proxy takes up is no drift.
    if (step.kind === 'put-routes' && step.routes.every((route) => isRenewed(route, observed))) continue;
    // The start after a rest is told as flapping.
    const isFlapping = plan.waiting.some((entry) => entry.service === service && entry.for === 'flapping');
    if (!isRoute && isFlapping) continue;
    // Whoever was told of a container has not heard of a route.
    const key = `drift ${service}${isRoute ? ' routes' : ''}`;
    if (!isInLine(service, desired, promised) || causes.has(key)) continue;
    causes.set(key, {
      ...{ key, kind: 'drift repaired', service, afterMs: 0 },
      text: `${service} was repaired: ${redact(because.summary)} (${step.kind} ${step.subject})`,
    });
  }
  return [...causes.values()];
}

function isRenewed(route: ObservedRoute, { proxy }: Observed): boolean {
  if (!proxy.known) return false;
  const { table, stale = [] } = proxy.value;
  const isSame = (one: { readonly hostname: string; readonly listenerPort: number }): boolean =>
    one.hostname === route.hostname && one.listenerPort === route.listenerPort;
  return (
    stale.some((one) => isSame(one) && one.why === undefined) &&
    table.some((one) => isSame(one) && one.backend === route.backend && one.mode === route.mode)
  );
}
