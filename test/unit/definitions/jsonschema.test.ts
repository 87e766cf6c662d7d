import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseToml } from '../../../src/base/toml.ts';
import { jsonSchema } from '../../../src/definitions/jsonschema.ts';
import { readTree, resolved } from './support.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');
const FIXTURES = join(import.meta.dirname, '../../fixtures/definitions/rules');

type Schema = Readonly<Record<string, unknown>>;
const NOTES = new Set(['$schema', 'title', 'description', 'default', 'examples']);

/** The keywords of JSON Schema that ours uses; another one is an error of this test. */
function accepts(schema: Schema | boolean, value: unknown): boolean {
  if (typeof schema === 'boolean') return schema;
  return Object.entries(schema).every(([keyword, wanted]) => {
    if (NOTES.has(keyword)) return true;
    switch (keyword) {
      case 'type':
        return isOfType(String(wanted), value);
      case 'enum':
        return (wanted as unknown[]).includes(value);
      case 'pattern':
        return typeof value !== 'string' || new RegExp(String(wanted), 'u').test(value);
      case 'minimum':
        return typeof value !== 'number' || value >= Number(wanted);
      case 'maximum':
        return typeof value !== 'number' || value <= Number(wanted);
      case 'items':
        return !Array.isArray(value) || value.every((part) => accepts(wanted as Schema, part));
      case 'required':
        return !isTable(value) || (wanted as string[]).every((key) => Object.hasOwn(value, key));
      case 'properties':
        return (
          !isTable(value) ||
          Object.entries(wanted as Record<string, Schema>).every(
            ([key, part]) => !Object.hasOwn(value, key) || accepts(part, value[key]),
          )
        );
      case 'additionalProperties': {
        const known = Object.keys((schema.properties as object | undefined) ?? {});
        const others = isTable(value) ? Object.entries(value).filter(([key]) => !known.includes(key)) : [];
        return others.every(([, part]) => accepts(wanted as Schema, part));
      }
      default:
        throw new Error(`unexpected keyword ${keyword}`);
    }
  });
}

function isOfType(type: string, value: unknown): boolean {
  if (type === 'object') return isTable(value);
  if (type === 'array') return Array.isArray(value);
  return type === 'integer' ? Number.isInteger(value) : typeof value === type;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function parsed(bytes: Uint8Array): unknown {
  const toml = parseToml(Buffer.from(bytes).toString('utf8'));
  return toml.ok ? toml.value : undefined;
}

/** Rules that a schema can judge. */
const JUDGED = [
  'key/unknown',
  'key/missing',
  'value/type',
  'value/choice',
  'service/name',
  'service/node',
  'component/name',
  'route/name',
  'route/port',
];

describe('JSON Schema of definitions', () => {
  const service = jsonSchema('service');

  it('accepts every file of the example', () => {
    for (const [path, bytes] of Object.entries(readTree(EXAMPLE))) {
      if (!path.endsWith('.toml')) continue;
      const schema = path.startsWith('nodes/') ? jsonSchema('node') : service;
      expect(accepts(schema, parsed(bytes)), path).to.equal(true);
    }
    expect(accepts(jsonSchema('removals'), { services: ['a'] })).to.equal(true);
    expect(accepts(jsonSchema('removals'), { services: ['A!'] })).to.equal(false);
  });

  it('refuses the fixtures of the rules that a schema can judge, and no service that validate accepts', () => {
    for (const group of readdirSync(FIXTURES)) {
      for (const name of readdirSync(join(FIXTURES, group))) {
        const rule = `${group}/${name}`;
        const files = readTree(join(FIXTURES, group, name));
        const bad = Object.entries(files).filter(([path, bytes]) => {
          if (!path.startsWith('services/')) return false;
          const isGood = resolved({ [path]: bytes }, { everywhere: true }).desired.services.length > 0;
          const isAccepted = accepts(service, parsed(bytes));
          if (isGood) expect(isAccepted, `${rule} ${path}`).to.equal(true);
          return !isAccepted;
        });
        if (JUDGED.includes(rule)) expect(bad, rule).to.not.deep.equal([]);
      }
    }
  });

  it('has title and description of every field, with defaults and examples', () => {
    const missing: string[] = [];
    const walk = (schema: Schema, path: string): void => {
      for (const [key, part] of Object.entries(
        (schema.properties as Record<string, Schema> | undefined) ?? {},
      )) {
        if (part.title === undefined || part.description === undefined) missing.push(`${path}${key}`);
        walk(part, `${path}${key}.`);
        if (part.items !== undefined) walk(part.items as Schema, `${path}${key}[].`);
      }
    };
    for (const name of ['service', 'node', 'removals'] as const) walk(jsonSchema(name), `${name}: `);
    expect(missing).to.deep.equal([]);
    const { active, components } = service.properties as Record<string, Schema>;
    expect(active).to.deep.include({ type: 'boolean', default: true });
    const { port, mode } = (
      (components?.items as Schema).properties as {
        routes: { items: { properties: Record<string, Schema> } };
      }
    ).routes.items.properties;
    expect(port).to.deep.include({
      type: 'integer',
      minimum: 1,
      maximum: 65535,
      examples: [443, 8443, 9443],
    });
    expect(mode).to.deep.include({ enum: ['l4', 'l7'] });
  });
});
