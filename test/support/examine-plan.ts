import type { DesiredService } from '../../src/definitions/types.ts';
import type { StepResult } from '../../src/execute/types.ts';
import type { ObservedContainer } from '../../src/node/types.ts';
import { type Facts } from '../../src/plan/facts.ts';
import { NOBODY } from '../../src/base/nobody.ts';
import { inTurn } from '../../src/plan/turn.ts';
import type { Plan, Step } from '../../src/plan/types.ts';
import type { StepRecord } from '../../src/registry/types.ts';
import { STEP_KINDS } from './stepkinds.ts';
import type { World } from './world.ts';

/** What a pass saw, decided and did. */
export interface Passed {
  /** What it was planned from: the agent's view, which may be wrong. */
  readonly facts: Facts;
  readonly plan: Plan;
  readonly results: readonly StepResult[];
  /** The containers as they really were before it. */
  readonly before: readonly ObservedContainer[];
  /** Its rows in the journal; absent: it is not kept. */
  readonly rows?: readonly StepRecord[];
  /** Everything that was written or shown since the pass before: log lines, plans. */
  readonly texts?: readonly string[];
  /** What may stand in none of them. */
  readonly secrets?: readonly string[];
}

/** What must hold of one pass: of what it saw, decided and did. */
export function examinePass(world: World, seen: Passed): string[] {
  const { desired, promised, now } = seen.facts;
  // A version that is held back is not what is wanted: the last proved one is, until git changes.
  const passed: Passed = { ...seen, facts: { ...seen.facts, desired: inTurn(desired, promised, now) } };
  return [
    ...stoppedInVain(world, passed),
    ...badInput(passed),
    ...massRemoval(world, passed),
    ...unknownTakenForAbsent(passed),
    ...secretsShown(passed),
    ...unexplained(passed),
    ...hostPaths(passed),
    ...beforeItsTime(passed),
    ...afterFailure(passed),
    ...besideAnother(passed),
    ...workForNobody(passed),
  ];
}

export function isUp(container: ObservedContainer): boolean {
  return container.state === 'running' || container.state === 'restarting';
}

/** A container of ours that ran is only ended for a reason: its service or component went, or a successor is there. */
function stoppedInVain(world: World, { facts, plan, results, before }: Passed): string[] {
  const madeIn = (some: readonly StepResult[], key: string): boolean =>
    some.some(
      ({ step, outcome }) =>
        step.kind === 'create-container' && outcome.kind === 'ok' && keyOf(step.spec) === key,
    );
  return results.flatMap(({ step, outcome }, index) => {
    const old = endedBy(step, before);
    if (outcome.kind !== 'ok' || old?.identity === undefined || old.startedAt === undefined) return [];
    const { service, component } = old.identity;
    const desired = facts.desired.services.find((entry) => entry.service.name === service);
    const part = desired?.service.components.find((one) => one.name === component);
    if (desired?.service.active !== true || part === undefined) return [];
    if (isPlaceOfProved(world, facts, service, component)) return [];
    const others = [...before, ...world.containers].filter(
      (other) =>
        other.id !== old.id &&
        other.identity?.owner === old.identity?.owner &&
        other.identity?.service === service &&
        other.identity.component === component,
    );
    const isRunning = others.some((other) => isUp(other) || endedWell(other));
    // What the same pass made afterwards was not there yet.
    const key = keyOf(old.identity);
    const isMadeLater = madeIn(results.slice(index + 1), key);
    const isThere =
      madeIn(results.slice(0, index), key) ||
      others.some((other) => !isMadeLater || before.some(({ id }) => id === other.id));
    // The place goes back to the container started by hand that had it, by the step beside it or one before (L27).
    const goesBack =
      plan.steps.some((other) => other.kind === 'give-back-container' && other.service === service) ||
      (facts.promised.trials.some((trial) => trial.service === service && trial.phase === 'held back') &&
        !facts.promised.applied.some((applied) => applied.service.name === service));
    if (step.kind === 'retire-container' && goesBack) return [];
    if (step.kind === 'remove-container')
      return [
        ...inVain(isRunning, `${old.name} was removed and no successor runs`),
        ...inVain(
          isProved(facts, service, component),
          `${old.name} was removed before its successor was proved`,
        ),
      ];
    return inVain(isThere, `${old.name} was stopped (${step.kind}) and has no successor`);
  });
}

/** The proved version has its place again, all of it, and has no such component: a newer one cannot be had. */
function isPlaceOfProved(world: World, { promised }: Facts, service: string, component: string): boolean {
  const proved = promised.applied.find((entry) => entry.service.name === service)?.service;
  if (proved === undefined || proved.components.some(({ name }) => name === component)) return false;
  return proved.components.every(({ container, image }) =>
    world.containers.some((one) => one.name === container && one.image === image.reference && isUp(one)),
  );
}

/** Ready for as long as it takes, by what was seen of it; a clock that was set back says nothing. */
function isProved({ observed, settings, now }: Facts, service: string, component: string): boolean {
  if (!observed.engine.known) return false;
  return observed.engine.value.containers.some((one) => {
    if (one.identity?.service !== service || one.identity.component !== component) return false;
    const probe = observed.probes[one.id];
    const since = probe?.kind === 'ready' ? probe.since : endedWell(one) ? one.finishedAt : undefined;
    return since !== undefined && (since > now || since + settings.stableForMs <= now);
  });
}

function inVain(isGood: boolean, sentence: string): string[] {
  return isGood ? [] : [`G5: ${sentence}`];
}

function endedBy(step: Step, before: readonly ObservedContainer[]): ObservedContainer | undefined {
  if (step.kind !== 'retire-container' && step.kind !== 'stop-container' && step.kind !== 'remove-container')
    return undefined;
  return before.find((container) => container.id === step.containerId);
}

function endedWell(container: ObservedContainer): boolean {
  return container.state === 'exited' && container.exitCode === 0;
}

/** What cannot be read is not acted upon: a service without any good definition has no steps (G6). */
function badInput({ facts, plan }: Passed): string[] {
  const lastGood = facts.promised.applied.map((entry) => entry.service.name);
  return [
    ...plan.steps
      .filter((step) => facts.desired.refused.includes(step.service))
      .map((step) => `G6: ${step.kind} ${step.subject}, although no definition of ${step.service} is good`),
    ...facts.desired.refused
      .filter((name) => lastGood.includes(name))
      .map((name) => `G6: the last good definition of ${name} is not in force any more`),
  ];
}

function massRemoval(world: World, { facts, plan }: Passed): string[] {
  const { desired, promised, settings } = facts;
  const wanted = new Set([...desired.services.map((entry) => entry.service.name), ...desired.refused]);
  // What was never brought into line and has no container is no loss.
  const standing = new Set([
    ...promised.applied.map((entry) => entry.service.name),
    ...world.containers.flatMap(({ identity }) =>
      identity?.owner === settings.owner ? [identity.service] : [],
    ),
  ]);
  const applied = new Set(promised.applied.map((entry) => entry.service.name));
  const unnamed = new Set(
    plan.steps
      .filter(({ kind, service }) =>
        // Of an orphan that a list hid the record alone goes: its containers stay, and are taken in again when they are seen.
        kind === 'forget-service' ? applied.has(service) : kind !== 'record-orphan',
      )
      .map((step) => step.service)
      .filter(
        (service) => standing.has(service) && !wanted.has(service) && !settings.removable.includes(service),
      ),
  );
  const budget =
    desired.services.length + desired.refused.length === 0 || desired.unreadable
      ? 0
      : Math.max(1, Math.floor(standing.size * settings.budgetShare));
  return unnamed.size <= budget
    ? []
    : [`G7: ${[...unnamed].join(', ')} would be removed unnamed, and the budget is ${budget}`];
}

/** No step depends on the absence of what could not be seen (G9). */
function unknownTakenForAbsent({ facts, plan }: Passed): string[] {
  const { engine, proxy, ports, images, mounts } = facts.observed;
  return plan.steps.flatMap((step) => {
    const said = (what: string): string[] => [
      `G9: ${step.kind} ${step.subject}, although ${what} is unknown`,
    ];
    const actor = STEP_KINDS[step.kind];
    if (!engine.known) return said('what the engine has');
    if (actor === 'proxy' && !proxy.known) return said('the route table');
    if (step.kind === 'lease-ports' && !ports.known && !takenUp(step.leases, engine.value.containers))
      return said('who listens');
    if (step.kind === 'build-image' && images[step.image.reference]?.kind === 'unknown')
      return said('the image');
    if (step.kind !== 'create-container') return [];
    const image = images[step.spec.image]?.kind;
    if (image !== 'present') return said(`image ${step.spec.image} (${image ?? 'not looked for'})`);
    const mount = step.spec.mounts.find(
      (one) => one.kind === 'bind' && mounts[one.source]?.kind !== 'present',
    );
    return mount === undefined ? [] : said(`the mount at ${mount.target}`);
  });
}

/** Leases that containers of ours carry already are no choice. */
function takenUp(
  leases: Extract<Step, { kind: 'lease-ports' }>['leases'],
  containers: readonly ObservedContainer[],
): boolean {
  return leases.every((lease) =>
    containers.some(
      ({ identity }) => identity?.service === lease.service && identity.leases[lease.route] === lease.port,
    ),
  );
}

function secretsShown({ texts = [], secrets = [] }: Passed): string[] {
  return secrets.flatMap((secret) =>
    texts
      .filter((text) => text.includes(secret))
      .map((text) => `G10: a secret is shown: ${text.slice(0, 200)}`),
  );
}

/** Every step has its row in the journal with the reason, and what does not happen says why (G11). */
function unexplained({ facts, plan, results, rows }: Passed): string[] {
  const journalled =
    rows === undefined
      ? []
      : results.flatMap(({ step, outcome }) => {
          const row = rows.find(
            (one) => one.kind === step.kind && one.subject === step.subject && one.service === step.service,
          );
          // What could not be written down was not done either (G32).
          if (row === undefined && outcome.kind !== 'ok') return [];
          if (row === undefined) return [`G11: ${step.kind} ${step.subject} is not in the journal`];
          const { summary, commit, by } = row.because;
          // A commit is behind it, or it is said that none is: never both.
          const isWhole = summary !== '' && (commit === undefined) === (by !== undefined);
          return isWhole ? [] : [`G11: ${step.kind} ${step.subject} has no reason in the journal`];
        });
  const silent = facts.desired.services
    .filter((desired) => !isInLine(facts, desired))
    .map((desired) => desired.service.name)
    .filter(
      (name) => ![...plan.steps, ...plan.waiting, ...plan.refused].some((entry) => entry.service === name),
    )
    .map((name) => `G11: ${name} is not as wanted, and nothing says why`);
  return [...journalled, ...silent];
}

/** As far as the agent could see. */
function isInLine(facts: Facts, { service, digest }: DesiredService): boolean {
  const applied = facts.promised.applied.find((entry) => entry.service.name === service.name);
  const { engine } = facts.observed;
  if (applied?.digest !== digest || !engine.known) return false;
  return service.components.every((component) => {
    const container = engine.value.containers.find(
      (one) => one.name === component.container && one.identity?.owner === facts.settings.owner,
    );
    if (!service.active) return container === undefined || !isUp(container);
    return container !== undefined && (isUp(container) || endedWell(container));
  });
}

/** Nothing comes before what it rests on: a route before its certificate (G39), a success before it was seen. */
function beforeItsTime({ facts, plan }: Passed): string[] {
  const { certificates, engine, probes, proxy } = facts.observed;
  const containers = engine.known ? engine.value.containers : [];
  const isReady = (service: string, component: string): boolean =>
    containers.some(
      (one) =>
        one.identity?.owner === facts.settings.owner &&
        one.identity.service === service &&
        one.identity.component === component &&
        (probes[one.id]?.kind === 'ready' || endedWell(one)),
    );
  // It was ready before it was set aside, runs on, and is not asked any more: it gets its routes back (`switchback.ts`).
  const isProvedBeside = (service: string, component: string, backend: string): boolean =>
    containers.some(
      ({ identity, name, state }) =>
        identity?.owner === facts.settings.owner &&
        identity.service === service &&
        identity.component === component &&
        state === 'running' &&
        name.includes('.prev-') &&
        Object.values(identity.leases).includes(Number(backend.split(':').at(-1))),
    );
  return plan.steps.flatMap((step) => {
    switch (step.kind) {
      case 'put-routes':
        return step.routes.flatMap((route) => {
          const isBare = route.mode === 'l7' && certificates[route.hostname]?.kind !== 'valid';
          const [, , service = '', component = ''] = route.mark?.split('/') ?? [];
          return [
            ...(isBare ? [`G39: the route ${route.hostname} comes before its certificate`] : []),
            ...(isReady(service, component) || isProvedBeside(service, component, route.backend)
              ? []
              : [`G5: the route ${route.hostname} comes before its service is ready`]),
          ];
        });
      case 'record-applied':
        return step.applied.state === 'stopped'
          ? []
          : step.applied.service.components
              .filter((component) => !isReady(step.service, component.name))
              .map(
                (component) => `G5: ${step.service} counts as applied, and ${component.name} is not ready`,
              );
      case 'remove-certificate':
        return facts.desired.services.some(({ service }) =>
          service.components.some(({ routes }) => routes.some(({ hostname }) => hostname === step.hostname)),
        )
          ? [`G39: the certificate of ${step.hostname} goes, and a definition has that name`]
          : [];
      case 'stop-container':
      case 'forget-service':
        // What belongs to no service has no routes.
        return proxy.known || !facts.settings.proxy || step.service === NOBODY
          ? []
          : [`G9: ${step.kind} ${step.subject}, although it is unknown whether its routes are gone`];
      default:
        return [];
    }
  });
}

/** The first step that fails ends the chain of its service (L11). */
function afterFailure({ results }: Passed): string[] {
  return results.flatMap(({ step }, index) => {
    const failed = results
      .slice(0, index)
      .find((one) => one.step.service === step.service && one.outcome.kind !== 'ok');
    return failed === undefined
      ? []
      : [`L11: ${step.kind} ${step.subject} was taken after ${failed.step.kind} had failed`];
  });
}

/** Where a step is under way none is begun beside it (L40). */
function besideAnother({ plan }: Passed): string[] {
  const busy = plan.waiting.filter((entry) => entry.for === 'busy').map(({ service }) => service);
  return plan.steps
    .filter((step) => busy.includes(step.service))
    .map((step) => `L40: ${step.kind} ${step.subject} while another step of ${step.service} is under way`);
}

/** What no definition names is not built or pulled to its end. */
function workForNobody({ facts, plan }: Passed): string[] {
  const { engine, strayWork = {} } = facts.observed;
  if (!engine.known || plan.waiting.some((entry) => entry.for === 'busy' && entry.service === NOBODY))
    return [];
  return Object.keys(strayWork)
    .filter((name) => !plan.steps.some((step) => step.kind === 'cancel-image' && step.reference === name))
    .map((name) => `G11: the work on ${name} goes on, and nobody wants it`);
}

function hostPaths({ plan }: Passed): string[] {
  return plan.steps
    .filter((step) => !Object.hasOwn(STEP_KINDS, step.kind))
    .map((step) => `G12: a kind of step that nobody judged: ${step.kind}`);
}

function keyOf({ service, component }: { readonly service: string; readonly component: string }): string {
  return `${service}/${component}`;
}
