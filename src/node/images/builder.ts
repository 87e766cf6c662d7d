import { blocked, ok, type Outcome } from '../../base/outcome.ts';
import type { BuildOptions } from '../engine/build.ts';
import type { BuildOrder, ImageEngine } from './types.ts';

/**
 * Which of Docker's two builders makes an image. BuildKit, unless the settings limit memory or CPU, which BuildKit of a
 * daemon does not hold: then the classic one, as long as the Dockerfile asks for nothing that only BuildKit can. Podman
 * has one builder, which holds them and does all of it.
 */
export function builderFor(
  shop: {
    readonly engine: Pick<ImageEngine, 'kind'>;
    readonly build: { readonly memoryBytes?: number; readonly cpus?: number };
  },
  { image, path, dockerfile }: BuildOrder,
  text: string,
): Outcome<NonNullable<BuildOptions['builder']>> {
  const { memoryBytes, cpus } = shop.build;
  const limits = [
    ...(memoryBytes === undefined ? [] : ['memory_mib']),
    ...(cpus === undefined ? [] : ['cpus']),
  ];
  if (shop.engine.kind !== 'docker' || limits.length === 0) return ok('buildkit');
  const need = needOf(text);
  if (need === undefined) return ok('classic');
  return blocked(
    `${path}@${image.tag}:${dockerfile}:${need.line}: ${need.what} needs BuildKit, which does not hold [build] ${limits.join(' and ')} of this node`,
    'Do without it in the Dockerfile, and tag a new version; or take the limit out of the settings.',
  );
}

/** What the classic builder does not know. An instruction may be continued over lines: each line is looked at by itself. */
const NEEDS: readonly (readonly [RegExp, string])[] = [
  [/^\s*RUN\s+(?:--\S+\s+)*--(?:mount|network|security)\b/i, 'RUN --mount'],
  [
    /^\s*(?:COPY|ADD)\s+(?:--\S+\s+)*--(?:link|chmod|checksum|parents|exclude|keep-git-dir)\b/i,
    'COPY --link',
  ],
  [/^\s*(?:RUN|COPY)\b.*<<-?\s*["']?\w+/i, 'a here-document'],
];

function needOf(text: string): { readonly what: string; readonly line: number } | undefined {
  for (const [at, line] of text.split('\n').entries()) {
    const found = NEEDS.find(([pattern]) => pattern.test(line));
    if (found !== undefined) return { what: found[1], line: at + 1 };
  }
  return undefined;
}
