import type { Component, FixedPort, Health, Service } from '../definitions/types.ts';
import type { ProbeCheck, ProbeHealth } from '../node/types.ts';
import { leaseOf, type Facts } from './facts.ts';

/** What is asked of a running container: by its routes and ports, and what its definition asks for besides. */
export interface Checks {
  readonly checks: readonly ProbeCheck[];
  readonly health?: ProbeHealth;
}

/**
 * The checks of one component. A health check takes the place of the one that the route or port it asks has by itself;
 * without a lease for its route there is none.
 */
export function checksOf(facts: Facts, service: Service, component: Component): Checks {
  const { health } = component;
  const check = health === undefined ? undefined : healthCheck(facts, service, component, health);
  const asked = health === undefined ? undefined : routeOf(component, health)?.name;
  const routes = component.routes
    .filter(({ name }) => name !== asked)
    .flatMap((route) => routeCheck(facts, service, component, route));
  const ports = component.ports
    .filter(({ protocol, container }) => protocol !== 'tcp' || container !== health?.port)
    .map((port): ProbeCheck => ({
      kind: 'listen',
      ip: port.ip ?? '127.0.0.1',
      port: port.host,
      containerPort: port.container,
      protocol: port.protocol,
    }));
  const checks = [...routes, ...ports];
  if (health === undefined || check === undefined) return { checks };
  const { intervalMs, timeoutMs, retries, startPeriodMs } = health;
  return { checks, health: { check, intervalMs, timeoutMs, retries, startPeriodMs } };
}

/** The route that a check asks: the one it names, or the first. A check of a port, or of a program, asks none. */
function routeOf(
  component: Component,
  { type, port, route }: Health,
): Component['routes'][number] | undefined {
  if (type === 'exec' || port !== undefined) return undefined;
  return route === undefined ? component.routes[0] : component.routes.find(({ name }) => name === route);
}

function routeCheck(
  facts: Facts,
  service: Service,
  component: Component,
  route: Component['routes'][number],
): ProbeCheck[] {
  const lease = leaseOf(facts, service.name, component.name, route.name);
  if (lease === undefined) return [];
  const common = {
    ip: facts.settings.publishIp,
    port: lease.port,
    hostname: route.hostname,
    route: route.name,
  };
  return [
    route.mode === 'l4' ? { kind: 'tls', ...common } : { kind: 'http', ...common, tls: route.backendTls },
  ];
}

function healthCheck(
  facts: Facts,
  service: Service,
  component: Component,
  health: Health,
): ProbeCheck | undefined {
  const { type, port, path, command = [] } = health;
  if (type === 'exec') return { kind: 'exec', command };
  const route = routeOf(component, health);
  const published =
    route === undefined
      ? fixedPort(component.ports.find((one) => one.protocol === 'tcp' && one.container === port))
      : {
          ip: facts.settings.publishIp,
          port: leaseOf(facts, service.name, component.name, route.name)?.port,
        };
  if (type === 'tcp') {
    const containerPort = port ?? route?.containerPort ?? published?.port;
    if (containerPort === undefined) return undefined;
    const { ip = '127.0.0.1', port: host = 0 } = published ?? {};
    return { kind: 'listen', ip, port: host, containerPort, protocol: 'tcp' };
  }
  if (published?.port === undefined) return undefined;
  const common = {
    ip: published.ip,
    port: published.port,
    hostname: route?.hostname ?? component.container,
    route: route?.name ?? '',
  };
  if (type === 'tls') return { kind: 'tls', ...common };
  return {
    kind: 'http',
    ...common,
    // Behind an l4 route the service ends TLS by itself.
    tls: route !== undefined && (route.mode === 'l4' || route.backendTls),
    ...(path === undefined ? {} : { path }),
    expect: health.expect ?? [200, 399],
  };
}

function fixedPort(fixed: FixedPort | undefined): { ip: string; port: number } | undefined {
  if (fixed === undefined) return undefined;
  const isAnywhere = fixed.ip === undefined || fixed.ip === '0.0.0.0' || fixed.ip === '::';
  return { ip: isAnywhere ? '127.0.0.1' : (fixed.ip ?? ''), port: fixed.host };
}
