import type { Desired, DesiredService } from '../definitions/types.ts';
import type { CertificateOrder, CertificateState } from '../node/certs/types.ts';
import type { Promised } from '../registry/types.ts';
import type { Seen } from './causes.ts';

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

/** What cannot be told to be over. */
export interface Undecided {
  /** The services could not be looked at: what was wrong with them has not cleared. */
  readonly isBlind?: boolean;
  /** Services for which something is done or tried again: it is not known yet what comes of it. */
  readonly services?: ReadonlySet<string>;
  /** The CA is being asked, or is about to be. */
  readonly isCaAsked?: boolean;
}

/**
 * While a step or an order is tried again nothing is waited for; that it is tried is not that it succeeds (L15). Over is what a look
 * finds neither wrong nor in work. Pure.
 */
export function undecidedOf(seen: Seen | undefined): Undecided {
  if (seen?.observed.engine.known !== true) return { isBlind: true };
  const { desired, observed, plan } = seen;
  const isAsked = ({ hostname }: { readonly hostname: string }): boolean =>
    isTriedAgain(observed.certificates[hostname]);
  const asking = [...desired.services, ...(desired.edges ?? [])].filter(({ service }) =>
    service.components.some(({ routes }) => routes.some(isAsked)),
  );
  return {
    services: new Set([
      ...plan.steps.map(({ service }) => service),
      ...workedOn(seen),
      ...asking.map(({ service }) => service.name),
    ]),
    isCaAsked: asking.length > 0 || plan.steps.some(({ kind }) => kind === 'issue-certificate'),
  };
}

/** Services with a step under way, and those that wait for one of these to come first. */
export function workedOn({ desired, plan }: Pick<Seen, 'desired' | 'plan'>): ReadonlySet<string> {
  const busy = plan.waiting.flatMap((one) => (one.for === 'busy' ? [one.service] : []));
  const behind =
    busy.length === 0
      ? []
      : desired.services.filter(({ service }) => service.after?.some((name) => busy.includes(name)));
  const waiting = new Set(plan.waiting.flatMap((one) => (one.for === 'after' ? [one.service] : [])));
  return new Set([...busy, ...behind.map(({ service }) => service.name).filter((name) => waiting.has(name))]);
}

function isTriedAgain(state: CertificateState | undefined): boolean {
  const order = orderAt(state);
  return order?.kind === 'ordered' || order?.kind === 'due';
}

/** The order of a certificate at a CA, or what stands in its place. */
export function orderAt(
  state: CertificateState | undefined,
): Exclude<CertificateState, { kind: 'valid' }> | CertificateOrder | { readonly kind: 'due' } | undefined {
  return state?.kind === 'valid' ? state.renewal : state;
}
