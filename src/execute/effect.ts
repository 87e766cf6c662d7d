import type { Observed, ObservedContainer } from '../node/types.ts';
import type { Step } from '../plan/types.ts';
import type { Promised } from '../registry/types.ts';

/** What a pass saw before it did anything. */
export interface Seen {
  readonly promised: Promised;
  readonly observed: Observed;
}

/** What a step found and what it leaves, small enough for the journal. Names and digests only, no value of a variable. */
export interface Effect {
  readonly before?: unknown;
  readonly after?: unknown;
}

/** `before` as the pass saw it (absent: nothing was there, or it was not looked at), `after` as the step leaves it when it succeeds. */
export function effectOf(step: Step, seen: Seen | undefined): Effect {
  const before = seen === undefined ? undefined : beforeOf(step, seen);
  const after = afterOf(step);
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

function beforeOf(step: Step, { promised, observed }: Seen): unknown {
  switch (step.kind) {
    case 'record-image':
      return promised.images.find((image) => image.reference === step.reference);
    case 'pull-image':
    case 'build-image':
      return stateOf(observed.images[step.image.reference]);
    case 'push-image':
      return stateOf(observed.pushes[step.image.reference]);
    case 'lease-ports':
      return some(
        promised.leases.filter((lease) =>
          step.leases.some(
            (wanted) =>
              wanted.service === lease.service &&
              wanted.component === lease.component &&
              wanted.route === lease.route &&
              wanted.slot === lease.slot,
          ),
        ),
      );
    case 'release-leases':
      return step.leases;
    case 'issue-certificate':
    case 'remove-certificate':
      return certificateOf(observed, step.hostname);
    case 'create-container':
      return containerOf(observed, (container) => container.name === step.spec.name);
    case 'start-container':
      return containerOf(observed, (container) => container.name === step.from);
    case 'put-routes':
    case 'remove-routes':
      return routesOf(observed, step.routes);
    case 'record-applied':
    case 'forget-service':
      return appliedOf(promised, step.service);
    default:
      return 'containerId' in step
        ? containerOf(observed, (container) => container.id === step.containerId)
        : undefined;
  }
}

function afterOf(step: Step): unknown {
  switch (step.kind) {
    case 'record-image':
      return { reference: step.reference, imageId: step.imageId, manifestDigest: step.manifestDigest };
    case 'lease-ports':
      return step.leases;
    case 'issue-certificate':
      return { state: step.isOrder === true ? 'ordered' : 'valid' };
    case 'create-container':
      return { name: step.stagingName, image: step.spec.image, spec: step.specDigest, state: 'created' };
    case 'start-container':
      return { name: step.name, spec: step.specDigest, state: 'running' };
    case 'retire-container':
      return { name: step.renameTo, state: 'exited' };
    case 'stop-container':
    case 'rest-container':
      return { name: step.subject, state: 'exited' };
    case 'put-routes':
      return step.routes.map(({ hostname, listenerPort, mode, backend }) => ({
        hostname,
        port: listenerPort,
        mode,
        backend,
      }));
    case 'record-trial':
      return { phase: step.trial.phase, commit: step.trial.commit };
    case 'record-applied': {
      const { state, digest, commit } = step.applied;
      return { state, digest, commit };
    }
    default:
      return undefined;
  }
}

function stateOf(state: { readonly kind: string } | undefined): unknown {
  return state === undefined ? undefined : { state: state.kind };
}

function containerOf(observed: Observed, is: (container: ObservedContainer) => boolean): unknown {
  const found = observed.engine.known ? observed.engine.value.containers.find(is) : undefined;
  if (found === undefined) return undefined;
  const { id, name, image, state, exitCode, restartCount, identity } = found;
  return { id: id.slice(0, 12), name, image, spec: identity?.spec, state, exitCode, restartCount };
}

function routesOf(
  observed: Observed,
  keys: readonly { readonly hostname: string; readonly listenerPort: number }[],
): unknown {
  if (!observed.proxy.known) return undefined;
  const found = observed.proxy.value.table.filter((route) =>
    keys.some((key) => key.hostname === route.hostname && key.listenerPort === route.listenerPort),
  );
  return some(
    found.map(({ hostname, listenerPort, mode, backend, mark }) => ({
      hostname,
      port: listenerPort,
      mode,
      backend,
      mark,
    })),
  );
}

function certificateOf(observed: Observed, hostname: string): unknown {
  const state = observed.certificates[hostname];
  return state?.kind === 'valid' ? { state: 'valid', notAfter: state.notAfter } : stateOf(state);
}

function appliedOf(promised: Promised, service: string): unknown {
  const found = promised.applied.find((applied) => applied.service.name === service);
  return found === undefined ? undefined : { state: found.state, digest: found.digest, commit: found.commit };
}

function some<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}
