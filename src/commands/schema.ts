import { jsonSchema, type SchemaName } from '../definitions/jsonschema.ts';

/** `mc-gitops schema`: JSON Schema (2020-12) of a definition, for editors. */
export function runSchema(kind: SchemaName): void {
  process.stdout.write(`${JSON.stringify(jsonSchema(kind), null, 2)}\n`);
}
