import { v } from '../base/shape.ts';
import type { TomlPath } from '../base/tomlindex.ts';
import { MAX_FINDINGS, type Finding } from './findings.ts';
import { isTable, meantKey, unwrap, type SchemaNode } from './structure.ts';

/** What is well formed of a document that is not: everything in it can be judged all the same, and is told in one run. */
export interface Salvaged<T> {
  /** Where something required is bad, or an element of an array, a placeholder stands: places keep their numbers. */
  readonly output: T;
  /** What is bad, missing or unknown: nothing that is said there, or follows from it, may be believed. */
  readonly bad: readonly TomlPath[];
}

/** Takes what is fit of a document by its schema; undefined when it is no table. Never throws, and is linear. */
export function salvage<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
): Salvaged<v.InferOutput<S>> | undefined {
  if (!isTable(value)) return undefined;
  const found: Found = { bad: [], asked: 0 };
  const parsed = v.safeParse(schema, keep(schema as unknown as SchemaNode, value, [], found));
  return parsed.success ? { output: parsed.output, bad: found.bad } : undefined;
}

interface Found {
  readonly bad: TomlPath[];
  /** For so many unknown keys it was asked what they were meant as: that is the costly part, and no more of a file are told. */
  asked: number;
}

/** The fit part of a value; undefined when nothing of it is. */
function keep(schema: SchemaNode, value: unknown, path: TomlPath, found: Found): unknown {
  const node = unwrap(schema);
  const isFit =
    node.type === 'array'
      ? Array.isArray(value)
      : node.type === 'record' || node.type === 'strict_object'
        ? isTable(value)
        : v.is(node as unknown as v.GenericSchema, value);
  if (!isFit) {
    found.bad.push(path);
    return undefined;
  }
  const { item, value: inner } = node;
  if (Array.isArray(value)) {
    if (item === undefined) return value;
    return value.map((part: unknown, at) => keep(item, part, [...path, at], found) ?? placeholderOf(item));
  }
  if (!isTable(value)) return value;
  if (node.type === 'strict_object') return keepTable(node, value, path, found);
  const kept = Object.entries(value).map(([key, part]): [string, unknown] => [
    key,
    inner === undefined ? part : keep(inner, part, [...path, key], found),
  ]);
  return Object.fromEntries(kept.filter(([, part]) => part !== undefined));
}

function keepTable(
  node: SchemaNode,
  table: Record<string, unknown>,
  path: TomlPath,
  found: Found,
): Record<string, unknown> {
  const entries = node.entries ?? {};
  const kept: Record<string, unknown> = {};
  for (const [key, entry] of Object.entries(entries)) {
    const isThere = Object.hasOwn(table, key);
    const part = isThere ? keep(entry, table[key], [...path, key], found) : undefined;
    if (part !== undefined) kept[key] = part;
    else if (entry.type !== 'optional') {
      if (!isThere) found.bad.push([...path, key]);
      kept[key] = placeholderOf(entry);
    }
  }
  for (const key of Object.keys(table)) {
    if (Object.hasOwn(entries, key) || found.asked >= MAX_FINDINGS) continue;
    found.asked += 1;
    // What it may be a misspelling of, and is not there, is not known then; else it says nothing of anything.
    const meant = meantKey(key, Object.keys(entries));
    if (meant !== undefined && !Object.hasOwn(table, meant)) found.bad.push([...path, meant]);
  }
  return kept;
}

/** One of these is in order for any value that a definition asks for. */
const FIT: readonly unknown[] = ['placeholder', '5m', '200', 1, true];

function placeholderOf(schema: SchemaNode): unknown {
  const node = unwrap(schema);
  if (node.type === 'array') return [];
  if (node.type === 'record') return {};
  if (node.type === 'picklist') return node.options?.[0];
  if (node.type !== 'strict_object')
    return FIT.find((value) => v.is(node as unknown as v.GenericSchema, value));
  return Object.fromEntries(
    Object.entries(node.entries ?? {})
      .filter(([, entry]) => entry.type !== 'optional')
      .map(([key, entry]) => [key, placeholderOf(entry)]),
  );
}

/** Says of a finding or claim whether it stands on something bad. */
export interface Doubts {
  /** At the place itself or at a table around it. */
  at(path: TomlPath): boolean;
  /** Also where the rule looks at other places, and one of those is bad: what is not there may have been meant to be. */
  about(found: Finding): boolean;
}

/** Looks up what is bad: the time does not grow with how much is. */
export function doubtsOf(bad: readonly TomlPath[]): Doubts {
  const whole = new Set(bad.map(keyOf));
  // With `*` for every number: is any component's name bad?
  const shapes = new Set(bad.map((path) => keyOf(starred(path))));
  const touched = new Set(bad.flatMap((path) => [1, 2, 3].map((length) => keyOf(path.slice(0, length)))));
  const touches = (path: TomlPath, ...keys: string[]): boolean =>
    keys.some((key) => touched.has(keyOf([...path, key])));
  /** What a health check asks; how often does not matter to what else is in the file. */
  const asks = (component: TomlPath): boolean =>
    [[], ...HEALTH_ASKS.map((key) => [key])].some((key) =>
      whole.has(keyOf([...component, 'health', ...key])),
    );
  const some = (...paths: TomlPath[]): boolean =>
    [['components'], ['components', '*'], ...paths].some((path) => shapes.has(keyOf(path)));
  const at = (path: TomlPath): boolean =>
    path.some((_, index) => whole.has(keyOf(path.slice(0, index + 1)))) && bad.length > 0;
  const about = (found: Finding): boolean => {
    const component = found.path.slice(0, 2);
    if (at(found.path)) return true;
    switch (found.rule) {
      case 'health/target':
      case 'health/fields':
      case 'route/unnamed':
        return touches(component, 'routes', 'ports') || asks(component);
      case 'network/none':
        return touches(component, 'network');
      case 'health/restart':
        return touches(component, 'restart');
      case 'component/after':
      case 'component/after-cycle':
      case 'component/peer-fold':
        return some(['components', '*', 'name']);
      case 'component/container-name':
        return some(['name']);
      case 'service/components':
        return some();
      case 'build/unused':
        return some(['components', '*', 'image']);
      case 'image/unbuilt':
        return touches([], 'build');
      default:
        return false;
    }
  };
  return { at, about };
}

const HEALTH_ASKS = ['type', 'route', 'port', 'path', 'expect', 'command'];

function keyOf(path: TomlPath): string {
  return JSON.stringify(path);
}

function starred(path: TomlPath): TomlPath {
  return path.map((part) => (typeof part === 'number' ? '*' : part));
}
