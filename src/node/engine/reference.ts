/** `[host[:port]/]repository[:tag][@digest]` taken apart at the separators alone; validity is judged elsewhere. */
export interface ReferenceParts {
  /** Host and repository. */
  readonly name: string;
  readonly tag?: string;
  readonly digest?: string;
}

export function referenceParts(reference: string): ReferenceParts {
  const [tagged = '', digest] = reference.split('@', 2);
  const colon = tagged.lastIndexOf(':');
  const hasTag = colon > tagged.lastIndexOf('/');
  return {
    name: hasTag ? tagged.slice(0, colon) : tagged,
    ...(hasTag ? { tag: tagged.slice(colon + 1) } : {}),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** What engines are asked for: with a digest the tag means nothing to them, and Podman refuses the two together. */
export function engineReference(reference: string): string {
  const { name, digest } = referenceParts(reference);
  return digest === undefined ? reference : `${name}@${digest}`;
}
