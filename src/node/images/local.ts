import type { Clock } from '../../base/clock.ts';
import type { ImageRef } from '../../definitions/types.ts';
import { keepNewest } from './newest.ts';
import type { ImageEngine } from './types.ts';

export type LocalState =
  | {
      readonly kind: 'present';
      readonly imageId: string;
      readonly manifestDigest?: string;
      /** The engine's digest proves that the registry had the image (it was pulled or pushed). */
      readonly proved: boolean;
      readonly user: string;
      readonly volumes: readonly string[];
      readonly revision?: string;
      readonly architecture: string;
      readonly runnable: boolean;
    }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unknown'; readonly why: string };

/** The engine's store, with a memory for what is there. */
export interface Local {
  find(ref: ImageRef): Promise<LocalState>;
  forget(ref: ImageRef): void;
  forgetAll(): void;
  /** The registry has the tag: asked once an image id, not at every pass. */
  confirm(reference: string, imageId: string, digest: string): void;
  confirmed(reference: string, imageId: string): string | undefined;
}

const KEPT = 2_000;
const HANGS_MS = 5_000;

export function openLocal(engine: ImageEngine, clock: Clock, ttlMs: number): Local {
  const present = new Map<string, { readonly state: LocalState; readonly until: number }>();
  const confirmed = new Map<string, { readonly imageId: string; readonly digest: string }>();
  let deaf = { until: 0, why: '' };
  return {
    find: async (ref) => {
      const known = present.get(ref.reference);
      if (known !== undefined && clock.monotonic() < known.until) return known.state;
      present.delete(ref.reference);
      const begun = clock.monotonic();
      if (begun < deaf.until) return { kind: 'unknown', why: deaf.why };
      const found = await engine.inspectImage(ref.reference);
      if (found.kind !== 'ok') {
        const now = clock.monotonic();
        // An engine that hangs would do so at every image in turn (G19).
        if (now - begun > HANGS_MS) deaf = { until: now + HANGS_MS, why: found.why };
        return { kind: 'unknown', why: found.why };
      }
      if (found.value === undefined) return { kind: 'absent' };
      const { imageId, manifestDigests, user, volumes, revision, architecture } = found.value;
      const pinned = manifestDigests.find((digest) => digest === ref.digest);
      // Of several nobody says which one the tag has.
      const manifestDigest = pinned ?? (manifestDigests.length === 1 ? manifestDigests[0] : undefined);
      const state: LocalState = {
        kind: 'present',
        imageId,
        ...(manifestDigest === undefined ? {} : { manifestDigest }),
        // Podman has a digest for what was only built too, and it is not the one that a push makes.
        proved: pinned !== undefined || (engine.kind === 'docker' && manifestDigests.length > 0),
        user,
        volumes,
        architecture,
        runnable: found.value.entrypoint.length + found.value.cmd.length > 0,
        ...(revision === undefined ? {} : { revision }),
      };
      keepNewest(present, ref.reference, { state, until: clock.monotonic() + ttlMs }, KEPT);
      return state;
    },
    forget: (ref) => void present.delete(ref.reference),
    forgetAll: () => present.clear(),
    confirm: (reference, imageId, digest) => keepNewest(confirmed, reference, { imageId, digest }, KEPT),
    confirmed: (reference, imageId) => {
      const known = confirmed.get(reference);
      return known?.imageId === imageId ? known.digest : undefined;
    },
  };
}
