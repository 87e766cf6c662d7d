/** What a pass sees of one image. */
export type ImageState =
  | {
      readonly kind: 'present';
      readonly imageId: string;
      /** Digest of the manifest in its registry; absent for an image never pushed or pulled. */
      readonly manifestDigest?: string;
      readonly user: string;
      readonly volumes: readonly string[];
      /** The commit that it was built from, as its labels say. */
      readonly revision?: string;
      readonly architecture?: string;
      /** False: it has neither an entry point nor a command. */
      readonly runnable?: boolean;
    }
  /** Not in the engine, but in its registry: a pull will do. */
  | (TriedBefore & { readonly kind: 'remote'; readonly manifestDigest: string })
  | (TriedBefore & { readonly kind: 'absent' })
  | (TriedBefore & {
      readonly kind: 'building' | 'pulling';
      readonly since: number;
      readonly progress?: string;
    })
  | (ImageFailure & { readonly kind: 'failed'; readonly at: number; readonly retryAt: number })
  /** `retryAt`: when its registry is asked again; absent: nobody is waited with. */
  | {
      readonly kind: 'unknown';
      readonly why: string;
      readonly hint?: string;
      readonly at?: number;
      readonly retryAt?: number;
    };

interface TriedBefore {
  /** How the try before failed: until one goes well it is the same trouble. Absent: this is the first one. */
  readonly failed?: ImageFailure;
}

/** How a build or a pull failed. */
export interface ImageFailure {
  readonly why: string;
  readonly hint: string;
  /** The tag was moved in git since it was built first: nobody but a person can mend that. */
  readonly moved?: true;
  /** It may be over by itself with the next try. */
  readonly passing?: true;
}

/** Is the image in its registry too? `none`: no registry entry, images stay local. */
export type PushState =
  /** `digest`: what our own push gave it; absent: it was there already. */
  | { readonly kind: 'pushed'; readonly digest?: string }
  | { readonly kind: 'none' }
  /** `lost`: the registry had it, and has it no more. */
  | { readonly kind: 'pending'; readonly lost?: true }
  | { readonly kind: 'pushing'; readonly since: number }
  /** The tag names other bytes in the registry than it had there: nothing is pushed over it (L19). */
  | { readonly kind: 'moved'; readonly was: string; readonly is: string }
  | {
      readonly kind: 'failed';
      readonly at: number;
      readonly why: string;
      readonly hint?: string;
      readonly retryAt: number;
    };

/** A build or pull whose image is not asked for any more: its service is gone, or names another version by now. */
export interface StrayWork {
  readonly kind: 'building' | 'pulling';
  readonly since: number;
}
