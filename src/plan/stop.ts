import type { DesiredService } from '../definitions/types.ts';
import type { Because } from '../registry/types.ts';
import { appliedOf, oursOf, type Facts, type ServicePlan } from './facts.ts';
import { becauseOf } from './because.ts';
import { recordsGone } from './records.ts';
import { isSettled, type Repairs } from './repairs.ts';
import { ofService, removal } from './routes.ts';
import { hasFailed, recordStep, removeStep, stopTimeoutOf } from './settle.ts';
import { ownNetwork } from './spec.ts';
import { isUp } from './swap.ts';
import type { Step, Waiting } from './types.ts';
import { closedWindow } from './window.ts';

/** `active = false`: routes, then containers. Leases, certificates and the records of its names stay; those of other names go. */
export function planStopped(facts: Facts, desired: DesiredService): ServicePlan {
  const { service } = desired;
  const applied = appliedOf(facts, service.name);
  const because = becauseOf(facts, desired, applied, {}, `${service.name} is inactive, but ran`);
  const isStopped = applied?.state === 'stopped' && isSettled(facts, desired);
  const routes = routesGone(facts, service.name, because, isStopped ? { repairs: {} } : {});
  if (routes.waiting.length > 0) return { steps: [], waiting: routes.waiting, refused: [] };
  const stops = oursOf(facts, service.name)
    .filter(isUp)
    .map((container): Step => ({
      service: service.name,
      subject: container.name,
      because,
      kind: 'stop-container',
      containerId: container.id,
      stopTimeoutS: stopTimeoutOf(facts, service.name),
    }));
  const isRecorded =
    applied?.digest === desired.digest && applied.state === 'stopped' && applied.file === desired.file;
  const record =
    isRecorded && !hasFailed(facts, service.name) ? [] : [recordStep(facts, desired, 'stopped', because)];
  const records = recordsGone(facts, service.name);
  return {
    steps: [...routes.steps, ...stops, ...records.steps, ...record],
    waiting: records.waiting,
    refused: [],
  };
}

export function goneText(service: string): string {
  return `the definition of ${service} is no longer in the repository`;
}

/** The definition is gone: routes, containers, network, leases, in that order. Data stays. */
export function planRemoved(facts: Facts, service: string): ServicePlan {
  const { file, goneIn } = facts.promised.files.find((entry) => entry.service === service) ?? {};
  const isKnown = file !== undefined || appliedOf(facts, service) !== undefined;
  const because: Because = {
    summary: isKnown ? goneText(service) : `it has the mark of service ${service}, which nobody knows`,
    commit: goneIn ?? facts.desired.commit.oid,
    ...(file === undefined ? {} : { file }),
  };
  const window = appliedOf(facts, service)?.service.deploy?.window;
  const closed = closedWindow(facts, service, window, 'the removal');
  if (closed !== undefined) return { steps: [], waiting: [closed], refused: [] };
  const routes = routesGone(facts, service, because);
  if (routes.waiting.length > 0) return { steps: [], waiting: routes.waiting, refused: [] };
  const records = recordsGone(facts, service);
  // Its name goes before its containers do; a name server that is down is waited for.
  if (records.waiting.length > 0) return { steps: routes.steps, waiting: records.waiting, refused: [] };
  const containers = oursOf(facts, service).map((container) =>
    removeStep(facts, service, container, because),
  );
  const name = ownNetwork(facts.settings.owner, service);
  const { engine } = facts.observed;
  const network: Step[] =
    engine.known && engine.value.networks.includes(name)
      ? [{ service, subject: name, because, kind: 'remove-network', name }]
      : [];
  // Only the applied version leads to a record of ours that is still there: it is forgotten once none is seen (L08).
  const forget: Step[] =
    records.steps.length > 0 ? [] : [{ service, subject: service, because, kind: 'forget-service' }];
  return {
    steps: [...routes.steps, ...records.steps, ...containers, ...network, ...forget],
    waiting: [],
    refused: [],
  };
}

function routesGone(
  facts: Facts,
  service: string,
  because: Because,
  repairs: Repairs = {},
): { steps: Step[]; waiting: Waiting[] } {
  if (!facts.settings.proxy) return { steps: [], waiting: [] };
  const { proxy } = facts.observed;
  // A container may only stop when its route is gone: not known is not gone (G9).
  if (!proxy.known) return { steps: [], waiting: [{ service, for: 'proxy', why: proxy.why }] };
  const mine = ofService(facts, proxy.value.table, service);
  return { steps: mine.length === 0 ? [] : [removal(service, mine, because, repairs)], waiting: [] };
}
