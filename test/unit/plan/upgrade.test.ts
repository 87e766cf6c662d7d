import { createHash } from 'node:crypto';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../../src/base/clock.ts';
import { makeLog } from '../../../src/base/log.ts';
import { resolve } from '../../../src/definitions/resolve.ts';
import type { Desired } from '../../../src/definitions/types.ts';
import type { Observed } from '../../../src/node/types.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Plan, PlanSettings } from '../../../src/plan/types.ts';
import { openRegistry, type Registry } from '../../../src/registry/registry.ts';
import type { Promised } from '../../../src/registry/types.ts';
import { World } from '../../support/world.ts';

const FIXTURES = 'test/fixtures/upgrade';

/** What an earlier version (0.1.0: commit e242c4c) left: definitions as they were written, its registry, and what the node showed it. */
interface State {
  readonly settings: PlanSettings;
  readonly now: number;
  readonly observed: Observed;
}

describe('an upgrade of the agent', () => {
  let dir: string;
  let registry: Registry | undefined;

  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'mcg-upgrade-'))));
  afterEach(() => {
    registry?.close();
    registry = undefined;
    rmSync(dir, { recursive: true });
  });

  for (const version of readdirSync(FIXTURES)) {
    const at = join(FIXTURES, version);
    const state = JSON.parse(readFileSync(join(at, 'state.json'), 'utf8')) as State;
    const takenUp = (): { promised: Promised; desired: Desired; plan: Plan } => {
      copyFileSync(join(at, 'registry.db'), join(dir, 'registry.db'));
      const opened = openRegistry({
        path: join(dir, 'registry.db'),
        clock: systemClock,
        log: makeLog('silent'),
      });
      if (opened.kind !== 'ok') throw new Error(opened.why);
      registry = opened.value;
      const promised = registry.promised();
      const desired = desiredFrom(at);
      // What the settings have learned to say since then has its default.
      const settings = { ...new World().settings(), ...state.settings };
      return { promised, desired, plan: makePlan({ ...state, promised, desired, settings }) };
    };

    it(`L34 plans no step over the registry and the containers of version ${version}, and none is waited for`, () => {
      const { promised, desired, plan } = takenUp();
      expect(desired.services.length).to.be.greaterThan(5);
      expect(promised.applied).to.have.length(desired.services.length);
      expect(plan.steps.map((step) => `${step.kind} ${step.subject}: ${step.because.summary}`)).to.deep.equal(
        [],
      );
      expect(plan).to.deep.include({ waiting: [], refused: [] });
    });

    it(`finds the definitions of version ${version} unchanged: fields that came later are in no digest`, () => {
      const { promised, desired } = takenUp();
      const digests = (all: readonly { service: { name: string }; digest: string }[]): string[] =>
        all.map(({ service, digest }) => `${service.name} ${digest}`);
      expect(digests(desired.services)).to.deep.equal(digests(promised.applied));
    });
  }
});

function desiredFrom(dir: string): Desired {
  const files = ['services', 'nodes'].flatMap((part) =>
    readdirSync(join(dir, part))
      .sort()
      .map((name) => {
        const bytes = readFileSync(join(dir, part, name));
        const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
        return { path: `${part}/${name}`, oid, bytes };
      }),
  );
  return resolve({
    node: 'rift',
    files,
    refusedFiles: [],
    commit: { oid: 'a'.repeat(40), author: 'a', email: 'a@example.net', at: 0, message: 'm', parents: [] },
    lastGood: new Map(),
    hash: (value) => createHash('sha256').update(value).digest('hex').slice(0, 16),
    defaults: { network: 'mcpnet', restart: 'unless-stopped', hostnameSuffix: 'svc.mcp.metacircular.net' },
  }).desired;
}
