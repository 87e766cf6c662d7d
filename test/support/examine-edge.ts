import type { CertificateState } from '../../src/node/certs/types.ts';
import type { Facts } from '../../src/plan/facts.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { Passed } from './examine-plan.ts';

/** What must hold of a pass at the edge: certificates that have ended, and name servers of which one is down. */
export function examineEdge(seen: Passed): string[] {
  const { desired, promised, now } = seen.facts;
  const passed: Passed = { ...seen, facts: { ...seen.facts, desired: inTurn(desired, promised, now) } };
  return [...endedUntold(passed), ...routesTaken(passed, desired), ...serversKept(passed)];
}

type Name = {
  readonly service: string;
  readonly hostname: string;
  readonly port: number;
  readonly l7: boolean;
};

function namesIn(desired: Facts['desired']): Name[] {
  return desired.services.flatMap(({ service }) =>
    service.active
      ? service.components.flatMap(({ routes }) =>
          routes.map(({ hostname, port, mode }) => ({
            ...{ service: service.name, hostname, port, l7: mode === 'l7' },
          })),
        )
      : [],
  );
}

function hasEnded(state: CertificateState | undefined): boolean {
  return state?.kind === 'absent' && state.endedAt !== undefined;
}

/** A certificate that has ended is renewed, or the plan says what its service waits for, or heals that first. */
function endedUntold({ facts, plan }: Passed): string[] {
  const { certificates } = facts.observed;
  return namesIn(facts.desired)
    .filter(({ hostname, l7 }) => l7 && hasEnded(certificates[hostname]))
    .filter(
      ({ service }) =>
        ![...plan.waiting, ...plan.refused, ...plan.steps].some((entry) => entry.service === service),
    )
    .map(({ hostname }) => `G39: the certificate of ${hostname} has ended, and nothing is said of it`);
}

/** A route goes on serving while its certificate is renewed: it is wanted before and after. */
function routesTaken({ facts, plan }: Passed, newest: Facts['desired']): string[] {
  const { certificates } = facts.observed;
  const [now, later] = [namesIn(facts.desired), namesIn(newest)];
  const wants = (names: readonly Name[], key: { hostname: string; listenerPort: number }): boolean =>
    names.some(({ hostname, port }) => hostname === key.hostname && port === key.listenerPort);
  return plan.steps.flatMap((step) =>
    step.kind !== 'remove-routes'
      ? []
      : step.routes
          .filter((route) => hasEnded(certificates[route.hostname]))
          .filter((route) => wants(now, route) && wants(later, route))
          .map(({ hostname }) => `G38: the route ${hostname} goes because its certificate has ended`),
  );
}

/** A name server that is down keeps the others from nothing (L20): of a service at rest every server that answers is right. */
function serversKept({ facts, plan }: Passed): string[] {
  const { promised, observed, settings } = facts;
  const names = observed.dns?.names ?? {};
  const isAtRest = (service: string): boolean =>
    promised.applied.some((one) => one.service.name === service && one.state === 'running') &&
    promised.failures.every((one) => one.service !== service) &&
    plan.refused.every((one) => one.service !== service) &&
    // One that has an end is the pause after an update that was not taken.
    plan.waiting.every((one) => one.service !== service || (one.for === 'dns' && one.until === undefined)) &&
    plan.steps.every((one) => one.service !== service);
  return namesIn(facts.desired)
    .filter(({ service }) => isAtRest(service))
    .flatMap(({ hostname }) => {
      const seen = names[hostname];
      if (seen === undefined || !('servers' in seen)) return [];
      return seen.servers.flatMap(({ server, seen: at }) =>
        at.known && (settings.addresses ?? []).some((ip) => !at.value.addresses.includes(ip))
          ? [`L20: ${server} answers and has not all of ${hostname}, and nothing is done about it`]
          : [],
      );
    });
}
