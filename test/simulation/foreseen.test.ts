import { expect } from 'chai';
import fc from 'fast-check';
import type { Service } from '../../src/definitions/types.ts';
import { simulate } from '../../src/plan/simulate.ts';
import type { Step } from '../../src/plan/types.ts';
import { component, desiredOf, service, SUFFIX } from '../support/definitions.ts';
import { World } from '../support/world.ts';

function web(version: string, change: Partial<Service> = {}): Service {
  const reference = `mcr.example.net/web:${version}`;
  const image = { reference, host: 'mcr.example.net', repository: 'web', tag: version };
  const route = { name: '', port: 443, mode: 'l7', hostname: `web.${SUFFIX}`, backendTls: false } as const;
  return service('web', [component('web', { image, dockerfile: 'Dockerfile', routes: [route] })], change);
}

/** Steps as the world and the simulation name them alike: kind and, for containers, the final or staging name. */
async function bothWays(
  world: World,
  nameOf: (step: Step) => string = (step) => step.kind,
): Promise<[string[], string[]]> {
  const simulated = simulate(world.facts()).steps.map(nameOf);
  const taken: string[] = [];
  for (let pass = 0; pass < 40; pass += 1) {
    const { plan } = await world.pass();
    taken.push(...plan.steps.map(nameOf));
    if (plan.steps.length === 0) {
      if (plan.wakeAt === undefined) break;
      world.now = Math.max(world.now, plan.wakeAt);
    }
  }
  return [simulated, taken];
}

const CHANGES = 200;
/** So many commits follow each other on one node. */
const HISTORY = 10;

/** Ids differ between the two worlds: the name before the mark is what a person reads. */
function subjectOf(step: Step): string {
  return step.subject.replace(/\.(prev|next)-.*$/, '.$1');
}

function components(services: readonly Service[]): { reference: string; dockerfile: string | undefined }[] {
  return services.flatMap((one) =>
    one.components.map(({ image, dockerfile }) => ({ reference: image.reference, dockerfile })),
  );
}

const oneComponent = fc.record({
  name: fc.constantFrom('web', 'api', 'job'),
  version: fc.constantFrom('v1.0.0', 'v1.1.0', 'v2.0.0'),
  built: fc.boolean(),
  mode: fc.constantFrom('none', 'l4', 'l7', 'l7'),
  env: fc.constantFrom('', 'x', 'y'),
  cmd: fc.constantFrom(undefined, ['serve'], ['serve', '--debug']),
  volume: fc.boolean(),
  port: fc.boolean(),
});

const oneService = fc.record({
  active: fc.constantFrom(true, true, true, false),
  parts: fc.uniqueArray(oneComponent, { minLength: 1, maxLength: 3, selector: ({ name }) => name }),
});

/** Commits one after the other: services come, change, stop, start again and go. */
const histories = fc.array(
  fc.dictionary(fc.constantFrom('aa', 'bb', 'cc', 'dd'), oneService, { minKeys: 1 }).map((all) =>
    Object.entries(all).map(([name, { active, parts }], index) =>
      service(
        name,
        parts.map(({ name: part, version, built, mode, env, cmd, volume, port }) => {
          const reference = `mcr.example.net/${name}-${part}:${version}`;
          const route = { name: '', port: 443, hostname: `${part}.${name}.${SUFFIX}`, backendTls: false };
          return component(part, {
            image: { reference, host: 'mcr.example.net', repository: `${name}-${part}`, tag: version },
            ...(built ? { dockerfile: 'Dockerfile' } : {}),
            ...(cmd === undefined ? {} : { cmd }),
            env: env === '' ? [] : [{ name: 'E', hash: env }],
            routes: mode === 'none' ? [] : [{ ...route, mode }],
            mounts: volume
              ? [{ kind: 'bind', source: `/srv/${name}`, target: '/data', readOnly: false }]
              : [],
            ports: port
              ? [
                  {
                    host: 2000 + 10 * index + ['web', 'api', 'job'].indexOf(part),
                    container: 80,
                    protocol: 'tcp',
                  },
                ]
              : [],
          });
        }),
        { active },
      ),
    ),
  ),
  { minLength: HISTORY, maxLength: HISTORY },
);

describe('the simulated chain', () => {
  it('is what the agent then does, step by step: create, replace, stop, start, rename, remove', async () => {
    const world = new World();
    world.images['mcr.example.net/web:v1.0.0'] = { kind: 'absent' };
    world.images['mcr.example.net/web:v1.1.0'] = { kind: 'absent' };
    const other = service('other', [component('aa'), component('bb')]);
    world.present('mcr.example.net/aa:v1.0.0', 'mcr.example.net/bb:v1.0.0', 'mcr.example.net/cc:v1.0.0');
    const commits = [
      [web('v1.0.0')],
      [web('v1.0.0'), other],
      [web('v1.1.0'), other],
      [web('v1.1.0', { active: false }), other],
      [web('v1.1.0'), service('other', [component('aa'), component('cc')])],
      [web('v1.1.0')],
    ];
    for (const services of commits) {
      world.desired = desiredOf(services);
      const [simulated, taken] = await bothWays(world);
      expect(simulated).to.deep.equal(taken);
      expect(simulated).to.not.deep.equal([]);
    }
  });

  it(`${CHANGES} generated changes: what the plan says is what the agent does, step by step`, async function () {
    this.timeout(300_000);
    const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
    console.log(`      seed ${seed} (FUZZ_SEED=${seed} repeats it)`);
    const kinds = new Map<string, number>();
    let changes = 0;
    for (const history of fc.sample(histories, { numRuns: CHANGES / HISTORY, seed })) {
      const world = new World();
      for (const services of history) {
        world.desired = desiredOf(services);
        for (const { reference, dockerfile } of components(services)) {
          if (dockerfile === undefined) world.present(reference);
          else world.images[reference] ??= { kind: 'absent' };
        }
        world.accept();
        const [said, done] = await bothWays(
          world,
          (step) => `${step.service}: ${step.kind} ${subjectOf(step)}`,
        );
        expect(said, JSON.stringify(services)).to.deep.equal(done);
        changes += 1;
        for (const line of done) {
          const kind = line.split(' ')[1] ?? '';
          kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
        }
      }
    }
    const counted = [...kinds].map(([kind, count]) => `${kind} ${count}`).sort();
    console.log(
      `      ${changes} changes, ${[...kinds.values()].reduce((sum, n) => sum + n, 0)} steps: ${counted.join(', ')}`,
    );
    expect(changes).to.equal(CHANGES);
    expect([...kinds.keys()]).to.include.members([
      'build-image',
      'lease-ports',
      'release-leases',
      'create-network',
      'issue-certificate',
      'create-container',
      'start-container',
      'retire-container',
      'stop-container',
      'remove-container',
      'put-routes',
      'remove-routes',
      'record-applied',
      'forget-service',
    ]);
  });

  it('ends with what is still waited for when a step cannot follow', () => {
    const world = new World();
    world.desired = desiredOf([web('v1.0.0')]);
    world.images['mcr.example.net/web:v1.0.0'] = { kind: 'unknown', why: 'registry down' };
    const { steps, end } = simulate(world.facts());
    expect(steps.map((step) => step.kind)).to.deep.equal(['issue-certificate']);
    expect(end.waiting[0]?.why).to.contain('registry down');
  });

  it('leaves its input as it was', () => {
    const world = new World();
    world.desired = desiredOf([web('v1.0.0')]);
    world.present('mcr.example.net/web:v1.0.0');
    const before = JSON.stringify(world.facts());
    simulate(world.facts());
    expect(JSON.stringify(world.facts())).to.equal(before);
  });
});
