import { digestOf } from '../base/json.ts';
import { isInside } from './fields.ts';
import { finding, order, type Finding } from './findings.ts';
import type { Force } from './force.ts';
import type { Defaults, EdgeService, NodeDefinition, Policy, Route, Service } from './types.ts';

/** What the edges of a repository are judged with. */
export interface EdgeContext {
  /** Whose agent asks; absent: nobody's, and what only a node's settings say is not judged. */
  readonly node?: string;
  readonly nodes: ReadonlyMap<string, NodeDefinition>;
  readonly policy?: Policy;
  readonly defaults: Defaults;
}

/** What the registry, the proxy's marks and the journal know an edge by: no service can be called so. */
export function edgeName(service: string, home: string): string {
  return `${service}@${home}`;
}

/**
 * The routes of other nodes' services that this node serves as well. Only what an edge needs is taken: a new version of the
 * service is no change here. `unread`: nodes whose file is bad, so that their names and addresses are not known.
 */
export function edgesOf(
  force: readonly Force[],
  node: string,
  context: EdgeContext,
  unread: ReadonlySet<string>,
): EdgeService[] {
  const isHere = isAt(node);
  return force
    .filter(({ built }) => built.service.node !== node && hasRoute(built.service, isHere))
    .map((one) => edgeOf(one, node, context, unread))
    .sort((a, b) => order(a.service.name, b.service.name));
}

function edgeOf(
  { draft, built, commit, heldBack }: Force,
  node: string,
  context: EdgeContext,
  unread: ReadonlySet<string>,
): EdgeService {
  const { name, node: home, active, paused, components } = built.service;
  const address = context.nodes.get(home)?.addresses[0];
  const service = {
    name: edgeName(name, home),
    components: components.flatMap((component) => {
      const routes = component.routes.filter(
        (route) => isAt(node)(route) && refusalAt(route, node, context) === undefined,
      );
      return routes.length === 0 ? [] : [{ name: component.name, routes }];
    }),
  };
  const known = { service, home, active, ...(address === undefined ? {} : { address }) };
  return {
    ...known,
    ...(paused === true ? { paused } : {}),
    ...(unread.has(home) ? { held: `nodes/${home}.toml cannot be read` } : {}),
    file: draft.file.path,
    oid: draft.file.oid,
    commit,
    digest: digestOf(known),
    heldBack,
  };
}

/** A finding of a file, by the service whose file it is. */
export interface EdgeFinding {
  readonly force: Force;
  readonly finding: Finding;
}

/** Warnings about edges that only the whole repository shows. They hold nothing back: at home nothing is wrong. */
export function edgeFindings(force: readonly Force[], context: EdgeContext): EdgeFinding[] {
  const withEdges = force.filter(({ built }) => hasRoute(built.service, ({ edge }) => edge !== undefined));
  if (withEdges.length === 0) return [];
  return [...refusedAtEdges(withEdges, context), ...halfEdges(force)];
}

function refusedAtEdges(withEdges: readonly Force[], context: EdgeContext): EdgeFinding[] {
  return withEdges.flatMap((one) =>
    placed(one.built.service).flatMap(({ route, path }) =>
      (route.edge ?? []).flatMap((node) => {
        const why = refusalAt(route, node, context);
        return why === undefined ? [] : [{ force: one, finding: finding('route/edge-refused', path, why) }];
      }),
    ),
  );
}

/** Git does not widen what a node serves: its settings and its own file decide, also about the routes of others. */
function refusalAt(route: Route, node: string, context: EdgeContext): string | undefined {
  const policy = context.node === node ? context.policy : undefined;
  const listeners = policy?.listeners ?? context.nodes.get(node)?.listeners;
  const name = `${route.hostname}:${route.port}`;
  if (listeners !== undefined && !listeners.includes(route.port))
    return `${node} does not serve ${name}: ${route.port} is no listener of its proxy (${listeners.join(', ') || 'none'})`;
  const domains = [context.defaults.hostnameSuffix, ...(policy?.hostnames ?? [])];
  if (policy === undefined || domains.some((domain) => isInside(route.hostname, domain))) return undefined;
  return `${node} does not serve ${name}: it lies in none of its domains (${domains.join(', ')})`;
}

/** The name leads to the edge nodes only: a route of it that they do not serve is reached by nobody. */
function halfEdges(force: readonly Force[]): EdgeFinding[] {
  const edges = new Map<string, Set<string>>();
  for (const { built } of force)
    for (const { hostname, edge } of allRoutes(built.service))
      edges.set(hostname, (edges.get(hostname) ?? new Set()).add(shown(edge)));
  return force.flatMap((one) =>
    placed(one.built.service).flatMap(({ route, path }) => {
      const others = [...(edges.get(route.hostname) ?? [])].filter((edge) => edge !== shown(route.edge));
      if (others.length === 0) return [];
      const message = `${route.hostname} has ${shown(route.edge)} here, and ${others.sort(order).join(' and ')} on another route`;
      return [{ force: one, finding: finding('route/edge-name', path, message) }];
    }),
  );
}

function shown(edge: Route['edge']): string {
  return edge === undefined ? 'no edge' : `the edge ${edge.join(', ')}`;
}

function placed(service: Service): { route: Route; path: (string | number)[] }[] {
  return service.components.flatMap((component, index) =>
    component.routes.map((route, at) => ({
      route,
      path: ['components', index, 'routes', at, route.edge === undefined ? 'port' : 'edge'],
    })),
  );
}

/** Asked of every service of the repository whenever a file changes: no list is made for it. */
function hasRoute({ components }: Service, is: (route: Route) => boolean): boolean {
  return components.some(({ routes }) => routes.some(is));
}

function allRoutes({ components }: Service): Route[] {
  return components.flatMap(({ routes }) => routes);
}

function isAt(node: string): (route: Route) => boolean {
  return ({ edge }) => edge?.includes(node) === true;
}
