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
  return worst === undefined ? [] : [told(worst.reference, worst.push)];
}

const WORST_FIRST: readonly PushState['kind'][] = ['failed', 'pending', 'pushing', 'pushed'];

function told(reference: string, push: PushState): ServiceCondition {
  switch (push.kind) {
    case 'failed':
      return {
        ...{ type: 'ImagePushed', status: 'False', reason: 'PushFailed', message: redact(push.why) },
        hint: 'The service runs from the local image; the push is tried again by itself.',
        ...{ since: push.at, until: push.retryAt },
      };
    case 'pushing':
      return {
        ...{
          type: 'ImagePushed',
          status: 'False',
          reason: 'Pushing',
          message: `${reference} is being pushed`,
        },
        since: push.since,
      };
    case 'pushed':
      return {
        ...{
          type: 'ImagePushed',
          status: 'True',
          reason: 'Pushed',
          message: `${reference} is in its registry`,
        },
      };
    default:
      return {
        ...{ type: 'ImagePushed', status: 'False', reason: 'Pending' },
        message: `${reference} is pushed once the service is ready`,
      };
  }
}
