import { v } from '../base/shape.ts';
import { NODE, REMOVALS, SERVICE } from './shape.ts';

/** The files that have a schema. */
const SCHEMAS = { service: SERVICE, node: NODE, removals: REMOVALS } as const;

export type SchemaName = keyof typeof SCHEMAS;

const TITLES: Readonly<Record<SchemaName, string>> = {
  service: 'Service definition of mc-gitops (services/<service>.toml)',
  node: 'Node of mc-gitops (nodes/<node>.toml)',
  removals: 'Removals of mc-gitops (removals.toml)',
};

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
type JsonObject = Record<string, Json>;

/** A schema node or an action of a pipe, as far as it is looked at here. */
interface Part {
  readonly type: string;
  readonly kind?: string;
  readonly entries?: Readonly<Record<string, Part>>;
  readonly item?: Part;
  readonly value?: Part;
  readonly wrapped?: Part;
  readonly default?: unknown;
  readonly options?: readonly (string | number)[];
  readonly pipe?: readonly Part[];
  readonly requirement?: unknown;
}

/**
 * JSON Schema (draft 2020-12) of a file, from the schema that checks it: editors (Taplo, Even Better TOML) complete and
 * check with it. What only code can judge (an image's version, two files) is not in it.
 */
export function jsonSchema(name: SchemaName): JsonObject {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: TITLES[name],
    ...convert(SCHEMAS[name]),
  };
}

function convert(part: Part): JsonObject {
  if (part.wrapped !== undefined) {
    const inner = convert(part.wrapped);
    return part.default === undefined ? inner : { ...inner, default: part.default as Json };
  }
  return { ...typeOf(part), ...rulesOf(part), ...choices(part), ...describe(part) };
}

function typeOf(part: Part): JsonObject {
  switch (part.type) {
    case 'strict_object': {
      const entries = Object.entries(part.entries ?? {});
      const required = entries.filter(([, entry]) => entry.type !== 'optional').map(([key]) => key);
      return {
        type: 'object',
        properties: Object.fromEntries(entries.map(([key, entry]) => [key, convert(entry)])),
        ...(required.length === 0 ? {} : { required }),
        additionalProperties: false,
      };
    }
    case 'record':
      return { type: 'object', additionalProperties: part.value === undefined ? true : convert(part.value) };
    case 'array':
      return { type: 'array', items: part.item === undefined ? true : convert(part.item) };
    case 'picklist':
      return { enum: [...(part.options ?? [])] };
    default:
      return { type: part.type };
  }
}

/** Checks of a pipe; a pipe may be the first part of another. */
function rulesOf(part: Part): JsonObject {
  const rules: JsonObject = {};
  for (const step of part.pipe ?? []) {
    if (step.kind === 'schema') Object.assign(rules, step.pipe === undefined ? {} : rulesOf(step));
    else if (step.type === 'regex' && step.requirement instanceof RegExp)
      rules.pattern = step.requirement.source;
    else if (step.type === 'integer') rules.type = 'integer';
    else if (step.type === 'min_value') rules.minimum = Number(step.requirement);
    else if (step.type === 'max_value') rules.maximum = Number(step.requirement);
  }
  return rules;
}

/** Where the words are few, each of them is an example. */
function choices(part: Part): JsonObject {
  if (part.type === 'picklist') return { examples: [...(part.options ?? [])] };
  return part.type === 'boolean' ? { examples: [true, false] } : {};
}

function describe(part: Part): JsonObject {
  const schema = part as unknown as v.GenericSchema;
  // As it is written in a file, where what is read has more in it.
  const { examples: written = [], ...forEditors } = v.getMetadata(schema) as JsonObject & {
    readonly examples?: Json[];
  };
  const title = v.getTitle(schema);
  const description = v.getDescription(schema);
  const examples = [...(v.getExamples(schema) as readonly Json[]), ...written];
  return {
    ...forEditors,
    ...(title === undefined ? {} : { title }),
    ...(description === undefined ? {} : { description }),
    ...(examples.length === 0 ? {} : { examples }),
  };
}
