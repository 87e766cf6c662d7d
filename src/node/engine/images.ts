import { retry } from '../../base/outcome.ts';
import type { Secret } from '../../base/secret.ts';
import { imagePath, type Api } from './api.ts';
import { Refusal, isMissing } from './failure.ts';
import { imageIdOf } from './inspect.ts';
import { follow } from './progress.ts';
import { engineReference, referenceParts } from './reference.ts';

export interface ImageDetails {
  readonly imageId: string;
  /**
   * `sha256:…` of manifests, those of the reference's own repository only. Podman has one for an image that was only
   * built too, and it is not the one that a push makes: there only the answer of a push or pull counts.
   */
  readonly manifestDigests: readonly string[];
  readonly user: string;
  readonly volumes: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly architecture: string;
  /** `org.opencontainers.image.revision`. */
  readonly revision?: string;
}

export interface Pulled {
  readonly imageId: string;
  readonly manifestDigest?: string;
}

export interface RegistryAuth {
  readonly username: string;
  readonly password: Secret;
  /** `host[:port]` of the registry. */
  readonly serveraddress: string;
}

export async function inspectImage(api: Api, reference: string): Promise<ImageDetails | undefined> {
  try {
    const path = `/images/${imagePath(engineReference(reference))}/json`;
    return imageDetails(reference, await api.call<RawImage>(`inspect image ${reference}`, 'GET', path));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Pushes and resolves with the digest that the registry now has for the tag. */
export async function pushImage(
  api: Api,
  reference: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
  onProgress: (line: string) => void,
): Promise<{ manifestDigest: string }> {
  const { name, tag } = referenceParts(reference);
  const answer = await api.stream('POST', `/images/${imagePath(name)}/push`, {
    query: { tag },
    headers: { 'X-Registry-Auth': encodedAuth(auth) },
    signal,
  });
  const end = await follow(answer, `push of ${reference}`, onProgress);
  const manifestDigest = end.aux['Digest'] ?? end.digest;
  if (manifestDigest === undefined) {
    throw new Refusal(retry(`push of ${reference} ended without the digest of a manifest`));
  }
  return { manifestDigest };
}

/**
 * Pulls and resolves with what is here now. The digest is missing where Podman has several manifests of the image (one of
 * a build with the same bytes, for example) and does not tell which of them it pulled.
 */
export async function pullImage(
  api: Api,
  reference: string,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
  onProgress: (line: string) => void,
): Promise<Pulled> {
  const { name, tag, digest } = referenceParts(reference);
  const answer = await api.stream('POST', '/images/create', {
    query: { fromImage: name, tag: digest ?? tag },
    headers: { 'X-Registry-Auth': encodedAuth(auth) },
    signal,
  });
  const end = await follow(answer, `pull of ${reference}`, onProgress);
  const image = await inspectImage(api, reference);
  if (image === undefined) throw new Refusal(retry(`pull of ${reference} ended without an image`));
  const [first, ...others] = image.manifestDigests;
  const manifestDigest = digest ?? end.digest ?? (others.length === 0 ? first : undefined);
  if (manifestDigest === undefined && first === undefined) {
    throw new Refusal(retry(`pull of ${reference} ended without the digest of a manifest`));
  }
  return { imageId: image.imageId, ...(manifestDigest === undefined ? {} : { manifestDigest }) };
}

export async function tagImage(api: Api, source: string, target: string): Promise<void> {
  const { name, tag } = referenceParts(target);
  const path = `/images/${imagePath(engineReference(source))}/tag`;
  await api.call(`tag ${source} as ${target}`, 'POST', path, { query: { repo: name, tag } });
}

/**
 * Takes the reference away, and the image with its last one. Gone is as good; one in use stays (blocked). By a digest
 * Podman would remove the image with all its tags: there an image that still has a tag stays.
 */
export async function removeImage(api: Api, kind: 'docker' | 'podman', reference: string): Promise<void> {
  const path = `/images/${imagePath(engineReference(reference))}`;
  try {
    if (kind === 'podman' && referenceParts(reference).digest !== undefined) {
      const image = await api.call<RawImage>(`inspect image ${reference}`, 'GET', `${path}/json`);
      if ((image.RepoTags ?? []).length > 0) return;
    }
    await api.call(`remove image ${reference}`, 'DELETE', path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Tagged references of the engine's store that begin with `prefix`, sorted. */
export async function listImages(api: Api, prefix: string): Promise<string[]> {
  const listed = await api.call<{ RepoTags?: readonly string[] | null }[]>(
    'list images',
    'GET',
    '/images/json',
  );
  const tags = listed.flatMap((image) => image.RepoTags ?? []);
  return [...new Set(tags)].filter((tag) => tag.startsWith(prefix)).sort();
}

interface RawImage {
  readonly Id: string;
  readonly RepoTags?: readonly string[] | null;
  readonly RepoDigests?: readonly string[] | null;
  readonly Architecture?: string;
  readonly Config?: {
    readonly User?: string;
    readonly Volumes?: Readonly<Record<string, object>> | null;
    readonly Entrypoint?: readonly string[] | string | null;
    readonly Cmd?: readonly string[] | null;
    readonly Labels?: Readonly<Record<string, string>> | null;
  } | null;
}

function imageDetails(reference: string, raw: RawImage): ImageDetails {
  // Whatever stands behind the socket at that moment: a version is not judged by what no engine says.
  if (typeof (raw as Partial<RawImage> | null)?.Id !== 'string')
    throw new Refusal({
      ...retry(`the engine says nothing that can be read of image ${reference}`),
      cause: 'outside',
    });
  const repository = plainRepository(referenceParts(reference).name);
  const digests = (raw.RepoDigests ?? [])
    .map(referenceParts)
    .flatMap(({ name, digest }) =>
      digest !== undefined && plainRepository(name) === repository ? [digest] : [],
    );
  const revision = raw.Config?.Labels?.['org.opencontainers.image.revision'];
  return {
    imageId: imageIdOf(raw.Id),
    manifestDigests: [...new Set(digests)],
    user: raw.Config?.User ?? '',
    volumes: Object.keys(raw.Config?.Volumes ?? {}).sort(),
    entrypoint: words(raw.Config?.Entrypoint),
    cmd: words(raw.Config?.Cmd),
    architecture: raw.Architecture ?? '',
    ...(revision === undefined ? {} : { revision }),
  };
}

/** Podman writes out what Docker leaves away. */
function plainRepository(name: string): string {
  return name.replace(/^(docker\.io|localhost)\//, '').replace(/^library\//, '');
}

function words(value: readonly string[] | string | null | undefined): readonly string[] {
  if (value === null || value === undefined || value === '') return [];
  return typeof value === 'string' ? [value] : value;
}

/** Docker wants the header even without credentials; an empty object is "anonymous" for both engines. */
function encodedAuth(auth: RegistryAuth | undefined): string {
  return encoded(auth === undefined ? {} : authEntry(auth));
}

export function authTable(auths: readonly RegistryAuth[]): object {
  return Object.fromEntries(auths.map((auth) => [auth.serveraddress, authEntry(auth)]));
}

function authEntry({ username, password, serveraddress }: RegistryAuth): object {
  return { username, password: password.reveal(), serveraddress };
}

export function encoded(value: object): string {
  // URL-safe, but padded: Podman takes nothing else.
  return Buffer.from(JSON.stringify(value)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
}
