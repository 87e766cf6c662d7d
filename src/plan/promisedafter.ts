import type { Promised } from '../registry/types.ts';
import type { Facts } from './facts.ts';
import type { Step } from './types.ts';

/** The steps of one or several kinds. */
export type Of<K extends Step['kind']> = Extract<Step, { kind: K }>;

/** What the registry promises after a step that is written there and nowhere else. */
export function promisedAfter(
  { promised, now }: Facts,
  step: Of<
    | 'lease-ports'
    | 'release-leases'
    | 'record-image'
    | 'record-trial'
    | 'remove-image'
    | 'record-applied'
    | 'record-orphan'
    | 'forget-service'
  >,
): Promised {
  switch (step.kind) {
    case 'lease-ports': {
      const slot = (lease: (typeof step.leases)[number]): string =>
        [lease.service, lease.component, lease.route, lease.slot].join('/');
      const slots = step.leases.map(slot);
      return {
        ...promised,
        leases: [...promised.leases.filter((lease) => !slots.includes(slot(lease))), ...step.leases],
      };
    }
    case 'release-leases': {
      const ports = step.leases.map((lease) => lease.port);
      return { ...promised, leases: promised.leases.filter((lease) => !ports.includes(lease.port)) };
    }
    case 'record-image':
      return { ...promised, images: imagesAfter(promised, step, now) };
    case 'record-trial':
      return {
        ...promised,
        trials: [
          ...promised.trials.filter((trial) => trial.service !== step.service),
          { ...step.trial, since: now },
        ],
        failures: promised.failures.filter((failure) => failure.service !== step.service),
      };
    case 'remove-image':
      return {
        ...promised,
        images: promised.images.map((image) =>
          image.reference === step.reference ? { ...image, removed: true as const } : image,
        ),
      };
    case 'record-applied':
      return {
        ...promised,
        trials: promised.trials.filter((trial) => trial.service !== step.service),
        applied: [
          ...promised.applied.filter((entry) => entry.service.name !== step.applied.service.name),
          step.applied,
        ],
        failures: promised.failures.filter((failure) => failure.service !== step.service),
      };
    case 'record-orphan':
      return { ...promised, orphans: [...(promised.orphans ?? []), step.orphan] };
    case 'forget-service':
      return forgotten(promised, step.service);
  }
}

function imagesAfter(promised: Promised, step: Of<'record-image'>, now: number): Promised['images'] {
  const { reference, imageId, manifestDigest, revision } = step;
  const record = {
    reference,
    imageId,
    firstSeenAt: now,
    built: revision !== undefined,
    ...(revision === undefined ? {} : { revision }),
    ...(manifestDigest === undefined ? {} : { manifestDigest }),
  };
  return [...promised.images.filter((image) => image.reference !== reference), record];
}

function forgotten(promised: Promised, name: string): Promised {
  const isOther = ({ service }: { readonly service: string }): boolean => service !== name;
  return {
    ...promised,
    orphans: (promised.orphans ?? []).filter(isOther),
    applied: promised.applied.filter((entry) => entry.service.name !== name),
    leases: promised.leases.filter(isOther),
    routes: promised.routes.filter(isOther),
    files: promised.files.filter(isOther),
    failures: promised.failures.filter(isOther),
    trials: promised.trials.filter(isOther),
    ...(promised.records === undefined ? {} : { records: promised.records.filter(isOther) }),
  };
}
