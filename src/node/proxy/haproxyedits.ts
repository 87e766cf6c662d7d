import { parseAddress, type RouteTable } from '../../base/routetable.ts';
import type { ObservedRoute } from '../types.ts';
import type { HaproxyLive } from './haproxyask.ts';
import { bundleKey, renderHaproxy, rootsKey, type HaproxyPlaces } from './haproxyconfig.ts';
import { changedFile, type Pairs, type Written } from './haproxyfiles.ts';
import type { ObservedProxy } from './proxy.ts';
import { keyOf, observedRoutes, type RouteKey } from './table.ts';

/** What HAProxy would read beside its configuration when it begins anew. */
export function changedSince(
  { table, bundles, version }: Written,
  places: HaproxyPlaces,
  pairs: Pairs,
): Promise<string | undefined> {
  const rendered = renderHaproxy({ table, bundles }, places);
  // Of another version all is written anyway.
  if (rendered.version !== version) return Promise.resolve(undefined);
  return changedFile(rendered, bundles, { directory: places.directory, pairs });
}

/** Routes that are to be put again although they stand in the table: any write puts the whole file right. */
export function staleRoutes(
  written: Written,
  live: HaproxyLive | undefined,
  bundles: Readonly<Record<string, string>>,
  {
    configPath,
    places,
    changed,
  }: { readonly configPath: string; readonly places: HaproxyPlaces; readonly changed: string | undefined },
): NonNullable<ObservedProxy['stale']> {
  const edited = editedIn(written, live, places);
  const touched = new Set(edited.kind === 'routes' ? edited.routes.map(keyOf) : []);
  const isBehind = live !== undefined && live.version !== (written.version ?? '');
  return written.table.listeners.flatMap(({ addr, routes }) =>
    routes.flatMap(({ hostname }) => {
      const key = { listenerPort: parseAddress(addr)?.port ?? 0, hostname };
      if (edited.kind === 'whole') return [{ ...key, why: `${configPath} was changed by hand` }];
      if (changed !== undefined) return [{ ...key, why: changed }];
      if (isBehind) return [{ ...key, why: `HAProxy runs something else than what ${configPath} says` }];
      if (touched.has(keyOf(key)))
        return [{ ...key, why: `what ${configPath} says of it was changed by hand` }];
      const names = [bundleKey(addr, hostname), rootsKey(addr, hostname)];
      return live !== undefined && names.some((name) => bundles[name] !== live.bundles[name]) ? [key] : [];
    }),
  );
}

/** What somebody changed by hand in the configuration file. */
type Edited =
  | { readonly kind: 'nothing' | 'whole' }
  /** Only what stands there for these routes. */
  | { readonly kind: 'routes'; readonly routes: readonly RouteKey[] };

/**
 * Compares the file with what the driver writes for the same content. What belongs to single routes is said of them alone: a change of
 * one is no news of the others. `live`: what the worker runs, if it answers; of this file's version it tells which routes of the table in
 * the file's head were changed.
 */
function editedIn(written: Written, live: HaproxyLive | undefined, places: HaproxyPlaces): Edited {
  const { text, version = '', table, bundles } = written;
  if (text === undefined) return { kind: 'nothing' };
  const rendered = renderHaproxy({ table, bundles }, places);
  if (rendered.config === text) return { kind: 'nothing' };
  const expected = rendered.config.replaceAll(rendered.version, version);
  const found = [...changedSections(text, expected, table)];
  if (rendered.version !== version)
    found.push(...(live?.version === version ? changedRoutes(written, live) : ['whole' as const]));
  const ours = new Set(observedRoutes(table.listeners).map(keyOf));
  const routes = found.filter((one) => one !== 'whole');
  const isWhole =
    routes.length === 0 || routes.length < found.length || routes.some((key) => !ours.has(keyOf(key)));
  return isWhole ? { kind: 'whole' } : { kind: 'routes', routes };
}

/** Sections that differ, by the route that they are of. */
function changedSections(text: string, expected: string, table: RouteTable): (RouteKey | 'whole')[] {
  const [is, should] = [sectionsOf(text), sectionsOf(expected)];
  const names = new Set([...is.keys(), ...should.keys()]);
  const ports = table.listeners
    .map(({ addr }) => addr)
    .sort()
    .map((addr) => parseAddress(addr)?.port);
  return [...names]
    .filter((name) => is.get(name) !== should.get(name))
    .map((name) => {
      const [, index, hostname] = /^backend (?:g\.)?(\d+)\.(\S+)$/.exec(name) ?? [];
      const listenerPort = ports[Number(index)];
      return hostname === undefined || listenerPort === undefined ? 'whole' : { listenerPort, hostname };
    });
}

/** By their first line; the head has none. */
function sectionsOf(config: string): Map<string, string> {
  const sections = new Map<string, string>();
  for (const part of config.split(/^(?=(?:global|defaults|frontend|backend|listen)\b)/m)) {
    const name = part.startsWith('#') ? '' : (part.split('\n', 1)[0] ?? '');
    // The head stands for the table and the bundles, which are compared as such.
    if (name !== '') sections.set(name, `${sections.get(name) ?? ''}${part.trimEnd()}\n`);
  }
  return sections;
}

/** Routes of the table that are otherwise than the worker has them. */
export function changedRoutes({ table, bundles }: Written, live: HaproxyLive): RouteKey[] {
  const isServed = (addr: string, hostname: string, mode: string): boolean =>
    mode === 'l4' || bundles[bundleKey(addr, hostname)] !== undefined;
  // One without a good certificate is not served, and nobody changed it.
  const served = table.listeners.map(({ addr, routes }) => ({
    addr,
    routes: routes.filter(({ hostname, mode }) => isServed(addr, hostname, mode)),
  }));
  const [is, should] = [byKey(served), byKey(live.listeners)];
  return [...new Map([...is, ...should])].flatMap(([key, { listenerPort, hostname }]) =>
    JSON.stringify(is.get(key)) === JSON.stringify(should.get(key)) ? [] : [{ listenerPort, hostname }],
  );
}

function byKey(listeners: Parameters<typeof observedRoutes>[0]): Map<string, ObservedRoute> {
  return new Map(observedRoutes(listeners).map((route) => [keyOf(route), route]));
}
