import { examineEnd } from '../examine-end.ts';
import { commit, find, references, type Life } from './life.ts';

export function heal(life: Life): void {
  const world = life.world;
  life.chaos = false;
  life.git.isDown = false;
  life.git.hangs = false;
  world.unready.clear();
  world.missingMounts.clear();
  world.listening = [];
  Object.assign(world, { engineUp: true, proxyRuns: true, proxyKnown: true, portsKnown: true });
  // An empty commit may be the newest one.
  life.git.push(life.story.files(), 'after the storm');
  life.agent?.signal('git');
}

/** Something is left that only a commit or a person can change. */
export function needsPerson(life: Life): boolean {
  const seen = life.agent?.memory.seen;
  if (seen === undefined || life.findings.length > 0) return false;
  return (
    seen.plan.refused.length + seen.plan.waiting.length > 0 ||
    seen.desired.unreadable ||
    seen.desired.refused.length > 0
  );
}

/** Mends the definitions, names what may go, and removes orphans by hand. */
export function person(life: Life): void {
  const world = life.world;
  const orphans = (life.agent?.memory.seen?.plan.waiting ?? [])
    .filter((entry) => entry.for === 'orphan')
    .map((entry) => entry.service);
  world.containers = world.containers.filter(
    (one) => one.identity?.owner !== 'n1/main' || !orphans.includes(one.identity.service),
  );
  world.table = world.table.filter((route) => !orphans.includes(route.mark?.split('/')[2] ?? '-'));
  commit(life, life.story.mended());
  for (const reference of references(life.story.files())) life.machine.remote.add(reference);
  for (const [reference, state] of Object.entries(world.images))
    if (state.kind === 'absent' || state.kind === 'failed') Reflect.deleteProperty(world.images, reference);
  life.agent?.signal('git');
}

export function end(life: Life): void {
  const { registry, memory } = life.agent ?? {};
  if (registry === undefined || memory?.seen === undefined) {
    find(life, ['G1: there was no pass']);
    return;
  }
  const promised = registry.promised();
  Object.assign(life.world, promised, { records: promised.images, images: life.world.images });
  life.world.desired = memory.seen.desired;
  if (life.findings.length > 0) return;
  const { waiting, refused } = memory.seen.plan;
  const said = [...waiting, ...refused].map(({ service, why }) => `${service}: ${why}`).join('; ');
  find(
    life,
    examineEnd(life.world).map((one) => `G1: ${one} (said: ${said})`),
  );
  life.hash.update(JSON.stringify(registry.passes(1_000)));
  life.hash.update(JSON.stringify([life.world.containers, life.world.table, promised]));
}
