import { DOCKERFILE_RULES, SILENCEABLE as DOCKERFILE_SILENCEABLE } from './dockerfile/rules.ts';
import type { TomlPath } from '../base/tomlindex.ts';
import type { ReadComponent } from './component.ts';
import { cyclesOf } from './cycles.ts';
import { finding, keyFinding, order, quote, type Finding } from './findings.ts';
import { readDuration, readWindow } from './quantities.ts';
import { RULES, type RuleId } from './rules.ts';
import type { ServiceShape } from './shape.ts';
import { nearest } from '../base/suggest.ts';
import type { Deploy, Service } from './types.ts';

/** The fields of our own that a service has; what its file does not have is absent. */
export type OwnService = Pick<Service, 'paused' | 'prune' | 'after' | 'generation' | 'deploy' | 'silenced'>;

/** Judges the own fields of a service by themselves, and against its components. */
export function readOwnService(
  shape: ServiceShape,
  components: readonly ReadComponent[],
  findings: Finding[],
): OwnService {
  for (const [at, name] of shape.after.entries()) {
    const isAgain = shape.after.indexOf(name) !== at;
    if (name !== shape.name && !isAgain) continue;
    const message = isAgain ? `${quote(name)} is named twice` : 'a service does not wait for itself';
    findings.push(finding('service/after', ['after', at], message));
  }
  checkOrder(components, findings);
  const deploy = readDeploy(shape.deploy, components, findings);
  const silenced = readSilence(shape.silence, findings);
  return {
    ...(shape.paused ? { paused: true } : {}),
    ...(shape.prune ? {} : { prune: false }),
    ...(shape.after.length === 0 ? {} : { after: shape.after }),
    ...(shape.generation === 0 ? {} : { generation: shape.generation }),
    ...(deploy === undefined ? {} : { deploy }),
    ...(silenced.length === 0 ? {} : { silenced }),
  };
}

/** `after` of components: siblings only, and no cycles. */
function checkOrder(components: readonly ReadComponent[], findings: Finding[]): void {
  const names = components.map(({ name }) => name);
  const edges = new Map<string, readonly string[]>();
  for (const [
    at,
    {
      name,
      own: { after = [] },
    },
  ] of components.entries()) {
    for (const [index, other] of after.entries()) {
      const path: TomlPath = ['components', at, 'after', index];
      const bad = (what: string, hint?: string): void =>
        void findings.push(finding('component/after', path, what, hint));
      if (other === name) bad('a component does not wait for itself');
      else if (after.indexOf(other) !== index) bad(`${quote(other)} is named twice`);
      else if (!names.includes(other)) {
        const meant = nearest(
          other,
          names.filter((one) => one !== name),
        );
        const hint = meant === undefined ? undefined : `Did you mean "${meant}"?`;
        bad(`there is no component ${quote(other)} here`, hint);
      }
    }
    edges.set(
      name,
      after.filter((other) => other !== name && names.includes(other)),
    );
  }
  for (const cycle of cyclesOf(edges)) {
    const message = `each waits for another: ${[...cycle].sort(order).join(', ')}`;
    const at = names.findIndex((name) => cycle.has(name));
    findings.push(finding('component/after-cycle', ['components', at, 'after'], message));
  }
}

function readDeploy(
  shape: ServiceShape['deploy'],
  components: readonly ReadComponent[],
  findings: Finding[],
): Deploy | undefined {
  if (Object.keys(shape).length === 0) return undefined;
  if (shape.strategy === 'blue-green') checkBlueGreen(components, findings);
  const duration = (
    key: 'timeout' | 'stable_for' | 'stop_timeout',
    from: string,
    to: string,
  ): number | undefined => {
    const text = shape[key];
    return text === undefined ? undefined : readDuration(text, [from, to], ['deploy', key], findings);
  };
  const timeoutMs = duration('timeout', '1s', '24h');
  const stableForMs = duration('stable_for', '0s', '1h');
  const stopTimeoutMs = duration('stop_timeout', '0s', '1h');
  if (stopTimeoutMs !== undefined && stopTimeoutMs % 1_000 !== 0) {
    const message = `${quote(shape.stop_timeout ?? '')} has parts of a second, which engines do not take`;
    findings.push(finding('value/duration', ['deploy', 'stop_timeout'], message));
  }
  return {
    ...(shape.strategy === undefined ? {} : { strategy: shape.strategy }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(stableForMs === undefined ? {} : { stableForMs }),
    ...(stopTimeoutMs === undefined ? {} : { stopTimeoutS: stopTimeoutMs / 1_000 }),
    ...(shape.return === undefined ? {} : { return: shape.return }),
    ...(shape.restart === undefined ? {} : { restart: shape.restart }),
    ...(shape.window === undefined
      ? {}
      : { window: readWindow(shape.window, ['deploy', 'window'], findings) }),
  };
}

/** Both versions run at once: two processes on one database, or one host port for two. */
function checkBlueGreen(components: readonly ReadComponent[], findings: Finding[]): void {
  for (const { name, mounts, ports } of components) {
    const writable = mounts.find(({ mount }) => !mount.readOnly);
    const [port] = ports;
    const why =
      writable === undefined
        ? port && `"${name}" has the fixed port ${port.port.host}`
        : `"${name}" writes to ${quote(writable.mount.target)}`;
    if (why === undefined) continue;
    findings.push(
      finding('deploy/blue-green', ['deploy', 'strategy'], `${why}, and two of it would run at once`),
    );
    return;
  }
}

function readSilence(
  shapes: ServiceShape['silence'],
  findings: Finding[],
): { rule: string; reason: string }[] {
  for (const [at, { rule, reason }] of shapes.entries()) {
    const path: TomlPath = ['silence', at];
    if (!isSilenceable(rule)) {
      const isRule = Object.hasOwn(RULES, rule) || Object.hasOwn(DOCKERFILE_RULES, rule);
      const meant = isRule ? undefined : nearest(rule, SILENCEABLE);
      const what = isRule ? 'is not silenced: it is mended' : 'is no rule';
      const hint = meant === undefined ? undefined : `Did you mean "${meant}"?`;
      findings.push(finding('silence/rule', [...path, 'rule'], `${quote(rule)} ${what}`, hint));
    }
    if (shapes.findIndex((other) => other.rule === rule) !== at) {
      findings.push(finding('silence/rule', [...path, 'rule'], `${quote(rule)} is silenced twice`));
    }
    if (reason.trim() === '' || reason.length > 300 || /\p{Cc}/u.test(reason)) {
      findings.push(
        finding(
          'silence/reason',
          [...path, 'reason'],
          'the reason is empty, longer than 300 characters or not one line',
        ),
      );
    }
  }
  return shapes.map(({ rule, reason }) => ({ rule, reason: reason.trim() }));
}

/** Rules that guard nobody but the service itself: warnings, and what is asked of its Dockerfiles. */
function isSilenceable(rule: string): boolean {
  return SILENCEABLE.includes(rule);
}

const SILENCEABLE: readonly string[] = Object.entries(RULES)
  .filter(([, { severity }]) => severity === 'warning')
  .map(([id]) => id)
  // What is said of all nodes together is no matter of one file.
  .filter(
    (id) =>
      ![
        'file/findings',
        'file/ignored',
        'silence/unused',
        'node/unknown',
        'route/edge-name',
        'route/edge-refused',
      ].includes(id),
  )
  .concat(DOCKERFILE_SILENCEABLE);

/** The findings without those that the file silences, and with those silences that silence nothing. */
export function silence(
  findings: readonly Finding[],
  silenced: OwnService['silenced'] = [],
): readonly Finding[] {
  if (silenced.length === 0) return findings;
  const isSilenced = (rule: RuleId): boolean => silenced.some((one) => one.rule === rule);
  const unused = silenced.flatMap(({ rule }, at) => {
    // Whether a Dockerfile breaks a rule is known only where its source is read.
    if (rule.startsWith('dockerfile/') || findings.some((found) => found.rule === rule)) return [];
    return [keyFinding('silence/unused', ['silence', at], `nothing here breaks ${rule}`)];
  });
  return [...findings.filter(({ rule }) => !isSilenced(rule)), ...unused];
}
