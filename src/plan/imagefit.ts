import type { Component, DesiredService } from '../definitions/types.ts';
import type { ImageState } from '../node/images/state.ts';
import type { Facts } from './facts.ts';
import { silencedRules } from './look.ts';
import type { Refused } from './types.ts';

type Present = Extract<ImageState, { kind: 'present' }>;

/** The image's own configuration, looked at before anything is started from it (house, section 6). */
export function unfitImage(
  facts: Facts,
  { service }: DesiredService,
  component: Component,
  state: Present,
): Omit<Refused, 'service'> | undefined {
  const { image, mounts, dockerfile, cmd, entrypoint } = component;
  const { engine } = facts.observed;
  const ours = engine.known ? engine.value.architecture : undefined;
  if (ours !== undefined && state.architecture !== undefined && ours !== state.architecture) {
    return {
      why: `${image.reference} is made for ${state.architecture}, and this node is ${ours}`,
      hint: `Build it for ${ours} too, and push it under the next version.`,
    };
  }
  if (state.runnable === false && cmd === undefined && entrypoint === undefined) {
    return {
      why: `${image.reference} has neither ENTRYPOINT nor CMD: there is nothing to start`,
      hint: 'Give it one, or set `cmd` in the definition.',
    };
  }
  const uncovered = state.volumes.find(
    (volume) => !mounts.some(({ target }) => volume === target || volume.startsWith(`${target}/`)),
  );
  if (uncovered !== undefined) {
    return {
      why: `${image.reference} declares VOLUME ${uncovered}, which no mount covers: its data would be lost at each replacement`,
      hint: `Mount something there, for example volumes = ["/srv/${service.name}:${uncovered}"], or drop VOLUME from the image.`,
    };
  }
  // Of others it is a warning: nobody here can mend them.
  if (dockerfile === undefined) return undefined;
  const silenced = silencedRules(service.silenced).silenced ?? [];
  if (isOtherUser(state.user) && component.user === undefined && !silenced.includes('dockerfile/user')) {
    return {
      why: `${image.reference} has USER ${state.user}, which cannot write below /srv on this node [dockerfile/user]`,
      hint: 'Drop USER from the Dockerfile or its base image and tag a new version, or set user = "0:0" in the definition.',
    };
  }
  if (state.volumes.length > 0 && !silenced.includes('dockerfile/volume')) {
    return {
      why: `${image.reference} declares VOLUME ${state.volumes.join(', ')} [dockerfile/volume]`,
      hint: 'Drop VOLUME from the Dockerfile or its base image and tag a new version: the mount in the definition is enough.',
    };
  }
  return undefined;
}

function isOtherUser(user: string): boolean {
  return !['', '0', 'root', '0:0', 'root:root', '0:root', 'root:0'].includes(user);
}
