import { retry } from '../../../src/base/outcome.ts';
import { examineWorld, foreignIs } from '../examine-world.ts';
import type { World } from '../world.ts';
import { nameServers, takeNames } from '../worldnames.ts';
import type { Weather } from './faults.ts';
import { BUILT, commit, forget, newDatabase, signal, weatherIs, WISHED, type Life } from './life.ts';

const HIDING = [
  'engine unseen',
  'proxy unseen',
  'ports unseen',
  'images unseen',
  'stale list',
  'partial list',
] as const;

/** What lasts until it is mended. */
export function lasting(life: Life): Weather[] {
  return [
    ...(life.git.isDown ? ['git down' as const] : []),
    ...(life.git.hangs ? ['git hangs' as const] : []),
    ...(life.story.isBroken() ? ['bad file in git' as const] : []),
    ...(life.world.proxyRuns ? [] : ['proxy down' as const]),
    ...(life.world.missingMounts.size > 0 ? ['mount missing' as const] : []),
    ...(life.world.unready.size > 0 ? ['never ready' as const] : []),
    ...(life.world.dnsAnswers ? [] : ['name server down' as const]),
    ...(life.world.silent.size > 0 ? ['one name server down' as const] : []),
    ...(life.world.refusing.size > 0 ? ['one name server refuses' as const] : []),
    ...(life.world.failing.has('certificate') ? ['CA down' as const] : []),
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
    case 'half of the definitions gone': {
      // More than the budget, and nobody named them: somebody mends it a while later.
      const files = Object.entries(life.story.files());
      const applied = life.agent?.memory.seen?.promised.applied ?? [];
      const standing = applied.map(({ service }) => `services/${service.name}.toml`);
      const gone = standing.filter((_, index) => index % 2 === 0);
      if (gone.length < 2) return false;
      life.git.push(Object.fromEntries(files.filter(([path]) => !gone.includes(path))), 'half');
      signal(life, 'git');
      life.time.after(40_000, () => commit(life, life.story.files()));
      return true;
    }
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
      else for (const source of mounts(life)) world.missingMounts.add(source);
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
    case 'settings changed':
      // All containers are to be made anew: one service after the other.
      if (dice.chance(0.5)) return false;
      world.logMaxSize = world.logMaxSize === '10m' ? '20m' : '10m';
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
      return strikeEdge(life, weather);
  }
}

/** Somebody brings back a container of ours, of a service that nobody knows any more. */
export function strayContainer({ world, time }: Life): void {
  if (world.container('ghost') !== undefined) return;
  const identity = {
    owner: 'n1/main',
    service: 'ghost',
    component: 'ghost',
    spec: 's',
    leases: {},
    format: '1',
  };
  world.containers.push({
    ...{ id: world.nextId(), name: 'ghost', image: 'x', imageId: 'y', state: 'running', restartCount: 0 },
    ...{ labels: {}, publish: [], startedAt: time.wall(), identity },
  });
}

/** What happens around the node: its names, its routes, its CA. */
function strikeEdge(life: Life, weather: Weather): boolean {
  const { world, dice } = life;
  const { server, names } = dice.pick(nameServers(world));
  const ours = Object.keys(names).filter((name) => names[name]?.mark?.owner === 'n1/main');
  const name = ours.length === 0 ? undefined : dice.pick(ours);
  switch (weather) {
    case 'name server down':
      world.dnsAnswers = !world.dnsAnswers;
      return true;
    case 'one name server down':
      if (world.silent.size > 0) world.silent.clear();
      else world.silent.add(server);
      return true;
    case 'one name server refuses':
      if (world.refusing.size > 0) world.refusing.clear();
      else world.refusing.add(server);
      return true;
    case 'certificate ends in a pass': {
      const used = world.table.filter(({ mode, mark }) => mode === 'l7' && mark?.startsWith('n1/main/'));
      if (used.length === 0) return false;
      life.machine.endNext = dice.pick(used).hostname;
      // It counts once it came about, and only when a step follows the look.
      return false;
    }
    case 'CA down':
      if (!world.failing.delete('certificate'))
        world.failing.set('certificate', retry('the CA does not answer'));
      return true;
    case 'records lost':
      // Of one server, or of all.
      takeNames(
        dice.chance(0.5) ? nameServers(world) : [{ server, names }],
        (_name, { mark }) => mark !== undefined,
      );
      return true;
    case 'record edited':
      if (name === undefined) return false;
      names[name] = { ...names[name], addresses: ['192.0.2.7'] };
      return true;
    case 'foreign record': {
      const free = wantedNames(life).filter((one) => names[one] === undefined);
      if (free.length === 0) return false;
      return foreignFromHere(life, () => {
        names[dice.pick(free)] = { addresses: ['192.0.2.9'], foreign: true };
      });
    }
    case 'foreign route': {
      const free = wantedNames(life).filter((one) => !world.table.some(({ hostname }) => hostname === one));
      if (free.length === 0) return false;
      return foreignFromHere(life, () => {
        world.table.push({ ...FOREIGN_ROUTE, hostname: dice.pick(free) });
      });
    }
    case 'stray route':
      world.table.push({ ...FOREIGN_ROUTE, hostname: 'ghost.example.net', mark: 'n1/main/ghost/ghost/' });
      return world.table.filter(({ hostname }) => hostname === 'ghost.example.net').length === 1
        ? true
        : (world.table.pop(), false);
    default:
      return false;
  }
}

const FOREIGN_ROUTE = { listenerPort: 443, backend: '127.0.0.1:9', mode: 'l4', backendTls: false } as const;

/** What was foreign until now was let alone; from now on there is more of it. */
function foreignFromHere({ world, findings }: Life, add: () => void): boolean {
  findings.push(...examineWorld(world));
  add();
  foreignIs(world);
  return true;
}

function wantedNames({ agent }: Life): string[] {
  const services = agent?.memory.seen?.desired.services ?? [];
  return services.flatMap(({ service }) =>
    service.components.flatMap(({ routes }) => routes.map(({ hostname }) => hostname)),
  );
}

/** As the definitions have them. */
function mounts({ story }: Life): string[] {
  const texts = Object.values(story.files()).join('\n');
  return [...texts.matchAll(/^volumes = \["([^:"]+):/gm)].map(([, source = '']) => source);
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
