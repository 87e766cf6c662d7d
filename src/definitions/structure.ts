import { v } from '../base/shape.ts';
import type { TomlPath } from '../base/tomlindex.ts';
import { MAX_FINDINGS, finding, formatPath, keyFinding, quote, type Finding } from './findings.ts';
import { DEPLOY, HEALTH, RESOURCES, SILENCE, WINDOW } from './ownshape.ts';
import { COMPONENT, NODE, REMOVALS, ROUTE, SERVICE } from './shape.ts';
import { ruleOf } from './shapeparts.ts';
import { RULES, type RuleId } from './rules.ts';
import { nearest } from '../base/suggest.ts';

/** The part of a schema that is looked at here. */
export interface SchemaNode {
  readonly type: string;
  readonly entries?: Readonly<Record<string, SchemaNode>>;
  readonly item?: SchemaNode;
  readonly value?: SchemaNode;
  readonly wrapped?: SchemaNode;
  readonly options?: readonly (string | number)[];
}

export type Shaped<T> =
  | { readonly output: T; readonly findings: readonly [] }
  | { readonly output?: never; readonly findings: readonly Finding[] };

/** Checks a parsed document against a schema. Every finding is told at once, with its way to the key or value. */
export function shapeOf<S extends v.GenericSchema>(schema: S, value: unknown): Shaped<v.InferOutput<S>> {
  const findings: Finding[] = [];
  checkNode(schema, value, [], findings);
  const structural = new Set(findings.map(({ path }) => formatPath(path)));
  const parsed = v.safeParse(schema, value);
  if (parsed.success && findings.length === 0) return { output: parsed.output, findings: [] };
  for (const issue of parsed.issues ?? []) {
    const path = (issue.path ?? []).map(({ key }) => (typeof key === 'number' ? key : String(key)));
    if (structural.has(formatPath(path))) continue;
    const said = ruleOf(issue.message);
    // What is not ours is about types and keys: `checkNode` has told that in its own words.
    if (said !== undefined && isRule(said.rule))
      findings.push(finding(said.rule, path, describe(issue.input, said.message)));
    // A file that is refused without a word would be the worst of all.
    else if (findings.length === 0)
      findings.push(finding('value/type', path, `${formatPath(path)} has no fit value`));
  }
  return { findings };
}

function isRule(rule: string): rule is RuleId {
  return Object.hasOwn(RULES, rule);
}

function describe(input: unknown, message: string): string {
  return `${typeof input === 'string' ? quote(input) : String(input)} ${message}`;
}

/**
 * Types, keys and choices, without the schema library: it stops at the first unknown key, and it repeats values. `path` is
 * the way to `value`, one array that grows and shrinks on the walk: whoever keeps it copies it.
 */
function checkNode(schema: SchemaNode, value: unknown, path: (string | number)[], findings: Finding[]): void {
  const node = unwrap(schema);
  switch (node.type) {
    case 'strict_object':
      if (isTable(value)) checkTable(node, value, path, findings);
      else findings.push(wrongType([...path], 'a table', value));
      return;
    case 'record':
      if (!isTable(value)) {
        findings.push(wrongType([...path], 'a table', value));
        return;
      }
      for (const [key, part] of Object.entries(value)) {
        if (isReserved(key)) findings.push(reserved([...path, key]));
        else if (node.value !== undefined) below(node.value, part, path, key, findings);
      }
      return;
    case 'array':
      if (!Array.isArray(value)) findings.push(notAnArray(schema, value, path));
      else if (node.item !== undefined) {
        for (let index = 0; index < value.length; index += 1)
          below(node.item, value[index], path, index, findings);
      }
      return;
    case 'picklist':
      checkChoice(node, value, path, findings);
      return;
    default:
      if (typeof value !== node.type || Number.isNaN(value))
        findings.push(wrongType([...path], `a ${node.type}`, value, exampleOf(schema)));
  }
}

function below(
  schema: SchemaNode,
  value: unknown,
  path: (string | number)[],
  key: string | number,
  findings: Finding[],
): void {
  path.push(key);
  checkNode(schema, value, path, findings);
  path.pop();
}

function checkTable(
  node: SchemaNode,
  table: Record<string, unknown>,
  path: (string | number)[],
  findings: Finding[],
): void {
  const entries = node.entries ?? {};
  for (const key of Object.keys(table)) {
    const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
    if (isReserved(key)) findings.push(reserved([...path, key]));
    else if (entry === undefined) {
      // Only what is told needs a suggestion: looking for one is the costly part.
      const isTold = findings.length < MAX_FINDINGS;
      findings.push(unknownKey([...path, key], key, isTold ? { entries, table } : undefined));
    } else below(entry, table[key], path, key, findings);
  }
  for (const key of Object.keys(entries)) {
    const entry = entries[key];
    if (entry === undefined || entry.type === 'optional' || Object.hasOwn(table, key)) continue;
    const where = path.length === 0 ? 'the file' : formatPath(path);
    findings.push(
      keyFinding(
        'key/missing',
        [...path],
        `${where} has no \`${key}\``,
        `Add ${written(entry, path, key)}${title(entry)}.`,
      ),
    );
  }
}

function checkChoice(node: SchemaNode, value: unknown, path: TomlPath, findings: Finding[]): void {
  const options = node.options ?? [];
  if (options.some((option) => option === value)) return;
  if (typeof value !== 'string') {
    findings.push(wrongType([...path], 'a string', value, options[0]));
    return;
  }
  const meant = nearest(value, options.map(String));
  const choices = options.map((option) => `"${option}"`).join(', ');
  const hint =
    meant === undefined ? `Take one of ${choices}.` : `Did you mean "${meant}"? There are ${choices}.`;
  findings.push(finding('value/choice', [...path], `${quote(value)} is none of ${choices}`, hint));
}

function title(entry: SchemaNode): string {
  const found = v.getTitle(entry as unknown as v.GenericSchema);
  return found === undefined ? '' : ` (${found.toLowerCase()})`;
}

function wrongType(path: TomlPath, expected: string, value: unknown, example?: unknown): Finding {
  const key = path.findLast((part) => typeof part === 'string') ?? '';
  const shown = example === undefined ? BY_TYPE[expected] : JSON.stringify(example);
  // In an array the value stands alone.
  const text =
    typeof path.at(-1) === 'number' || expected === 'a table'
      ? shown
      : `${formatPath([key])} = ${shown ?? ''}`;
  return finding(
    'value/type',
    path,
    `${formatPath(path) || 'the file'} must be ${expected}, but is ${typeName(value)}`,
    shown === undefined || key === '' ? undefined : `Write for example ${text ?? ''}.`,
  );
}

const BY_TYPE: Readonly<Partial<Record<string, string>>> = {
  'a string': '"text"',
  'a number': '1',
  'a boolean': 'true',
  'an array': '["text"]',
  'a table': '{ key = "text" }',
};

/** The first example that the schema has of a single value, or of a list of texts. */
function exampleOf(schema: SchemaNode): unknown {
  const [example] = v.getExamples(unwrap(schema) as unknown as v.GenericSchema) as readonly unknown[];
  return typeof example === 'object' && !Array.isArray(example) ? undefined : example;
}

function notAnArray(schema: SchemaNode, value: unknown, path: TomlPath): Finding {
  const found = wrongType([...path], 'an array', value, exampleOf(unwrap(schema)));
  if (!isArrayOfTables(schema)) return found;
  const last = path.at(-1);
  return { ...found, hint: `Write each as a table: ${header(path.slice(0, -1), String(last))}.` };
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Date) return 'a date';
  if (Number.isNaN(value)) return 'no number';
  return isTable(value) ? 'a table' : `a ${typeof value}`;
}

function reserved(path: TomlPath): Finding {
  return keyFinding('key/reserved', path, `the key ${quote(String(path.at(-1)))} is reserved`);
}

/** These reach the prototype of an object in careless code: not even ours gets to see them. */
function isReserved(key: string): boolean {
  return key === '__proto__' || key === 'constructor' || key === 'prototype';
}

interface Place {
  /** The keys there are. */
  readonly entries: Readonly<Record<string, SchemaNode>>;
  readonly table: Readonly<Record<string, unknown>>;
}

function unknownKey(path: TomlPath, key: string, place: Place | undefined): Finding {
  const shown = /^[A-Za-z0-9_-]{1,64}$/.test(key) ? `\`${key}\`` : quote(key);
  const hint = place === undefined ? undefined : hintFor(key, path.slice(0, -1), place);
  return keyFinding('key/unknown', path, `there is no key ${shown} here`, hint);
}

function hintFor(key: string, path: TomlPath, { entries, table }: Place): string {
  const siblings = Object.keys(entries);
  if (PRIVILEGES.has(key.toLowerCase())) return 'Remove it: no field of a definition grants privilege.';
  const meant = meantKey(key, siblings);
  if (meant !== undefined) {
    const entry = entries[meant];
    const isTables = entry !== undefined && isArrayOfTables(entry);
    // The most frequent slip: one of several tables is written in the singular.
    if (isTables && Array.isArray(table[key])) return `Did you mean ${header(path, meant)}?`;
    if (!Object.hasOwn(table, meant)) return `Did you mean \`${meant}\`?`;
    return `Did you mean \`${meant}\`? It is there already: write both as one.`;
  }
  const { same, near } = synonymsOf(key);
  const known = same ?? key;
  const places = placesOf(known);
  if (places !== '') return `\`${known}\` belongs ${places}.`;
  const elsewhere = near ?? nearest(key, new Set(PLACES.flatMap(({ keys }) => keys)));
  if (elsewhere !== undefined) return `Did you mean \`${elsewhere}\`? It belongs ${placesOf(elsewhere)}.`;
  const free = siblings.filter((known) => !Object.hasOwn(table, known));
  return `Remove it. Known here: ${free.join(', ') || 'nothing more'}.`;
}

/** The key of a table that an unknown one was meant as. */
export function meantKey(key: string, siblings: readonly string[]): string | undefined {
  const fits = (word: string | undefined): string | undefined =>
    word !== undefined && siblings.includes(word) ? word : undefined;
  const { same, near } = synonymsOf(key);
  return fits(same) ?? nearest(key, siblings) ?? fits(near);
}

function synonymsOf(key: string): { readonly same: string | undefined; readonly near: string | undefined } {
  return {
    same: SYNONYMS[key.toLowerCase()],
    near: SYNONYMS[nearest(key, Object.keys(SYNONYMS)) ?? ''],
  };
}

function placesOf(key: string): string {
  return PLACES.filter(({ keys }) => keys.includes(key))
    .map(({ name }) => name)
    .join(' or ');
}

function isArrayOfTables(entry: SchemaNode): boolean {
  const { item } = unwrap(entry);
  return item !== undefined && unwrap(item).type === 'strict_object';
}

/** The header of a table of several: `[[components.routes]]`. */
function header(path: TomlPath, key: string): string {
  return `[[${[...path.filter((part) => typeof part === 'string'), key].join('.')}]]`;
}

/** How a key that is missing is written. */
function written(entry: SchemaNode, path: TomlPath, key: string): string {
  return isArrayOfTables(entry) ? header(path, key) : `\`${key} = …\``;
}

/** Words of other tools for the same thing. */
const SYNONYMS: Readonly<Partial<Record<string, string>>> = {
  environment: 'env',
  command: 'cmd',
  args: 'cmd',
  mounts: 'volumes',
  host: 'hostname',
  domain: 'hostname',
  enabled: 'active',
  restart_policy: 'restart',
  networks: 'network',
  target_port: 'container_port',
  tls: 'backend_tls',
  depends_on: 'after',
  requires: 'after',
  healthcheck: 'health',
  test: 'command',
  stop_grace_period: 'stop_timeout',
  stopsignal: 'stop_signal',
  annotations: 'labels',
  limits: 'resources',
  mem: 'memory',
  mem_limit: 'memory',
  pids_limit: 'pids',
  shm_size: 'shm',
  cpu: 'cpus',
  period: 'interval',
  start_interval: 'start_period',
  tz: 'timezone',
  duration: 'for',
  ignore: 'silence',
};

const PLACES: readonly { readonly name: string; readonly keys: readonly string[] }[] = [
  {
    name: 'at the top of services/<service>.toml, before the first table',
    keys: Object.keys(SERVICE.entries),
  },
  { name: 'under [[components]]', keys: Object.keys(COMPONENT.entries) },
  { name: 'under [[components.routes]]', keys: Object.keys(ROUTE.entries) },
  { name: 'under [components.health]', keys: Object.keys(HEALTH.entries) },
  { name: 'under [components.resources]', keys: Object.keys(RESOURCES.entries) },
  { name: 'under [deploy]', keys: Object.keys(DEPLOY.entries) },
  { name: 'under [[silence]]', keys: Object.keys(SILENCE.entries) },
  { name: 'under a window', keys: Object.keys(WINDOW.entries) },
  { name: 'in nodes/<node>.toml', keys: Object.keys(NODE.entries) },
  { name: 'in removals.toml', keys: Object.keys(REMOVALS.entries) },
];

const PRIVILEGES = new Set([
  'privileged',
  'cap_add',
  'capabilities',
  'devices',
  'device',
  'security_opt',
  'pid',
  'ipc',
  'userns',
  'userns_mode',
  'sysctls',
  'cgroup_parent',
  'network_mode',
  'group_add',
  'tmpfs',
  'ulimits',
]);

export function isTable(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Date);
}

export function unwrap(schema: SchemaNode): SchemaNode {
  return schema.wrapped === undefined ? schema : unwrap(schema.wrapped);
}
