import { Document, isMap, isScalar } from 'yaml';
import { shownPath } from '../../definitions/findings.ts';
import type { Component, DesiredService, Health } from '../../definitions/types.ts';
import { commandOf, networksOf } from '../../node/engine/request.ts';
import type { ContainerSpec } from '../../node/types.ts';
import { quoted } from '../../plan/render.ts';
import { specOf } from '../../plan/spec.ts';
import { sorted, type Subject } from './subject.ts';
import type { ShellOptions } from './shell.ts';
import { heldVariables, valuesFor, type Held, type Values } from './values.ts';

interface Entry {
  readonly desired: DesiredService;
  readonly component: Component;
  readonly spec: ContainerSpec;
}

/**
 * A compose file of the same containers: the way out. Without our labels, so that no agent takes them for its own. Networks and
 * named volumes are external: those of the node go on being used, and nothing removes them.
 */
export function composeFile(subject: Subject, options: ShellOptions): string {
  const { facts } = subject;
  const entries = subject.services.flatMap((desired) =>
    sorted(desired.service.components, ({ name, after = [] }) => ({ name, after })).map(
      (component): Entry => ({
        desired,
        component,
        spec: specOf(facts, desired.service, component),
      }),
    ),
  );
  const values = valuesFor(subject, options.withValues);
  const networks = unique(entries.flatMap(({ spec }) => networksOf(spec).map(({ name }) => name)));
  const volumes = unique(
    entries.flatMap(({ spec }) => spec.mounts.flatMap((one) => (one.kind === 'volume' ? [one.volume] : []))),
  );
  const external = (names: readonly string[]): Record<string, object> =>
    Object.fromEntries(names.map((name) => [name, { external: true, name }]));
  const document = new Document(
    {
      services: Object.fromEntries(
        entries.map((entry) => [
          entry.component.container,
          serviceOf(
            entry,
            entries,
            values(entry.desired, entry.component),
            options.engine,
            facts.settings.stopTimeoutS,
          ),
        ]),
      ),
      ...(networks.length === 0 ? {} : { networks: external(networks) }),
      ...(volumes.length === 0 ? {} : { volumes: external(volumes) }),
    },
    // Readers of YAML 1.1 take `no`, `on` and 22:22 for something else than text.
    { compat: 'yaml-1.1', aliasDuplicateObjects: false },
  );
  const held = entries.flatMap(({ desired, component }) => heldVariables(values(desired, component)));
  document.commentBefore = head(subject, options, { networks, volumes, held: unique(held) });
  commentServices(document, entries, facts.settings.publishIp);
  return document.toString({ lineWidth: 0 });
}

function serviceOf(
  { desired, component, spec }: Entry,
  all: readonly Entry[],
  values: Values,
  engine: ShellOptions['engine'],
  stopTimeoutS: number,
): object {
  const { entrypoint, cmd } = commandOf(spec);
  const { memoryBytes, cpus, pids, shmBytes } = spec.resources ?? {};
  const networks = networksOf(spec);
  const depends = dependencies(desired, component, all);
  const environment = {
    ...Object.fromEntries([...values].map(([name, value]) => [name, valueText(value)])),
    ...Object.fromEntries(spec.agentEnv.map(({ name, value }) => [name, escaped(value)])),
  };
  return {
    image: spec.image,
    container_name: spec.name,
    // What is not active is not started by a plain `up` either.
    ...(desired.service.active ? {} : { profiles: ['inactive'] }),
    ...some('entrypoint', entrypoint?.map(escaped)),
    ...some('command', cmd?.map(escaped)),
    ...some('environment', environment),
    ...some('volumes', spec.mounts.map(volumeOf)),
    ...some(
      'ports',
      spec.publish.map(
        ({ ip, host, container, protocol }) =>
          `${ip.includes(':') ? `[${ip}]` : ip}:${host}:${container}/${protocol}`,
      ),
    ),
    ...(networks.length === 0
      ? { network_mode: 'none' }
      : { networks: Object.fromEntries(networks.map(({ name, aliases }) => [name, { aliases }])) }),
    ...some('depends_on', depends),
    ...(spec.user === undefined ? {} : { user: spec.user }),
    restart: spec.restart,
    ...(memoryBytes === undefined ? {} : { mem_limit: memoryBytes }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(pids === undefined ? {} : { pids_limit: pids }),
    ...(shmBytes === undefined ? {} : { shm_size: shmBytes }),
    ...(component.health?.type === 'exec' ? { healthcheck: healthOf(component.health) } : {}),
    ...(spec.stopSignal === undefined ? {} : { stop_signal: spec.stopSignal }),
    stop_grace_period: `${desired.service.deploy?.stopTimeoutS ?? stopTimeoutS}s`,
    ...some(
      'labels',
      Object.fromEntries((spec.labels ?? []).map(({ name, value }) => [name, escaped(value)])),
    ),
    logging:
      engine === 'docker'
        ? {
            driver: 'json-file',
            options: { 'max-size': spec.logMaxSize, 'max-file': String(spec.logMaxFiles) },
          }
        : { driver: 'k8s-file', options: { 'max-size': spec.logMaxSize } },
    security_opt: ['no-new-privileges'],
  };
}

/** Components of the same service and services that are in this file; who is not in it is not waited for. */
function dependencies(
  { service }: DesiredService,
  { after = [] }: Component,
  all: readonly Entry[],
): Record<string, { condition: string }> {
  const before = all.filter(
    (other) =>
      (other.desired.service.name === service.name && after.includes(other.component.name)) ||
      (service.after ?? []).includes(other.desired.service.name),
  );
  return Object.fromEntries(
    before.map(({ component }) => [
      component.container,
      { condition: component.health?.type === 'exec' ? 'service_healthy' : 'service_started' },
    ]),
  );
}

function healthOf(health: Health): object {
  return {
    test: ['CMD', ...(health.command ?? []).map(escaped)],
    interval: duration(health.intervalMs),
    timeout: duration(health.timeoutMs),
    retries: health.retries,
    start_period: duration(health.startPeriodMs),
  };
}

function volumeOf(mount: ContainerSpec['mounts'][number]): object {
  const { kind, target, readOnly } = mount;
  const more = readOnly ? { read_only: true } : {};
  if (kind === 'volume') return { type: kind, source: mount.volume, target: escaped(target), ...more };
  return {
    type: kind,
    source: escaped(mount.source),
    target: escaped(target),
    ...more,
    // A missing directory is no empty one (L24).
    bind: { propagation: 'rprivate', create_host_path: false },
  };
}

function valueText(value: string | Held): string {
  return typeof value === 'string' ? escaped(value) : `\${${value.variable}?${value.hint}}`;
}

/** Compose puts variables in place of `$…`; two of them are one. */
function escaped(text: string): string {
  return text.replaceAll('$', '$$$$');
}

function duration(ms: number): string {
  return ms % 1_000 === 0 ? `${ms / 1_000}s` : `${ms}ms`;
}

function some<T extends object>(key: string, value: T | undefined): Record<string, T> {
  return value === undefined || Object.keys(value).length === 0 ? {} : { [key]: value };
}

function head(
  { services, facts, leftOut, bad, assumptions }: Subject,
  { engine }: ShellOptions,
  {
    networks,
    volumes,
    held,
  }: { networks: readonly string[]; volumes: readonly string[]; held: readonly string[] },
): string {
  const about = services.map(({ service, file }) => `${service.name} (${shownPath(file)})`).join(', ');
  const make = [
    ...networks.map((name) => `${engine} network create ${quoted(name)}`),
    ...volumes.map((name) => `${engine} volume create ${quoted(name)}`),
  ];
  return [
    `${about} of node ${facts.settings.node}, for ${engine}.`,
    'The proxy, its certificates and the records are not part of it: `mc-gitops render` prints what they need.',
    ...(leftOut.length === 0 ? [] : [`Not active, and left out: ${leftOut.join(', ')}.`]),
    ...services
      .filter(({ service }) => !service.active)
      .map(
        ({ service }) =>
          `${service.name} is not active: the agent runs nothing of it, nor does \`compose up\` without \`--profile inactive\`.`,
      ),
    ...list('BAD, AND LEFT OUT: not all of the node is here.', bad.map(shownPath)),
    ...list('Assumed, because it is not known here:', assumptions),
    ...list(
      'Values of variables are not printed (--with-values prints them). Set these, for example in .env:',
      held,
    ),
    ...list('They are there on a node of mc-gitops; elsewhere make them first:', make),
  ]
    .map((text) => ` ${text}`)
    .join('\n');
}

function list(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `- ${line}`)];
}

/** What a compose file cannot say. */
function commentServices(document: Document, entries: readonly Entry[], publishIp: string): void {
  const services = document.get('services');
  if (!isMap(services)) return;
  for (const { key } of services.items) {
    const entry = entries.find(({ component }) => isScalar(key) && component.container === key.value);
    if (entry === undefined || !isScalar(key)) continue;
    const { desired, component, spec } = entry;
    const { image, dockerfile, health, routes } = component;
    const lines = [
      ...(dockerfile === undefined
        ? []
        : [`built from tag ${image.tag} of ${desired.service.path}, ${shownPath(dockerfile)}`]),
      ...routes.map(
        (route) =>
          `route ${route.hostname}:${route.port} ${route.mode} -> ${publishIp}:${spec.leases[route.name] ?? ''}`,
      ),
      ...(health === undefined || health.type === 'exec'
        ? []
        : [
            `health: the agent asks from outside (${health.type}${health.path === undefined ? '' : ` ${health.path}`}); compose only asks inside`,
          ]),
    ];
    if (lines.length > 0) key.commentBefore = lines.map((text) => ` ${text}`).join('\n');
  }
}

function unique(names: readonly string[]): string[] {
  return [...new Set(names)].sort();
}
