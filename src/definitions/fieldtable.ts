import { jsonSchema, type SchemaName } from './jsonschema.ts';
import { cell } from './ruletable.ts';

interface Field {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Field>>;
  readonly required?: readonly string[];
  readonly items?: Field;
  readonly additionalProperties?: Field | boolean;
}

/** The fields of a file as a Markdown table, from the schema that checks it. */
export function fieldTable(name: SchemaName): string {
  const rows = fieldsOf(jsonSchema(name), '');
  return ['| field | type | required | meaning |', '|---|---|---|---|', ...rows, ''].join('\n');
}

function fieldsOf(table: Field, prefix: string): string[] {
  return Object.entries(table.properties ?? {}).flatMap(([key, field]) => {
    const path = prefix + key;
    const isRequired = table.required?.includes(key) === true;
    const inside = field.items?.properties === undefined ? [] : fieldsOf(field.items, `${path}[].`);
    const row = `| \`${path}\` | ${typeOf(field)} | ${isRequired ? 'yes' : defaultOf(field)} | ${cell(field.description ?? '')} |`;
    return [row, ...fieldsOf(field, `${path}.`), ...inside];
  });
}

function typeOf(field: Field): string {
  if (field.enum !== undefined) return field.enum.map((choice) => `\`${choice}\``).join(', ');
  if (field.type === 'array')
    return field.items?.properties === undefined ? `list of ${typeOf(field.items ?? {})}s` : 'tables';
  return field.type === 'object' ? 'table' : (field.type ?? '');
}

function defaultOf(field: Field): string {
  const { default: value } = field;
  const isEmpty = value === undefined || JSON.stringify(value) === '[]' || JSON.stringify(value) === '{}';
  return isEmpty ? 'no' : `no, \`${JSON.stringify(value)}\``;
}
