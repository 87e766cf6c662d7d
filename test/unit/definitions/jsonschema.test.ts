import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'chai';
import { parseToml } from '../../../src/base/toml.ts';
import { jsonSchema, type SchemaName } from '../../../src/definitions/jsonschema.ts';
import { readTree, resolved } from './support.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');
const FIXTURES = join(import.meta.dirname, '../../fixtures/definitions/rules');

type Schema = Readonly<Record<string, unknown>>;

/** A real validator, strict: an unknown keyword, or one without effect, is an error of the schema. */
const ajv = new Ajv2020({ strict: true, allErrors: false });
const validators = new Map(
  (['service', 'node', 'removals'] as const).map((name) => [name, ajv.compile(jsonSchema(name))]),
);

function accepts(name: SchemaName, value: unknown): boolean {
  return validators.get(name)?.(value) === true;
}

/** Which schema an editor takes for a file. */
function schemaFor(path: string): SchemaName | undefined {
  if (path === 'removals.toml') return 'removals';
  if (path.startsWith('nodes/')) return 'node';
  return path.startsWith('services/') ? 'service' : undefined;
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
  'removals/name',
  'value/duration',
  'value/size',
  'service/generation',
  'health/expect',
  'health/retries',
  'resources/cpus',
  'resources/pids',
  'env/syntax',
  'env/reserved',
  'volume/syntax',
  'ports/syntax',
  'network/name',
  'component/user',
  'component/stop-signal',
  'route/hostname',
];

describe('JSON Schema of definitions', () => {
  const service = jsonSchema('service');

  it('has a title, a description and an example of every field, and what holds by default', () => {
    type Field = Schema & { readonly properties?: Readonly<Record<string, Field>>; readonly items?: Field };
    const poor: string[] = [];
    const look = (field: Field, path: string): void => {
      for (const [key, inner] of Object.entries({ ...field.properties, ...field.items?.properties })) {
        const where = `${path}.${key}`;
        if (inner['title'] === undefined || inner['description'] === undefined) poor.push(where);
        const examples = (inner['examples'] ?? []) as readonly unknown[];
        const judge = new Ajv2020({ strict: true }).compile(inner);
        if (examples.length === 0 || !examples.every((example) => judge(example)))
          poor.push(`${where}: no example, or one that it refuses`);
        look(inner, where);
      }
    };
    for (const name of ['service', 'node', 'removals'] as const) look(jsonSchema(name), name);
    expect(poor).to.deep.equal([]);
  });

  it('an editor marks an image that is not pinned, and none that is', () => {
    for (const [image, isPinned] of [
      ['host.example:8443/a/b:v1.2.3', true],
      ['b:1.2.3-rc.1', true],
      [`host.example/b:stable@sha256:${'a'.repeat(64)}`, true],
      ['host.example:8443/b', false],
      ['b:latest', false],
      ['b:v1.2', false],
      ['user:word@host.example/b:v1.2.3', false],
    ] as const) {
      const value = { name: 'b', node: 'n', components: [{ name: 'b', image }] };
      expect(accepts('service', value), image).to.equal(isPinned);
    }
  });

  it('is JSON Schema 2020-12, and accepts every file of the example', () => {
    for (const name of validators.keys()) expect(ajv.validateSchema(jsonSchema(name)), name).to.equal(true);
    const files = Object.entries(readTree(EXAMPLE)).filter(([path]) => path.endsWith('.toml'));
    const judged = files.flatMap(([path, bytes]) => {
      const name = schemaFor(path);
      return name === undefined ? [] : [{ path, isGood: accepts(name, parsed(bytes)) }];
    });
    expect(judged.filter(({ isGood }) => !isGood)).to.deep.equal([]);
    expect(judged.length).to.be.greaterThan(8);
  });

  it('refuses the fixtures of the rules that a schema can judge, and no file that validate accepts', () => {
    for (const group of readdirSync(FIXTURES)) {
      for (const title of readdirSync(join(FIXTURES, group))) {
        const rule = `${group}/${title}`;
        const bad = Object.entries(readTree(join(FIXTURES, group, title))).filter(([path, bytes]) => {
          const name = schemaFor(path);
          if (name === undefined) return false;
          const { issues } = resolved({ [path]: bytes }, { everywhere: true }).desired;
          const isAccepted = accepts(name, parsed(bytes));
          if (issues.length === 0) expect(isAccepted, `${rule} ${path}`).to.equal(true);
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
