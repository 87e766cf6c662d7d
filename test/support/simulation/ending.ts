import type { DesiredService } from '../../../src/definitions/types.ts';
import { examineEnd } from '../examine-end.ts';
import { examineWorld, foreignIs } from '../examine-world.ts';
import { nameServers, takeNames } from '../worldnames.ts';
import { commit, find, references, type Life } from './life.ts';

export function heal(life: Life): void {
  const world = life.world;
  life.chaos = false;
  life.git.isDown = false;
  life.git.hangs = false;
  world.unready.clear();
  world.missingMounts.clear();
  world.listening = [];
  world.failing.clear();
  world.dnsAnswers = true;
  world.silent.clear();
  world.refusing.clear();
  life.machine.endNext = undefined;
  life.findings.push(...examineWorld(world));
  // Whoever took our names and routes gives them back; the container by hand stays.
  takeNames(nameServers(world), (_name, { foreign }) => foreign === true);
  world.table = world.table.filter(
    (route) => route.mark !== undefined || route.hostname === 'legacy.example.net',
  );
  foreignIs(world);
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
  takeNames(nameServers(world), (_name, { mark }) => orphans.includes(mark?.service ?? '-'));
  commit(life, life.story.mended());
  for (const reference of references(life.story.files())) life.machine.remote.add(reference);
  for (const [reference, state] of Object.entries(world.images))
    if (state.kind === 'absent' || state.kind === 'failed') Reflect.deleteProperty(world.images, reference);
  life.agent?.signal('git');
}

export function end(life: Life): void {
  if (life.findings.length > 0) return;
  const { registry, memory } = life.agent ?? {};
  if (registry === undefined || memory?.seen === undefined) {
    find(life, ['G1: there was no pass']);
    return;
  }
  const promised = registry.promised();
  Object.assign(life.world, promised, {
    records: promised.images,
    dnsRecords: promised.records ?? [],
    images: life.world.images,
  });
  life.world.desired = memory.seen.desired;
  const wanted = new Set(memory.seen.desired.services.flatMap(hostnames));
  takeNames(nameServers(life.world), (name) => life.forgotten.has(name) && !wanted.has(name));
  const { waiting, refused } = memory.seen.plan;
  const said = [...waiting, ...refused].map(({ service, why }) => `${service}: ${why}`).join('; ');
  find(
    life,
    [...examineEnd(life.world), ...certificatesLeft(life, wanted)].map((one) => `G1: ${one} (said: ${said})`),
  );
  life.hash.update(JSON.stringify(registry.passes(1_000)));
  life.hash.update(JSON.stringify([life.world.containers, life.world.table, promised]));
}

/** A certificate that was issued here goes with the name it is for. */
function certificatesLeft({ world }: Life, wanted: ReadonlySet<string>): string[] {
  const used = [...world.table, ...world.routes, ...world.dnsRecords].map(({ hostname }) => hostname);
  return Object.keys(world.certificates)
    .filter((name) => !wanted.has(name) && !used.includes(name))
    .map((name) => `the certificate of ${name} is left, and nobody has that name`);
}

function hostnames({ service }: DesiredService): string[] {
  return service.components.flatMap(({ routes }) => routes.map(({ hostname }) => hostname));
}
