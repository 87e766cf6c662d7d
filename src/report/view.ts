import type { Known } from '../base/outcome.ts';
import { redact } from '../base/secret.ts';
import type { Desired } from '../definitions/types.ts';
import type { DnsFacts, Observed, ProxyFacts } from '../node/types.ts';
import { isNobody } from '../base/nobody.ts';
import type { Plan } from '../plan/types.ts';
import type { NoticeRecord, PassRecord, Printed, Promised, StepRecord } from '../registry/types.ts';
import type { SourceHealth } from '../source/types.ts';
import { conditionsOf } from './conditions.ts';
import { serviceView } from './service.ts';
import { clean, issueShown, passShown, visibleAll } from './shown.ts';
import type { ServiceView, View } from './types.ts';
import { isRefused, strangeIn } from './strangers.ts';
import { awayIn } from './warnings.ts';

export interface ViewInput {
  readonly node: string;
  readonly owner: string;
  readonly version: string;
  readonly startedAt: number;
  readonly sourceUrl: string;
  readonly source: SourceHealth;
  readonly proxyDriver: string;
  readonly idle?: { readonly why: string; readonly hint?: string };
  /** What the last pass saw; absent before the first one. */
  readonly seen?: {
    readonly at: number;
    readonly desired: Desired;
    readonly promised: Promised;
    readonly observed: Observed;
    readonly plan: Plan;
    /** Of this node, as its file has them. */
    readonly addresses?: readonly string[];
    /** Absent: converge. */
    readonly mode?: 'observe';
  };
  /** Newest first. */
  readonly passes: readonly PassRecord[];
  readonly notices?: readonly NoticeRecord[];
  readonly history: (service: string) => StepRecord | undefined;
  /** What versions that gave way printed last, by service; absent: nothing. */
  readonly printed?: ReadonlyMap<string, readonly Printed[]>;
  /** What the newest build of an image printed; absent: nothing is built here. */
  readonly buildLog?: (reference: string) => readonly string[];
}

export type Seen = NonNullable<ViewInput['seen']>;

/** What is so and why, from the last pass. Built field by field: what is not named here is never shown. */
export function makeView(input: ViewInput): View {
  const { seen } = input;
  const facts = {
    source: {
      ...input.source,
      url: withoutUser(input.sourceUrl),
      ...(input.source.why === undefined ? {} : { why: redact(input.source.why) }),
    },
    engine: engineOf(seen),
    proxy: proxyOf(input.proxyDriver, seen?.observed.proxy),
    ...(seen?.observed.dns === undefined
      ? {}
      : { dns: dnsOf(seen.observed.dns, seen.addresses ?? [], edgeNames(seen.desired), input.owner) }),
    ...(seen?.observed.disk === undefined ? {} : { disk: seen.observed.disk }),
    services:
      seen === undefined
        ? []
        : names(seen).map((name) => ({
            ...serviceView(name, seen, input.owner, input.history(name), input.printed?.get(name)),
            ...buildsOf(name, seen, input.buildLog),
          })),
    issues: (seen?.desired.issues ?? []).map(issueShown),
  };
  const tidying = seen === undefined ? [] : [...seen.plan.refused, ...seen.plan.waiting].filter(isNobodys);
  return visibleAll({
    node: input.node,
    owner: input.owner,
    version: input.version,
    startedAt: input.startedAt,
    ...(seen === undefined ? {} : { at: seen.at }),
    ...(input.idle === undefined ? {} : { idle: clean(input.idle) }),
    ...(seen === undefined ? {} : { commit: commitOf(seen.desired) }),
    conditions: conditionsOf(
      {
        ...{ ...facts, node: input.node, mode: seen?.mode, tidying: tidying.map(clean) },
        isLost: seen?.promised.lostAt !== undefined && seen.promised.lostAt === seen.desired.commit.oid,
      },
      seen !== undefined,
      seen?.at,
    ),
    ...facts,
    foreign: seen === undefined ? [] : foreignOf(seen.observed, input.owner),
    notices: input.notices ?? [],
    passes: input.passes.map(passShown),
  });
}

function isNobodys({ service }: { readonly service: string }): boolean {
  return isNobody(service);
}

const SHOWN_LINES = 200;

/** Of a build that is done nobody needs the log any more. */
function buildsOf(
  name: string,
  { desired, observed }: Seen,
  buildLog: ViewInput['buildLog'] = () => [],
): Pick<ServiceView, 'builds'> {
  const wanted = desired.services.find(({ service }) => service.name === name);
  const references = (wanted?.service.components ?? []).map(({ image }) => image.reference);
  const builds = [...new Set(references)]
    .filter((reference) => ['building', 'failed'].includes(observed.images[reference]?.kind ?? ''))
    .map((reference) => ({ reference, lines: buildLog(reference).slice(-SHOWN_LINES).map(redact) }))
    .filter(({ lines }) => lines.length > 0);
  return builds.length === 0 ? {} : { builds };
}

/** The settings refuse user names and passwords in urls; if one gets here all the same, it goes no further (G10). */
function withoutUser(urls: string): string {
  return urls.replaceAll(/(:\/\/)[^/@\s,]*@/g, '$1');
}

function commitOf(desired: Desired): NonNullable<View['commit']> {
  const { oid, author, at, message } = desired.commit;
  return { oid, author, at, message: message.split('\n')[0] ?? '' };
}

function engineOf(seen: Seen | undefined): View['engine'] {
  if (seen === undefined) return { why: 'not looked at yet' };
  const { engine } = seen.observed;
  return engine.known
    ? { kind: engine.value.kind, version: engine.value.version }
    : { why: redact(engine.why) };
}

function proxyOf(driver: string, proxy: Known<ProxyFacts> | undefined): View['proxy'] {
  if (driver === 'none') return { driver: 'none' };
  if (proxy === undefined) return { driver, routes: 0, serving: false, why: 'not looked at yet' };
  if (!proxy.known) return { driver, routes: 0, serving: false, why: redact(proxy.why) };
  const { live, table } = proxy.value;
  return {
    driver,
    routes: table.length,
    ...(live.known ? { served: live.value.length } : {}),
    serving: live.known,
    ...(live.known ? {} : { why: redact(live.why) }),
  };
}

/** Names of other zones are resolved and compared: a mismatch is a warning, nothing is ever written there. */
function dnsOf(
  dns: DnsFacts,
  addresses: readonly string[],
  leadAway: ReadonlySet<string>,
  owner: string,
): NonNullable<View['dns']> {
  const names = Object.entries(dns.names).sort(([a], [b]) => (a < b ? -1 : 1));
  const inside = names.flatMap(([, seen]) => ('zone' in seen ? [seen] : []));
  const unseen = inside.flatMap(({ servers }) => servers).find(({ seen }) => !seen.known)?.seen;
  const elsewhere = names.flatMap(([hostname]) => {
    const why = leadAway.has(hostname) ? undefined : awayIn(dns, hostname, addresses);
    return why === undefined ? [] : [{ hostname, why }];
  });
  const failed = inside.find((seen) => seen.failed !== undefined)?.failed?.why;
  const refused = names.filter(
    ([hostname, seen]) => 'zone' in seen && isRefused(hostname, seen, addresses, owner),
  );
  const foreign = names.flatMap(([hostname, seen]) => {
    const why = 'zone' in seen ? strangeIn(hostname, seen, addresses) : undefined;
    return why === undefined ? [] : [{ hostname, why }];
  });
  return {
    driver: dns.driver,
    zones: dns.zones,
    names: inside.length - refused.length,
    ...(foreign.length === 0 ? {} : { foreign }),
    ...(unseen === undefined || unseen.known ? {} : { why: redact(unseen.why) }),
    ...(dns.keyFault === undefined ? {} : { keyFault: clean(dns.keyFault) }),
    ...(failed === undefined ? {} : { failed: redact(failed) }),
    ...(dns.unsearched === undefined ? {} : { unsearched: redact(dns.unsearched) }),
    elsewhere,
  };
}

/** Host names of this node's services that lead to edge nodes, as they should. */
function edgeNames({ services }: Desired): ReadonlySet<string> {
  const routes = services.flatMap(({ service }) => service.components.flatMap((one) => one.routes));
  return new Set(routes.filter(({ edge }) => edge !== undefined).map(({ hostname }) => hostname));
}

function names(seen: Seen): string[] {
  const { desired, promised, plan } = seen;
  // What is nobody's is a condition of the node.
  return [
    ...new Set([
      ...desired.services.map((entry) => entry.service.name),
      ...(desired.edges ?? []).map((edge) => edge.service.name),
      ...desired.refused,
      ...promised.applied.map((entry) => entry.service.name),
      ...promised.files.map((entry) => entry.service),
      ...plan.waiting.map((entry) => entry.service),
      ...plan.refused.map((entry) => entry.service),
    ]),
  ]
    .filter((name) => !isNobody(name))
    .sort();
}

function foreignOf(observed: Observed, owner: string): View['foreign'] {
  if (!observed.engine.known) return [];
  return observed.engine.value.containers
    .filter((container) => container.identity?.owner !== owner)
    .map(({ name, image, state }) => ({ name, image, state }));
}
