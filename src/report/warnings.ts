import { redact } from '../base/secret.ts';
import type { Component, DesiredService, Issue, Route, Service } from '../definitions/types.ts';
import type { DnsFacts, Observed, ZoneName } from '../node/types.ts';
import { isRefused, strangeIn } from './strangers.ts';

/** What the rules for Dockerfiles say of its images. */
export function findingsOf(
  wanted: DesiredService | undefined,
  observed: Observed,
  addresses: readonly string[],
): Issue[] {
  const { findings = {} } = observed;
  if (wanted === undefined) return [];
  return [
    ...imagesOf(wanted.service).flatMap((image) => findings[image] ?? []),
    ...wanted.service.components.flatMap((component) => imageWarnings(wanted, component, observed)),
    ...wanted.service.components.flatMap(({ routes }) =>
      routes.flatMap((route) => [
        ...nameWarnings(wanted, route, observed),
        ...awayWarnings(wanted, route, observed, addresses),
      ]),
    ),
  ];
}

/** An l4 service shows its own certificate, which nobody here can mend; clients refuse one of another name (L10). */
function nameWarnings(wanted: DesiredService, { mode, hostname, port }: Route, observed: Observed): Issue[] {
  const shown = observed.handshakes?.[`${hostname}:${port}`];
  if (mode !== 'l4' || shown?.kind !== 'ok' || shown.otherNames === undefined) return [];
  return [
    {
      ...{ rule: 'certificate/name', severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      message: `the service shows a certificate for ${hostname}:${port} that is for ${redact(shown.otherNames)}`,
      hint: 'Clients refuse it: give the service a certificate with this host name, or the route the host name of the certificate.',
      service: wanted.service.name,
    },
  ];
}

/** Of a name in no zone of ours that leads elsewhere; in words, undefined where it leads here, or nobody knows. */
export function awayIn(dns: DnsFacts, hostname: string, addresses: readonly string[]): string | undefined {
  const seen = dns.names[hostname];
  if (seen === undefined || !('elsewhere' in seen) || !seen.elsewhere.known) return undefined;
  const found = seen.elsewhere.value;
  if (addresses.length === 0 || found.some((ip) => addresses.includes(ip))) return undefined;
  return `${hostname} ${found.length === 0 ? 'does not resolve' : `resolves to ${found.join(', ')}, not to this node`}`;
}

/** A name that others manage, and that leads elsewhere: nothing is ever written there (L20). */
function awayWarnings(
  wanted: DesiredService,
  { hostname, edge }: Route,
  { dns }: Observed,
  addresses: readonly string[],
): Issue[] {
  // With an edge node it is to lead there.
  const away = dns === undefined || edge !== undefined ? undefined : awayIn(dns, hostname, addresses);
  if (away === undefined) return [];
  return [
    {
      ...{ rule: 'dns/elsewhere', severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      message: away,
      hint: 'The name is managed elsewhere: where no balancer or NAT stands in between, mend it there.',
      service: wanted.service.name,
    },
  ];
}

/** `USER` and `VOLUME` of images that others build: nobody here can mend them, but they should be known (L18). */
function imageWarnings(wanted: DesiredService, component: Component, observed: Observed): Issue[] {
  const { reference } = component.image;
  const state = observed.images[reference];
  if (component.dockerfile !== undefined || state?.kind !== 'present') return [];
  const warn = (rule: string, message: string, hint: string): Issue[] => [
    {
      ...{ rule, severity: 'warning', file: wanted.file, line: 1, column: 1, path: '' },
      ...{ message: `${reference} ${message}`, hint, service: wanted.service.name },
    },
  ];
  const isRoot = /^(0|root)?(:(0|root))?$/.test(state.user);
  return [
    ...(isRoot || component.user !== undefined
      ? []
      : warn('image/user', `has USER ${state.user}`, 'If it cannot write below /srv, set user = "0:0".')),
    ...(state.volumes.length === 0
      ? []
      : warn(
          'image/volume',
          `declares VOLUME ${state.volumes.join(', ')}`,
          'The mounts of the definition cover it.',
        )),
  ];
}

interface Named {
  readonly service: string;
  readonly file: string;
  readonly routes: readonly Route[];
}

/** A record of somebody else's beside ours: clients are led there by turns. One in the place of ours is refused and told as such. */
export function strangeWarnings(
  { service, file, routes }: Named,
  { dns }: Pick<Observed, 'dns'>,
  addresses: readonly string[],
  owner: string,
): Issue[] {
  const hostnames = [...new Set(routes.map(({ hostname }) => hostname))];
  return hostnames.flatMap((hostname) => {
    const seen = zoned(dns, hostname);
    if (seen === undefined || isRefused(hostname, seen, addresses, owner)) return [];
    const why = strangeIn(hostname, seen, addresses);
    if (why === undefined) return [];
    return [
      {
        ...{ rule: 'dns/foreign', severity: 'warning', file, line: 1, column: 1, path: '' },
        ...{ message: `${redact(why)}; clients are led there by turns`, service },
        hint: 'Remove it there: foreign records are never touched.',
      },
    ];
  });
}

function zoned(dns: DnsFacts | undefined, hostname: string): ZoneName | undefined {
  const seen = dns?.names[hostname];
  return seen !== undefined && 'zone' in seen ? seen : undefined;
}

/** Whoever can read the key can be the service. It is the operator's: it is used all the same, and nobody but him changes its mode. */
export function keyWarnings({ service, file, routes }: Named, { certificates }: Observed): Issue[] {
  const hostnames = [...new Set(routes.flatMap(({ mode, hostname }) => (mode === 'l7' ? [hostname] : [])))];
  return hostnames.flatMap((hostname) => {
    const state = certificates[hostname];
    if (state?.kind !== 'valid' || state.keyMode === undefined) return [];
    return [
      {
        ...{ rule: 'certificate/key-mode', severity: 'warning', file, line: 1, column: 1, path: '' },
        message: `the private key ${state.keyPath} has mode ${state.keyMode}: others than its owner may read or write it`,
        hint: `chmod 0600 ${state.keyPath}`,
        service,
      },
    ];
  });
}

export function imagesOf(service: Service): string[] {
  return [...new Set(service.components.map((component) => component.image.reference))];
}
