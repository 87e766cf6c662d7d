import { createHash } from 'node:crypto';
import { canonicalJson } from '../base/json.ts';
import type { Component, Route, Service } from '../definitions/types.ts';
import type { ContainerSpec, NetworkAttachment, PublishedPort } from '../node/types.ts';
import { leaseOf, slotOf, type Facts } from './facts.ts';

/** Raised only when the same definition must give another container: each raise restarts every container once. */
const SPEC_VERSION = '1';

/**
 * What a component's container is made of, from the definition and its leases. Routes without a lease are left out. It is
 * asked for many times a pass: the same definition, leases and settings give the same object.
 */
export function specOf(facts: Facts, service: Service, component: Component): ContainerSpec {
  const known = made.get(component) ?? [];
  const slots = slotsOf(facts, service);
  for (const one of known) if (isOf(one, facts, service, slots)) return one.spec;
  const spec = makeSpec(facts, service, component);
  const { settings, promised } = facts;
  // Of a change there are a few: in each slot, before and after its ports are leased.
  made.set(component, [{ service, leases: promised.leases, slots, settings, spec }, ...known.slice(0, 3)]);
  return spec;
}

/** A spec with all that it is a function of, beside its component. */
interface Made {
  readonly service: Service;
  readonly leases: Facts['promised']['leases'];
  /** The components of the service that have slot b. */
  readonly slots: string;
  readonly settings: Facts['settings'];
  readonly spec: ContainerSpec;
}

const made = new WeakMap<Component, readonly Made[]>();

function isOf(one: Made, { promised, settings }: Facts, service: Service, slots: string): boolean {
  if (one.service !== service || one.leases !== promised.leases || one.slots !== slots) return false;
  const before = one.settings;
  return (
    before === settings ||
    (before.owner === settings.owner &&
      before.publishIp === settings.publishIp &&
      before.logMaxSize === settings.logMaxSize &&
      before.logMaxFiles === settings.logMaxFiles)
  );
}

function slotsOf(facts: Facts, service: Service): string {
  if (facts.slotB === undefined || facts.slotB.size === 0) return '';
  return service.components
    .filter(({ name }) => slotOf(facts, service.name, name) === 'b')
    .map(({ name }) => name)
    .join();
}

function makeSpec(facts: Facts, service: Service, component: Component): ContainerSpec {
  const { settings } = facts;
  return {
    owner: settings.owner,
    service: service.name,
    component: component.name,
    name: component.container,
    image: component.image.reference,
    env: component.env,
    agentEnv: agentEnv(facts, service, component),
    mounts: component.mounts,
    ...(component.cmd === undefined ? {} : { cmd: component.cmd }),
    networks: networksOf(facts, service, component),
    ...(component.user === undefined ? {} : { user: component.user }),
    restart: component.restart,
    publish: publishOf(facts, service, component),
    leases: leaseMap(facts, service, component),
    logMaxSize: settings.logMaxSize,
    logMaxFiles: settings.logMaxFiles,
    // Absent where the definition does not have them: a container made before they were known keeps its digest.
    ...(component.entrypoint === undefined ? {} : { entrypoint: component.entrypoint }),
    ...(component.stopSignal === undefined ? {} : { stopSignal: component.stopSignal }),
    ...(component.labels === undefined ? {} : { labels: component.labels }),
    ...(component.resources === undefined ? {} : { resources: component.resources }),
    ...(service.generation === undefined ? {} : { generation: service.generation }),
  };
}

/**
 * `<version>.<key id>.<digest without env hashes>.<digest>`. The part without the hashes lets a container be
 * recognised when the key of the hashes was lost: no restart for that (house rule 11).
 */
export function specDigest(spec: ContainerSpec, keyId: string): string {
  const known = digestOfSpec.get(spec);
  if (known?.keyId === keyId) return known.digest;
  const digest = digestFor(spec, keyId);
  digestOfSpec.set(spec, { keyId, digest });
  return digest;
}

const digestOfSpec = new WeakMap<ContainerSpec, { readonly keyId: string; readonly digest: string }>();

function digestFor(spec: ContainerSpec, keyId: string): string {
  const text = JSON.stringify(spec);
  // The mounts are the definition's own list: as long as that definition is in force, its digest is asked for each pass.
  const before = digests.get(spec.mounts);
  if (before?.text === text && before.keyId === keyId) return before.digest;
  const bare = sha256({ ...spec, env: spec.env.map((entry) => entry.name) });
  const digest = `${SPEC_VERSION}.${keyId}.${bare}.${sha256(spec)}`;
  digests.set(spec.mounts, { text, keyId, digest });
  return digest;
}

const digests = new WeakMap<
  object,
  { readonly text: string; readonly keyId: string; readonly digest: string }
>();

/** Does a container's `spec` label stand for the wanted digest? */
export function sameSpec(label: string | undefined, wanted: string): boolean {
  if (label === wanted) return true;
  if (label === undefined) return false;
  const [version, keyId, bare] = label.split('.');
  const [wantedVersion, wantedKeyId, wantedBare] = wanted.split('.');
  return version === wantedVersion && keyId !== wantedKeyId && bare === wantedBare;
}

/** The network of a service's own, on which its components find each other by short names (L26). */
export function ownNetwork(owner: string, service: string): string {
  const instance = owner.split('/')[1] ?? '';
  return instance === 'main' ? `mcg-${service}` : `mcg-${instance}-${service}`;
}

function networksOf(facts: Facts, service: Service, component: Component): NetworkAttachment[] {
  if (component.network === 'none') return [];
  const shared = { name: component.network, aliases: [component.container] };
  if (service.components.length < 2) return [shared];
  return [shared, { name: ownNetwork(facts.settings.owner, service.name), aliases: [component.name] }];
}

function publishOf(facts: Facts, service: Service, component: Component): PublishedPort[] {
  const leased = component.routes.flatMap((route): PublishedPort[] => {
    const lease = leaseOf(facts, service.name, component.name, route.name);
    if (lease === undefined) return [];
    return [
      {
        ip: facts.settings.publishIp,
        host: lease.port,
        container: route.containerPort ?? lease.port,
        protocol: 'tcp',
      },
    ];
  });
  const fixed = component.ports.map((port): PublishedPort => ({
    ip: port.ip ?? '0.0.0.0',
    host: port.host,
    container: port.container,
    protocol: port.protocol,
  }));
  return [...leased, ...fixed];
}

function leaseMap(facts: Facts, service: Service, component: Component): Record<string, number> {
  return Object.fromEntries(
    component.routes.flatMap((route) => {
      const lease = leaseOf(facts, service.name, component.name, route.name);
      return lease === undefined ? [] : [[route.name, lease.port]];
    }),
  );
}

function agentEnv(facts: Facts, service: Service, component: Component): { name: string; value: string }[] {
  const own = component.routes.flatMap((route) => {
    const port = portOf(facts, service, component, route);
    return port === undefined ? [] : [{ route, value: String(port) }];
  });
  const named = own.map(({ route, value }) => ({
    name: route.name === '' ? 'PORT' : `PORT_${variable(route.name)}`,
    value,
  }));
  const main = mainRoute(component);
  const plain = own.find(({ route }) => route === main && route.name !== '');
  return [
    ...named,
    ...(plain === undefined ? [] : [{ name: 'PORT', value: plain.value }]),
    ...peers(facts, service, component),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The route that `PORT` stands for: the only one, else `rest`, `web`, `http`, else the first (house.md section 6). */
function mainRoute(component: Component): Route | undefined {
  const byName = (name: string): Route | undefined => component.routes.find((route) => route.name === name);
  return component.routes.length === 1
    ? component.routes[0]
    : (byName('rest') ?? byName('web') ?? byName('http') ?? component.routes[0]);
}

/** `PEER_<COMPONENT>[_<ROUTE>]=<alias>:<port>`: how siblings find each other (L25). */
function peers(facts: Facts, service: Service, component: Component): { name: string; value: string }[] {
  return service.components
    .filter(
      (other) => other.name !== component.name && other.network !== 'none' && component.network !== 'none',
    )
    .flatMap((other) =>
      other.routes.flatMap((route) => {
        const port = portOf(facts, service, other, route);
        if (port === undefined) return [];
        const value = `${other.name}:${port}`;
        const long =
          route.name === '' ? [] : [{ name: `PEER_${variable(other.name)}_${variable(route.name)}`, value }];
        return route === mainRoute(other) ? [{ name: `PEER_${variable(other.name)}`, value }, ...long] : long;
      }),
    );
}

function portOf(facts: Facts, service: Service, component: Component, route: Route): number | undefined {
  return route.containerPort ?? leaseOf(facts, service.name, component.name, route.name)?.port;
}

function variable(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

function sha256(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 32);
}
