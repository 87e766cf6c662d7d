import type { Component, FixedPort, Service } from '../definitions/types.ts';
import type { Step } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';
import type { Action, PreviewInput } from './preview.ts';

/** What comes and what goes. */
export interface Change {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

const UNKNOWN_PORT = 'a host port that is leased then';

/** By the order of the steps: who stops before the successor starts is away as long as that takes. */
export function downtimeOf(action: Action, steps: readonly Step[]): string {
  const stopAt = steps.findIndex(
    (step) => step.kind === 'retire-container' || step.kind === 'take-over-container',
  );
  const startAt = steps.findIndex((step) => step.kind === 'start-container');
  const stop = steps[stopAt];
  const stops = stop?.kind === 'retire-container' || stop?.kind === 'take-over-container';
  if (stops && (startAt === -1 || stopAt < startAt)) {
    return `a restart: the old container is stopped (it has up to ${stop.stopTimeoutS} s to end), then the new one starts and has to become ready`;
  }
  if (action === 'replace' && stopAt !== -1) {
    return 'none: the new container is ready before routes leave the old one';
  }
  return action === 'stop' || action === 'remove' ? 'from now on' : 'none';
}

export function change(before: readonly string[], after: readonly string[]): Change {
  return { added: added(before, after), removed: added(after, before) };
}

export function added(before: readonly string[], after: readonly string[]): string[] {
  return [...new Set(after)].filter((entry) => !before.includes(entry)).sort();
}

export function images(service: Service | undefined): string[] {
  return service?.components.map(({ image }) => image.reference) ?? [];
}

export function leases({ leases: all }: Promised, service: string, { knowsPorts }: PreviewInput): string[] {
  return all
    .filter((lease) => lease.service === service)
    .map(
      ({ component, route, port }) =>
        `${route === '' ? component : `${component}/${route}`} → ${knowsPorts ? port : UNKNOWN_PORT}`,
    );
}

export function fixedPorts(service: Service | undefined): string[] {
  const text = ({ ip, host, container, protocol }: FixedPort): string =>
    `${ip === undefined ? '' : `${ip}:`}${host}:${container}/${protocol}`;
  return service?.components.flatMap((component: Component) => component.ports.map(text)) ?? [];
}

/** A name with an edge leads to the edge nodes only: they make its records. */
export function hostnames({ routes }: Promised, name: string, definition: Service | undefined): string[] {
  const elsewhere = new Set(
    definition?.components.flatMap((component) =>
      component.routes.filter(({ edge }) => edge !== undefined).map(({ hostname }) => hostname),
    ),
  );
  return routes
    .filter(({ service, hostname }) => service === name && !elsewhere.has(hostname))
    .map(({ hostname }) => hostname);
}

export function routesOf(
  name: string,
  { promised, after, desired }: PreviewInput,
  steps: readonly Step[],
): Change {
  const texts = (all: Promised, definition: Service | undefined): string[] =>
    all.routes
      .filter((route) => route.service === name)
      .map(({ component, route, hostname, port }) => {
        const found = definition?.components
          .find((entry) => entry.name === component)
          ?.routes.find((entry) => entry.name === route);
        return `${hostname}:${port}${found === undefined ? '' : ` ${found.mode}`} → ${component}`;
      });
  const applied = promised.applied.find((entry) => entry.service.name === name)?.service;
  const isTouched = steps.some(({ kind }) => kind === 'put-routes' || kind === 'remove-routes');
  if (!isTouched) return { added: [], removed: [] };
  const service = desired.find((entry) => entry.service.name === name)?.service;
  return change(texts(promised, applied), texts(after, service));
}
