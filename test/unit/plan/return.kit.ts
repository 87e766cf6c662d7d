import type { Deploy, Route, Service } from '../../../src/definitions/types.ts';
import { component, desiredOf, service, SUFFIX } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';

export const WEB = `web.${SUFFIX}`;

export function ref(tag: string): string {
  return `mcr.example.net/web:${tag}`;
}

export function route(hostname: string): Route {
  return { name: '', port: 443, mode: 'l7', hostname, backendTls: false };
}

function image(tag: string): ReturnType<typeof component>['image'] {
  return { reference: ref(tag), host: 'mcr.example.net', repository: 'web', tag };
}

export function web(tag: string, deploy: Deploy = {}, hostname = WEB): Service {
  const change = Object.keys(deploy).length === 0 ? {} : { deploy };
  return service('web', [component('web', { image: image(tag), routes: [route(hostname)] })], change);
}

export function shop(tag: string): Service {
  return service('shop', [
    component('api', { image: image(tag) }),
    component('web', { image: image(tag), routes: [route(`shop.${SUFFIX}`)] }),
    component('db'),
  ]);
}

/** Pushes a version; the images of these tags never become ready. */
export function push(world: World, version: Service, ...bad: string[]): void {
  const others = world.desired.services
    .map((entry) => entry.service)
    .filter((one) => one.name !== version.name);
  world.desired = desiredOf([...others, version].sort((a, b) => (a.name < b.name ? -1 : 1)));
  for (const tag of bad) world.bad.add(ref(tag));
}

export async function started(...services: Service[]): Promise<World> {
  const world = new World();
  world.desired = desiredOf([...services].sort((a, b) => (a.name < b.name ? -1 : 1)));
  world.present(...['v1', 'v2', 'v3'].map(ref));
  for (const part of services.flatMap((entry) => entry.components)) world.present(part.image.reference);
  await world.converge();
  return world;
}

export function restart(world: World, name: string): void {
  Object.assign(world.container(name) ?? {}, { startedAt: world.now, restartCount: 1 });
}

export function plain(line: string): string {
  return line.replace(/\.(next|prev)-.*/, '.$1');
}
