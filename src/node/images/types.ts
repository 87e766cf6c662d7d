import type { Outcome } from '../../base/outcome.ts';
import type { ImageRef, Issue } from '../../definitions/types.ts';
import type { Engine } from '../engine/engine.ts';

export interface WantedImage {
  readonly image: ImageRef;
  /** Its definition says how it is built; only such images are ever pushed. */
  readonly build: boolean;
  /** What the tag meant when it was first seen here. */
  readonly recorded?: { readonly imageId: string; readonly manifestDigest?: string };
  /** How it is built, for the judging of its Dockerfile. */
  readonly recipe?: Recipe;
}

interface Recipe {
  /** Path inside the source repository. */
  readonly dockerfile: string;
  /** The source repository, relative to the workspace. */
  readonly path: string;
  readonly service: string;
  /** Rules that the definition silences. */
  readonly silenced?: readonly string[];
}

export interface BuildOrder extends Recipe {
  readonly image: ImageRef;
  /** The commit that it was built from before: its tag must still name it. Absent: it was never built here. */
  readonly revision?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Judges a Dockerfile; `definitions/` has the rules. `file`: how it is called in the findings. */
export type LintDockerfile = (
  text: string,
  about: { readonly file: string; readonly service: string; readonly silenced: readonly string[] },
) => Issue[];

/** What this folder needs of an engine, and nothing more. */
export type ImageEngine = Pick<
  Engine,
  'kind' | 'storageRoot' | 'inspectImage' | 'buildImage' | 'pullImage' | 'pushImage' | 'removeImage'
>;

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
  /** The tag object as it is, of an annotated tag. */
  readonly object?: Uint8Array;
  /** Sorted by path. */
  readonly files: readonly TreeFile[];
  /** `blocked` when the blob is longer than `maxBytes`; it is then not read, where its size is known. */
  readBlob(oid: string, maxBytes: number): Promise<Outcome<Uint8Array>>;
  /** Sizes in bytes by object id, without reading a blob; those that the store does not tell are left out. */
  sizesOf?(oids: Iterable<string>): Promise<ReadonlyMap<string, number>>;
}

/** Opens the tree of a tag of the repository in `directory`; `ok(undefined)` when there is no such tag. `only`: of this path alone. */
export type OpenTag = (
  directory: string,
  tag: string,
  only?: string,
) => Promise<Outcome<TagTree | undefined>>;

/** Where source repositories are. Failures are told in half a sentence: `which cannot be read: …`. */
export interface Sources {
  /** On this node: looking costs no request. */
  readonly isLocal: boolean;
  /** The repository of a definition's `path`, for messages. */
  shown(path: string): string;
  /** `ok(undefined)` when there is no such tag. */
  open(path: string, tag: string, only?: string): Promise<Outcome<TagTree | undefined>>;
}
