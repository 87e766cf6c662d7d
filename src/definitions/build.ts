import { digestOf } from '../base/json.ts';
import type { TomlPath } from '../base/tomlindex.ts';
import type { Claim } from './claims.ts';
import { containerName, type Definition, type Draft } from './draft.ts';
import { isInside, overlaps } from './fields.ts';
import { finding, isError, order, quote, type Finding } from './findings.ts';
import { buildName, tagFault } from './image.ts';
import { isWithin } from './mounts.ts';
import type { Component, EnvHash, NodeDefinition, Policy, Route, Service } from './types.ts';

/** What a definition is completed and judged with. */
export interface BuildContext {
  readonly node: NodeDefinition;
  /** Absent: rules that need it are not checked. */
  readonly policy?: Policy;
  /** Hash of a variable's value: equal values compare equal, nobody can read them. */
  readonly hash: (value: string) => string;
  /** Equal keys are equal contexts, but for `hash`. */
  readonly key: string;
  /** Suffix of the settings: host names inside it are always allowed. */
  readonly hostnameSuffix: string;
}

/** A service with everything filled in, and what it wants for itself alone. */
export interface Built {
  readonly service: Service;
  /** `digestOf(service)`. */
  readonly digest: string;
  /** By `<service>/<component>`, then by variable. */
  readonly values: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly claims: readonly Claim[];
  /** What the policy and the node say about it. */
  readonly findings: readonly Finding[];
  /** No error among the findings. */
  readonly good: boolean;
}

/** What was built of a draft last time: most files of a new commit are those of the one before. */
const memory = new WeakMap<Draft, { readonly context: BuildContext; readonly built: Built }>();

/** `buildService`, remembered for the draft and an equal context. */
export function builtOf(draft: Draft, definition: Definition, context: BuildContext): Built {
  const known = memory.get(draft);
  if (known !== undefined && isSame(known.context, context)) return known.built;
  const built = buildService(draft, definition, context);
  memory.set(draft, { context, built });
  return built;
}

function isSame(a: BuildContext, b: BuildContext): boolean {
  return a === b || (a.hash === b.hash && a.key === b.key);
}

type DraftComponent = Definition['components'][number];

/** Fills the defaults in and asks the node's policy. */
function buildService(draft: Draft, definition: Definition, context: BuildContext): Built {
  const findings: Finding[] = [];
  const components = definition.components.map((component, at) =>
    buildComponent(definition, component, ['components', at], context, findings),
  );
  const service: Service = {
    name: definition.name,
    node: definition.node,
    active: definition.active,
    path: definition.path ?? definition.name,
    components,
    ...definition.own,
  };
  let digest: string | undefined;
  return {
    service,
    // Made when it is asked for: of the services of other nodes nobody does, and they are most.
    get digest() {
      return (digest ??= digestOf(service));
    },
    values: new Map(definition.components.map(({ name, env }) => [`${definition.name}/${name}`, env])),
    claims: claimsOf(draft.file.path, service, definition),
    findings,
    good: !findings.some(isError),
  };
}

function buildComponent(
  definition: Definition,
  component: DraftComponent,
  path: TomlPath,
  context: BuildContext,
  findings: Finding[],
): Component {
  const { defaults } = context.node;
  const network = component.network ?? defaults.network;
  const user = component.user ?? defaults.user;
  const restart = component.restart ?? defaults.restart;
  const dockerfile = definition.images.get(buildName(component.image));
  const routes = component.routes.map((route): Route => ({
    name: route.name,
    port: route.port,
    mode: route.mode,
    hostname: route.hostname ?? `${definition.name}.${defaults.hostnameSuffix}`,
    ...(route.containerPort === undefined ? {} : { containerPort: route.containerPort }),
    backendTls: route.backendTls,
    ...(route.edge === undefined ? {} : { edge: route.edge }),
  }));
  if (network === 'none' && (routes.length > 0 || component.ports.length > 0)) {
    const message = `"${component.name}" has no network, but routes or ports`;
    findings.push(
      finding('network/none', [...path, component.network === undefined ? 'name' : 'network'], message),
    );
  }
  if (component.own.health?.onFailure === 'restart' && restart !== 'unless-stopped' && restart !== 'always') {
    const message = `restart = "${restart}" would leave it ended, should the restart be cut off`;
    findings.push(finding('health/restart', [...path, 'health', 'on_failure'], message));
  }
  checkImage(component, dockerfile, path, context, findings);
  checkRoutes(component, path, context, findings);
  if (definition.active) checkListeners(component, path, context, findings);
  checkPolicy(definition.name, component, path, context.policy, findings);
  return {
    name: component.name,
    container: containerName(definition.name, component.name),
    image: component.image,
    ...(dockerfile === undefined ? {} : { dockerfile }),
    env: hashed(component.env, context.hash),
    mounts: component.mounts.map(({ mount }) => mount).sort((a, b) => order(a.target, b.target)),
    ...(component.cmd === undefined ? {} : { cmd: component.cmd }),
    network,
    ...(user === undefined ? {} : { user }),
    // An engine that is told `always` starts a container again that we stopped.
    restart: restart === 'always' ? 'unless-stopped' : restart,
    routes,
    ports: component.ports.map(({ port }) => port),
    ...component.own,
  };
}

function hashed(env: ReadonlyMap<string, string>, hash: (value: string) => string): EnvHash[] {
  return [...env].map(([name, value]) => ({ name, hash: hash(value) })).sort((a, b) => order(a.name, b.name));
}

function checkImage(
  component: DraftComponent,
  dockerfile: string | undefined,
  path: TomlPath,
  { policy, hostnameSuffix }: BuildContext,
  findings: Finding[],
): void {
  const { image } = component;
  const at: TomlPath = [...path, 'image'];
  if (dockerfile === undefined && image.host?.replace(/:\d+$/, '') === `mcr.${hostnameSuffix}`) {
    const name = buildName(image);
    findings.push(finding('image/unbuilt', at, `"${name}" has no entry in [build.images]`));
  }
  const fault = policy?.images === 'pinned' ? undefined : tagFault(image.tag);
  if (fault !== undefined) findings.push(finding('image/semver-tag', at, fault.message, fault.hint));
  const hosts = policy?.imageHosts;
  if (hosts !== undefined && image.host !== undefined && !hosts.includes(image.host)) {
    const message = `the node does not know the registry ${quote(image.host)}`;
    const hint = `It knows ${hosts.join(', ')}. Take an image from there, or add [registries.${JSON.stringify(image.host)}] to the node's settings.`;
    findings.push(finding('image/host', at, message, hint));
  }
}

function checkRoutes(
  component: DraftComponent,
  path: TomlPath,
  context: BuildContext,
  findings: Finding[],
): void {
  const { node, policy, hostnameSuffix } = context;
  const listeners = policy?.listeners ?? node.listeners;
  for (const route of component.routes) {
    const at: TomlPath = [...path, 'routes', route.at];
    if (listeners !== undefined && !listeners.includes(route.port)) {
      const there = listeners.length === 0 ? 'it has none' : `it has ${listeners.join(', ')}`;
      findings.push(
        finding(
          'route/listener',
          [...at, 'port'],
          `${route.port} is no listener of the proxy of ${node.name}; ${there}`,
        ),
      );
    }
    checkEdge(route, node, [...at, 'edge'], findings);
    if (policy === undefined || route.hostname === undefined) continue;
    const domains = [hostnameSuffix, ...policy.hostnames];
    if (!domains.some((domain) => isInside(route.hostname ?? '', domain))) {
      const message = `"${route.hostname}" lies in none of the node's domains (${domains.join(', ')})`;
      findings.push(finding('route/domain', [...at, 'hostname'], message));
    }
  }
}

/**
 * Two cannot have one port: the container would not start, or the proxy would not come back. Whose settings name no proxy
 * runs it as a container, if at all, and that one may have the ports; without settings the node's file is believed.
 */
function checkListeners(
  { ports }: DraftComponent,
  path: TomlPath,
  { node, policy }: BuildContext,
  findings: Finding[],
): void {
  const numbers = policy === undefined ? node.listeners : policy.listeners;
  const bound: NonNullable<Policy['bound']> = policy?.bound ?? numbers?.map((port) => ({ port })) ?? [];
  for (const { at, port } of ports) {
    if (port.protocol !== 'tcp') continue;
    if (!bound.some((one) => one.port === port.host && overlaps(one.ip, port.ip))) continue;
    const message = `the proxy of ${node.name} listens on ${port.host}`;
    findings.push(finding('ports/listener', [...path, 'ports', at], message));
  }
}

function checkEdge(
  { edge }: DraftComponent['routes'][number],
  { name, addresses }: NodeDefinition,
  path: TomlPath,
  findings: Finding[],
): void {
  if (edge === undefined) return;
  if (edge.includes(name)) {
    findings.push(finding('route/edge', path, `${quote(name)} is the node of the service itself`));
  } else if (addresses.length === 0) {
    const message = `nodes/${name}.toml names no address, so ${edge.join(', ')} cannot reach it`;
    findings.push(finding('route/edge-address', path, message));
  }
}

function checkPolicy(
  service: string,
  component: DraftComponent,
  path: TomlPath,
  policy: Policy | undefined,
  findings: Finding[],
): void {
  if (policy === undefined) return;
  if (component.network !== undefined && !policy.networks.includes(component.network)) {
    const message = `the node does not allow the network ${quote(component.network)}`;
    findings.push(finding('network/policy', [...path, 'network'], message, allowed(policy.networks)));
  }
  const roots = policy.mounts.map((root) => root.replaceAll('{service}', service));
  for (const { at, mount } of component.mounts) {
    if (mount.kind !== 'bind' || roots.some((root) => isWithin(mount.source, root))) continue;
    const message = `the node does not allow ${quote(mount.source)} to be mounted`;
    findings.push(finding('volume/policy', [...path, 'volumes', at], message, allowed(roots)));
  }
  for (const { at, port } of component.ports) {
    if (policy.ports.some((range) => isInRange(port.host, range))) continue;
    const message = `the node does not allow the fixed port ${port.host}`;
    findings.push(finding('ports/policy', [...path, 'ports', at], message, allowed(policy.ports)));
  }
}

function allowed(values: readonly string[]): string {
  const list = values.length === 0 ? 'nothing' : values.join(', ');
  return `Allowed is ${list}; [policy] of the node's settings says so.`;
}

function isInRange(port: number, range: string): boolean {
  const [from, to = from] = range.split('-').map(Number);
  return from !== undefined && to !== undefined && port >= from && port <= to;
}

/** What the service wants for itself alone, with the place that says so. */
function claimsOf(file: string, service: Service, definition: Definition): Claim[] {
  const claim = (kind: Claim['kind'], key: string, path: TomlPath, ip?: string): Claim => ({
    file,
    service: service.name,
    kind,
    key,
    slot: `${kind} ${key}`,
    path,
    ...(ip === undefined ? {} : { ip }),
  });
  const { node } = service;
  return [
    claim('service', `${node} ${service.name}`, ['name']),
    ...service.components.flatMap((component, index) => {
      const path: TomlPath = ['components', index];
      const draft = definition.components[index];
      return [
        claim('container', `${node} ${component.container}`, [...path, 'name']),
        ...(component.replaces === undefined
          ? []
          : [claim('replaces', `${node} ${component.replaces}`, [...path, 'replaces'])]),
        ...component.routes.map((route, at) => {
          const said = draft?.routes[at]?.hostname === undefined ? 'port' : 'hostname';
          return claim('route', `${route.hostname}:${route.port}`, [...path, 'routes', at, said]);
        }),
        ...component.ports.map(({ host, protocol, ip }, at) =>
          claim('port', `${node} ${host}/${protocol}`, [...path, 'ports', draft?.ports[at]?.at ?? at], ip),
        ),
      ];
    }),
  ];
}
