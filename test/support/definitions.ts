import { digestOf } from '../../src/base/json.ts';
import type { Component, Desired, DesiredService, Service } from '../../src/definitions/types.ts';

/** What the host names of services end in, where they have no other. */
export const SUFFIX = 'svc.example.net';

export function component(name: string, change: Partial<Component> = {}): Component {
  return {
    name,
    container: name,
    image: {
      reference: `mcr.example.net/${name}:v1.0.0`,
      host: 'mcr.example.net',
      repository: name,
      tag: 'v1.0.0',
    },
    env: [],
    mounts: [],
    network: 'mcpnet',
    restart: 'unless-stopped',
    routes: [],
    ports: [],
    ...change,
  };
}

export function service(name: string, components: Component[], change: Partial<Service> = {}): Service {
  const named = components.map((c) => ({ ...c, container: c.name === name ? name : `${name}-${c.name}` }));
  return { name, node: 'n1', active: true, path: name, components: named, ...change };
}

export function desiredOf(services: readonly Service[], change: Partial<Desired> = {}): Desired {
  return {
    node: 'n1',
    commit: { oid: 'c'.repeat(40), author: 'a', email: 'a@example.net', at: 0, message: 'm', parents: [] },
    services: services.map((s): DesiredService => ({
      service: s,
      file: `services/${s.name}.toml`,
      oid: digestOf(s).slice(0, 40),
      digest: digestOf(s),
      commit: 'c'.repeat(40),
      heldBack: false,
    })),
    refused: [],
    unreadable: false,
    removals: [],
    issues: [],
    ...change,
  };
}
