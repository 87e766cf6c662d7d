import type { StepKind } from '../../../src/plan/types.ts';
import type { World } from '../world.ts';
import type { Weather } from './faults.ts';
import { BUILT, commit, forget, newDatabase, signal, weatherIs, type Life } from './life.ts';
import type { Wish } from './story.ts';

const HIDING = [
  'engine unseen',
  'proxy unseen',
  'ports unseen',
  'images unseen',
  'stale list',
  'partial list',
] as const;
/** The change that brings the step about. */
const WISHED: Partial<Record<StepKind, Wish>> = {
  'remove-network': 'remove',
  'forget-service': 'remove',
  'remove-routes': 'remove',
  'stop-container': 'stop',
  'release-leases': 'shrink',
};

/** What lasts until it is mended. */
export function lasting(life: Life): Weather[] {
  return [
    ...(life.git.isDown ? ['git down' as const] : []),
    ...(life.git.hangs ? ['git hangs' as const] : []),
    ...(life.story.isBroken() ? ['bad file in git' as const] : []),
    ...(life.world.proxyRuns ? [] : ['proxy down' as const]),
    ...(life.world.missingMounts.size > 0 ? ['mount missing' as const] : []),
    ...(life.world.unready.size > 0 ? ['never ready' as const] : []),
  ];
}

export function hide(life: Life): ReadonlySet<Weather> {
  life.hidden = new Set();
  for (const weather of HIDING) if (weatherIs(life, weather, 0.12)) life.hidden.add(weather);
  return life.hidden;
}

export function happen(life: Life): void {
  const dice = life.dice;
  if (dice.chance(0.25)) {
    const wish = life.target === undefined ? undefined : WISHED[life.target.kind];
    commit(life, life.story.next(wish));
    return;
  }
  const weather = dice.pick(life.weathers);
  const done = strike(life, weather);
  if (done) life.trace(`  ${weather}`);
  if (done) life.weather.add(weather);
  if (done) signal(life, 'engine event');
}

function strike(life: Life, weather: Weather): boolean {
  const { world } = { world: life.world };
  const dice = life.dice;
  const ours = world.containers.filter((one) => one.identity?.owner === 'n1/main');
  const target = ours.length === 0 ? undefined : dice.pick(ours);
  switch (weather) {
    case 'git down':
      life.git.isDown = !life.git.isDown;
      return true;
    case 'git hangs':
      life.git.hangs = !life.git.hangs;
      return true;
    case 'no definitions in git':
      if (dice.chance(0.7)) return false;
      life.git.push({ 'README.md': 'nothing' }, 'empty');
      life.time.after(20_000, () => commit(life, life.story.files()));
      return true;
    case 'proxy down':
      world.proxyRuns = !world.proxyRuns;
      return true;
    case 'routes lost':
      world.table = world.table.filter((route) => route.mark === undefined);
      return true;
    case 'container killed':
      if (target?.state !== 'running' || target.identity?.component === 'job') return false;
      world.kill(target.name);
      return true;
    case 'container removed':
      if (target === undefined) return false;
      world.containers = world.containers.filter((one) => one.id !== target.id);
      return true;
    case 'label edited':
      return target !== undefined && relabel(life, target.id);
    case 'image removed': {
      const references = Object.keys(world.images);
      if (references.length === 0) return false;
      const reference = dice.pick(references);
      if (!life.machine.remote.has(reference) && !BUILT.test(reference)) return false;
      Reflect.deleteProperty(world.images, reference);
      return true;
    }
    case 'port stolen': {
      const free = world.leases.length === 0 ? leases(life).filter((port) => !isHeld(world, port)) : [];
      if (free.length === 0) return false;
      world.listening.push({ ip: '0.0.0.0', port: dice.pick(free), protocol: 'tcp' });
      return true;
    }
    case 'certificate lost':
      world.certificates = {};
      return true;
    case 'mount missing':
      if (world.missingMounts.size > 0) world.missingMounts.clear();
      else world.missingMounts.add(`/srv/${dice.pick(['aa', 'bb', 'cc'])}`);
      return true;
    case 'never ready':
      if (world.unready.size > 0) world.unready.clear();
      else if (target !== undefined) world.unready.add(target.name);
      return true;
    case 'clock forward':
      life.time.jump(dice.pick([3_600_000, 86_400_000, 315_360_000_000]));
      return true;
    case 'clock back':
      life.time.jump(-dice.pick([1_000, 3_600_000, 86_400_000]));
      return true;
    case 'agent restarted':
      life.agent?.kill();
      return true;
    case 'registry lost':
      if (dice.chance(0.6)) return false;
      life.db = newDatabase();
      life.isNew = true;
      if (dice.chance(0.3)) forget(life);
      life.agent?.kill();
      return true;
    default:
      return false;
  }
}

/** Somebody makes it again by hand, with another label: the label must not count as a proof of what it is. */
function relabel(life: Life, id: string): boolean {
  life.world.containers = life.world.containers.map((one) =>
    one.id === id && one.identity !== undefined
      ? { ...one, identity: { ...one.identity, spec: 'edited' } }
      : one,
  );
  return true;
}

function leases(life: Life): number[] {
  return life.db
    .prepare<[], { port: number }>('SELECT port FROM leases')
    .all()
    .map(({ port }) => port);
}

function isHeld(world: World, port: number): boolean {
  return world.containers.some(
    (one) => one.state === 'running' && one.publish.some(({ host }) => host === port),
  );
}
