import type { Desired, EdgeService, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

export const HOME_IP = '10.0.0.1';
export const EDGE_IP = '10.0.0.2';

/** Two nodes: `n1` runs the service, `n2` is its edge. They share nothing but the name server. */
interface Pair {
  readonly home: World;
  readonly edge: World;
}

export async function running(text: Service = web()): Promise<Pair> {
  const home = node('n1', HOME_IP);
  const edge = node('n2', EDGE_IP);
  edge.names = home.names;
  home.present(component('web').image.reference);
  home.desired = atHome(text);
  const isEdge = text.components[0]?.routes[0]?.edge !== undefined;
  edge.desired = isEdge ? atEdge(text) : { ...desiredOf([]), node: 'n2' };
  await home.converge();
  await edge.converge();
  return { home, edge };
}

export function node(name: string, address: string): World {
  const world = new World();
  world.nodeName = name;
  world.zones = [SUFFIX];
  world.addresses = [address];
  return world;
}

export function web(
  route: Partial<Omit<Service['components'][number]['routes'][number], 'edge'>> & {
    readonly edge?: readonly string[] | undefined;
  } = {},
  change: Partial<Service> = {},
): Service {
  return named('web', route, change);
}

export function named(
  name: string,
  route: Parameters<typeof web>[0] = {},
  change: Partial<Service> = {},
): Service {
  const { edge, ...rest } = { edge: ['n2'], ...route };
  const plain = {
    name: '',
    port: 443,
    mode: 'l7',
    hostname: `${name}.${SUFFIX}`,
    backendTls: false,
  } as const;
  const routes = [{ ...plain, ...rest, ...(edge === undefined ? {} : { edge }) }];
  return service(name, [component(name, { routes })], change);
}

export function atHome(text: Service): Desired {
  return desiredOf([text]);
}

export function atEdge(text: Service, change: Partial<EdgeService> = {}): Desired {
  return { ...desiredOf([]), node: 'n2', edges: [{ ...edgeOf(text), ...change }] };
}

export function edgeOf(text: Service): EdgeService {
  const components = text.components.map(({ name, routes }) => ({ name, routes }));
  return {
    service: { name: `${text.name}@${text.node}`, components },
    home: text.node,
    address: HOME_IP,
    active: text.active,
    file: `services/${text.name}.toml`,
    oid: 'b'.repeat(40),
    commit: 'c'.repeat(40),
    digest: JSON.stringify(components),
    heldBack: false,
  };
}

export function kinds(world: World): string[] {
  return world.journal.map((line) => line.split(' ')[0] ?? '');
}
