import { expect } from 'chai';
import fc from 'fast-check';
import type { Plan, StepKind } from '../../../src/plan/types.ts';
import { examineEnd } from '../../support/examine-end.ts';
import { examine } from '../../support/examine.ts';
import { tally } from '../../support/tally.ts';
import { World } from '../../support/world.ts';
import { events, foreignOf, happen, heal, NAMES, worldWithForeign, type Event } from './properties.kit.ts';

/** A run before a release (`PLANNER_CASES`) has them all; one of CI as many as fit into its time. */
const CASES = 10_000;
const RUNS =
  process.env.PLANNER_CASES === undefined
    ? { numRuns: CASES, interruptAfterTimeLimit: 7_000 }
    : { numRuns: Number(process.env.PLANNER_CASES) };
const LIMIT_MS = process.env.PLANNER_CASES === undefined ? 180_000 : 3_600_000;

const REMOVING: readonly StepKind[] = [
  'stop-container',
  'remove-container',
  'retire-container',
  'release-leases',
  'forget-service',
];

describe('whatever happens to a node', () => {
  it('G1 G2 G3 G4 G5 G7 its promises hold at every pass, and it is as git says soon after the last fault', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        const foreign = JSON.stringify(foreignOf(world));
        for (const one of list) await happen(world, one, passed);
        expect(JSON.stringify(foreignOf(world)), 'G3').to.equal(foreign);
        heal(world);
        world.removable = [...NAMES];
        world.desired = { ...world.desired, refused: [], unreadable: false };
        await settled(world);
        expect(JSON.stringify(foreignOf(world)), 'G3').to.equal(foreign);
      }),
    );
  });

  it('house rule 1: with the clock standing still the steps come to an end, whatever fails', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        for (const one of list) await happen(world, one, passed);
        for (let pass = 0; pass < 14; pass += 1) {
          const { plan } = await world.pass();
          if (plan.steps.length === 0) return;
        }
        throw new Error(`steps without end: ${world.journal.slice(-6).join(', ')}`);
      }),
    );
  });

  it('house rule 3: the same facts give the same bytes, and are left as they were', async function () {
    this.timeout(LIMIT_MS);
    await holds(
      fc.asyncProperty(events, async (list) => {
        const world = worldWithForeign();
        for (const one of list) await happen(world, one, passed);
        const facts = world.facts();
        const before = JSON.stringify(facts);
        expect(JSON.stringify(world.plan())).to.equal(JSON.stringify(world.plan()));
        expect(JSON.stringify(facts)).to.equal(before);
      }),
    );
  });
});

/** For every list of events; how many there were stands in the table at the end of the run. */
async function holds(property: fc.IAsyncProperty<[Event[]]>): Promise<void> {
  const begun = performance.now();
  const details = await fc.check(property, RUNS);
  tally({
    kind: 'properties of the planner',
    fired: details.numRuns,
    unit: 'cases',
    ms: performance.now() - begun,
  });
  if (!details.failed) return;
  throw new Error(`${await fc.asyncDefaultReportMessage(details)}\n${String(details.errorInstance)}`);
}

/** One pass, and what must hold in it. */
async function passed(world: World): Promise<Plan> {
  const recorded = new Set([
    ...world.applied.map((a) => a.service.name),
    ...world.files.map((f) => f.service),
    ...world.leases.map((l) => l.service),
    ...world.routes.map((r) => r.service),
  ]);
  const before = world.containers;
  // What was only read, and never had anything here, is forgotten, and that removes nothing; another node's service may have its name.
  const had = new Set([
    ...[...world.applied.map(({ service }) => service.name), ...world.leases.map(({ service }) => service)],
    ...[
      ...world.routes.map(({ service }) => service),
      ...before.flatMap(({ identity }) => (identity?.owner === 'n1/main' ? [identity.service] : [])),
    ],
  ]);
  const facts = world.facts();
  const { plan, results } = await world.pass();
  expect(examine(world)).to.deep.equal([]);
  const wanted = world.desired.services.map((entry) => entry.service.name);
  // That an orphan is taken in, or that a route of nobody goes, removes no service.
  const removed = new Set(
    plan.steps
      .filter(
        (step) => REMOVING.includes(step.kind) && !wanted.includes(step.service) && had.has(step.service),
      )
      .map((step) => step.service),
  );
  const budget =
    wanted.length === 0 || world.desired.unreadable ? 0 : Math.max(1, Math.floor(recorded.size * 0.2));
  expect(removed.size, 'G7').to.be.at.most(budget);
  for (const { step, outcome } of results) {
    if (outcome.kind !== 'ok') continue;
    const desired = world.desired.services.find((entry) => entry.service.name === step.service);
    if (desired?.service.active !== true) continue;
    if (step.kind === 'retire-container') {
      const old = before.find((container) => container.id === step.containerId);
      const still = desired.service.components.find((part) => part.name === old?.identity?.component);
      if (still === undefined) continue;
      const { component: name } = old?.identity ?? {};
      const successor = world.containers.some(
        (c) =>
          c.identity?.service === step.service &&
          c.identity.component === name &&
          c.id !== step.containerId &&
          c.identity.spec !== old?.identity?.spec,
      );
      expect(successor, `G5: ${step.subject} was stopped without a successor`).to.equal(true);
      expect(facts.observed.engine.known, 'G9').to.equal(true);
    }
  }
  return plan;
}

async function settled(world: World): Promise<void> {
  await quietened(world);
  // An orphan is a person's business; it may hold a port or a name until it is gone.
  const orphaned = world
    .plan()
    .waiting.filter((entry) => entry.for === 'orphan')
    .map((entry) => entry.service);
  world.containers = world.containers.filter(
    (c) => c.identity?.owner !== 'n1/main' || !orphaned.includes(c.identity.service),
  );
  world.table = world.table.filter((route) => !orphaned.includes(route.mark?.split('/')[2] ?? '-'));
  await quietened(world);
  for (let rings = 0; rings < NAMES.length && (await madeRoom(world)); rings += 1);
  expect(examineEnd(world)).to.deep.equal([]);
}

/** Services that want each other's fixed ports are a person's business, too: one of them is stopped for a while, as the hint says. */
async function madeRoom(world: World): Promise<boolean> {
  const ring = world.plan().refused.find(({ why }) => why.includes('each of these waits for'));
  if (ring === undefined) return false;
  const wanted = world.desired;
  const services = wanted.services.map((entry) =>
    entry.service.name === ring.service
      ? { ...entry, service: { ...entry.service, active: false }, digest: `${entry.digest} stopped` }
      : entry,
  );
  world.desired = { ...wanted, services };
  await quietened(world);
  world.desired = wanted;
  await quietened(world);
  return true;
}

async function quietened(world: World): Promise<void> {
  let quiet = 0;
  for (let i = 0; i < 80 && quiet < 5; i += 1) {
    const plan = await passed(world).catch((error: unknown) => {
      // Removals are named by now: the budget does not bind.
      if (String(error).includes('G7')) return world.plan();
      throw error;
    });
    quiet = plan.steps.length === 0 && plan.wakeAt === undefined ? quiet + 1 : 0;
    if (plan.steps.length === 0 && plan.wakeAt !== undefined) world.now = Math.max(world.now, plan.wakeAt);
  }
  expect(quiet, `G1 not stable; last steps: ${world.journal.slice(-6).join(', ')}`).to.equal(5);
}
