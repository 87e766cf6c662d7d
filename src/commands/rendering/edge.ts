import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { digestOf } from '../../base/json.ts';
import { formatRouteTable, parseAddress, type RouteTable } from '../../base/routetable.ts';
import type { Component, DesiredService } from '../../definitions/types.ts';
import { formatMark, type NameSeen } from '../../node/dns/query.ts';
import { zoneOf } from '../../node/dns/rfc2136.ts';
import { updateScript } from '../../node/dns/update.ts';
import {
  bundleKey,
  bundlePath,
  HAPROXY_TIMEOUTS,
  renderHaproxy,
  versionPath,
} from '../../node/proxy/haproxyconfig.ts';
import { changedTable } from '../../node/proxy/table.ts';
import type { ObservedRoute, ServerRecord } from '../../node/types.ts';
import { quoted } from '../../plan/render.ts';
import { wantedRoute } from '../../plan/routes.ts';
import { dataPath } from '../../settings.ts';
import { challengesOf } from '../../wiring.ts';
import { certificateCommands } from './certificates.ts';
import type { Subject } from './subject.ts';
import { hereDocument } from './values.ts';

/** The certificates of the l7 host names: who makes them, and how. */
export function certificateLines(subject: Subject): string[] {
  const { facts, settings, hasSettings, hasState } = subject;
  const driver = hasState ? facts.settings.certificates : settings.certs.driver;
  const names = new Set(
    routesOf(subject).flatMap(({ route }) => (route.mode === 'l7' ? [route.hostname] : [])),
  );
  return [...names].sort().flatMap((hostname) => {
    const certificate = facts.observed.certificates[hostname];
    if (certificate?.kind !== 'valid') return [];
    const caDir = hasSettings ? dataPath(settings, 'ca') : undefined;
    return certificateCommands(
      { hostname, ...certificate, suffix: settings.defaults.hostname_suffix },
      driver,
      caDir,
    );
  });
}

interface Served {
  readonly desired: DesiredService;
  readonly component: Component;
  readonly route: Component['routes'][number];
}

function routesOf({ services }: Subject): Served[] {
  return services
    .filter(({ service }) => service.active)
    .flatMap((desired) =>
      desired.service.components.flatMap((component) =>
        component.routes.map((route) => ({ desired, component, route })),
      ),
    );
}

/** The proxy's whole table with these routes: it is one file, and its reader takes no half of it. */
export function routeLines(subject: Subject): string[] {
  const { facts, settings, hasSettings } = subject;
  const routes = routesOf(subject).flatMap(({ desired, component, route }) =>
    wantedRoute(facts, desired, component, route),
  );
  if (routes.length === 0) return [];
  const told = routes.map(
    ({ hostname, listenerPort, mode, backend }) => `# ${hostname}:${listenerPort} ${mode} -> ${backend}`,
  );
  const { driver } = settings.mcproxy;
  if (hasSettings && driver === 'none')
    return [...told, '# This node has no proxy ([mcproxy] driver = "none"): nothing serves these routes.'];
  const { proxy } = facts.observed;
  const standing = proxy.known ? proxy.value.table : [];
  const listeners = listenersOf(subject, [...routes, ...standing]);
  const before = tableOf(standing, listeners);
  const table = changedTable(
    before,
    { kind: 'put', routes },
    {
      ...{ listeners, owner: facts.settings.owner },
      ...(hasSettings ? challengesOf(settings) : {}),
    },
  );
  if (table.kind !== 'ok')
    return [...told, `# Not written: ${table.kind === 'bug' ? 'an error' : table.why}`];
  // One file for all services: written without the others' routes it would take them off the proxy.
  if ((subject.isPart || subject.bad.length > 0) && !subject.hasState)
    return [
      ...told,
      '# The table is one file for all services, and what else stands in it is not known here, so it is not written:',
      '# take the state of the node (--state FILE|URL), or render all services, or add to it by hand',
      ...formatRouteTable(table.value)
        .trimEnd()
        .split('\n')
        .map((line) => `#   ${line}`),
    ];
  const path = settings.mcproxy.table;
  if (driver === 'haproxy') return [...told, ...haproxyLines(settings.mcproxy, table.value)];
  return [
    ...told,
    ...(hasSettings
      ? []
      : ['# For the bundled router, `mc-gitops proxy`, where it has its table by default:']),
    `mkdir -p ${quoted(dirname(path))}`,
    hereDocument(`cat > ${quoted(`${path}.next`)}`, formatRouteTable(table.value)),
    `mv ${quoted(`${path}.next`)} ${quoted(path)}`,
  ];
}

/** The node's own addresses where its settings are here, else those that the routes ask for. */
function listenersOf({ settings, hasSettings }: Subject, routes: readonly ObservedRoute[]): string[] {
  const own = hasSettings ? settings.mcproxy.listeners : [];
  const missing = routes
    .map(({ listenerPort }) => listenerPort)
    .filter((port) => !own.some((addr) => parseAddress(addr)?.port === port));
  return hasSettings ? [...own] : [...new Set(missing)].sort((a, b) => a - b).map((port) => `:${port}`);
}

function tableOf(routes: readonly ObservedRoute[], listeners: readonly string[]): RouteTable {
  const addrOf = (port: number): string =>
    listeners.find((addr) => parseAddress(addr)?.port === port) ?? `:${port}`;
  const addrs = [...new Set([...listeners, ...routes.map(({ listenerPort }) => addrOf(listenerPort))])];
  return {
    listeners: addrs.map((addr) => ({
      addr,
      routes: routes
        .filter(({ listenerPort }) => addrOf(listenerPort) === addr)
        .map(({ hostname, backend, mode, tlsCert = '', tlsKey = '', backendTls, mark }) => {
          const head = { hostname, backend, ...(mark === undefined ? {} : { owner: mark }) };
          return mode === 'l4' ? { ...head, mode } : { ...head, mode, tlsCert, tlsKey, backendTls };
        }),
    })),
  };
}

/** The configuration as the agent writes it, with its maps and certificate bundles. */
function haproxyLines(mcproxy: Subject['settings']['mcproxy'], table: RouteTable): string[] {
  const { haproxy_config: config, haproxy_program: program } = mcproxy;
  const directory = dirname(config);
  // The agent names a bundle after its content, and puts its own in place when it is back.
  const pairs = table.listeners.flatMap(({ addr, routes }) =>
    routes.flatMap((route) =>
      route.mode === 'l4'
        ? []
        : [
            {
              key: bundleKey(addr, route.hostname),
              name: digestOf([addr, route.hostname]).slice(0, 32),
              route,
            },
          ],
    ),
  );
  const bundles = Object.fromEntries(pairs.map(({ key, name }) => [key, name]));
  const rendered = renderHaproxy(
    { table, bundles },
    {
      directory,
      runtimeSocket: mcproxy.haproxy_socket,
      timeouts: HAPROXY_TIMEOUTS,
      ipv6: existsSync('/proc/net/if_inet6'),
    },
  );
  const below = versionPath(directory, rendered.version);
  return [
    '(umask 077',
    `mkdir -p ${quoted(join(directory, 'certs'))} ${quoted(below)}`,
    ...pairs.map(
      ({ name, route }) =>
        `{ cat ${quoted(route.tlsCert)}; echo; cat ${quoted(route.tlsKey)}; } > ${quoted(bundlePath(directory, name))}`,
    ),
    ...Object.entries(rendered.files).map(([name, text]) =>
      hereDocument(`cat > ${quoted(join(below, name))}`, text),
    ),
    `${hereDocument(`cat > ${quoted(`${config}.next`)}`, rendered.config)}\n)`,
    `${quoted(program)} -c -f ${quoted(`${config}.next`)} && mv ${quoted(`${config}.next`)} ${quoted(config)}`,
    'systemctl reload mc-gitops-haproxy   # or: kill -USR2 <process id of its master>',
  ];
}

/** The records of the host names, as the agent asks the name servers for them. */
export function recordLines(subject: Subject): string[] {
  const { facts, settings, hasSettings } = subject;
  const { mcns } = settings;
  const addresses = [...(facts.settings.addresses ?? [])].sort();
  const routes = routesOf(subject);
  const names = new Map(routes.map(({ desired, route }) => [route.hostname, desired.service.name]));
  const edges = new Map(routes.map(({ route }) => [route.hostname, route.edge]));
  const zones = mcns.zones.map((zone) => zone.toLowerCase().replace(/\.$/, ''));
  return [...names].sort().flatMap(([hostname, service]): string[] => {
    const edge = edges.get(hostname);
    if (edge !== undefined)
      return [`# ${hostname}: leads to its edge nodes ${edge.join(', ')}, which make its records themselves`];
    if (addresses.length === 0)
      return [
        `# ${hostname}: nodes/${facts.settings.node}.toml has no addresses, so there is no record to make`,
      ];
    const values = addresses.map((ip) => `${ip.includes(':') ? 'AAAA' : 'A'} ${ip}`).join(', ');
    if (!hasSettings)
      return [`# ${hostname}: ${values}; --config FILE of the node says by which name servers`];
    if (mcns.driver === 'none')
      return [`# ${hostname}: ${values}, made by whoever manages its zone ([mcns] driver = "none")`];
    const zone = zoneOf(hostname, zones);
    if (zone === undefined)
      return [`# ${hostname}: ${values}, outside of our zones: made by whoever manages its own`];
    return mcns.servers.flatMap((server) => {
      const seen = seenOn(subject, hostname, server);
      if (seen?.foreign === true) return [`# ${hostname}: what ${server} has there is not ours`];
      const mark = { owner: facts.settings.owner, service, addresses };
      const texts = seen?.mark === undefined ? [] : [formatMark(seen.mark)];
      const now: NameSeen = { addresses: seen?.addresses ?? [], texts };
      const add = addresses.filter((ip) => !now.addresses.includes(ip));
      const drop = (seen?.mark?.addresses ?? []).filter(
        (ip) => now.addresses.includes(ip) && !addresses.includes(ip),
      );
      if (seen?.mark !== undefined && add.length + drop.length === 0)
        return [`# ${hostname}: there, on ${server}`];
      if (seen?.mark === undefined && now.addresses.length > 0)
        return [`# ${hostname}: what ${server} has there (${now.addresses.join(', ')}) is not ours`];
      const markThere = texts[0] === undefined ? {} : { markThere: texts[0] };
      const update = { server, zone, hostname, seen: now, add, drop, ...markThere, mark, ttlS: mcns.ttl_s };
      const script = updateScript(update);
      const key = mcns.key_file === undefined ? '' : ` -k ${quoted(mcns.key_file)}`;
      return [
        `# Refused by the server where something stands there already: dig @${server} ${hostname} shows it`,
        hereDocument(`nsupdate${key}`, script),
      ];
    });
  });
}

function seenOn({ facts }: Subject, hostname: string, server: string): ServerRecord | undefined {
  const name = facts.observed.dns?.names[hostname];
  if (name === undefined || 'elsewhere' in name) return undefined;
  const seen = name.servers.find((one) => one.server === server)?.seen;
  return seen?.known === true ? seen.value : undefined;
}
