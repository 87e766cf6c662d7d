import { redact } from '../base/secret.ts';
import type { Service } from '../definitions/types.ts';
import type { Observed } from '../node/types.ts';
import type { PushState } from '../node/images/state.ts';
import type { ServiceCondition } from './types.ts';

/**
 * Are the images that are built here in their registry too? The worst of a service is told; nothing where no image of it
 * is pushed. A service runs from the local image meanwhile: this is no state of it.
 */
export function imagePushed({ components }: Service, observed: Observed): ServiceCondition[] {
  const references = [...new Set(components.map(({ image }) => image.reference))];
  const pushes = references.flatMap((reference) => {
    const push = observed.pushes[reference];
    const isHere = observed.images[reference]?.kind === 'present';
    return push === undefined || push.kind === 'none' || !isHere ? [] : [{ reference, push }];
  });
  const worst = WORST_FIRST.flatMap((kind) => pushes.filter(({ push }) => push.kind === kind))[0];
  if (worst === undefined) return [];
  if (worst.push.kind !== 'pushed') return [told(worst.reference, worst.push)];
  const message = pushes.map(
    ({ reference }) => `${reference} is in its registry${digestOf(observed, reference)}`,
  );
  return [{ type: 'ImagePushed', status: 'True', reason: 'Pushed', message: message.join('; ') }];
}

const WORST_FIRST: readonly PushState['kind'][] = ['moved', 'failed', 'pending', 'pushing', 'pushed'];

function digestOf({ images }: Observed, reference: string): string {
  const state = images[reference];
  return state?.kind === 'present' && state.manifestDigest !== undefined ? ` as ${state.manifestDigest}` : '';
}

function told(reference: string, push: PushState): ServiceCondition {
  const unmet = { type: 'ImagePushed', status: 'False' } as const;
  switch (push.kind) {
    case 'failed': {
      const now = 'The service runs from the local image; the push is tried again by itself.';
      return {
        ...{ ...unmet, reason: 'PushFailed', message: redact(push.why) },
        hint: push.hint === undefined ? now : `${redact(push.hint)} ${now}`,
        ...{ since: push.at, until: push.retryAt },
      };
    }
    case 'moved':
      return {
        ...{
          ...unmet,
          reason: 'Moved',
          message: `${reference} is ${push.is} in its registry, and was ${push.was}`,
        },
        hint: 'Somebody moved the tag there: other nodes would get other bytes. Tag a new version.',
      };
    case 'pushing':
      return {
        ...{ ...unmet, reason: 'Pushing', message: `${reference} is being pushed` },
        since: push.since,
      };
    default: {
      const isLost = push.kind === 'pending' && push.lost === true;
      return isLost
        ? {
            ...{ ...unmet, reason: 'Lost', message: `its registry does not have ${reference} any more` },
            hint: 'The service runs from the local image, which is pushed again once the service is ready.',
          }
        : { ...unmet, reason: 'Pending', message: `${reference} is pushed once the service is ready` };
    }
  }
}
