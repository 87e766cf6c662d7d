import type { Component, DesiredService } from '../definitions/types.ts';
import type { ObservedContainer } from '../node/types.ts';
import type { Applied, Because } from '../registry/types.ts';
import { appliedOf, type Facts, type ServicePlan } from './facts.ts';
import { staleLeases } from './leases.ts';
import { planRoutes } from './routes.ts';
import { stageCertificates, together } from './staging.ts';
import type { Standing } from './standing.ts';
import { goneContainers } from './swap.ts';
import type { Step, Waiting } from './types.ts';

/** All containers are in place: start what stopped, wait for ready, set routes, record, and let predecessors go once proved. */
export function settle(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
): ServicePlan {
  const service = desired.service.name;
  const starts: Step[] = [];
  const waiting: Waiting[] = [];
  const ready: Component[] = [];
  let readySince: number | undefined = 0;
  for (const { component, current } of standings) {
    if (current === undefined) continue;
    const state = readiness(facts, desired, component, current);
    if (state.kind === 'start') {
      starts.push({
        service,
        subject: current.name,
        because,
        kind: 'start-container',
        from: current.name,
        name: current.name,
        specDigest: current.identity?.spec ?? '',
      });
      readySince = undefined;
    } else if (state.kind === 'ready') {
      ready.push(component);
      readySince = readySince === undefined ? undefined : Math.max(readySince, state.since);
    } else {
      waiting.push(state.waiting);
      readySince = undefined;
    }
  }
  const complete =
    standings.every((standing) => standing.current !== undefined) &&
    readySince !== undefined &&
    starts.length === 0;
  const routes = planRoutes(facts, desired, ready, because, complete);
  const certificates = together(
    standings.map((standing) => stageCertificates(facts, desired, standing.component, because)),
  );
  const done = complete && routes.served && routes.steps.length === 0;
  const finish = done
    ? finishSteps(facts, desired, standings, because, readySince ?? facts.now)
    : { steps: [], waiting: [] };
  return {
    steps: [...certificates.steps, ...starts, ...routes.steps, ...finish.steps],
    waiting: [...waiting, ...certificates.waiting, ...routes.waiting, ...finish.waiting],
    refused: routes.refused,
  };
}

/** Record what is so; after `stable_for` the predecessors go; pushes that are still owed are begun. */
function finishSteps(
  facts: Facts,
  desired: DesiredService,
  standings: readonly Standing[],
  because: Because,
  readySince: number,
): { steps: Step[]; waiting: Waiting[] } {
  const { service } = desired;
  const applied = appliedOf(facts, service.name);
  const steps: Step[] = [];
  const waiting: Waiting[] = [];
  const isNews =
    applied?.digest !== desired.digest || applied.state !== 'running' || applied.file !== desired.file;
  if (isNews) steps.push(recordStep(facts, desired, 'running', because));
  const stale = staleLeases(facts, service);
  const provedAt = readySince + facts.settings.stableForMs;
  const predecessors = [
    ...standings.flatMap((standing) => standing.predecessors),
    ...goneContainers(facts, desired).retired,
  ];
  if (predecessors.length > 0 || stale.length > 0) {
    if (provedAt > facts.now) {
      waiting.push({
        service: service.name,
        for: 'proved',
        why: 'ready, and watched until it is proved',
        since: readySince,
        until: provedAt,
      });
    } else {
      const proved = { ...because, summary: 'its successor is proved' };
      steps.push(...predecessors.map((container) => removeStep(facts, service.name, container, proved)));
      if (stale.length > 0) {
        const subject = stale.map((lease) => String(lease.port)).join(', ');
        steps.push({
          service: service.name,
          subject,
          because: proved,
          kind: 'release-leases',
          leases: stale,
        });
      }
    }
  }
  for (const { image } of service.components) {
    const push = facts.observed.pushes[image.reference];
    if (push?.kind === 'pending' || (push?.kind === 'failed' && push.retryAt <= facts.now)) {
      steps.push({ service: service.name, subject: image.reference, because, kind: 'push-image', image });
    } else if (push?.kind === 'failed') {
      waiting.push({
        service: service.name,
        for: 'image push',
        why: push.why,
        since: push.at,
        until: push.retryAt,
      });
    }
  }
  // Last, so that only a chain that went well to its end ends the failures: the next one begins with a short wait again.
  if (!isNews && hasFailed(facts, service.name)) {
    const healed = { ...because, summary: 'it runs as wanted again after a failure' };
    steps.push(recordStep(facts, desired, 'running', healed));
  }
  return { steps, waiting };
}

/** What is so is recorded; with it the failures of the service are forgotten. */
export function recordStep(
  facts: Facts,
  desired: DesiredService,
  state: Applied['state'],
  because: Because,
): Step {
  const { service, file, oid, digest, commit } = desired;
  return {
    service: service.name,
    subject: service.name,
    because,
    kind: 'record-applied',
    applied: { service, state, file, oid, digest, commit, appliedAt: facts.now },
  };
}

export function hasFailed(facts: Facts, service: string): boolean {
  return facts.promised.failures.some((failure) => failure.service === service);
}

type Readiness =
  | { readonly kind: 'ready'; readonly since: number }
  | { readonly kind: 'start' }
  | { readonly kind: 'waiting'; readonly waiting: Waiting };

function readiness(
  facts: Facts,
  desired: DesiredService,
  component: Component,
  container: ObservedContainer,
): Readiness {
  const wait = (why: string, since?: number): Readiness => ({
    kind: 'waiting',
    waiting: {
      service: desired.service.name,
      component: component.name,
      for: 'ready',
      why: `${container.name}: ${why}`,
      ...(since === undefined ? {} : { since }),
    },
  });
  if (container.state === 'running') {
    const probe = facts.observed.probes[container.id];
    if (probe?.kind === 'ready') return { kind: 'ready', since: probe.since };
    const restarts = container.restartCount > 0 ? ` (restarted ${container.restartCount} times)` : '';
    return wait(`${probe?.last ?? 'not ready yet'}${restarts}`, probe?.since ?? container.startedAt);
  }
  if (container.state === 'restarting') {
    return wait(
      `exits in a loop: exit code ${container.exitCode ?? '?'}, restarted ${container.restartCount} times`,
      container.startedAt,
    );
  }
  if (container.state === 'paused' || container.state === 'removing') return wait(`is ${container.state}`);
  const applied = appliedOf(facts, desired.service.name);
  const settledBefore = applied?.digest === desired.digest && applied.state === 'running';
  // What we stopped ourselves has not done its work, however it ended.
  const stoppedByUs = applied?.state === 'stopped' && (container.startedAt ?? 0) <= applied.appliedAt;
  if (container.state === 'exited' && component.restart !== 'unless-stopped' && !stoppedByUs) {
    // A container that shall not be restarted has done its work when it ended well; how it ended is shown, not mended.
    if (container.exitCode === 0) return { kind: 'ready', since: container.finishedAt ?? facts.now };
    if (settledBefore || component.restart === 'no')
      return wait(
        `exited with code ${container.exitCode ?? '?'}, and restart = "${component.restart}" leaves it so`,
      );
  }
  return { kind: 'start' };
}

export function removeStep(
  facts: Facts,
  service: string,
  container: ObservedContainer,
  because: Because,
): Step {
  return {
    service,
    subject: container.name,
    because,
    kind: 'remove-container',
    containerId: container.id,
    stopTimeoutS: facts.settings.stopTimeoutS,
  };
}
