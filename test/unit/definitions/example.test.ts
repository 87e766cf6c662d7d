import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { fieldTable } from '../../../src/definitions/fieldtable.ts';
import { ruleTable } from '../../../src/definitions/ruletable.ts';
import { DEFAULTS, POLICY, hash, readTree, resolved } from './support.ts';

const EXAMPLE = join(import.meta.dirname, '../../../definitions-example');
const README = join(EXAMPLE, 'README.md');

describe('definitions-example', () => {
  it('has the tables of fields and rules as the code has them (UPDATE_TABLES=1 writes them)', () => {
    const before = readFileSync(README, 'utf8');
    const tables = {
      'fields:service': fieldTable('service'),
      'fields:node': fieldTable('node'),
      rules: ruleTable(),
      'rules:dockerfile': ruleTable('dockerfile'),
    };
    let after = before;
    for (const [mark, table] of Object.entries(tables)) {
      const [head = '', rest] = after.split(`<!-- ${mark} -->\n`);
      expect(rest, `the mark ${mark} is missing`).to.not.equal(undefined);
      after = `${head}<!-- ${mark} -->\n${table}${rest?.slice(rest.indexOf('<!-- end -->')) ?? ''}`;
    }
    if (process.env.UPDATE_TABLES === '1') writeFileSync(README, after);
    else expect(before).to.equal(after);
  });

  it('is accepted by a node with the policy that its README names', () => {
    const policy = { ...POLICY, ports: ['53', '443', '1024-65535'] };
    const { desired } = resolved(readTree(EXAMPLE), { policy, defaults: DEFAULTS, hash });
    expect(desired.issues).to.deep.equal([]);
    expect(
      desired.services.map(
        ({ service }) => `${service.name} ${service.components.map(({ image }) => image.tag).join(' ')}`,
      ),
    ).to.deep.equal([
      'docs v0.1.0',
      'hello v1.0.0 v1.0.0',
      'mc-proxy v1.2.1',
      'mcdoc v0.1.0',
      'mcns v1.1.0',
      'mcr v1.2.0 v1.2.0',
      'metacrypt v1.1.0 v1.1.0',
      'myservice v1.0.0',
      'status v1.0.0',
    ]);
  });
});
