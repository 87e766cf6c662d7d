import type { Desired, DesiredService } from '../definitions/types.ts';
import type { Promised } from '../registry/types.ts';

/** Its definition is gone, and what it left is not. */
export function isGoing(service: string, desired: Desired, promised: Promised): boolean {
  return (
    desired.services.every((entry) => entry.service.name !== service) &&
    promised.applied.some((entry) => entry.service.name === service)
  );
}

/** What git wants of it was brought about, and nothing else is wanted since. */
export function isInLine(service: string, desired: Desired, promised: Promised): boolean {
  // Of an edge nothing is applied: it was in line when its routes stood.
  if (desired.edges?.some((edge) => edge.service.name === service && edge.active) === true)
    return promised.routes.some((route) => route.service === service);
  const wanted: DesiredService | undefined = desired.services.find((entry) => entry.service.name === service);
  const applied = promised.applied.find((entry) => entry.service.name === service);
  return wanted !== undefined && applied?.digest === wanted.digest;
}
