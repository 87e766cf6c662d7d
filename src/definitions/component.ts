import type { TomlPath } from '../base/tomlindex.ts';
import { looksSecret, looksSecretArgument } from '../base/secretlike.ts';
import { readEnv, readHostname, readPort } from './fields.ts';
import { finding, keyFinding, order, quote, type Finding } from './findings.ts';
import { readImage } from './image.ts';
import { readMount } from './mounts.ts';
import { checkArguments, readOwnComponent, type OwnComponent } from './owncomponent.ts';
import { LIMITS, type ComponentShape, type RouteShape } from './shape.ts';
import type { FixedPort, ImageRef, Mount } from './types.ts';

/** A component as its file has it, every field read, no default filled in yet. */
export interface ReadComponent {
  readonly name: string;
  /** Absent when it is bad; there is a finding then. */
  readonly image?: ImageRef;
  /** In the order of the file. */
  readonly env: ReadonlyMap<string, string>;
  /** With the index in `volumes`. */
  readonly mounts: readonly { readonly at: number; readonly mount: Mount }[];
  readonly cmd?: readonly string[];
  readonly network?: string;
  readonly user?: string;
  readonly restart?: ComponentShape['restart'];
  readonly routes: readonly ReadRoute[];
  /** With the index in `ports`. */
  readonly ports: readonly { readonly at: number; readonly port: FixedPort }[];
  readonly own: OwnComponent;
}

interface ReadRoute {
  /** Index in `routes`. */
  readonly at: number;
  readonly name: string;
  readonly port: number;
  readonly mode: 'l4' | 'l7';
  readonly hostname?: string;
  readonly containerPort?: number;
  readonly backendTls: boolean;
  /** Sorted; whether they are other nodes is judged with the service. */
  readonly edge?: readonly string[];
}

/** Judges one component by itself. `path` is its place in the file. */
export function readComponent(shape: ComponentShape, path: TomlPath, findings: Finding[]): ReadComponent {
  const at = (...parts: TomlPath): TomlPath => [...path, ...parts];
  const image = readImage(shape.image);
  if (!image.ok) findings.push(finding(image.rule, at('image'), image.message, image.hint));
  const routes = readRoutes(shape.routes, at('routes'), findings);
  const ports = readPorts(shape.ports, at('ports'), findings);
  checkContainerPorts(routes, ports, path, findings);
  checkNetwork(shape, path, findings);
  if (
    shape.user !== undefined &&
    !/^(?:\d{1,10}(?::\d{1,10})?|[a-z_][a-z0-9_-]{0,31}(?::[a-z_][a-z0-9_-]{0,31})?)$/.test(shape.user)
  ) {
    findings.push(finding('component/user', at('user'), `${quote(shape.user)} is no user`));
  }
  if (shape.cmd !== undefined) checkArguments('component/cmd', shape.cmd, at('cmd'), findings);
  for (const key of ['cmd', 'entrypoint'] as const)
    for (const [index, word] of (shape[key] ?? []).entries())
      if (looksSecretArgument(word, index, shape[key] ?? []))
        findings.push(finding('env/secret', at(key, index), 'this argument looks like a secret'));
  for (const [name, value] of Object.entries(shape.labels))
    if (looksSecret(name.replaceAll(/[.-]/g, '_'), value))
      findings.push(finding('env/secret', at('labels', name), `${quote(name)} looks like a secret`));
  return {
    name: shape.name,
    ...(image.ok ? { image: image.image } : {}),
    env: readEnvironment(shape.env, at('env'), findings),
    mounts: readMounts(shape.volumes, at('volumes'), findings),
    ...(shape.cmd === undefined ? {} : { cmd: shape.cmd }),
    ...(shape.network === undefined ? {} : { network: shape.network }),
    ...(shape.user === undefined ? {} : { user: shape.user }),
    ...(shape.restart === undefined ? {} : { restart: shape.restart }),
    routes,
    ports,
    own: readOwnComponent(shape, { routes, ports }, path, findings),
  };
}

function readRoutes(shapes: readonly RouteShape[], path: TomlPath, findings: Finding[]): ReadRoute[] {
  if (shapes.length > LIMITS.routes) {
    findings.push(finding('route/limit', path, `there are ${shapes.length} routes`));
  }
  const variables = new Map<string, string>();
  return shapes.map((shape, at): ReadRoute => {
    const name = shape.name ?? '';
    if (name === '' && shapes.length > 1) {
      findings.push(
        keyFinding('route/unnamed', [...path, at], 'this route has no name, and there are several'),
      );
    }
    const variable = name === '' ? 'PORT' : `PORT_${foldedName(name)}`;
    const other = variables.get(variable);
    if (other !== undefined && name !== '') {
      findings.push(
        finding(
          'route/fold',
          [...path, at, 'name'],
          `the routes "${other}" and "${name}" both give ${variable}`,
        ),
      );
    }
    variables.set(variable, name);
    if (shape.backend_tls && shape.mode === 'l4') {
      findings.push(
        keyFinding('route/backend-tls', [...path, at, 'backend_tls'], '`backend_tls` stands on an l4 route'),
      );
    }
    return {
      at,
      name,
      port: shape.port,
      mode: shape.mode,
      ...hostnameOf(shape, [...path, at, 'hostname'], findings),
      ...(shape.container_port === undefined ? {} : { containerPort: shape.container_port }),
      backendTls: shape.backend_tls,
      ...edgeOf(shape, [...path, at, 'edge'], findings),
    };
  });
}

function edgeOf(
  { edge = [] }: RouteShape,
  path: TomlPath,
  findings: Finding[],
): { edge?: readonly string[] } {
  if (edge.length > LIMITS.edges) findings.push(finding('route/edge', path, `it names ${edge.length} nodes`));
  for (const [at, node] of edge.entries())
    if (edge.indexOf(node) < at)
      findings.push(finding('route/edge', [...path, at], `${quote(node)} is there twice`));
  return edge.length === 0 ? {} : { edge: [...edge].sort(order) };
}

function hostnameOf(shape: RouteShape, path: TomlPath, findings: Finding[]): { hostname?: string } {
  if (shape.hostname === undefined) return {};
  const read = readHostname(shape.hostname);
  if (read.ok) return { hostname: read.hostname };
  findings.push(finding('route/hostname', path, read.why));
  return {};
}

/** `-` is `_` in a variable, and letters are upper case. */
export function foldedName(name: string): string {
  return name.toUpperCase().replaceAll('-', '_');
}

function readPorts(texts: readonly string[], path: TomlPath, findings: Finding[]): ReadComponent['ports'] {
  if (texts.length > LIMITS.ports) {
    findings.push(finding('ports/limit', path, `there are ${texts.length} fixed ports`));
    return [];
  }
  return texts.flatMap((text, at) => {
    const read = readPort(text);
    if (read.ok) return [{ at, port: read.port }];
    findings.push(finding(read.rule, [...path, at], read.message, read.hint));
    return [];
  });
}

/** A port of the container is published once: the engine refuses the second, or takes the wrong one. */
function checkContainerPorts(
  routes: readonly ReadRoute[],
  ports: ReadComponent['ports'],
  path: TomlPath,
  findings: Finding[],
): void {
  for (const route of routes) {
    const fixed = ports.find(({ port }) => port.protocol === 'tcp' && port.container === route.containerPort);
    if (fixed === undefined) continue;
    const message = `the container's port ${fixed.port.container} is also published by \`ports\``;
    findings.push(finding('route/container-port', [...path, 'routes', route.at, 'container_port'], message));
  }
}

/** Words that engines take for a mode, not for a network. */
const NETWORK_MODES = new Set([
  'host',
  'bridge',
  'default',
  'private',
  'slirp4netns',
  'pasta',
  'podman',
  'container',
  'ns',
]);

/** Networks that the agent makes for services of several components. */
const OWN_NETWORK_PREFIX = 'mcg-';

export function wrongNetwork(name: string): string | undefined {
  if (NETWORK_MODES.has(name)) return `${quote(name)} is a mode of the engine, not a network`;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(name)) return `${quote(name)} is no name of a network`;
  return name.startsWith(OWN_NETWORK_PREFIX) ? `${quote(name)} is the own network of a service` : undefined;
}

function checkNetwork(shape: ComponentShape, path: TomlPath, findings: Finding[]): void {
  if (shape.network === undefined) return;
  const wrong = wrongNetwork(shape.network);
  if (wrong !== undefined) findings.push(finding('network/name', [...path, 'network'], wrong));
}

function readEnvironment(texts: readonly string[], path: TomlPath, findings: Finding[]): Map<string, string> {
  const env = new Map<string, string>();
  if (texts.length > LIMITS.env) {
    findings.push(finding('env/limit', path, `there are ${texts.length} variables`));
    return env;
  }
  for (const [at, text] of texts.entries()) {
    const read = readEnv(text);
    if (!read.ok) findings.push(finding(read.rule, [...path, at], read.message, read.hint));
    else if (env.has(read.name)) {
      findings.push(finding('env/duplicate', [...path, at], `${quote(read.name)} is set twice`));
    } else {
      env.set(read.name, read.value);
      if (looksSecret(read.name, read.value)) {
        findings.push(finding('env/secret', [...path, at], `${quote(read.name)} looks like a secret`));
      }
    }
  }
  return env;
}

function readMounts(texts: readonly string[], path: TomlPath, findings: Finding[]): ReadComponent['mounts'] {
  if (texts.length > LIMITS.volumes) {
    findings.push(finding('volume/limit', path, `there are ${texts.length} volumes`));
    return [];
  }
  const targets = new Set<string>();
  return texts.flatMap((text, at) => {
    const read = readMount(text);
    if (!read.ok) {
      findings.push(finding(read.rule, [...path, at], read.message, read.hint));
      return [];
    }
    const { target } = read.mount;
    if (targets.has(target)) {
      findings.push(finding('volume/duplicate', [...path, at], `${quote(target)} is mounted twice`));
    }
    targets.add(target);
    return [{ at, mount: read.mount }];
  });
}
