const PREFIX = 'MC_GITOPS_';

/** Variables of the same prefix that are no settings. */
const OWN_VARIABLES = new Set(['MC_GITOPS_CONFIG']);

type Kind = 'text' | 'number' | 'boolean' | 'texts' | 'numbers';

/** What of a schema is looked at. */
interface Part {
  readonly type: string;
  readonly wrapped?: Part;
  readonly entries?: unknown;
  readonly item?: Part;
}

interface Overridden {
  readonly value: unknown;
  /** The variable that has set a key, by `section.key`. */
  readonly variables: ReadonlyMap<string, string>;
  /** A sentence for each variable that stands for no setting. */
  readonly unknown: readonly string[];
}

/** Sets single keys from the environment: text, numbers, booleans, and lists separated by commas. */
export function override(value: unknown, env: NodeJS.ProcessEnv, schema: Part): Overridden {
  const kinds = kindsOf(schema);
  const root: Record<string, unknown> = isTable(value) ? structuredClone(value) : {};
  const variables = new Map<string, string>();
  const unknown: string[] = [];
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith(PREFIX) || raw === undefined || OWN_VARIABLES.has(name)) continue;
    const rest = name.slice(PREFIX.length).toLowerCase();
    if (rest === 'node' || rest === 'instance') {
      root[rest] = raw;
      variables.set(rest, name);
      continue;
    }
    const section = Object.keys(kinds).find((candidate) => rest.startsWith(`${candidate}_`));
    const key = section === undefined ? '' : rest.slice(section.length + 1);
    const kind = section === undefined ? undefined : kinds[section]?.[key];
    if (section === undefined || kind === undefined) {
      unknown.push(`${name}: no such setting: take it out of the environment`);
      continue;
    }
    const table = isTable(root[section]) ? root[section] : {};
    root[section] = { ...table, [key]: convert(raw, kind) };
    variables.set(`${section}.${key}`, name);
  }
  return { value: root, variables, unknown };
}

/** The keys of the root (empty path) and of each section. */
export function keysOf(schema: Part): (path: string) => readonly string[] {
  return (path) => {
    const part = path === '' ? schema : entriesOf(schema)[path.split('.')[0] ?? ''];
    return part === undefined ? [] : Object.keys(entriesOf(unwrap(part)));
  };
}

function kindsOf(schema: Part): Record<string, Record<string, Kind>> {
  return Object.fromEntries(
    Object.entries(entriesOf(schema)).flatMap(([section, entry]) => {
      const keys = Object.entries(entriesOf(unwrap(entry)));
      return keys.length === 0
        ? []
        : [[section, Object.fromEntries(keys.map(([key, part]) => [key, kindOf(unwrap(part))]))]];
    }),
  );
}

function entriesOf(part: Part): Record<string, Part> {
  return (part.entries ?? {}) as Record<string, Part>;
}

function unwrap(entry: Part): Part {
  return entry.wrapped === undefined ? entry : unwrap(entry.wrapped);
}

function kindOf(entry: Part): Kind {
  if (entry.type === 'number' || entry.type === 'boolean') return entry.type;
  if (entry.type === 'strict_tuple') return 'numbers';
  return entry.type === 'array' ? 'texts' : 'text';
}

function convert(raw: string, kind: Kind): unknown {
  const parts = raw.split(',').map((part) => part.trim());
  if (kind === 'number') return Number(raw);
  // What is neither is told by the schema.
  if (kind === 'boolean') return raw === 'true' ? true : raw === 'false' ? false : raw;
  if (kind === 'numbers') return parts.map(Number);
  return kind === 'texts' ? parts : raw;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
