import type { EdgeService } from '../definitions/types.ts';
import type { Because } from '../registry/types.ts';
import { stageCertificates } from './certificates.ts';
import { isEdgeName, recordedEdges, type Facts, type ServicePlan } from './facts.ts';
import { hintToName } from './guard.ts';
import { planRecords, recordsGone } from './records.ts';
import { ofService, planRoutes, recordsOf, removal, wantedRoute } from './routes.ts';
import { together } from './staged.ts';
import type { Refused, Step, Waiting } from './types.ts';

/** What goes of the edges of this node, and what may not. */
export interface EdgeVerdict {
  /** Edges that may be taken away now. */
  readonly removed: readonly string[];
  /** Edges whose service is inactive, and whose routes may not be taken away. */
  readonly kept: readonly string[];
  readonly refused: readonly Refused[];
  readonly waiting: readonly Waiting[];
}

/**
 * A route of another node's service that this node serves as well: certificate → route to the home node's listener → record. No
 * container is here, so nothing is leased, proved or applied; what is recorded is what stands in the proxy and in DNS.
 */
export function planEdge(facts: Facts, edge: EdgeService): ServicePlan {
  const { service, home, address, held, paused, active, file, commit } = edge;
  const because: Because = {
    summary: `${nameOf(service.name)} of ${home} is served here too (edge)`,
    commit,
    file,
  };
  if (paused === true) return waits(edge, 'paused', 'it is paused in git: looked at only, whatever it does');
  if (held !== undefined)
    return waits(edge, 'git', `it is left as it is: ${held}`, `Mend the file of the node ${home}.`);
  if (!active) return planStopped(facts, edge);
  const certificates = together(
    service.components.map((component) => stageCertificates(facts, edge, component, because)),
  );
  const unreached =
    address === undefined && service.components.length > 0
      ? waits(
          edge,
          'address',
          `nodes/${home}.toml names no address, so it cannot be reached`,
          `Set addresses = ["…"] there.`,
        )
      : NOTHING;
  const routes = planRoutes(facts, edge, service.components, because, true);
  const records = routes.served && routes.steps.length === 0 ? planRecords(facts, edge, because) : NOTHING;
  const parts = [certificates, unreached, routes, unrecorded(facts, edge, because), records];
  return {
    steps: parts.flatMap(({ steps }) => steps).map(asEdge),
    waiting: parts.flatMap(({ waiting }) => waiting),
    refused: parts.flatMap(({ refused }) => refused),
  };
}

const NOTHING: ServicePlan = { steps: [], waiting: [], refused: [] };

function asEdge(step: Step): Step {
  return { ...step, edge: true };
}

function waits({ service }: EdgeService, what: string, why: string, hint?: string): ServicePlan {
  const waiting = { service: service.name, for: what, why, ...(hint === undefined ? {} : { hint }) };
  return { ...NOTHING, waiting: [waiting] };
}

/**
 * What stands as it should and is not in the registry, because that was lost: written once more, which changes nothing and
 * records whose it is. Without a record of its names nobody could take them away one day (L08).
 */
function unrecorded(facts: Facts, edge: EdgeService, because: Because): ServicePlan {
  const { promised, observed, settings } = facts;
  const { service } = edge;
  const again = { ...because, summary: `${because.summary}: recorded anew` };
  const { proxy, dns } = observed;
  const known = recordsOf(edge, service.components).filter(
    (record) =>
      !promised.routes.some(
        (one) => one.hostname === record.hostname && one.port === record.port && one.service === service.name,
      ),
  );
  const standing = proxy.known ? ofService(facts, proxy.value.table, service.name) : [];
  const routes = service.components
    .flatMap((component) => component.routes.flatMap((route) => wantedRoute(facts, edge, component, route)))
    .filter(
      ({ hostname, listenerPort }) =>
        known.some((one) => one.hostname === hostname && one.port === listenerPort) &&
        standing.some((one) => one.hostname === hostname && one.listenerPort === listenerPort),
    );
  const addresses = [...(settings.addresses ?? [])].sort();
  const names = [...new Set(service.components.flatMap((one) => one.routes.map(({ hostname }) => hostname)))];
  const records = names.filter((hostname) => {
    const seen = dns?.names[hostname];
    if (
      seen === undefined ||
      'elsewhere' in seen ||
      promised.records?.some((one) => one.hostname === hostname)
    )
      return false;
    return seen.servers.every(({ seen: at }) => {
      const mark = at.known ? at.value.mark : undefined;
      return (
        mark?.owner === settings.owner &&
        mark.service === service.name &&
        mark.addresses.join() === addresses.join()
      );
    });
  });
  const head = { service: service.name, because: again };
  const steps: Step[] = [
    ...(routes.length === 0
      ? []
      : [{ ...head, subject: hostsOf(routes), kind: 'put-routes' as const, routes, records: known }]),
    ...(records.length === 0
      ? []
      : [
          {
            ...{ ...head, subject: records.join(', '), kind: 'put-records' as const },
            records: records.map((hostname) => ({ service: service.name, hostname, addresses, before: [] })),
          },
        ]),
  ];
  return { ...NOTHING, steps };
}

function hostsOf(routes: readonly { readonly hostname: string }[]): string {
  return routes.map(({ hostname }) => hostname).join(', ');
}

/** `active = false` at home: the routes go; certificate and record stay, as they do there. */
function planStopped(facts: Facts, edge: EdgeService): ServicePlan {
  const { service, home, commit, file } = edge;
  const because = { summary: `${nameOf(service.name)} of ${home} is inactive`, commit, file };
  return routesGone(facts, service.name, because);
}

function routesGone(facts: Facts, service: string, because: Because): ServicePlan {
  if (!facts.settings.proxy) return NOTHING;
  const { proxy } = facts.observed;
  if (!proxy.known) return { ...NOTHING, waiting: [{ service, for: 'proxy', why: proxy.why }] };
  const mine = ofService(facts, proxy.value.table, service);
  return { ...NOTHING, steps: mine.length === 0 ? [] : [asEdge(removal(service, mine, because))] };
}

/** The service is gone, or this node is its edge no more: first the name leads elsewhere, then nobody is served here. */
export function planEdgeRemoved(facts: Facts, service: string): ServicePlan {
  const { file, goneIn } = facts.promised.files.find((entry) => entry.service === service) ?? {};
  const because: Because = {
    summary: `this node is no longer the edge of ${service.replace('@', ' of ')}`,
    commit: goneIn ?? facts.desired.commit.oid,
    ...(file === undefined ? {} : { file }),
  };
  const records = recordsGone(facts, service);
  const routes = routesGone(facts, service, because);
  const waiting = [...records.waiting, ...routes.waiting];
  if (waiting.length > 0) return { ...NOTHING, waiting };
  const forget: Step = { service, subject: service, because, kind: 'forget-service' };
  const gone = records.steps.map((step) => ({ ...step, because }));
  return { ...NOTHING, steps: [...gone, ...routes.steps, forget].map(asEdge) };
}

/**
 * Edges go under a budget of their own, as services do (L31): a commit that empties a directory must not take every public name
 * off the net. What is named for its home node is named for its edges.
 */
export function judgeEdges(facts: Facts): EdgeVerdict {
  const { desired, promised, settings } = facts;
  const known = knownEdges(facts);
  const wanted = new Map((desired.edges ?? []).map((edge) => [edge.service.name, edge]));
  const unread = known.filter((name) => !wanted.has(name) && desired.edgesUnread?.includes(name) === true);
  const gone = known.filter((name) => !wanted.has(name) && !unread.includes(name));
  const stops = [...wanted.values()]
    .filter(({ active, paused, held }) => !active && paused !== true && held === undefined)
    .map(({ service }) => service.name)
    .filter((name) => routesHere(facts).has(name));
  const isNamed = (name: string): boolean =>
    settings.removable.includes(name) || settings.removable.includes(nameOf(name));
  const unnamed = [...gone, ...stops].filter((name) => !isNamed(name));
  const waiting = unread.map((service) => ({
    ...{ service, for: 'git', why: 'it is left as it is: its newest definition cannot be used' },
    hint: 'Mend the definition of the service; its own node says what is wrong.',
  }));
  const objection = unnamed.length === 0 ? undefined : objectionTo(facts, unnamed, known.length);
  if (objection === undefined) return { removed: gone, kept: [], refused: [], waiting };
  const refused =
    objection.isForAll || promised.lostAt === desired.commit.oid ? [...gone, ...stops] : unnamed;
  return {
    removed: gone.filter((name) => !refused.includes(name)),
    kept: stops.filter((name) => refused.includes(name)),
    refused: refused.map((service) => ({ service, why: objection.why, hint: objection.hint })),
    waiting,
  };
}

function objectionTo(
  { desired, promised, settings }: Facts,
  unnamed: readonly string[],
  count: number,
): { why: string; hint: string; isForAll?: boolean } | undefined {
  if (promised.lostAt !== undefined && promised.lostAt === desired.commit.oid)
    return {
      why: 'the registry was lost, and the file beside it too: no edge is taken away under this commit',
      hint: 'It goes on with the next commit.',
      isForAll: true,
    };
  const budget = Math.max(1, Math.floor(count * settings.budgetShare));
  const hint = hintToName([...new Set(unnamed.map(nameOf))]);
  if (unnamed.length > budget)
    return {
      why: `${unnamed.length} of ${count} edges would be taken away at once, and the budget is ${budget}: none is`,
      hint,
    };
  if (desired.unreadable)
    return {
      why: 'this node is no longer named as its edge, but removals wait while any definition of this node is unreadable',
      hint: 'Mend the definitions with issues first.',
    };
  return desired.isEmpty === true
    ? { why: 'the repository holds no definition any more: no edge is taken away without being named', hint }
    : undefined;
}

/** By the registry, and by the marks in the proxy: what a lost registry does not know is ours all the same. */
function knownEdges(facts: Facts): string[] {
  return [...new Set([...recordedEdges(facts.promised), ...routesHere(facts)])].sort();
}

function routesHere({ observed, settings }: Facts): ReadonlySet<string> {
  const prefix = `${settings.owner}/`;
  const table = observed.proxy.known ? observed.proxy.value.table : [];
  const names = table.flatMap(({ mark }) =>
    mark?.startsWith(prefix) === true ? [mark.slice(prefix.length).split('/')[0] ?? ''] : [],
  );
  return new Set(names.filter(isEdgeName));
}

function nameOf(edge: string): string {
  return edge.split('@')[0] ?? edge;
}
