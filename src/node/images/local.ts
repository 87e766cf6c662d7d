import { createHash } from 'node:crypto';
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
  /** The registry has the tag: asked once an image id, not at every pass. `own`: by a push of ours. */
  confirm(reference: string, imageId: string, digest: string, own?: boolean): void;
  confirmed(reference: string, imageId: string): string | undefined;
  /** The digest that a push of ours gave it; undefined: it was there already. */
  pushedBy(reference: string, imageId: string): string | undefined;
  /** The registry has it no more, whatever it or anybody said before; until `confirm`. */
  lose(reference: string): void;
  isLost(reference: string): boolean;
  /** The registry has something else under the tag; until it has what it had, or `confirm`. */
  move(reference: string, digest: string | undefined): void;
  movedTo(reference: string): string | undefined;
  /** It is time to ask the registry whether it still has it. */
  isDue(reference: string): boolean;
  asked(reference: string): void;
}

const KEPT = 2_000;
const HANGS_MS = 5_000;
/** So often a registry is asked whether it still has what it had; each image at a time of its own. */
const ASK_EVERY_MS = 3_600_000;

export function openLocal(engine: ImageEngine, clock: Clock, ttlMs: number): Local {
  const present = new Map<string, { readonly state: LocalState; readonly until: number }>();
  const confirmed = new Map<
    string,
    { readonly imageId: string; readonly digest: string; readonly own: boolean }
  >();
  const lost = new Map<string, true>();
  const moved = new Map<string, string>();
  /** Monotonic. */
  const askedAt = new Map<string, number>();
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
    confirm: (reference, imageId, digest, own = false) => {
      lost.delete(reference);
      moved.delete(reference);
      keepNewest(confirmed, reference, { imageId, digest, own }, KEPT);
    },
    confirmed: (reference, imageId) => {
      const known = confirmed.get(reference);
      return known?.imageId === imageId ? known.digest : undefined;
    },
    pushedBy: (reference, imageId) => {
      const known = confirmed.get(reference);
      return known?.imageId === imageId && known.own ? known.digest : undefined;
    },
    lose: (reference) => {
      confirmed.delete(reference);
      keepNewest(lost, reference, true, KEPT);
    },
    isLost: (reference) => lost.has(reference),
    move: (reference, digest) => {
      if (digest === undefined) moved.delete(reference);
      else keepNewest(moved, reference, digest, KEPT);
    },
    movedTo: (reference) => moved.get(reference),
    isDue: (reference) => {
      const now = clock.monotonic();
      const known = askedAt.get(reference);
      // Seen for the first time: it was asked somewhere in the half of the time before, so that not all are asked at once.
      if (known === undefined)
        keepNewest(askedAt, reference, now - (sum(reference) % (ASK_EVERY_MS / 2)), KEPT);
      return known !== undefined && now - known >= ASK_EVERY_MS;
    },
    asked: (reference) => keepNewest(askedAt, reference, clock.monotonic(), KEPT),
  };
}

/** A number of its own for each text, the same every time. */
function sum(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0);
}
