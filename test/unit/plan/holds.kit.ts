import type { Component, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

export function worldOf(...services: Service[]): World {
  const world = new World();
  world.desired = desiredOf(services);
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  return world;
}

export function one(name: string, change: Partial<Component> = {}, more: Partial<Service> = {}): Service {
  return service(name, [component(name, change)], more);
}

export function routed(name: string): Service {
  const route: Route = {
    name: '',
    port: 443,
    mode: 'l7',
    hostname: `${name}.${SUFFIX}`,
    backendTls: false,
  };
  return one(name, { routes: [route] });
}

export function versioned(name: string, tag: string): Partial<Component> {
  const reference = `mcr.example.net/${name}:${tag}`;
  return { image: { reference, host: 'mcr.example.net', repository: name, tag } };
}

export function starts(steps: readonly string[]): string[] {
  return steps.filter((line) => line.startsWith('start'));
}
