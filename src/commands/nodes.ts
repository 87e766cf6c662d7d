import type { Failure } from '../base/outcome.ts';
import { nearest } from '../base/suggest.ts';
import { quote } from '../definitions/findings.ts';
import type { Resolution } from '../definitions/resolve.ts';
import { DNS_LABEL } from '../definitions/shapeparts.ts';
import type { Service } from '../definitions/types.ts';
import type { Directory } from './directory.ts';

/** Every node that a definition names, sorted. */
export function nodesOf(...all: readonly Pick<Resolution, 'desired' | 'nodeOf'>[]): string[] {
  const named = all.flatMap(({ desired, nodeOf }) => [
    ...desired.services.flatMap(({ service }) => [service.node, ...edgesIn(service)]),
    ...nodeOf.values(),
  ]);
  return namesIn(named);
}

/** The nodes that serve its routes as well. */
function edgesIn({ components }: Service): string[] {
  return components.flatMap(({ routes }) => routes.flatMap(({ edge = [] }) => edge));
}

/** Every node that has a file, however bad it is. */
export function nodesWithFiles(...all: readonly Pick<Directory, 'files' | 'refused'>[]): string[] {
  const paths = all.flatMap(({ files, refused }) => [...files, ...refused].map(({ path }) => path));
  return namesIn(paths.flatMap((path) => /(?:^|\/)nodes\/([^/]+)\.toml$/.exec(path)?.[1] ?? []));
}

/** A name that is none is an issue of its file, and no node. */
function namesIn(names: readonly string[]): string[] {
  return [...new Set(names)].filter((name) => DNS_LABEL.test(name)).sort();
}

/** A node that nobody names is a slip of the hand: an empty answer would look like a good one. */
export function unknownNode(asked: string, names: readonly string[]): Failure {
  const known = namesIn(names);
  const meant = nearest(asked, known);
  const there = known.length === 0 ? 'No definition names a node.' : `There is ${known.join(', ')}.`;
  return {
    kind: 'blocked',
    why: `no definition, no file in nodes/ and no state is of a node ${quote(asked)}`,
    hint: meant === undefined ? there : `Did you mean ${meant}? ${there}`,
  };
}
