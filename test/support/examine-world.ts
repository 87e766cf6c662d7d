import type { World } from './world.ts';
import { isUp } from './examine-plan.ts';
import { nameServers } from './worldnames.ts';

/** What must hold of a node at any time, whoever looks and whatever was done. */
export function examineWorld(world: World): string[] {
  return [
    ...oneOwnerAPort(world),
    ...oneOwnerAName(world),
    ...oneOwnerARoute(world),
    ...foreignUntouched(world),
    ...byHandKept(world),
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

/** Started by hand, and named by `replaces`: it may be stopped and set aside, and never goes (L27). */
function isByHand(name: string): boolean {
  return /^hand-[a-z-]+(\.prev-[0-9a-z]+)?$/.test(name);
}

const byHandSeen = new WeakMap<World, Set<string>>();

function byHandKept(world: World): string[] {
  const seen = byHandSeen.get(world) ?? new Set<string>();
  byHandSeen.set(world, seen);
  for (const { id, name } of world.containers) if (isByHand(name)) seen.add(id);
  return [...seen]
    .filter((id) => !world.containers.some((container) => container.id === id))
    .map((id) => `G3: the container ${id}, started by hand and replaced, was removed`);
}

const foreignAsItWas = new WeakMap<World, string>();

/** Things without our mark, as they are now, count as the foreign ones from here on. */
export function foreignIs(world: World): void {
  foreignAsItWas.set(world, foreign(world));
}

function foreign(world: World): string {
  return JSON.stringify([
    world.containers.filter(
      (container) => container.identity?.owner !== world.settings().owner && !isByHand(container.name),
    ),
    nameServers(world).map(({ names }) =>
      Object.entries(names).filter(([, { mark }]) => mark?.owner !== world.settings().owner),
    ),
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
