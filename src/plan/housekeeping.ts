import type { Service } from '../definitions/types.ts';
import { restAfterFailure } from './rest.ts';
import type { Because, ImageRecord } from '../registry/types.ts';
import { ours, type Facts, type Fronted, type ServicePlan } from './facts.ts';
import { isNobody, NOBODY } from '../base/nobody.ts';
import type { Step } from './types.ts';

/**
 * Old versions go: of each repository the newest `keepImages` stay, and whatever anybody may still need. Only images that this
 * registry recorded are ever touched, and only while their service is at rest: `settled` has the services without a step
 * and without anything awaited. `newest`: as git has them, also while an older version is put back, for it may be tried again.
 */
export function housekeeping(
  facts: Facts,
  settled: ReadonlySet<string>,
  newest: Facts['desired'],
): ServicePlan {
  const { engine } = facts.observed;
  const keep = facts.settings.keepImages;
  if (keep === undefined || !engine.known) return { steps: [], waiting: [], refused: [] };
  // While any file cannot be read, nobody knows what it names.
  if (facts.desired.unreadable) return { steps: [], waiting: [], refused: [] };
  const services = servicesIn(facts);
  const asked = newest.services.map(({ service }) => service);
  const named = new Set([...services, ...asked].flatMap(referencesOf));
  const used = new Set(engine.value.containers.flatMap(({ image, imageId }) => [image, imageId]));
  // What a person loaded, and no registry has, nobody can bring back.
  const mayGo = ({ reference, imageId, built }: ImageRecord): boolean =>
    (built || hasRegistry(reference)) && !named.has(reference) && !used.has(reference) && !used.has(imageId);

  const owners = new Map<string, Service>();
  for (const service of services) {
    for (const repository of referencesOf(service).map(repositoryOf)) {
      if (!owners.has(repository)) owners.set(repository, service);
    }
  }
  const steps: Step[] = [];
  // A service that rests after a failure is not among the settled ones; what is nobody's rests with the rest of it.
  for (const [repository, records] of byRepository(facts.promised.images)) {
    const owner = owners.get(repository);
    if (owner !== undefined && !settled.has(owner.name)) continue;
    for (const { reference, imageId } of records.slice(keep).filter(mayGo)) {
      const because: Because = {
        summary: `${keep} versions of ${repository} are kept, and nothing names this one any more`,
        commit: facts.desired.commit.oid,
      };
      const service = owner?.name ?? NOBODY;
      steps.push({ service, subject: reference, because, kind: 'remove-image', reference, imageId });
    }
  }
  return { steps, waiting: [], refused: [] };
}

/** Work on an image that no definition names any more has a place that others wait for: it is ended. */
export function cancelSteps({ observed, desired }: Facts): ServicePlan {
  const steps = Object.entries(observed.strayWork ?? {}).map(([reference, { kind }]): Step => {
    const what = kind === 'building' ? 'build' : 'pull';
    const summary = `the ${what} of ${reference} is ended: no active definition of this node names it any more`;
    const because: Because = { summary, commit: desired.commit.oid };
    return { service: NOBODY, subject: reference, because, kind: 'cancel-image', reference };
  });
  return { steps, waiting: [], refused: [] };
}

/**
 * The builder's cache is held to its budget. It is nobody's data: what is forgotten is built again. Of others on the same
 * engine, too, as it cannot be told apart; only what no build is using goes.
 */
export function cacheSteps({ observed, settings, desired }: Facts): ServicePlan {
  const budget = settings.buildCacheBytes;
  const used = observed.disk?.cacheBytes;
  const nothing: ServicePlan = { steps: [], waiting: [], refused: [] };
  if (budget === undefined || used === undefined || used <= budget) return nothing;
  const summary = `the builder's cache has ${mib(used)} MiB, and its budget is ${mib(budget)} MiB`;
  const because: Because = { summary, commit: desired.commit.oid };
  const subject = "builder's cache";
  return {
    ...nothing,
    steps: [{ service: NOBODY, subject, because, kind: 'prune-build-cache', keepBytes: budget }],
  };
}

/**
 * Tidying up as a whole: when some of it failed, all that belongs to no service rests, longer each time, and what is waited for
 * is told once, however much there is to do.
 */
export function rested(facts: Facts, planned: readonly ServicePlan[]): ServicePlan {
  const steps = planned.flatMap((part) => part.steps);
  const waiting = planned.flatMap((part) => part.waiting);
  const refused = planned.flatMap((part) => part.refused);
  const others = steps.filter(({ service }) => service !== NOBODY);
  const rest = others.length === steps.length ? undefined : restAfterFailure(facts, NOBODY, '');
  if (rest === undefined) return { steps, waiting, refused };
  return { steps: others, waiting: [...waiting, rest], refused };
}

/** Nothing is left to do of what failed and belongs to no service: it is over. */
export function forgetFailure(facts: Facts, planned: readonly ServicePlan[]): ServicePlan {
  const failed = new Set(facts.promised.failures.map(({ service }) => service).filter(isNobody));
  const isOpen =
    planned.some(({ steps }) => steps.some(({ service }) => service === NOBODY)) ||
    restAfterFailure(facts, NOBODY, '') !== undefined;
  if (failed.size === 0 || isOpen) return { steps: [], waiting: [], refused: [] };
  const because: Because = {
    summary: 'nothing is left to do of what failed',
    commit: facts.desired.commit.oid,
  };
  const steps = [...failed].map((service): Step => ({
    service,
    subject: service,
    because,
    kind: 'forget-service',
  }));
  return { steps, waiting: [], refused: [] };
}

/**
 * Certificates that were issued here, and whose name nobody has any more: no definition in force or recorded, stopped or not,
 * and no route. What goes of services is judged before (L31); these follow them. `newest`: as git has them, also while an older
 * version is put back.
 */
export function certificateSteps(facts: Facts, newest: Facts['desired']): ServicePlan {
  const { desired, promised, observed, settings } = facts;
  const nothing: ServicePlan = { steps: [], waiting: [], refused: [] };
  const left = Object.entries(observed.certificates).flatMap(([hostname, state]) =>
    state.kind === 'left' ? [{ hostname, name: state.name }] : [],
  );
  if (left.length === 0 || !settings.proxy || !observed.proxy.known) return nothing;
  // While any file cannot be read, nobody knows what it names; and after a loss nothing goes under the same commit.
  const isUnread = desired.unreadable || desired.refused.length > 0 || desired.edgesUnread !== undefined;
  if (isUnread || promised.lostAt === desired.commit.oid) return nothing;
  const used = usedNames(facts, newest, observed.proxy.value.table);
  const gone = left.filter(({ hostname }) => !used.has(hostname));
  if (gone.length === 0) return nothing;
  const because: Because = {
    summary: 'it was issued here, and no definition has its name any more',
    commit: desired.commit.oid,
  };
  return {
    ...nothing,
    steps: gone.map(({ hostname, name }) => ({
      ...{ service: NOBODY, subject: hostname, because, kind: 'remove-certificate' as const },
      ...{ hostname, name },
    })),
  };
}

/**
 * Records with our mark, of names that nobody has any more and that no registry knows (L08): left by a service whose definition
 * went while the registry was lost. What still has containers of ours is no stray: it is taken in and judged first (L31).
 */
export function recordSteps(facts: Facts, newest: Facts['desired']): ServicePlan {
  const { desired, promised, observed, settings, now } = facts;
  const nothing: ServicePlan = { steps: [], waiting: [], refused: [] };
  const left = Object.entries(observed.dns?.left ?? {});
  if (left.length === 0 || (settings.proxy && !observed.proxy.known)) return nothing;
  const isUnread = desired.unreadable || desired.refused.length > 0 || desired.edgesUnread !== undefined;
  if (isUnread || desired.isEmpty === true || promised.lostAt === desired.commit.oid) return nothing;
  const used = usedNames(facts, newest, observed.proxy.known ? observed.proxy.value.table : []);
  const standing = new Set(ours(facts).flatMap(({ identity }) => identity?.service ?? []));
  const gone = left.filter(([hostname, { servers }]) => {
    if (used.has(hostname)) return false;
    return servers.every(
      ({ seen }) =>
        // Not known is not gone (G9).
        seen.known && (seen.value.mark?.owner !== settings.owner || !standing.has(seen.value.mark.service)),
    );
  });
  const rest = gone.flatMap(([, { failed }]) =>
    failed !== undefined && failed.retryAt > now ? [failed] : [],
  );
  const [first] = rest;
  const because: Because = {
    summary: 'it carries our mark, and no definition and no registry has its name',
    commit: desired.commit.oid,
  };
  return {
    ...nothing,
    ...(first === undefined
      ? {}
      : {
          waiting: [
            {
              ...{ service: NOBODY, for: 'dns', why: first.why },
              until: Math.min(...rest.map(({ retryAt }) => retryAt)),
            },
          ],
        }),
    steps: gone
      .filter(([, { failed }]) => failed === undefined || failed.retryAt <= now)
      .map(([hostname]) => ({
        ...{ service: NOBODY, subject: hostname, because, kind: 'remove-records' as const },
        // The values are those of the mark as it is found then; without one it is no longer ours.
        records: [{ service: NOBODY, hostname, addresses: [] }],
      })),
  };
}

/** Names that a definition in force or recorded has, stopped or not, or that stand in the proxy. */
function usedNames(
  facts: Facts,
  newest: Facts['desired'],
  table: readonly { readonly hostname: string }[],
): ReadonlySet<string> {
  const { desired, promised } = facts;
  return new Set([
    ...[
      ...servicesIn(facts),
      ...[...newest.services, ...(desired.edges ?? [])].map(({ service }) => service),
    ].flatMap(hostnamesOf),
    ...[...promised.routes, ...(promised.records ?? []), ...table].map(({ hostname }) => hostname),
  ]);
}

function hostnamesOf({ components }: Pick<Fronted['service'], 'components'>): string[] {
  return components.flatMap(({ routes }) => routes.map(({ hostname }) => hostname));
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 1_048_576);
}

/** Every definition that is in force or recorded in any way: applied, held back, proved. */
function servicesIn({ desired, promised }: Facts): Service[] {
  // Whatever list of the registry holds definitions, one that is added later too.
  const recorded = Object.values(promised).flatMap((list: unknown) =>
    Array.isArray(list) ? list.flatMap(serviceIn) : [],
  );
  return [...desired.services.map(({ service }) => service), ...recorded];
}

function serviceIn(entry: unknown): Service[] {
  if (entry === null || typeof entry !== 'object' || !('service' in entry)) return [];
  const { service } = entry;
  const isDefinition = service !== null && typeof service === 'object' && 'components' in service;
  return isDefinition ? [service as Service] : [];
}

function referencesOf({ components }: Service): string[] {
  return components.map(({ image }) => image.reference);
}

/** Newest first. What was removed before is not counted: only its meaning is kept (L19). */
function byRepository(images: readonly ImageRecord[]): Map<string, ImageRecord[]> {
  const groups = new Map<string, ImageRecord[]>();
  for (const record of images.filter(({ removed }) => removed !== true)) {
    const repository = repositoryOf(record.reference);
    const group = groups.get(repository);
    if (group === undefined) groups.set(repository, [record]);
    else group.push(record);
  }
  for (const group of groups.values())
    group.sort((a, b) => b.firstSeenAt - a.firstSeenAt || (a.reference < b.reference ? 1 : -1));
  return groups;
}

function repositoryOf(reference: string): string {
  return reference.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
}

/** The first part of a reference is a host when it has a dot or a port, or is `localhost`; else the image is a local one. */
function hasRegistry(reference: string): boolean {
  const [first = '', ...path] = reference.split('/');
  return path.length > 0 && (/[.:]/.test(first) || first === 'localhost');
}
