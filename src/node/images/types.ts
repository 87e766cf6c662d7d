import type { Outcome } from '../../base/outcome.ts';
import type { ImageRef } from '../../definitions/types.ts';
import type { Engine } from '../engine/engine.ts';

export interface WantedImage {
  readonly image: ImageRef;
  /** Its definition says how it is built; only such images are ever pushed. */
  readonly build: boolean;
}

export interface BuildOrder {
  readonly image: ImageRef;
  /** Path inside the source repository. */
  readonly dockerfile: string;
  /** The source repository, relative to the workspace. */
  readonly path: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What this folder needs of an engine, and nothing more. */
export type ImageEngine = Pick<Engine, 'kind' | 'inspectImage' | 'buildImage' | 'pullImage' | 'pushImage'>;

export interface TreeFile {
  /** From the root of the tree, without a leading slash. */
  readonly path: string;
  /** Six octal digits as git has them: `100644`, `100755`, `120000` (symbolic link), `160000` (submodule). */
  readonly mode: string;
  readonly oid: string;
  /** Why its name must not be used, where it must not. */
  readonly unsafe?: string;
}

/** The tree of one git tag. */
export interface TagTree {
  readonly tag: string;
  readonly commit: string;
  /** Date of the tag (annotated) or of its commit, milliseconds since the epoch. */
  readonly taggedAt: number;
  /** Sorted by path. */
  readonly files: readonly TreeFile[];
  /** `blocked` when the blob is longer than `maxBytes`; it is then not read, where its size is known. */
  readBlob(oid: string, maxBytes: number): Promise<Outcome<Uint8Array>>;
}

/** Opens the tree of a tag of the repository in `directory`; `ok(undefined)` when there is no such tag. */
export type OpenTag = (directory: string, tag: string) => Promise<Outcome<TagTree | undefined>>;
