import { createHash } from 'node:crypto';
import type { Answer } from './spoiled.ts';

/**
 * The images of an engine in memory: there or not, tagged, untagged, listed, pulled, pushed and built, and what the builder
 * remembers. Pulls, pushes and builds report in lines, as Docker does: the status is sent before the work.
 */
export interface FakeStore {
  has(reference: string): boolean;
  add(reference: string): void;
  forget(): void;
  /** `/images/…`, `/build`, `/build/prune` and `/system/df`; undefined: none of these. */
  answer(method: string, path: string, query: URLSearchParams): Answer | undefined;
  shape(): unknown;
}

const CACHE_BYTES = 1_000;

export function openFakeStore(): FakeStore {
  const images = new Map<string, { readonly id: string; readonly digest?: string }>();
  const pushed = new Set<string>();
  let cacheBytes = CACHE_BYTES;
  let builds = 0;
  const add = (reference: string): void => void images.set(reference, { id: imageIdOf(reference) });

  const pull = (reference: string): Answer => {
    const digest = imageIdOf(`manifest of ${reference}`);
    images.set(reference, { id: imageIdOf(reference), digest });
    return lines(
      { status: 'Pulling from box', id: 'latest' },
      { status: `Digest: ${digest}` },
      { status: `Status: Downloaded newer image for ${reference}` },
    );
  };
  const push = (reference: string): Answer => {
    if (!images.has(reference)) return missing(reference);
    pushed.add(reference);
    const Digest = imageIdOf(`manifest of ${reference}`);
    return lines(
      { status: 'Pushed', id: 'layer' },
      { progressDetail: {}, aux: { Tag: 'x', Digest, Size: 1 } },
    );
  };
  const build = (reference: string): Answer => {
    builds += 1;
    const id = imageIdOf(`build ${builds}`);
    images.set(reference, { id });
    cacheBytes = CACHE_BYTES;
    return lines({ stream: 'Step 1/1 : FROM scratch' }, { id: 'moby.image.id', aux: { ID: id } });
  };
  const onImage = (method: string, path: string, query: URLSearchParams): Answer => {
    if (path === 'json') return [200, [...images].map(([tag, { id }]) => ({ Id: id, RepoTags: [tag] }))];
    if (path === 'create') return pull(`${query.get('fromImage') ?? ''}:${query.get('tag') ?? ''}`);
    const name = decodeURIComponent(path.replace(/\/(json|tag|push)$/, ''));
    if (path.endsWith('/push')) return push(`${name}:${query.get('tag') ?? ''}`);
    const image = images.get(name);
    if (image === undefined) return missing(name);
    if (method === 'DELETE') {
      images.delete(name);
      return [200, [{ Untagged: name }]];
    }
    if (method === 'GET') {
      const repository = name.slice(0, name.lastIndexOf(':'));
      const digests = image.digest === undefined ? [] : [`${repository}@${image.digest}`];
      return [200, { Id: image.id, Config: {}, RepoDigests: digests }];
    }
    images.set(`${query.get('repo') ?? ''}:${query.get('tag') ?? ''}`, image);
    return [201];
  };

  return {
    has: (reference) => images.has(reference),
    add,
    forget: () => {
      images.clear();
      pushed.clear();
      cacheBytes = CACHE_BYTES;
    },
    answer: (method, path, query) => {
      if (path.startsWith('/images/')) return onImage(method, path.slice('/images/'.length), query);
      if (path === '/build') return build(query.get('t') ?? '');
      if (path === '/build/prune') {
        cacheBytes = Math.min(cacheBytes, Number(query.get('keep-storage') ?? 0));
        return [200, { CachesDeleted: [], SpaceReclaimed: 1 }];
      }
      if (path !== '/system/df') return undefined;
      return [200, { LayersSize: images.size * 100, Images: [], BuildCache: [{ Size: cacheBytes }] }];
    },
    shape: () => [[...images.keys()].sort(), [...pushed].sort(), cacheBytes],
  };
}

export function imageIdOf(reference: string): string {
  return `sha256:${createHash('sha256').update(reference).digest('hex')}`;
}

function missing(reference: string): Answer {
  return [404, { message: `No such image: ${reference}` }];
}

function lines(...items: readonly object[]): Answer {
  return [200, items, 'lines'];
}
