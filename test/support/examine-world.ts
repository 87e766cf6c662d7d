import type { World } from './world.ts';
import { isUp } from './examine-plan.ts';

/** What must hold of a node at any time, whoever looks and whatever was done. */
export function examineWorld(world: World): string[] {
  return [
    ...oneOwnerAPort(world),
    ...oneOwnerAName(world),
    ...oneOwnerARoute(world),
    ...foreignUntouched(world),
  ];
}

function oneOwnerAPort(world: World): string[] {
  const held = world.containers
    .filter(isUp)
    .flatMap((container) => container.publish.map((port) => `${port.host}/${port.protocol}`));
  const leased = world.leases.map((lease) => String(lease.port));
  return [
    ...twice(held).map((port) => `G4: two containers run on port ${port}`),
    ...twice(leased).map((port) => `G4: two leases of port ${port}`),
  ];
}

function oneOwnerAName(world: World): string[] {
  return twice(world.containers.map((container) => container.name)).map(
    (name) => `two containers are named ${name}`,
  );
}

function oneOwnerARoute(world: World): string[] {
  return twice(world.table.map((route) => `${route.hostname}:${route.listenerPort}`)).map(
    (key) => `G4: two routes of ${key}`,
  );
}

function twice(items: readonly string[]): string[] {
  return [...new Set(items.filter((item, index) => items.indexOf(item) !== index))];
}

const foreignAsItWas = new WeakMap<World, string>();

/** Things without our mark, as they are now, count as the foreign ones from here on. */
export function foreignIs(world: World): void {
  foreignAsItWas.set(world, foreign(world));
}

function foreign(world: World): string {
  return JSON.stringify([
    world.containers.filter((container) => container.identity?.owner !== world.settings().owner),
    world.table.filter((route) => route.mark?.startsWith(`${world.settings().owner}/`) !== true),
  ]);
}

function foreignUntouched(world: World): string[] {
  const before = foreignAsItWas.get(world);
  if (before === undefined) foreignIs(world);
  return before === undefined || before === foreign(world)
    ? []
    : [`G3: what is not ours was changed: ${before} is now ${foreign(world)}`];
}
