import type { World } from './world.ts';

/** What a foreign container is besides its id and name. */
export const FOREIGN_PARTS = {
  image: 'x',
  imageId: 'y',
  state: 'running',
  restartCount: 0,
  labels: {},
  publish: [],
} as const;

/** What is not ours: a container without any mark, one of another owner named `name` and of our `service`, and a route without a mark. */
export function addForeign(world: Pick<World, 'containers' | 'table'>, name: string, service: string): void {
  const identity = { owner: 'n2/main', service, component: service, spec: 's', leases: {}, format: '1' };
  world.containers.push(
    { ...FOREIGN_PARTS, id: 'f1', name: 'legacy' },
    { ...FOREIGN_PARTS, id: 'f2', name, identity },
  );
  world.table.push({
    listenerPort: 443,
    hostname: 'legacy.example.net',
    backend: '127.0.0.1:9',
    mode: 'l4',
    backendTls: false,
  });
}
