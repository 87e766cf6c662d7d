import jsonpatch from 'fast-json-patch';
import { COVERED, withoutSecrets } from '../base/covered.ts';
import { canonicalJson } from '../base/json.ts';
import type { DesiredService, Service } from '../definitions/types.ts';
import type { Applied, Because, PatchOperation } from '../registry/types.ts';

const MAX_NAMED = 3;

/** Why something is mended of which nothing better is known. */
export const REPAIRED = 'repaired: the node differed from what was recorded';

/**
 * Why the containers of a service change: its definition is new, was changed (with the patch), something drifted, or its
 * file moved; `otherwise` where it is none of these.
 */
export function becauseOf(
  desired: DesiredService,
  applied: Applied | undefined,
  drift: string | undefined,
  otherwise: string,
): Because {
  const from = { commit: desired.commit, file: desired.file };
  if (applied === undefined) return { summary: `new service ${desired.service.name}`, ...from };
  if (applied.digest === desired.digest) {
    const moved =
      applied.file === desired.file ? otherwise : `its file moved from ${applied.file} to ${desired.file}`;
    return { summary: drift ?? moved, ...from };
  }
  const patch = differences(applied.service, desired.service);
  return { summary: summarise(patch), ...from, patch };
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
