import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Desired, Policy, Service } from '../../../src/definitions/types.ts';
import type { Facts } from '../../../src/plan/facts.ts';
import { makePlan } from '../../../src/plan/plan.ts';
import type { Plan, PlanSettings } from '../../../src/plan/types.ts';
import { component, desiredOf, service } from '../../support/definitions.ts';
import { World } from '../../support/world.ts';
import { L4, POLICY, resolved, rulesOf, serviceText } from '../definitions/support.ts';

const COUNT = 10;
const NAMES = Array.from({ length: COUNT }, (_, at) => `s${at}`);
const GONE = NAMES.slice(COUNT / 2);
const FOREIGN = 'id-of-a-foreign-one';

/**
 * Every setting that `plan` sees, each at its ends. The type holds the list complete: whoever adds a setting has to write it here,
 * and to see that the guard still refuses.
 */
const SETTINGS: { readonly [Key in keyof Required<PlanSettings>]: readonly PlanSettings[Key][] } = {
  node: ['other'],
  owner: ['n1/other'],
  nodeDefaults: [[], ['network', 'user', 'restart', 'hostname_suffix'], undefined],
  portRange: [
    [1, 65_535],
    [10_000, 10_001],
  ],
  publishIp: ['0.0.0.0', '::'],
  logMaxSize: ['1k', '99g'],
  logMaxFiles: [1, 1_000_000],
  timeoutMs: [1, 1e12],
  stableForMs: [0, 1e12],
  drainMs: [0, 1e12],
  stopTimeoutS: [1, 25],
  windows: [[]],
  proxy: [true, false],
  edgeCa: ['/nowhere', undefined],
  addresses: [[], ['10.0.0.1']],
  hostnameSuffix: ['example.org'],
  certificates: ['files', 'local', 'acme'],
  acmeChallenge: ['http-01', 'dns-01', undefined],
  canBuild: [true, false],
  keepImages: [1, 1_000_000, undefined],
  buildCacheBytes: [0, 1e15, undefined],
  registries: [[], ['mcr.example.net'], undefined],
  removable: [[], GONE],
  protect: [[], NAMES],
  budgetShare: [0, 1],
  mode: ['observe', undefined],
  engineId: ['other', undefined],
  keyId: ['other'],
  flapping: [{ exits: 1, windowMs: 1 }, undefined],
};

/** Every field of a definition, at its ends: one that is here may not let another go. */
const FIELDS: { readonly [Key in keyof Required<Service>]: readonly Partial<Service>[] } = {
  name: [{}],
  node: [{ node: 'n2' }],
  active: [{ active: true }],
  path: [{ path: 'elsewhere' }],
  components: [{ components: [] }],
  paused: [{ paused: true }],
  prune: [{ prune: false }],
  after: [{ after: [...GONE] }],
  generation: [{ generation: 1_000_000 }],
  deploy: [{ deploy: { return: 'never' } }, { deploy: { timeoutMs: 1, stableForMs: 0 } }],
  silenced: [{ silenced: [{ rule: 'budget', reason: 'because' }] }],
};

/** Every setting that the rules of definitions see, as wide as it goes. */
const POLICIES: { readonly [Key in keyof Required<Policy>]: readonly Policy[Key][] } = {
  images: ['pinned', undefined],
  imageHosts: [[], ['mcr.svc.mcp.metacircular.net:8443'], undefined],
  mounts: [['/']],
  networks: [['mcpnet', 'none', 'other']],
  ports: [['1-65535'], []],
  hostnames: [['metacircular.net', 'net'], []],
  listeners: [[], [443], undefined],
  bound: [[], undefined],
};

const NARROW = ['{"ports":[]}', '{"hostnames":[]}', '{"imageHosts":[]}'];

/** What the guard refuses, and the settings that are the way to have it all the same. */
interface Danger {
  readonly what: string;
  readonly facts: () => Promise<Facts>;
  readonly isRefused: (plan: Plan) => boolean;
  readonly ways: readonly string[];
}

const leaves = (plan: Plan, names: readonly string[]): boolean =>
  plan.steps.every((step) => !names.includes(step.service));

const DANGERS: readonly Danger[] = [
  {
    what: 'budget: half of the services gone at once',
    facts: () => after(NAMES.slice(0, COUNT / 2).map((name) => one(name))),
    isRefused: (plan) => leaves(plan, GONE),
    ways: ['removable = all of them', 'budgetShare = 1'],
  },
  {
    what: 'budget: half of the services switched off at once',
    facts: () => after(NAMES.map((name) => one(name, { active: !GONE.includes(name) }))),
    isRefused: (plan) => leaves(plan, GONE),
    ways: ['removable = all of them', 'budgetShare = 1'],
  },
  {
    what: 'a definition gone while another one is unreadable',
    facts: () =>
      after(
        NAMES.slice(0, -1).map((name) => one(name)),
        { unreadable: true },
      ),
    isRefused: (plan) => leaves(plan, NAMES.slice(-1)),
    ways: ['removable = all of them'],
  },
  {
    what: 'no definition left at all',
    facts: () => after([]),
    isRefused: (plan) => leaves(plan, NAMES),
    ways: ['removable = all of them'],
  },
  {
    what: 'ownership: a foreign container has the name of a service',
    facts: () => {
      const world = new World();
      world.desired = desiredOf([one('s0')]);
      world.present('mcr.example.net/s0:v1.0.0');
      world.containers.push({
        ...{ id: FOREIGN, name: 's0', image: 'x', imageId: 'y', state: 'running', restartCount: 0 },
        ...{ labels: {}, publish: [] },
      });
      return Promise.resolve(world.facts());
    },
    isRefused: (plan) =>
      !JSON.stringify(plan.steps).includes(FOREIGN) &&
      plan.steps.every(({ kind }) => kind !== 'start-container'),
    ways: [],
  },
  {
    what: 'engine identity: another engine, without our containers',
    facts: async () => {
      const world = await running();
      world.engineIdentity = { id: 'other', storageRoot: '/y' };
      world.containers = [];
      return world.facts();
    },
    isRefused: (plan) => plan.steps.length === 0,
    ways: ['engineId = the other one'],
  },
];

describe('nothing switches the guard off', () => {
  for (const { what, facts, isRefused, ways } of DANGERS)
    it(`${what}: refused with each setting at its ends, and with all of them${ways.length === 0 ? '' : `; but for ${ways.join(', ')}`}`, async () => {
      const given = await facts();
      expect(isRefused(makePlan(given)), 'with the settings of every day').to.equal(true);
      const letting: string[] = [];
      const all: Record<string, unknown> = {};
      for (const [key, values] of Object.entries(SETTINGS))
        for (const value of values) {
          const plan = makePlan({ ...given, settings: { ...given.settings, [key]: value } });
          if (isRefused(plan)) all[key] = value;
          else letting.push(wayOf(key, value));
        }
      expect(letting).to.deep.equal(ways);
      // To touch nothing at all, and to touch none of them, would refuse whatever the others do.
      const together = Object.fromEntries(
        Object.entries(all).filter(([key]) => !['mode', 'protect'].includes(key)),
      );
      const plan = makePlan({ ...given, settings: { ...given.settings, ...together } });
      expect(isRefused(plan), `with ${JSON.stringify(together)}`).to.equal(true);
    });

  it('no field of a definition does: half of the services gone or switched off stays refused whatever theirs and the others say', async () => {
    for (const [field, changes] of Object.entries(FIELDS))
      for (const change of changes) {
        const world = await running(change);
        for (const left of [
          NAMES.slice(0, COUNT / 2).map((name) => one(name, change)),
          NAMES.map((name) => one(name, { ...change, active: !GONE.includes(name) })),
        ]) {
          const plan = makePlan({ ...world.facts(), desired: later(left) });
          const gone = plan.steps.filter((step) => GONE.includes(step.service));
          expect(gone, `${field}: ${JSON.stringify(change)}`).to.deep.equal([]);
        }
      }
  });

  it('uniqueness: two newcomers with one port or host name are both refused with each setting of the rules at its ends', () => {
    for (const [rule, claim] of [
      ['ports/duplicate', 'ports = ["5300:53"]\n'],
      ['route/duplicate', `${L4}hostname = "one.metacircular.net"\n`],
    ] as const) {
      const files = Object.fromEntries(
        ['aa', 'bb'].map((name) => [`services/${name}.toml`, serviceText(name, claim)]),
      );
      const { desired: alone } = resolved({ 'services/aa.toml': serviceText('aa', claim) });
      expect(alone.services, 'one of them').to.have.length(1);
      const ends = Object.entries(POLICIES).flatMap(([key, values]) =>
        values.map((value) => ({ [key]: value })),
      );
      for (const end of [{}, ...ends]) {
        const { desired } = resolved(files, { policy: { ...POLICY, ...end } });
        const what = `${rule} ${JSON.stringify(end)}`;
        expect(desired.refused, what).to.deep.equal(['aa', 'bb']);
        // Narrower settings may refuse them for more than that.
        if (!NARROW.includes(JSON.stringify(end)))
          expect(
            rulesOf(desired.issues).filter((one) => one === rule),
            what,
          ).to.deep.equal([rule, rule]);
      }
    }
  });

  it('no option of the agent does, and no variable that is not a setting: it takes the place of the settings, and nothing else', async () => {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, ['--import', 'tsx', 'src/main.ts', 'agent', '--help']);
    expect(stdout.match(/--[a-z-]+/g)).to.deep.equal(['--config', '--help']);
    const readers = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.tsx?$/.test(path) && !path.startsWith('demo'))
      .filter((path) => /process\.env\b/.test(readFileSync(join('src', path), 'utf8')));
    // All of the environment goes through the settings; beside them the engine's own variable, and colours of a check.
    expect(
      readers.filter(
        (path) => !/loadSettings\(\S+, process\.env\)/.test(readFileSync(join('src', path), 'utf8')),
      ),
    ).to.have.members(['node/engine/engine.ts', 'commands/validate.ts']);
  }).timeout(300_000);
});

function wayOf(key: string, value: unknown): string {
  if (key === 'removable') return 'removable = all of them';
  return `${key} = ${value === 'other' ? 'the other one' : JSON.stringify(value)}`;
}

function one(name: string, change: Partial<Service> = {}): Service {
  return { ...service(name, [component(name)]), ...change };
}

/** Ten services in line. */
async function running(change: Partial<Service> = {}): Promise<World> {
  const world = new World();
  world.desired = desiredOf(NAMES.map((name) => one(name)));
  for (const name of NAMES) world.present(`mcr.example.net/${name}:v1.0.0`);
  await world.converge();
  if (Object.keys(change).length > 0) {
    world.desired = later(NAMES.map((name) => one(name, change)));
    await world.converge();
  }
  return world;
}

/** The same, and then another commit. */
async function after(services: readonly Service[], change: Partial<Desired> = {}): Promise<Facts> {
  const world = await running();
  return { ...world.facts(), desired: later(services, change) };
}

let commits = 0;

function later(services: readonly Service[], change: Partial<Desired> = {}): Desired {
  commits += 1;
  const oid = commits.toString(16).padStart(40, '0');
  const desired = desiredOf(services, change);
  return {
    ...desired,
    commit: { ...desired.commit, oid },
    services: desired.services.map((entry) => ({ ...entry, commit: oid })),
  };
}
