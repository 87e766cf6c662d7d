import jsonpatch from 'fast-json-patch';
import { COVERED, withoutSecrets } from '../base/covered.ts';
import { canonicalJson } from '../base/json.ts';
import type { DesiredService, Service } from '../definitions/types.ts';
import type { Applied, Because, PatchOperation } from '../registry/types.ts';
import type { Facts } from './facts.ts';
import type { Found } from './found.ts';

const MAX_NAMED = 3;

/** Why something is mended of which nothing better is known. */
export const REPAIRED = 'repaired: the node differed from what was recorded';

/**
 * Why the containers of a service change: its definition is new, was changed (with the patch), something drifted, its
 * file moved, or a default changed that is not in its file: then the commit is not its own; `otherwise` where it is none of these.
 */
export function becauseOf(
  facts: Pick<Facts, 'promised' | 'settings'>,
  desired: DesiredService,
  applied: Applied | undefined,
  { drift, outdated }: Found = {},
  otherwise = REPAIRED,
): Because {
  const from = { commit: desired.commit, file: desired.file };
  if (applied === undefined) return { summary: `new service ${desired.service.name}`, ...from };
  const isMoved = applied.file !== desired.file;
  if (applied.digest === desired.digest) {
    if (drift !== undefined) return { summary: drift, ...from };
    if (isMoved) return { summary: `its file moved from ${applied.file} to ${desired.file}`, ...from };
    return outdated === undefined
      ? { summary: otherwise, ...from }
      : { summary: outdated.what, by: outdated.by };
  }
  const patch = differences(applied.service, desired.service);
  const summary = summarise(patch);
  if (isMoved || applied.oid !== desired.oid) return { summary, ...from, patch };
  return { ...defaultOf(facts, patch, summary), patch };
}

/** The service's own file is the same: what changed is a default, of the node's file where that sets it, else of the settings. */
function defaultOf(
  { promised: { nodeFile }, settings: { nodeDefaults = [] } }: Pick<Facts, 'promised' | 'settings'>,
  patch: readonly PatchOperation[],
  summary: string,
): Because {
  const isOfNode = patch.some(({ path }) => nodeDefaults.includes(defaultAt(path)));
  if (nodeFile === undefined || !isOfNode)
    return { summary: `${summary}: a default of this agent and its settings`, by: 'settings' };
  return {
    summary: `${summary}: a default of ${nodeFile.file}`,
    commit: nodeFile.commit,
    file: nodeFile.file,
  };
}

/** The key of a node's file that a part of a definition has its default from. */
function defaultAt(path: string): string {
  const key = path.split('/').at(-1) ?? '';
  return key === 'hostname' ? 'hostname_suffix' : key;
}

/** The JSON Patch from one definition to the other; lists are keyed by name first, so that an insertion is one operation. */
function differences(before: Service, after: Service): PatchOperation[] {
  const shown = keyed(withoutSecrets(after));
  return compared(before, after).flatMap((operation): PatchOperation[] => {
    const { op, path } = operation;
    if (op === 'remove') return [{ op, path }];
    return op === 'add' || op === 'replace'
      ? [{ op, path, value: jsonpatch.getValueByPointer(shown, path) as unknown }]
      : [];
  });
}

/** A record of another version of this program may have another form: the reason has no patch then, and the change goes on. */
function compared(before: Service, after: Service): ReturnType<typeof jsonpatch.compare> {
  try {
    const [old, next] = [sorted(before), sorted(after)];
    // Of a state that came from an agent: what was there is not told, so nobody knows whether it changed.
    return jsonpatch
      .compare(old, next)
      .filter(({ op, path }) => op !== 'replace' || jsonpatch.getValueByPointer(old, path) !== COVERED);
  } catch {
    return [];
  }
}

/** The same patch whatever the order of keys: what is stored, and replayed, comes back sorted. */
function sorted(service: Service): object {
  return JSON.parse(canonicalJson(keyed(service))) as object;
}

function summarise(patch: readonly PatchOperation[]): string {
  const parts = patch.slice(0, MAX_NAMED).map((operation) => {
    const value = operation.path.includes('/env/') ? '' : shown(operation.value);
    const words = { add: 'added', remove: 'removed', replace: 'changed' } as const;
    return `${operation.path.slice(1)} ${words[operation.op]}${value}`;
  });
  const more = patch.length > MAX_NAMED ? [`${patch.length - MAX_NAMED} more changes`] : [];
  return [...parts, ...more].join(', ') || 'the definition changed';
}

function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? ` → ${value}`
    : '';
}

function keyed(service: Service): object {
  return {
    ...service,
    components: Object.fromEntries(
      service.components.map((component) => [
        component.name,
        {
          ...component,
          image: component.image.reference,
          env: Object.fromEntries(component.env.map((entry) => [entry.name, entry.hash])),
          ...(component.labels === undefined
            ? {}
            : { labels: Object.fromEntries(component.labels.map(({ name, value }) => [name, value])) }),
          mounts: Object.fromEntries(component.mounts.map((mount) => [mount.target, mount])),
          routes: Object.fromEntries(
            component.routes.map((route) => [route.name === '' ? 'route' : route.name, route]),
          ),
          ports: Object.fromEntries(
            component.ports.map((port) => [`${port.ip ?? ''}:${port.host}/${port.protocol}`, port.container]),
          ),
        },
      ]),
    ),
  };
}
