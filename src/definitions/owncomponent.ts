import type { TomlPath } from '../base/tomlindex.ts';
import type { ReadComponent } from './component.ts';
import { finding, keyFinding, order, quote, type Finding } from './findings.ts';
import { readDuration, readSize } from './quantities.ts';
import type { RuleId } from './rules.ts';
import { LIMITS, type ComponentShape } from './shape.ts';
import type { Component, Health, Resources } from './types.ts';

/** The fields of our own that a component has; what its file does not have is absent. */
export type OwnComponent = Pick<
  Component,
  'after' | 'entrypoint' | 'stopSignal' | 'labels' | 'replaces' | 'health' | 'resources'
>;

/** Judges the own fields of one component by themselves, and against its routes and ports. */
export function readOwnComponent(
  shape: ComponentShape,
  { routes, ports }: Pick<ReadComponent, 'routes' | 'ports'>,
  path: TomlPath,
  findings: Finding[],
): OwnComponent {
  const at = (...parts: TomlPath): TomlPath => [...path, ...parts];
  const { entrypoint, stop_signal: stopSignal, replaces } = shape;
  if (entrypoint !== undefined)
    checkArguments('component/entrypoint', entrypoint, at('entrypoint'), findings);
  if (stopSignal !== undefined && !SIGNAL.test(stopSignal)) {
    findings.push(finding('component/stop-signal', at('stop_signal'), `${quote(stopSignal)} is no signal`));
  }
  if (replaces !== undefined && !CONTAINER_NAME.test(replaces)) {
    findings.push(finding('component/replaces', at('replaces'), `${quote(replaces)} is no container name`));
  }
  const labels = readLabels(shape.labels, at('labels'), findings);
  const resources = readResources(shape.resources, at('resources'), findings);
  const health =
    shape.health === undefined
      ? undefined
      : readHealth(shape.health, { routes, ports }, at('health'), findings);
  return {
    ...(shape.after.length === 0 ? {} : { after: shape.after }),
    ...(entrypoint === undefined ? {} : { entrypoint }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(labels.length === 0 ? {} : { labels }),
    ...(replaces === undefined ? {} : { replaces }),
    ...(health === undefined ? {} : { health }),
    ...(resources === undefined ? {} : { resources }),
  };
}

/** Container names of Docker; Podman takes them too. One letter is none. */
const CONTAINER_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}$/;

const SIGNAL =
  /^SIG(?:HUP|INT|QUIT|ABRT|KILL|USR1|USR2|ALRM|TERM|CONT|WINCH|PWR|RTMIN(?:\+(?:[1-9]|[12]\d|30))?)$/;

/** Of `cmd`, `entrypoint` and a check's `command`: an engine takes each string as it is. */
export function checkArguments(
  rule: RuleId,
  parts: readonly string[],
  path: TomlPath,
  findings: Finding[],
): void {
  const bytes = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0);
  if (parts.length === 0)
    findings.push(
      finding(
        rule,
        path,
        'the command is empty',
        'Write the program and its arguments, or leave the key out.',
      ),
    );
  else if (parts.length > LIMITS.cmd) findings.push(finding(rule, path, `there are ${parts.length} strings`));
  else if (bytes > LIMITS.cmdBytes) findings.push(finding(rule, path, `there are ${bytes} bytes`));
  else if (parts[0] === '' && rule !== 'component/cmd')
    findings.push(finding(rule, [...path, 0], 'the program is empty'));
  const nul = parts.findIndex((part) => part.includes('\0'));
  if (nul !== -1) findings.push(finding(rule, [...path, nul], 'there is a NUL in it'));
}

/** Labels that say to us, or to the engines' own tools, whose a container is. */
const RESERVED_LABELS = ['net.metacircular.gitops.', 'com.docker.', 'io.podman.', 'io.containers.'];

function readLabels(
  labels: Readonly<Record<string, string>>,
  path: TomlPath,
  findings: Finding[],
): { name: string; value: string }[] {
  const entries = Object.entries(labels);
  const bad = (at: TomlPath, message: string): void =>
    void findings.push(keyFinding('component/labels', at, message));
  if (entries.length > LIMITS.labels) bad(path, `there are ${entries.length} labels`);
  for (const [name, value] of entries.slice(0, LIMITS.labels)) {
    const reserved = RESERVED_LABELS.find((prefix) => name.toLowerCase().startsWith(prefix));
    if (reserved !== undefined) {
      const message = `labels that begin with "${reserved}" are not for definitions`;
      findings.push(keyFinding('component/label-reserved', [...path, name], message));
    } else if (!/^[A-Za-z0-9](?:[A-Za-z0-9._/[\]-]{0,253}[A-Za-z0-9\]])?$/.test(name)) {
      bad([...path, name], `${quote(name)} is no name of a label`);
    } else if (/\p{Cc}/u.test(value) || Buffer.byteLength(value) > LIMITS.labelBytes) {
      bad(
        [...path, name],
        `the value of ${name} has control characters, or more than ${LIMITS.labelBytes} bytes`,
      );
    }
  }
  return entries.map(([name, value]) => ({ name, value })).sort((a, b) => order(a.name, b.name));
}

function readResources(
  shape: ComponentShape['resources'],
  path: TomlPath,
  findings: Finding[],
): Resources | undefined {
  if (shape === undefined || Object.keys(shape).length === 0) return undefined;
  const { memory, cpus, pids, shm } = shape;
  return {
    // Engines refuse less than 6 MiB.
    ...(memory === undefined
      ? {}
      : { memoryBytes: readSize(memory, ['6m', '16384g'], [...path, 'memory'], findings) }),
    ...(cpus === undefined ? {} : { cpus }),
    ...(pids === undefined ? {} : { pids }),
    ...(shm === undefined ? {} : { shmBytes: readSize(shm, ['64k', '16384g'], [...path, 'shm'], findings) }),
  };
}

type HealthShape = NonNullable<ComponentShape['health']>;

/** Which type takes which key; the others would be read by nobody. */
const KEYS_OF: Readonly<Record<string, readonly HealthShape['type'][]>> = {
  route: ['http', 'tls', 'tcp'],
  port: ['http', 'tls', 'tcp'],
  path: ['http'],
  expect: ['http'],
  command: ['exec'],
};

function readHealth(
  shape: HealthShape,
  { routes, ports }: Pick<ReadComponent, 'routes' | 'ports'>,
  path: TomlPath,
  findings: Finding[],
): Health {
  const { type, route, port, command } = shape;
  for (const [key, types] of Object.entries(KEYS_OF)) {
    if (!Object.hasOwn(shape, key) || types.includes(type)) continue;
    const message = `\`${key}\` does not belong to a check of type "${type}"`;
    findings.push(keyFinding('health/fields', [...path, key], message));
  }
  const odd = (key: string, message: string): void =>
    void findings.push(finding('health/target', [...path, key], message));
  if (type === 'exec') {
    if (command === undefined) {
      findings.push(
        keyFinding('health/fields', [...path, 'type'], 'a check of type "exec" has no `command`'),
      );
    } else checkArguments('health/command', command, [...path, 'command'], findings);
  } else if (route !== undefined && port !== undefined) {
    odd('port', 'the check has a route and a port, and asks only one');
  } else if (route !== undefined) {
    if (!routes.some(({ name }) => name === route)) odd('route', `there is no route ${quote(route)} here`);
  } else if (port !== undefined) {
    const isPublished = ports.some((one) => one.port.protocol === 'tcp' && one.port.container === port);
    if (type !== 'tcp' && !isPublished) odd('port', `the port ${port} of the container is not in \`ports\``);
  } else if (routes.length === 0) {
    odd('type', `there is no route that a check of type "${type}" could ask`);
  }
  const expect = shape.expect === undefined ? undefined : readExpect(shape.expect, path, findings);
  if (shape.path !== undefined && !/^\/[\x21-\x7e]{0,1023}$/.test(shape.path)) {
    findings.push(finding('health/path', [...path, 'path'], `${quote(shape.path)} is no path of a request`));
  }
  const intervalMs = readDuration(shape.interval, ['1s', '1h'], [...path, 'interval'], findings);
  const timeoutMs = readDuration(shape.timeout, ['100ms', '30s'], [...path, 'timeout'], findings);
  return {
    type,
    ...(route === undefined ? {} : { route }),
    ...(port === undefined ? {} : { port }),
    ...(shape.path === undefined ? {} : { path: shape.path }),
    ...(expect === undefined ? {} : { expect }),
    ...(command === undefined ? {} : { command }),
    intervalMs,
    timeoutMs,
    retries: shape.retries,
    startPeriodMs: readDuration(shape.start_period, ['0s', '1h'], [...path, 'start_period'], findings),
    onFailure: shape.on_failure,
  };
}

function readExpect(text: string, path: TomlPath, findings: Finding[]): readonly [number, number] {
  const [from = 0, to = from] = text.split('-').map(Number);
  if (from > to)
    findings.push(finding('health/expect', [...path, 'expect'], `${quote(text)} ends before it begins`));
  return [from, to];
}
