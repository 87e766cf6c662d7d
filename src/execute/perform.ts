import { digestOf } from '../base/json.ts';
import { ok, type Outcome } from '../base/outcome.ts';
import type { Step, StepBody, StepHead, StepKind } from '../plan/types.ts';
import { lastLinesOf } from './lastlines.ts';
import type { Tools } from './types.ts';

type Handler<K extends StepKind> = (
  step: StepHead & Extract<StepBody, { kind: K }>,
  tools: Tools,
) => Promise<Outcome<unknown>> | Outcome<unknown>;

/** One step. Every handler may be run twice: it makes sure of a state, it does not make a change. */
export async function perform(step: Step, tools: Tools): Promise<Outcome<unknown>> {
  const handler = handlers[step.kind] as Handler<StepKind>;
  return handler(step, tools);
}

/** No kind of step names a path of the host: none can delete, create, chown or chmod one (L04, G12). */
const handlers: { readonly [K in StepKind]: Handler<K> } = {
  'record-image': (step, { registry, clock }) =>
    registry.recordImage(
      {
        reference: step.reference,
        imageId: step.imageId,
        built: step.revision !== undefined,
        ...(step.revision === undefined ? {} : { revision: step.revision }),
        ...(step.manifestDigest === undefined ? {} : { manifestDigest: step.manifestDigest }),
      },
      clock.now(),
    ),
  'pull-image': (step, { node }) => node.images.startPull(step.image),
  'build-image': (step, { node }) =>
    node.images.startBuild({
      image: step.image,
      dockerfile: step.dockerfile,
      path: step.path,
      service: step.service,
      ...(step.silenced === undefined ? {} : { silenced: step.silenced }),
      ...(step.revision === undefined ? {} : { revision: step.revision }),
    }),
  'cancel-image': (step, { node }) => node.images.cancel(step.reference),
  'push-image': (step, { node }) => node.images.startPush(step.image),
  'remove-image': async (step, { node, registry }) => {
    const removed = await node.images.remove(step.reference, step.imageId);
    return removed.kind === 'ok' ? registry.imageRemoved(step.reference) : removed;
  },
  'prune-build-cache': (step, { node }) => node.builder.prune(step.keepBytes),
  'create-network': (step, { node }) => node.engine.createNetwork(step.name),
  'remove-network': (step, { node }) => node.engine.removeNetwork(step.name),
  'lease-ports': (step, { registry }) => registry.lease(step.leases),
  'release-leases': (step, { registry }) => registry.releaseLeases(step.leases),
  'issue-certificate': (step, { node }) =>
    node.certificates.issue(step.hostname, step.service, step.isDefault),
  'remove-certificate': (step, { node }) => node.certificates.remove(step.hostname, step.name),
  'create-container': createContainer,
  'start-container': (step, { node }) => node.engine.start(step.from, step.name, step.specDigest),
  'set-aside-container': (step, { node }) => node.engine.rename(step.containerId, step.renameTo),
  'retire-container': (step, { node }) =>
    node.engine.retire(step.containerId, step.renameTo, step.stopTimeoutS),
  'take-over-container': (step, { node }) =>
    node.engine.takeOver(step.containerId, step.renameTo, step.stopTimeoutS),
  'give-back-container': (step, { node }) => node.engine.giveBack(step.containerId, step.renameTo),
  'rest-container': async (step, { node, registry }) => {
    // Remembered first: stopped and forgotten, it would be started again at once.
    const recorded = registry.recordFlap(step.flap);
    return recorded.kind === 'ok' ? node.engine.stop(step.containerId, step.stopTimeoutS) : recorded;
  },
  'stop-container': (step, { node }) => node.engine.stop(step.containerId, step.stopTimeoutS),
  'remove-container': (step, { node }) =>
    node.engine.remove(step.containerId, step.stopTimeoutS, step.subject),
  'put-routes': async (step, { node, registry, clock }) => {
    // Recorded before it stands in the proxy: a route of ours is never without an owner (L08).
    // And with the time: from now on the connections to what was there before may end. And as what: so that one that is otherwise
    // one day is known to have been changed by somebody else.
    const putAt = clock.now();
    const recorded = registry.putRoutes(
      step.service,
      step.records.map((record) => {
        const put = step.routes.find(
          (one) => one.hostname === record.hostname && one.listenerPort === record.port,
        );
        return put === undefined ? record : { ...record, putAt, written: digestOf(put) };
      }),
    );
    return recorded.kind === 'ok' ? node.proxy.put(step.routes) : recorded;
  },
  'remove-routes': async (step, { node, registry }) => {
    const removed = await node.proxy.remove(step.routes);
    if (removed.kind !== 'ok') return removed;
    return registry.removeRoutes(
      step.service,
      step.routes.map(({ hostname, listenerPort }) => ({ hostname, port: listenerPort })),
    );
  },
  'record-trial': recordTrial,
  'put-records': async (step, { node, registry }) => {
    // Recorded before it stands in DNS, with what stood there before: a record of ours is never without an owner (L08).
    const recorded = registry.putRecords(
      step.records.map(({ before, ...record }) => ({
        ...record,
        addresses: [...new Set([...before, ...record.addresses])].sort(),
      })),
    );
    if (recorded.kind !== 'ok') return recorded;
    const put = await node.dns.put(step.service, step.records);
    return put.kind === 'ok'
      ? registry.putRecords(
          step.records.map(({ service, hostname, addresses }) => ({ service, hostname, addresses })),
        )
      : put;
  },
  'remove-records': async (step, { node, registry }) => {
    const removed = await node.dns.remove(step.service, step.records);
    return removed.kind === 'ok' ? registry.removeRecords(step.records) : removed;
  },
  'record-applied': (step, { registry }) => registry.recordApplied(step.applied),
  'record-orphan': (step, { registry }) => registry.recordOrphan(step.orphan),
  'forget-service': (step, { registry }) => {
    const forgotten = registry.forgetService(step.service);
    return forgotten.kind === 'ok' ? ok() : forgotten;
  },
};

/** Read before the first of them is stopped: with the return they are removed, and nobody could say any more why it was. */
async function recordTrial(
  { trial, blamed = [] }: Extract<Step, { kind: 'record-trial' }>,
  tools: Tools,
): Promise<Outcome<unknown>> {
  const { registry, clock, log } = tools;
  if (blamed.length > 0) {
    const printed = await lastLinesOf(trial.service, blamed, tools);
    const kept = registry.recordPrinted(trial.service, trial.digest, printed);
    // It gives way all the same.
    if (kept.kind !== 'ok')
      log.warn({ service: trial.service, why: kept.why }, 'its last lines are not kept');
  }
  return registry.recordTrial({ ...trial, since: clock.now() });
}

/** The values are those of the definition that the container is made for: the one in force, or one that was applied before. */
async function createContainer(
  step: Extract<Step, { kind: 'create-container' }>,
  { node, values, valuesOf }: Tools,
): Promise<Outcome<unknown>> {
  const { spec, specDigest, stagingName, from } = step;
  const found = from === undefined ? ok(values) : await valuesOf(from);
  if (found.kind !== 'ok') return found;
  const env = found.value.get(`${spec.service}/${spec.component}`) ?? new Map<string, string>();
  return node.engine.create(spec, specDigest, stagingName, env);
}
